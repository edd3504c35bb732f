"""Every branch of every published reward, with numbers worked out by hand.

TASK: golds "Velor Tash" and "V. Tash", evidence d1 and d2. "Velor Brin" has F1 1/2 with the first gold (one of two words each).
"""

import json
import math
from pathlib import Path

import pytest
from tests.rewards.episodes import TASK, Step, bad, both, episode, in_group, per_turn, search, searched, think, value, with_meta

from spadework.core.errors import ConfigError, InputError
from spadework.rewards.reward import rewards
from spadework.trajectories.tree import Trajectory

RIGHT, HALF, WRONG = "Velor Tash", "Velor Brin", "nobody"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (RIGHT, 1),
        ("it is Velor Tash, surely", 1),
        ("Velortash", 0),
        ("one two three four five six seven eight Velor Tash", 1),  # ten words
        ("one two three four five six seven eight nine Velor Tash", 0),  # eleven words
        (None, 0),
    ],
)
def test_cem_wants_whole_words_and_a_short_answer(answer: str | None, expected: float) -> None:
    assert value("cem", searched(0, answer)) == expected


def test_cem_does_not_find_no_in_know_nor_an_empty_gold() -> None:
    assert value("cem", searched(0, "I know"), TASK.model_copy(update={"answers": ("no",)})) == 0
    assert value("cem", searched(0, "anything"), TASK.model_copy(update={"answers": ("the",)})) == 0
    assert value("cem", searched(0, "a b c d e f g h i j k"), TASK.model_copy(update={"answers": ("k",)}), max_words=11) == 1


def test_format_penalty() -> None:
    assert value("format-penalty", searched(1, WRONG)) == 0
    assert value("format-penalty", episode(bad(), answer=RIGHT), penalty=2.0) == -2
    assert value("format-penalty", searched(1, None)) == -1


def test_turn_format() -> None:
    assert per_turn("turn-format", episode(bad(), search("q"), answer=RIGHT)) == [0, 1, 1]


@pytest.mark.parametrize(
    ("trajectory", "expected"),
    [
        (searched(1, RIGHT), 1),
        (episode(bad(), answer=RIGHT), 0.8),
        (searched(1, WRONG), 0.2),
        (episode(search("q", "the mayor is Velor Tash"), answer=WRONG), 0.2),
        (episode(bad(), answer=WRONG), 0.1),
        (episode(bad()), 0),
        (searched(2, None), 0),
    ],
)
def test_search_r1_tiers(trajectory: Trajectory, expected: float) -> None:
    assert value("search-r1", trajectory) == pytest.approx(expected)


def test_search_r1_retrieval_bonus_only_for_wrong_answers_of_valid_format() -> None:
    shown = search("q", "the mayor is Velor Tash")
    assert value("search-r1", episode(shown, answer=WRONG), retrieval=0.1) == pytest.approx(0.3)
    assert value("search-r1", searched(1, WRONG), retrieval=0.1) == pytest.approx(0.2)
    assert value("search-r1", episode(shown, answer=RIGHT), retrieval=0.1) == 1
    assert value("search-r1", episode(shown, bad(), answer=WRONG), retrieval=0.1) == pytest.approx(0.1)


@pytest.mark.parametrize(("count", "right"), [(0, 1.6), (1, 1.4), (2, 1.2), (3, 1.0), (7, 1.0)])
def test_ikea_correct(count: int, right: float) -> None:
    assert value("ikea", searched(count, RIGHT)) == pytest.approx(right)


def test_ikea_other_branches() -> None:
    assert value("ikea", searched(2, WRONG)) == 0.05
    assert value("ikea", searched(0, WRONG)) == 0
    assert value("ikea", episode(bad(), answer=RIGHT)) == -1
    assert value("ikea", searched(1, None)) == -1
    # other tools are no searches unless all are asked for
    assert value("ikea", episode(search("p", tool="python"), answer=RIGHT)) == pytest.approx(1.6)
    assert value("ikea", episode(search("p", tool="python"), answer=RIGHT), tools=()) == pytest.approx(1.4)


