"""Sets, citations, evidence, abstention, cost: the terms of no single system, every branch."""

from typing import Any

import pytest
from tests.rewards.episodes import TASK, Step, bad, both, episode, search, searched, think, value, with_meta

from spadework.core.errors import ConfigError, InputError
from spadework.rewards.citations import cited, noted
from spadework.rewards.reward import rewards
from spadework.rewards.sets import gold_items, items
from spadework.rewards.similarity import cosine, tfidf, word_counts
from spadework.rewards.transcript import num_calls, queries, tagged, turn_records

LIST = TASK.model_copy(update={"answers": ("red fox; blue sea; old oak",)})


def test_items() -> None:
    assert items("- Red fox\n2. blue sea; red fox.;; ") == ["Red fox", "blue sea"]
    assert items("1984; 3.5 km") == ["1984", "3.5 km"]
    assert items(None) == []


def test_gold_items() -> None:
    assert gold_items(LIST) == [("red fox",), ("blue sea",), ("old oak",)]
    assert gold_items(with_meta(items=["a1", ["b1", "b2"]])) == [("a1",), ("b1", "b2")]
    for wrong in ([], "a", [1], [[]]):
        with pytest.raises(InputError, match=r"meta\['items'\] is a list"):
            gold_items(with_meta(items=wrong))


def test_set_f1() -> None:
    assert value("set-f1", searched(0, "blue sea; red fox; old oak"), LIST) == 1
    # one of two said, one of three wanted: 2 * 1 / 5
    assert value("set-f1", searched(0, "blue sea\nred"), LIST) == pytest.approx(0.4)
    # at threshold 0.6 "red" is near "red fox" (F1 2/3): 2 * 2 / 5
    assert value("set-f1", searched(0, "blue sea\nred"), LIST, threshold=0.6) == pytest.approx(0.8)
    assert value("set-f1", searched(0, None), LIST) == 0
    # two aliases of one thing count once: 2 * 1 / (2 + 1)
    assert value("set-f1", searched(0, "b1; b2"), with_meta(items=[["b1", "b2"]])) == pytest.approx(2 / 3)


def test_set_f1_matches_one_to_one_and_best() -> None:
    # "x y" is near both golds, "x" only near the first: taking "x y" -> "x z" first must not lose the other match
    task = with_meta(items=["x z", "y w"])
    assert value("set-f1", searched(0, "x y; x"), task, threshold=0.5) == 1


def test_webleaper_is_soft() -> None:
    # "red" and "red fox": F1 2/3. said {red}: P = 2/3; R = (2/3 + 0 + 0) / 3 = 2/9; F1 = 2 PR / (P + R) = 1/3
    assert value("webleaper", searched(0, "red"), LIST) == pytest.approx(1 / 3)
    # w = 2: 5 PR / (4 P + R) = 5 * (4/27) / (26/9) = 20/78
    assert value("webleaper", searched(0, "red"), LIST, omega=2) == pytest.approx(20 / 78)
    assert value("webleaper", searched(0, "grey"), LIST) == 0
    assert value("webleaper", searched(0, None), LIST) == 0
    assert value("webleaper", searched(0, "old oak; red fox; blue sea"), LIST) == pytest.approx(1)


def test_mem1_counts_objectives_in_order() -> None:
    assert value("mem1", searched(0, "red fox; sea; the old oak"), LIST) == 2
    assert value("mem1", searched(0, "blue sea; red fox"), LIST) == 0
    assert value("mem1", searched(0, None), LIST) == 0
    assert value("mem1", searched(0, None), with_meta(items=["the"])) == 0  # no answer is no empty answer
    assert value("mem1", searched(0, "yes; yes"), with_meta(items=["yes", ["yes", "true"]])) == 2


def test_answer_without_evidence() -> None:
    one, all_of_it = search("a", "", ("d1",)), search("a", "", ("d1", "d2"))
    assert value("answer-without-evidence", episode(one, answer="Velor Tash")) == -1
    assert value("answer-without-evidence", episode(one, answer="Velor Tash"), least=0.5) == 0
    assert value("answer-without-evidence", episode(all_of_it, answer="nobody")) == 0
    assert value("answer-without-evidence", episode(one)) == 0
    with pytest.raises(InputError, match="'answer-without-evidence' reward cannot take effect"):
        value("answer-without-evidence", episode(one), TASK.model_copy(update={"evidence": ()}))


def test_citations_of_what_was_noted() -> None:
    trajectory = episode(search("a", "", ("d1", "d2")), answer="Velor Tash [d1, d2]")
    assert value("citation-precision", trajectory, against="noted") == 0
    trajectory.nodes[2].meta["calls"][0]["meta"] = {"note": {"quote": "q", "document": "d1", "claim": ""}}
    # One of two cited documents has a quote.
    assert value("citation-precision", trajectory, against="noted") == 0.5
    assert noted(trajectory) == [{"quote": "q", "document": "d1", "claim": ""}]


def test_the_last_reward_of_an_environment() -> None:
    trajectory = episode(search("a"), search("b"), search("c"), answer="x")
    assert value("environment", trajectory) == 0
    assert value("environment", trajectory, without=-1) == -1
    for node, reward in zip((2, 4), (0.25, 0.5), strict=True):
        trajectory.nodes[node].meta["calls"][0]["meta"] = {"reward": reward}
    # The third call failed, so the word after the second one stands.
    assert value("environment", trajectory) == 0.5


