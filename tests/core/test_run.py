"""Run folders: created once, resumed only with the same recipe, never half written."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spadework.core.errors import ConfigError, InputError
from spadework.core.run import Run, peak_rss_bytes

RECIPE = {"seed": 3, "rl": {"steps": 20, "lrs": [0.1, 0.2]}}


def test_a_new_run_has_its_layout(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "deep" / "run", RECIPE, seeds={"run": 3}, hashes={"world": "abc"})
    assert {entry.name for entry in run.path.iterdir()} == {"recipe.yaml", "manifest.json", "events.jsonl", "trajectories", "checkpoints"}
    assert run.recipe == RECIPE
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert manifest["seeds"] == {"run": 3}
    assert manifest["hashes"] == {"world": "abc"}
    assert manifest["versions"]["python"] == sys.version.split()[0]
    assert manifest["cpu_count"] == os.cpu_count()
    assert Run.open(run.path).manifest == manifest
    assert run.summary() is None


def test_a_run_is_not_written_over(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    run.event("rl", 1, reward=0.5)
    with pytest.raises(InputError, match="already holds a run; add --resume"):
        Run.create(run.path, RECIPE)
    assert Run.create(run.path, RECIPE, resume=True).events() == [{"stage": "rl", "step": 1, "reward": 0.5}]


def test_resume_with_another_recipe_names_the_key(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", RECIPE)
    with pytest.raises(ConfigError, match=r"'rl\.steps' differs"):
        Run.create(tmp_path / "run", {**RECIPE, "rl": {"steps": 21, "lrs": [0.1, 0.2]}}, resume=True)


def test_tuples_and_lists_are_the_same_recipe(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", {"a": [1, 2]})
    assert Run.create(tmp_path / "run", {"a": [1, 2]}, resume=True).recipe == {"a": [1, 2]}


def test_a_start_that_was_killed_before_its_manifest_starts_afresh(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    run.event("rl", 1)
    (run.path / "manifest.json").unlink()
    assert Run.create(run.path, {"seed": 4}).events() == []


def test_other_folders_and_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match=r"not empty and not a run \(it holds 'thesis.tex'\)"):
        Run.create(tmp_path, RECIPE)
    with pytest.raises(InputError, match=r"thesis\.tex is a file"):
        Run.create(tmp_path / "thesis.tex", RECIPE)
    with pytest.raises(InputError, match=r"runs through a file|is a file, not a folder"):
        Run.create(tmp_path / "thesis.tex" / "run", RECIPE)
    with pytest.raises(InputError, match=r"not a run folder: it has no manifest\.json"):
        Run.open(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_checkpoint_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    for step in (5, 10):
        with run.checkpoint("rl", step) as folder:
            (folder / "state").write_text(f"step {step}")
    with pytest.raises(InputError, match=r"rl-000010: the disk is full"), run.checkpoint("rl", 10) as folder:
        (folder / "state").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(KeyboardInterrupt), run.checkpoint("rl", 15) as folder:
        raise KeyboardInterrupt
    assert [(step, (path / "state").read_text()) for step, path in run.checkpoints("rl")] == [(5, "step 5"), (10, "step 10")]
    assert run.checkpoints("sft") == []
    assert {entry.name for entry in (run.path / "checkpoints").iterdir()} == {"rl-000005", "rl-000010"}


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    for text in ("old", "new"):
        with run.checkpoint("rl", 5) as folder:
            (folder / text).write_text(text)
    [(_, path)] = run.checkpoints("rl")
    assert [entry.name for entry in path.iterdir()] == ["new"]


def test_notes_and_summary_are_kept(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", RECIPE)
    run.note(world="f00d")
    run.finish({"gain": {"mean": 0.2}, "loss": float("nan")})
    again = Run.open(run.path)
    assert again.manifest["world"] == "f00d"
    assert again.summary() == {"gain": {"mean": 0.2}, "loss": None}


def test_peak_memory_is_this_process_alone() -> None:
    # The child is tiny; a figure inherited through the exec would be that of the test process with torch loaded.
    script = "from spadework.core.run import peak_rss_bytes; print(peak_rss_bytes())"
    child = int(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
    assert 5_000_000 < child < 100_000_000
    assert peak_rss_bytes() > 5_000_000


def _lock_elsewhere(path: Path) -> str:
    """What another process says when it wants to write a run."""
    code = "import sys, pathlib\nfrom spadework.core.run import Run\nwith Run.open(pathlib.Path(sys.argv[1])).locked(): pass"
    return subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False).stderr


def test_two_processes_do_not_write_one_run(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"steps": 1})
    with run.locked():
        assert "is being written by another process" in _lock_elsewhere(run.path)
    assert _lock_elsewhere(run.path) == ""