def test_mmsearch_r1() -> None:
    assert value("mmsearch-r1", searched(0, RIGHT)) == pytest.approx(1.0)
    assert value("mmsearch-r1", searched(1, RIGHT)) == pytest.approx(0.91)  # .9 * .9 + .1
    assert value("mmsearch-r1", searched(2, RIGHT)) == pytest.approx(0.91)
    assert value("mmsearch-r1", searched(2, RIGHT), mode="count") == pytest.approx(0.829)  # .9 * .81 + .1
    assert value("mmsearch-r1", searched(2, WRONG)) == pytest.approx(0.1)
    assert value("mmsearch-r1", episode(bad(), answer=RIGHT)) == pytest.approx(0.9)
    assert value("mmsearch-r1", searched(2, None)) == 0


def test_r1_searcher_stages() -> None:
    assert value("r1-searcher-1", searched(1, WRONG)) == 1
    assert value("r1-searcher-1", searched(0, RIGHT)) == 0.5
    assert value("r1-searcher-1", searched(1, None)) == 0.5
    assert value("r1-searcher-1", episode(bad())) == 0
    assert value("r1-searcher-2", searched(1, HALF)) == pytest.approx(0.5)
    assert value("r1-searcher-2", episode(bad(), answer=HALF)) == pytest.approx(-1.5)
    assert value("r1-searcher-2", searched(1, None)) == -2


def test_r1_searcher_pp_pays_the_correct_who_searched_least() -> None:
    # correct members searched 1, 2, 3 times: variance 2/3, 2 * 2/3 = 4/3; the wrong one with 0 searches gets nothing
    group = [searched(1, RIGHT), searched(2, RIGHT), searched(3, RIGHT), searched(0, WRONG)]
    assert in_group("r1-searcher-pp", group) == pytest.approx([4 / 3, 0, 0, 0])
    # 0 and 4: variance 4, 2 * 4 = 8, capped at 2; both with the least get it
    assert in_group("r1-searcher-pp", [searched(0, RIGHT), searched(4, RIGHT)]) == [2, 0]
    assert in_group("r1-searcher-pp", [searched(0, RIGHT), searched(4, RIGHT)], most=1.5) == [1.5, 0]
    assert in_group("r1-searcher-pp", [searched(2, RIGHT), searched(2, RIGHT)]) == [0, 0]
    assert in_group("r1-searcher-pp", [searched(2, RIGHT), searched(0, WRONG)]) == [0, 0]
    assert in_group("r1-searcher-pp", [searched(2, WRONG), searched(0, None)]) == [0, 0]
    # what is correct can be named: F1 above 0
    assert in_group("r1-searcher-pp", [searched(0, HALF), searched(4, RIGHT)], correct={"f1": {}}) == [2, 0]


def test_deepdiver_pays_searches_that_were_needed() -> None:
    assert in_group("deepdiver", [searched(2, RIGHT), searched(0, WRONG), searched(1, WRONG)]) == [1, 0, 0]
    assert in_group("deepdiver", [searched(2, RIGHT), searched(0, RIGHT)]) == [0, 0]
    assert in_group("deepdiver", [searched(2, RIGHT), searched(1, RIGHT)]) == [1, 1]


def test_autorefine() -> None:
    refined = think("<refine> The mayor is Velor Tash. </refine>")
    assert value("autorefine", episode(refined, answer=HALF)) == pytest.approx(0.5)
    assert value("autorefine", episode(refined, answer=WRONG)) == 0.1
    assert value("autorefine", episode(refined)) == 0.1
    assert value("autorefine", episode(think("Velor Tash"), answer=WRONG)) == 0
    assert value("autorefine", episode(think("<notes>Velor Tash</notes>"), answer=WRONG), tag="notes") == 0.1


def test_r_search_by_rule() -> None:
    quoted = think("<original_evidence>mayor of Dun: Velor Tash</original_evidence>")
    assert value("r-search", episode(quoted, answer=RIGHT)) == pytest.approx(2.4)
    assert value("r-search", episode(quoted, answer=HALF)) == pytest.approx(1.9)
    assert value("r-search", searched(1, RIGHT)) == pytest.approx(1.2)
    assert value("r-search", episode(think("<original_evidence>rain</original_evidence>"), answer=RIGHT)) == pytest.approx(1.4)
    assert value("r-search", episode(quoted)) == pytest.approx(1.2)
    assert value("r-search", episode(think("<original_evidence> </original_evidence>"))) == 0
    assert value("evidence-f1", episode(quoted)) == 1 and value("evidence-f1", searched(1, RIGHT)) == 0


