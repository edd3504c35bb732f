"""The pages of a comparison and of several results: what they claim, and that they fetch nothing."""

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from spadework.core.errors import InputError
from spadework.viewer.comparison import budget_line, effect_line, is_comparison, write_comparison
from spadework.viewer.curves import learning_curves
from spadework.viewer.pareto import pareto, read_results, write_pareto
from spadework.viewer.report import write_report


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fake = load("fake_comparison")
Page = load("test_report").Page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("comparisons") / "three"
    fake.write_fake_comparison(path)
    return path


def check(text: str) -> str:
    """The page is whole and self-contained; its visible text."""
    page = Page(text)
    assert page.unbalanced == [] and page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        assert tag not in {"link", "img", "iframe", "object", "base", "embed"} and "src" not in attributes
        assert attributes.get("href", "#").startswith("#") and attributes.get("href", "#")[1:] in {"", *ids}
    assert "url(" not in text and "@import" not in text and "http://" not in text and "https://" not in text
    return " ".join(page.text.split())


def test_the_page_of_a_comparison(folder: Path) -> None:
    path = write_comparison(folder)
    assert path == folder / "compare.html" and is_comparison(folder)
    text = check(path.read_text(encoding="utf-8"))
    assert re.search(r"arpo is above grpo: \+1\d\.\d points \[\+", text) and "No difference between gigpo and grpo is shown" in text
    assert "Every run spent its budget of 200 000 tokens" in text and "grpo, seed 4" in text and "rl.credit.arpo" in text
    assert path.read_bytes() == write_comparison(folder).read_bytes()


def effect(mean: float, low: float, high: float, verdict: str, p: float = 0.2, detectable: float | None = 0.08) -> dict:
    success = {"mean": mean, "low": low, "high": high, "n": 5, "p": p}
    return {"differences": {"success": success}, "crossed": {"low": low - 0.01, "high": high + 0.02}, "p": p,
            "detectable": detectable, "verdict": verdict}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (effect(0.1, 0.05, 0.15, "above", 0.01), "b is above a: +10.0 points [+5.0, +15.0] over 5 paired seeds (p = 0.01)"),
        (effect(0.1, 0.05, 0.15, "above", 0.01), "stays on that side"),
        (effect(-0.1, -0.199, -0.001, "below", 0.049), "b is below a: -10.0 points [-19.9, -0.1]"),
        (effect(-0.1, -0.199, -0.001, "below", 0.049), "the interval [-20.9, +1.9] includes 0"),
        (effect(0.1, -0.01, 0.2, "none"), "an interval that includes 0; with this n an effect under 8.0 points would be missed"),
        (effect(0.1, 0.01, 0.2, "none"), "the interval alone excludes 0, but not after the correction for 1 comparisons"),
        (effect(0.1, 0.1, 0.1, "none", 0.0625, None), "all seeds differ by the same amount"),
    ],
)
def test_the_verdict_in_words(found: dict, words: str) -> None:
    line = effect_line({"baseline": "a", "effects": {"b": found}}, "b")
    assert words in line.replace("\u2212", "-")


def test_budgets_that_are_not_equal_are_said(tmp_path: Path) -> None:
    summary = fake.write_fake_comparison(tmp_path / "early", seeds=2, budget=100_000)
    equal, words = budget_line(summary)
    assert not equal and words.startswith("Budgets were not equal: 6 of 6 runs ended before")
    summary["budget"] = None
    for name, tokens in (("grpo", 100.0), ("arpo", 150.0), ("gigpo", 120.0)):
        for run in summary["arms"][name]["runs"]:
            run["tokens"] = tokens
    assert budget_line(summary) == (
        False, "No budget was set: each arm ran its own number of steps, and arpo sampled 1.50 times the tokens of grpo."
    )  # fmt: skip


def test_arms_and_runs_on_one_page(folder: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "pages" / "pareto.html"
    found = write_pareto([folder, run], out)
    text = check(out.read_text(encoding="utf-8"))
    entries = {entry["name"]: entry for entry in found["results"]}
    assert set(entries) == {"three/grpo", "three/arpo", "three/gigpo", "demo"}
    # arpo has more success than grpo for fewer calls and tokens, and more evidence.
    assert entries["three/arpo"]["beaten_by"]["all"] is None and entries["three/grpo"]["beaten_by"]["all"] == "three/arpo"
    assert not found["same_questions"] and "not all judged on the same questions" in text
    assert "Not shown, because not every result has it: money" in text and "beaten by three/arpo" in text
    assert pareto(read_results([folder]))["same_questions"]
    assert json.dumps(found), "plain values"


def test_what_has_no_result_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        read_results([tmp_path])
    with pytest.raises(InputError, match="give each folder once"):
        read_results([folder, folder])
    (tmp_path / "comparison.json").write_text("{}")
    for ask in (read_results, lambda folders: write_comparison(folders[0])):
        with pytest.raises(InputError, match="--resume"):
            ask([tmp_path])
    with pytest.raises(InputError, match="at least two results"):
        pareto(read_results([folder])[:1])


def test_the_report_shows_held_out_means_of_several_rewards(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    summary = json.loads((copy / "summary.json").read_text())
    for stage, mean in (("sft", -0.25), ("rl", 0.5)):
        summary["stages"][stage]["objectives"] = {"format": {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 120}}
    (copy / "summary.json").write_text(json.dumps(summary))
    text = check(write_report(copy).read_text(encoding="utf-8"))
    assert "Reward: format" in text and "0.50 [0.40, 0.60]" in text


def test_every_objective_of_several_has_its_curve() -> None:
    events = [{"stage": "rl", "step": step, "reward/mean": 0.5, "reward/em/mean": 0.1 * step, "reward/format/mean": 0.9} for step in (1, 2)]
    curves = {curve.title: curve for curve in learning_curves(events)}
    assert list(curves) == ["Reward", "Reward: em", "Reward: format"] and curves["Reward: em"].values == [0.1, 0.2]
    one = [{key: value for key, value in event.items() if "format" not in key} for event in events]
    assert [curve.title for curve in learning_curves(one)] == ["Reward"], "a single reward has its curve already"
