from types import ModuleType

from spadework.core.messages import Message, ToolCall, Turn
from spadework.tasks.task import Task
from spadework.trajectories.tree import Status, Trajectory
from spadework.viewer.contents import Attempt, Contents
from spadework.viewer.examples import choose, pair_up
from spadework.viewer.tokens import token_data
from spadework.viewer.turns import attempt_card, marked


def attempt(task: str, answer: str | None, *, calls: int = 1, hops: int = 1, sample: int = 0) -> Attempt:
    trajectory = Trajectory(task, sample, status=Status.COMPLETED, answer=answer, ledger={"calls": calls})
    return Attempt(Task(id=task, question=f"{task}?", answers=("The Yes",), hops=hops), trajectory)


def test_pairs_and_their_changes() -> None:
    before = [attempt("a", "no"), attempt("b", "yes"), attempt("c", "yes", calls=5), attempt("d", None), attempt("only before", "yes")]
    after = [attempt("d", "no"), attempt("c", "YES!", calls=2), attempt("b", "no"), attempt("a", "yes"), attempt("a", "no", sample=1)]
    pairs = pair_up(before, after)
    assert [(pair.task.id, pair.change) for pair in pairs] == [("d", "missed"), ("c", "kept"), ("b", "lost"), ("a", "gained")]
    assert [pair.task.id for pair in choose(pairs)] == ["a", "b", "c", "d"]
    assert pairs[1].saved == 3


def test_gained_examples_are_spread_over_hops() -> None:
    tasks = [(f"t{number}", 1 if number < 6 else 3) for number in range(8)]
    pairs = pair_up([attempt(name, "no", hops=hops) for name, hops in tasks], [attempt(name, "yes", hops=hops) for name, hops in tasks])
    assert [pair.task.id for pair in choose(pairs)] == ["t0", "t6", "t1", "t7"]


def test_right_twice_is_shown_only_where_calls_were_saved() -> None:
    pairs = pair_up([attempt("a", "yes"), attempt("b", "yes", calls=2)], [attempt("a", "yes"), attempt("b", "yes")])
    assert [pair.task.id for pair in choose(pairs)] == ["b"]


def test_marks_are_whole_words_and_everything_is_escaped() -> None:
    assert marked("Ann <b> Annie ANN", ["ann"]) == "<mark>Ann</mark> &lt;b&gt; Annie <mark>ANN</mark>"
    assert marked("a & b", ["", " "]) == "a &amp; b"


def test_a_card_tells_every_kind_of_turn() -> None:
    trajectory = Trajectory("t", status=Status.TRUNCATED, error="out of calls", rewards={"em": 0.0}, reward=-0.1)
    trajectory.add("prompt", [0], parent=None)
    calls = (ToolCall(name="search", arguments={"query": "who"}), ToolCall(name="read", arguments={"id": "p", "page": 2}))
    trajectory.add("generation", [1], parent=0, logprobs=[-1.0], messages=[Message(role="assistant", turn=Turn(thought="hm", calls=calls))])
    meta = {"documents": ["p1"], "calls": [{"tool": "search", "status": "error"}]}
    trajectory.add("observation", [2], parent=1, messages=[Message(role="tool", content="x " * 3000)], meta=meta)
    trajectory.add("prompt", [3], parent=None, derived_from=1)
    turn = Turn(error="no closing tag")
    trajectory.add("generation", [4], parent=3, logprobs=[-1.0], messages=[Message(role="assistant", content="raw", turn=turn)])
    trajectory.add("generation", [5, 6], parent=4, logprobs=[-1.0, -1.0])
    task = Task(id="t", question="?", answers=("x",), evidence=("p1", "p2"))
    card = attempt_card(Attempt(task, trajectory), "rl", lambda token: f"<{token}>")
    for piece in (
        "wrong, truncated",
        "hm",
        "who",
        "&quot;page&quot;: 2",
        "shows evidence",
        ">error<",
        "made from step 1",
        "no closing tag",
    ):
        assert piece in card
    assert "&lt;5&gt;&lt;6&gt;" in card, "nodes without messages show their tokens"
    assert "evidence 1 of 2" in card and "2 calls" not in card and "1 call " in card
    assert "2&#8239;000 more characters" in card, "6,000 characters are cut at 4,000"


def test_token_columns_keep_every_value(contents: Contents, fake: ModuleType) -> None:
    data = token_data(contents.training, str)
    assert data.groups == 3 and data.trajectories == 24 and data.left_out == 8
    by_key = {(a.task.id, a.trajectory.sample): a for a in contents.training}
    for group in data.content["groups"]:
        for item in group["items"]:
            trajectory = by_key[group["id"], item["sample"]].trajectory
            for node, entry in zip(trajectory.nodes, item["nodes"], strict=True):
                assert [data.content["ids"][index] for index in entry["t"]] == node.token_ids
                assert ("m" in entry) == any(node.mask)
                if any(node.mask):
                    assert entry["lp"] == [round(value, 3) for value in node.logprobs]
                    advantage = entry["a"] if isinstance(entry["a"], list) else [entry["a"]] * len(node.token_ids)
                    assert advantage == [round(value, 4) for value in node.advantages]


def test_groups_with_the_most_varied_rewards_come_first() -> None:
    flat, varied = attempt("flat", "yes"), attempt("varied", "yes")
    other = attempt("varied", "no", sample=1)
    varied.trajectory.reward = 1.0
    data = token_data([flat, other, varied], str)
    assert [group["id"] for group in data.content["groups"]] == ["varied", "flat"]
    assert [item["reward"] for item in data.content["groups"][0]["items"]] == [1.0, 0.0], "best first"