def test_s3_is_a_gain(tmp_path: Path) -> None:
    solved, unsolved = with_meta(rag_reward=1), with_meta(rag_reward=0.0)
    assert value("s3", searched(1, "it is Velor Tash"), unsolved) == 1
    assert value("s3", searched(1, "it is Velor Tash"), solved) == 0
    assert value("s3", searched(1, WRONG), solved) == -1
    path = tmp_path / "rag.json"
    path.write_text(json.dumps({"t": 0.25}))
    assert value("s3", searched(1, HALF), of={"f1": {}}, baselines=str(path)) == pytest.approx(0.25)
    with pytest.raises(InputError, match=r"task t has no baseline of naive retrieval \(meta\['rag_reward'\] is not set\)"):
        value("s3", searched(1, HALF))
    with pytest.raises(InputError, match=r"rag.json has no number for it"):
        value("s3", searched(1, HALF), TASK.model_copy(update={"id": "u"}), baselines=str(path))
    (tmp_path / "broken.json").write_text("[")
    with pytest.raises(InputError, match=r"broken.json: cannot be read as JSON"):
        value("s3", searched(1, HALF), baselines=str(tmp_path / "broken.json"))
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(InputError, match=r"list.json: expected \{task id: number\}, found a list"):
        value("s3", searched(1, HALF), baselines=str(tmp_path / "list.json"))


def test_stepsearch_gain_minus_redundancy_by_id() -> None:
    trajectory = episode(search("a", "x", ("d1", "x")), search("b", "y", ("d1", "d2")), search("c", "z", ("d1", "d2")), answer=RIGHT)
    # turn 1: d1 is new, 1/2; turn 2: d2 is new, 1/2, one of two shown before; turn 3: nothing new, all shown before
    assert per_turn("stepsearch-step", trajectory, texts=False) == [0.5, 0, -1, 0]


def test_stepsearch_gain_by_text() -> None:
    task = with_meta(evidence_texts=["red fox", "blue sea"])
    first = search("a", "red fox\ngrey stone", ("x1", "x2"))
    second = search("b", "red fox", ("x1",))
    error = search("c", "red fox blue sea", status="error")
    # turn 1 quotes gold 1 (cosine 1) and has no word of gold 2: gain (1 + 0) / 2; turn 2 only repeats; an error is no passage
    assert per_turn("stepsearch-step", episode(first, second, error), task) == pytest.approx([0.5, -1, 0])
    # one word of two: "red stone" against "red fox", n = 3 texts, df(red) = 2, the others 1
    red, other = math.log(4 / 3) + 1, math.log(4 / 2) + 1
    expected = red**2 / (red**2 + other**2) / 2
    assert per_turn("stepsearch-step", episode(search("a", "red stone", ("x1",))), task) == pytest.approx([expected])


def test_stepsearch_needs_its_inputs() -> None:
    with pytest.raises(InputError, match="evidence_texts"):
        per_turn("stepsearch-step", searched(1, RIGHT))
    with pytest.raises(InputError, match="names no evidence"):
        per_turn("stepsearch-step", searched(1, RIGHT), TASK.model_copy(update={"evidence": ()}), texts=False)
    with pytest.raises(InputError, match=r"meta\['keys'\]"):
        value("stepsearch-keys", searched(1, RIGHT))
    assert rewards.build("stepsearch-step").weight == 0.6


def test_stepsearch_keys_and_answer() -> None:
    task = with_meta(keys=[["mayor Dun", "leader Dun"], ["birth place"]])
    trajectory = episode(search("Dun mayor"), search("birth year"), answer=HALF)
    # key 1: all words; key 2: one of two words each way, 1/2; the mean is 3/4, though the second query matches key 1 worse
    assert value("stepsearch-keys", trajectory, task) == pytest.approx(0.75)
    assert value("stepsearch-keys", searched(0, RIGHT), task) == 0
    assert value("stepsearch", trajectory, task) == pytest.approx(0.5 + 0.618 * 0.75)
    assert value("stepsearch", episode(search("Dun mayor")), task) == pytest.approx(0.618 / 2)
    chatty = episode(search("Dun mayor"), answer=RIGHT, written="<answer>Velor Tash</answer> as I said<|im_end|>")
    assert value("stepsearch", chatty, task) == -1
    neat = episode(search("Dun mayor"), answer=RIGHT, written="<answer>Velor Tash</answer><|im_end|>\n")
    assert value("stepsearch", neat, task) == pytest.approx(1 + 0.618 / 2)