def test_cited() -> None:
    assert cited('Velor Tash [d1, d2; d3] and <cite id="d4,d5">so on</cite> [d1]') == {"d1", "d2", "d3", "d4", "d5"}
    assert cited("nothing") == cited(None) == set()


@pytest.mark.parametrize(
    ("answer", "precision", "shown", "recall"),
    [
        ("Tash [d1]", 1, 1, 0.5),
        ("Tash [d1] [x]", 0.5, 1, 0.5),
        ("Tash [d2]", 0, 0, 0),  # evidence, but never shown: fabricated
        ("Tash [d1, d2, y]", 1 / 3, 1 / 3, 0.5),
        ("Tash", 0, 0, 0),
        (None, 0, 0, 0),
    ],
)
def test_citations(answer: str | None, precision: float, shown: float, recall: float) -> None:
    trajectory = episode(search("a", "", ("d1", "x")), answer=answer)
    assert value("citation-precision", trajectory) == pytest.approx(precision)
    assert value("citation-precision", trajectory, against="shown") == pytest.approx(shown)
    assert value("citation-recall", trajectory) == recall


def test_citations_need_evidence() -> None:
    bare = TASK.model_copy(update={"evidence": ()})
    for name in ("citation-precision", "citation-recall"):
        with pytest.raises(InputError, match="names no evidence to compare citations with"):
            value(name, searched(0, "a [d1]"), bare)
    assert value("citation-precision", episode(search("a", "", ("d1",)), answer="a [d1]"), bare, against="shown") == 1


@pytest.mark.parametrize(
    ("answer", "options", "answerable", "expected"),
    [
        ("Velor Tash", {}, True, 1),
        ("nobody", {}, True, -1),
        ("I don't know.", {}, True, 0),
        ("Unknown", {"confidence": 0.75}, True, 0),
        ("nobody", {"confidence": 0.75}, True, -3),
        ("nobody", {"confidence": 0}, True, 0),
        ("unknowns", {}, True, -1),
        (None, {}, True, -1),
        ("I do not know", {}, False, 1),
        ("Velor Tash", {}, False, -1),
        (None, {}, False, -1),
        ("Velor Brin", {"of": {"f1": {}}}, True, 1),
        ("pass", {"phrases": ("pass",)}, True, 0),
    ],
)
def test_abstention(answer: str | None, options: dict[str, Any], answerable: bool, expected: float) -> None:
    assert value("abstention", searched(1, answer), with_meta(answerable=answerable), **options) == pytest.approx(expected)


def test_answering_is_worth_nothing_at_the_threshold() -> None:
    right = value("abstention", searched(1, "Velor Tash"), confidence=0.8)
    wrong = value("abstention", searched(1, "nobody"), confidence=0.8)
    assert 0.8 * right + 0.2 * wrong == pytest.approx(0)


def test_cost_and_budget() -> None:
    trajectory = searched(4, "Velor Tash")  # 4 calls, 5 tokens
    assert value("cost", trajectory, prices={"calls": 0.05, "tokens": 0.01}) == pytest.approx(-0.25)
    assert value("cost", trajectory, prices={"calls": 1.0}) == -1
    assert value("cost", trajectory, prices={"calls": 1.0}, most=9.0) == -4
    assert value("cost", trajectory, prices={"calls/python": 1.0}) == 0
    assert value("budget", trajectory, limits={"calls": 4}) == 0
    assert value("budget", trajectory, limits={"calls": 10, "tokens": 4}) == pytest.approx(-0.25)
    assert value("budget", trajectory, limits={"calls": 1}) == -1
    for name, options in (("cost", {"prices": {"money": 1.0}}), ("budget", {"limits": {"money": 1.0}})):
        with pytest.raises(InputError, match="the ledger has no 'money'; it has calls, calls/search, errors, seconds, tokens"):
            value(name, trajectory, **options)
    with pytest.raises(ConfigError, match="greater than 0"):
        rewards.build("budget", {"limits": {"calls": 0}})


def test_transcripts_pair_calls_with_results() -> None:
    trajectory = episode(both(search("a", "one", ("d1",)), search("b", "two", ("d2",))), bad(), Step(search("c").turn))
    first, second, third = turn_records(trajectory)
    assert [(call.query, call.text, call.documents) for call in first.calls] == [("a", "one", ("d1",)), ("b", "two", ("d2",))]
    assert first.documents == ["d1", "d2"] and first.texts == ["one", "two"]
    assert second.calls == [] and [call.status for call in third.calls] == ["unanswered"] and third.texts == []
    assert queries(trajectory, "search") == ["a", "b", "c"] and queries(trajectory, "read") == []
    assert (num_calls(trajectory, ["search"]), num_calls(trajectory, ["read"]), num_calls(trajectory, ())) == (2, 0, 2)
    assert tagged(episode(think("<x> a </x><x>b\nc</x><y>d</y>")), "x") == ["a", "b\nc"]


def test_similarity() -> None:
    assert word_counts("The red, red fox") == {"red": 2, "fox": 1}
    assert cosine({"a": 3.0}, {"a": 4.0, "b": 3.0}) == pytest.approx(0.8)
    assert cosine({}, {"a": 1.0}) == 0
    assert tfidf(["a1 b1", "a1"])[1] == pytest.approx({"a1": 1.0})  # ln(3/3) + 1
