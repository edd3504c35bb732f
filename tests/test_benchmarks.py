"""Rows of the benchmarks: their arithmetic, the file they are written to, and the table."""

import json
from pathlib import Path

import pytest
from benchmarks.run import main
from benchmarks.table import Row, interleave, read, show, speed_row, write
from rich.console import Console


def test_a_warm_up_pair_runs_first_and_is_not_measured() -> None:
    calls: list[str] = []

    def side(name: str, factor: float) -> float:
        calls.append(name)
        return len(calls) * factor

    ours, peer = interleave(lambda number: side(f"ours {number}", 1.0), lambda number: side(f"peer {number}", 10.0), runs=2)
    assert calls == ["ours 0", "peer 0", "ours 1", "peer 1", "ours 2", "peer 2"]
    assert ours == [3.0, 5.0] and peer == [40.0, 60.0]


def test_a_ratio_above_one_means_that_ours_is_faster() -> None:
    # medians 2 s and 8 s over 800 tokens: 400 and 100 tokens/s
    assert speed_row("a", [2.0, 1.0, 9.0], [8.0, 8.0, 8.0], peer_name="b", work=800) == Row("a", 400, 100, 4.0, "tokens/s", 3, "b")
    assert speed_row("a", [2.0], [8.0], peer_name="b") == Row("a", 2.0, 8.0, 4.0, "s", 1, "b")


def test_results_are_a_list_of_objects_with_the_documented_keys(tmp_path: Path) -> None:
    path = tmp_path / "made" / "results.json"
    families = {"speed": [Row("a", 400, 100, 4.0, "tokens/s", 3, "b")], "parity": [Row("c", 1.0, 1.0, 1.0, "equal tokens", 640, "d")]}
    assert read(path) == {}
    write(families, path)
    found = json.loads(path.read_text())
    assert [set(row) for row in found] == [{"family", "name", "ours", "peer", "ratio", "unit", "n", "peer_name"}] * 2
    assert found[0]["ratio"] == 4.0 and read(path) == families


@pytest.mark.parametrize("family", ["gateway", "async_rollout", "parity", "credit_cost", "loss_cost", "synthesis"])
def test_a_family_is_measured_anew_and_the_others_stay(family: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write({family: [Row("old", 1, 1, 1.0, "s", 1, "p")], "another": [Row("kept", 1, 1, 1.0, "s", 1, "p")]}, path)
    main(["--quick", "--runs", "1", "--only", family, "--out", str(path)])
    found = read(path)
    assert found["another"][0].name == "kept" and "old" not in {row.name for row in found[family]}
    assert all(row.ours > 0 for row in found[family] if row.unit != "nats")


def test_an_unknown_family_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "speed"])
    assert "unknown family speed; there are: sampling," in capsys.readouterr().err


def test_the_table_shows_every_row(tmp_path: Path) -> None:
    with (tmp_path / "out.txt").open("w+") as file:
        show([Row("sampling", 4000, 1000, 4.0, "tokens/s", 3, "peer")], "Title", Console(file=file, width=120))
        text = (file.seek(0), file.read())[1]
    for part in ("Title", "sampling", "4,000", "1,000", "4 x", "tokens/s", "peer"):
        assert part in text