def test_rltr_by_rule() -> None:
    found = search("a", "..", ("d1", "d2"))
    assert value("rltr", episode(found, answer=WRONG)) == 1
    assert value("rltr", episode(search("a", "..", ("d1",)))) == 0.5
    assert value("rltr", episode(found, found, answer=WRONG)) == pytest.approx(0.9)
    assert value("rltr", episode(found, search("b", "no page", status="error"))) == pytest.approx(0.9)
    assert value("rltr", episode(*[found] * 9)) == pytest.approx(0.5)  # eight repeats, capped at 0.5
    assert value("rltr", episode(found, bad())) == -1
    assert value("rltr", episode()) == -1
    assert value("rltr", episode(found), completeness=0.25) == 0.25


def test_mt_grpo_turns() -> None:
    hit, miss = search("a", "mayor: Velor Tash"), search("b", "rain")
    failed = search("c", "no such page", status="error")
    assert per_turn("mt-grpo-turn", episode(hit, miss, failed, answer=RIGHT)) == pytest.approx([0.7, 0.2, 0, 0])
    assert per_turn("mt-grpo-turn", episode(both(hit, failed))) == pytest.approx([0.6])
    unanswered = Step(hit.turn)
    assert per_turn("mt-grpo-turn", episode(unanswered)) == [0]


def test_mt_grpo_outcome() -> None:
    assert value("mt-grpo", searched(1, RIGHT)) == pytest.approx(1.9)
    assert value("mt-grpo", searched(1, "it is Velor Tash")) == pytest.approx(0.9)
    assert value("mt-grpo", searched(1, WRONG)) == pytest.approx(0.4)
    assert value("mt-grpo", episode(bad(), answer=WRONG)) == pytest.approx(0.1)
    assert value("mt-grpo", searched(1, None)) == pytest.approx(0.2)
    assert value("mt-grpo", episode()) == 0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (HALF, 0.5),
        (WRONG, 0),
        ("The question is invalid", -0.5),
        ("invalid question", -0.5),
        ("a valid passport", 0),
        ("Is this question about valid passports", 0),
    ],
)
def test_asearcher(answer: str, expected: float) -> None:
    assert value("asearcher", searched(1, answer)) == pytest.approx(expected)


def test_asearcher_format_multiplies() -> None:
    assert value("asearcher", episode(bad(), answer=RIGHT)) == 0
    assert value("asearcher", episode(bad(), answer="The question is not valid")) == -0.5
    assert value("asearcher", searched(1, None)) == 0
    assert value("asearcher", searched(1, RIGHT), of={"constant": {"value": 0.3}}) == 0.3
    assert value("asearcher", episode(bad(), answer=RIGHT), of={"constant": {"value": 0.3}}) == 0
    # 1 - 0.5, and with a price of 0.2: 1 - 0.2
    refused = searched(1, "the question is inappropriate")
    assert value("asearcher", refused, of={"constant": {"value": 1.0}}) == 0.5
    assert value("asearcher", refused, of={"constant": {"value": 1.0}}, refusal=0.2) == pytest.approx(0.8)


def test_arpo() -> None:
    several = (search("a"), search("b", tool="python"))
    assert value("arpo", episode(*several, answer=HALF)) == pytest.approx(0.6)
    assert value("arpo", episode(*several, answer=WRONG)) == 0
    assert value("arpo", searched(2, HALF)) == pytest.approx(0.5)
    assert value("arpo", searched(2, None)) == -1
    assert value("arpo", episode(bad(), answer=RIGHT)) == -1


