import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from spadework.core.errors import InputError
from spadework.core.messages import Message, Turn
from spadework.tasks.task import Task
from spadework.trajectories.store import Record, write_records
from spadework.trajectories.tree import Status, Trajectory
from spadework.viewer.contents import read_contents
from spadework.viewer.report import render, write_report

PAYLOAD = "</script><script>document.title='owned'</script><img src=x onerror=\"alert(1)\"><!--"


class Page(HTMLParser):
    """Tags with attributes, visible text, and what stands in script elements."""

    void = frozenset({"meta", "br", "hr", "img", "input", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not self.open or self.open[-1] != "style":
            self.text += data


def report(path: Path, decode: Callable[[int], str] | None = None) -> str:
    return write_report(path, decode).read_text(encoding="utf-8")


def hostile_record(task_id: str, text: str) -> Record:
    trajectory = Trajectory(task_id, status=Status.COMPLETED, answer=text, rewards={text: 1.0}, error=text)
    trajectory.add("prompt", [1], parent=None, messages=[Message(role="user", content=text)])
    turn = Turn(thought=text, answer=text)
    trajectory.add("generation", [2, 3], parent=0, logprobs=[-0.1, -0.2], messages=[Message(role="assistant", content=text, turn=turn)])
    trajectory.add("observation", [4], parent=1, messages=[Message(role="tool", content=text * 40)])
    trajectory.set_advantage(0.5)
    return Record(trajectory, Task(id=task_id, question=text, answers=(text,), evidence=(text,)).model_dump(mode="json"))


def test_the_page_is_whole_and_fetches_nothing(run: Path, token_text: Callable[[int], str]) -> None:
    text = report(run, token_text)
    page = Page(text)
    assert page.unbalanced == [] and page.open == []
    for tag, attributes in page.tags:
        assert tag not in {"link", "img", "iframe", "object", "base", "embed"}
        assert "src" not in attributes and "srcset" not in attributes
        assert attributes.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in text and "@import" not in text and "http://" not in text and "https://" not in text
    assert len(text.encode()) < 2_000_000


def test_ids_are_unique_and_links_lead_somewhere(run: Path, token_text: Callable[[int], str]) -> None:
    page = Page(report(run, token_text))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"] for tag, attributes in page.tags if tag == "a"} <= {f"#{name}" for name in ids}


def test_every_section_says_its_numbers(run: Path, token_text: Callable[[int], str]) -> None:
    text = " ".join(Page(report(run, token_text)).text.split())  # no-break spaces become plain ones
    assert "Reinforcement learning raised success from 55 % to 75 %" in text
    assert "+19.7 [+14.5, +24.9]" in text
    assert "4 hops never trained on" in text
    assert "Trained hops" in text and "no overall mean includes them" in text, "300 questions are those of 1 to 3 hops"
    assert "spadework demo --out runs/demo --seed 7" in text
    for words in (
        "Calls per question",
        "Evidence recall",
        "Gradient norm",
        "How attempts end",
        "wrong → right",
        "1.31 GB",
        "9 min",
    ):
        assert words in text


def test_a_mean_over_all_hops_is_called_that(fake: ModuleType, tmp_path: Path) -> None:
    fake.write_fake_run(tmp_path, tasks=4)
    summary = json.loads((tmp_path / "summary.json").read_text())
    for stage in summary["stages"].values():
        stage["success"]["n"] = 400
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    text = Page(report(tmp_path)).text
    assert "All questions" in text and "no overall mean" not in text


def test_the_same_folder_gives_the_same_bytes(run: Path, token_text: Callable[[int], str]) -> None:
    assert render(read_contents(run), token_text) == render(read_contents(run), token_text)


def test_markup_from_a_run_stays_text(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "hostile"
    shutil.copytree(run, path)
    for name in ("eval-sft", "eval-rl", "rl-last"):
        write_records(path / "trajectories" / f"{name}.jsonl", [hostile_record("a", PAYLOAD), hostile_record(PAYLOAD, PAYLOAD)])
    summary = json.loads((path / "summary.json").read_text())
    summary |= {"name": PAYLOAD, "data": {"test_world": PAYLOAD, PAYLOAD: PAYLOAD}, "seed": PAYLOAD}
    (path / "summary.json").write_text(json.dumps(summary))
    (path / "recipe.yaml").write_text(f"name: {json.dumps(PAYLOAD)}\n")
    manifest = json.loads((path / "manifest.json").read_text()) | {"command": PAYLOAD}
    (path / "manifest.json").write_text(json.dumps(manifest))
    harmless, page = Page(report(run)), Page(report(path, lambda _: PAYLOAD))
    assert page.unbalanced == [] and page.open == []
    assert len(page.scripts) == len(harmless.scripts) == 2
    assert page.scripts[1] == harmless.scripts[1], "the page's own script is the only one that runs"
    assert "<" not in page.scripts[0], "data can not close its script element"
    assert PAYLOAD in json.loads(page.scripts[0])["texts"]
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in page.tags)
    assert PAYLOAD in page.text


@pytest.mark.parametrize("stages", [(), ("sft",), ("reading", "sft"), ("sft", "rl"), ("reading",)])
def test_stages_that_were_not_run_are_named_not_invented(fake: ModuleType, tmp_path: Path, stages: tuple[str, ...]) -> None:
    fake.write_fake_run(tmp_path / "run", stages=stages, tasks=6)
    page = Page(report(tmp_path / "run"))
    assert page.unbalanced == []
    if not stages:
        assert "This run has no results yet." in page.text
    elif "rl" not in stages:
        assert "There was no RL stage to compare it with." in page.text
        assert "There is no paired gain" in page.text
        assert "no token view" in page.text
    else:
        assert "Reinforcement learning raised success" in page.text and "Reading: loss" not in page.text


def test_a_run_that_kept_nothing_but_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "recipe.yaml").write_text("name: bare\n")
    text = Page(report(tmp_path)).text
    assert "not finished" in text and "no learning curves" in text and "kept no evaluation trajectories" in text


def test_a_run_without_trajectories(fake: ModuleType, tmp_path: Path) -> None:
    fake.write_fake_run(tmp_path / "run", trajectories=False)
    text = Page(report(tmp_path / "run")).text
    assert "kept no evaluation trajectories" in text and "no token view" in text and "Reinforcement learning raised success" in text


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        write_report(tmp_path)


def test_a_trajectory_without_a_valid_task_is_named(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(run, path)
    trajectory = Trajectory("odd", status=Status.COMPLETED)
    write_records(path / "trajectories" / "eval-rl.jsonl", [Record(trajectory, {"id": "odd"})])
    with pytest.raises(InputError, match=r"eval-rl.jsonl: trajectory of 'odd' has no valid task"):
        write_report(path)


def test_token_texts_come_from_the_checkpoint(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(run, path)
    checkpoint = path / "checkpoints" / "rl-000060"
    checkpoint.mkdir(parents=True)
    vocab = {"\u0120caf\u00c3\u00a9": 0, "\u010a": 1}
    content = {"model": {"type": "BPE", "vocab": vocab}, "added_tokens": [{"id": 2, "content": "<think>"}]}
    (checkpoint / "tokenizer.json").write_text(json.dumps(content))
    texts = json.loads(Page(report(path)).scripts[0])
    shown = dict(zip(texts["ids"], texts["texts"], strict=True))
    # Byte-level BPE writes a space as U+0120, a line feed as U+010A, and the two bytes of e-acute as U+00C3 U+00A9.
    assert [shown[token] for token in (0, 1, 2, 3)] == [" caf\u00e9", "\n", "<think>", "[3]"]


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


SHADES = ["s0", "s1", "s2", "s3", "s4", "s5", "n3", "n2", "n1", "z0", "p1", "p2", "p3"]
TEXT_ON = [(ink, ground) for ink in ("ink", "muted", "sft", "rl", "reading", "good", "bad") for ground in ("paper", "card", "well")]
TEXT_ON += [("ink", "mark"), ("good", "good-tint"), ("bad", "bad-tint"), ("paper", "ink")] + [(f"{shade}-ink", shade) for shade in SHADES]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast(run: Path, theme: int) -> None:
    pairs = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", report(run))
    colours = {name: both[theme] for name, *both in pairs}
    low = {pair: round(value, 2) for pair in TEXT_ON if (value := contrast(colours[pair[0]], colours[pair[1]])) < 4.5}
    assert not low