def test_deepeyes() -> None:
    assert value("deepeyes", searched(1, RIGHT)) == pytest.approx(2.0)
    assert value("deepeyes", searched(0, RIGHT)) == pytest.approx(0.8)
    assert value("deepeyes", searched(1, WRONG)) == 0
    assert value("deepeyes", episode(bad(), answer=RIGHT)) == pytest.approx(0.6)
    assert value("deepeyes", searched(1, None)) == pytest.approx(-0.2)
    assert value("deepeyes", searched(1, RIGHT), tools=("zoom",)) == pytest.approx(0.8)
    long = TASK.model_copy(update={"answers": ("x" * 1000,)})
    assert value("deepeyes", searched(1, "x" * 1000), long) == 0
    assert value("deepeyes", searched(1, "x" * 1000), long, longest=1001) == pytest.approx(2.0)


def test_ndcg_and_vrag() -> None:
    late = episode(search("a", "", ("x", "d2")), search("b", "", ("d2", "d1")), answer=RIGHT)
    # order x, d2, d1: 1/log2(3) + 1/log2(4); ideal 1 + 1/log2(3)
    ndcg = (1 / math.log2(3) + 0.5) / (1 + 1 / math.log2(3))
    assert value("ndcg", late) == pytest.approx(ndcg)
    assert value("ndcg", episode(search("a", "", ("d2", "d1")))) == pytest.approx(1)
    assert value("ndcg", searched(1, RIGHT)) == 0
    assert value("vrag", late) == pytest.approx(0.8 + 0.2 * ndcg)
    assert value("vrag", searched(1, WRONG)) == pytest.approx(0.1)
    assert value("vrag", searched(1, RIGHT), of={"f1": {}}) == pytest.approx(0.8)
    assert value("vrag", episode(bad(), answer=RIGHT)) == 0
    with pytest.raises(InputError, match="names no evidence"):
        value("ndcg", late, TASK.model_copy(update={"evidence": ()}))


def test_deepresearcher_compares_sets_of_words() -> None:
    # the set {velor} against {velor, tash}: P 1, R 1/2; as bags P would be 1/3
    assert value("deepresearcher", searched(1, "Velor Velor Velor")) == pytest.approx(2 / 3)
    assert value("deepresearcher", searched(1, "V. Tash")) == 1
    assert value("deepresearcher", searched(1, WRONG)) == 0
    assert value("deepresearcher", searched(1, None)) == -1
    assert value("deepresearcher", episode(bad(), answer=RIGHT)) == -1


def test_re_search() -> None:
    assert value("re-search", searched(1, HALF)) == pytest.approx(0.5)
    assert value("re-search", searched(1, WRONG)) == 0.1
    assert value("re-search", searched(1, None)) == 0
    assert value("re-search", episode(bad(), answer=RIGHT)) == 0


def test_web_agents() -> None:
    assert value("webdancer", searched(1, RIGHT)) == pytest.approx(1)
    assert value("webdancer", searched(1, WRONG)) == pytest.approx(0.1)
    assert value("webdancer", episode(bad(), answer=RIGHT)) == pytest.approx(0.9)
    assert value("webexplorer", searched(1, WRONG)) == pytest.approx(0.2)
    assert value("webexplorer", episode(bad(), answer=HALF), of={"f1": {}}) == pytest.approx(0.4)
    assert value("deepdive", searched(1, RIGHT)) == 1
    assert value("deepdive", searched(1, WRONG)) == 0
    assert value("deepdive", episode(bad(), answer=RIGHT)) == 0


def test_ssrl() -> None:
    tags = "<answer>a</answer>"
    assert value("ssrl", episode(answer=RIGHT, written=tags * 10)) == 1
    assert value("ssrl", episode(answer=RIGHT, written=tags * 11)) == 0.25
    assert value("ssrl", episode(answer=WRONG, written=tags * 11)) == 0
    assert value("ssrl", searched(1, None)) == 0


def test_mao_arag() -> None:
    assert value("mao-arag", searched(4, HALF)) == pytest.approx(0.5 - 0.05)
    assert value("mao-arag", searched(20, HALF)) == pytest.approx(0.5 - 0.1)
    assert value("mao-arag", episode(bad(), answer=RIGHT)) == 0
    assert value("mao-arag", searched(8, None)) == pytest.approx(-1.1)


def test_pasa_pays_the_first_find() -> None:
    trajectory = episode(both(search("a", "", ("d1",)), search("b", "", ("d1", "x"))), search("c", "", ("d1", "d2")), answer=RIGHT)
    assert per_turn("pasa", trajectory) == pytest.approx([0.8, 0.9, 0])
    with pytest.raises(InputError, match="names no evidence"):
        per_turn("pasa", trajectory, TASK.model_copy(update={"evidence": ()}))


def test_visual_arft() -> None:
    task = with_meta(queries=["mayor Dun"])
    # the same words: 1; one of two words each way: cosine 1/2; one of three: 1 / sqrt(2 * 3) = 0.41, below a half
    assert per_turn("visual-arft", episode(search("Dun mayor"), answer=HALF), task) == pytest.approx([1, 0.5])
    assert per_turn("visual-arft", episode(search("mayor Brin"), search("again"), answer=RIGHT), task) == pytest.approx([0.5, 0, 1])
    assert per_turn("visual-arft", episode(search("mayor of Brin"), answer=WRONG), task, format=0.1) == pytest.approx([0.1, 0.1])
    assert per_turn("visual-arft", episode(bad(), answer=RIGHT), task) == [0, 1]
    assert per_turn("visual-arft", searched(0, RIGHT), task) == [0]
    with pytest.raises(InputError, match=r"meta\['queries'\]"):
        per_turn("visual-arft", searched(0, RIGHT))


def test_overlong() -> None:
    def punished(tokens: int) -> float:
        return value("overlong", episode(search("q"), answer=RIGHT, tokens=tokens), longest=20, cache=8)

    # two generations; free up to 12 tokens, full from 20
    assert [punished(n) for n in (6, 7, 8, 10, 15)] == pytest.approx([0, -0.25, -0.5, -1, -1])
    defaults = rewards.build("overlong").model_dump()
    assert (defaults["longest"], defaults["cache"]) == (20480, 4096)
    with pytest.raises(ConfigError, match="longer than the longest"):
        rewards.build("overlong", {"longest": 5})


def test_gamma_decay() -> None:
    assert value("gamma-decay", searched(0, RIGHT), gamma=0.5) == 1
    assert value("gamma-decay", searched(2, RIGHT), gamma=0.5) == 0.25
    assert value("gamma-decay", searched(2, RIGHT), gamma=0.5, per="calls") == 0.5
    assert value("gamma-decay", searched(2, RIGHT), gamma=0.5, per="calls", free=0) == 0.25
    assert value("gamma-decay", searched(2, HALF), gamma=0.5, of={"f1": {}}) == pytest.approx(0.125)
    assert value("gamma-decay", searched(2, WRONG)) == 0


def test_diversity() -> None:
    assert value("diversity", searched(1, RIGHT)) == 0
    assert value("diversity", episode(search("red fox"), search("blue sea"))) == pytest.approx(0.5)
    assert value("diversity", episode(search("red fox"), search("fox red"))) == pytest.approx(0)
    assert value("diversity", episode(search("red fox"), search("red sea"))) == pytest.approx(0.25)  # cosine 1/2
    # three: pairs 1, 1, 0 apart
    assert value("diversity", episode(search("a1"), search("b1"), search("b1"))) == pytest.approx(0.5 * 2 / 3)
    different = [search(f"w{index}") for index in range(25)]
    assert value("diversity", episode(*different[:7])) == pytest.approx(0.6)
    assert value("diversity", episode(*different[:15])) == pytest.approx(1.0)
    assert value("diversity", episode(*different[:16])) == pytest.approx(0.88)
    assert value("diversity", episode(*different)) == pytest.approx(0.8)  # twenty count


def test_o2_searcher() -> None:
    task = with_meta(items=["red fox", "blue sea"])
    trajectory = episode(search("red fox"), search("blue sea"), answer="- the red fox\n- a grey stone")
    # findings: one of two on both sides, F1 1/2; diversity 1/2: (1 + .5 + .25) / 5
    assert value("o2-searcher", trajectory, task) == pytest.approx(0.35)
    assert value("o2-searcher", episode(bad(), answer="nothing"), task) == 0


def test_repetition() -> None:
    twice = both(search("a"), search("b"))
    assert per_turn("repetition", episode(search("a"), twice, twice, answer=RIGHT)) == [0, -0.5, -1, 0]
    assert per_turn("repetition", episode(both(search("a"), search("a")))) == [-0.5]
