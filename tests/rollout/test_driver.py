"""The driver carries out moves, keeps to its budgets, and turns infrastructure failures into a status."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from spadework.agents.planner import Planner, PlannerConfig
from spadework.core.errors import BrokenError
from spadework.core.messages import ToolCall, Turn
from spadework.core.seeds import derive_seed
from spadework.engines.engine import Completion, Request, SamplingParams, Weights
from spadework.engines.scripted import ScriptedEngine
from spadework.models.renderers.self_search import SelfSearchRenderer
from spadework.models.renderers.tags import DEFAULT_TOOLS, TagsRenderer
from spadework.models.tokenizer import train_tokenizer
from spadework.rewards.citations import noted
from spadework.rollout.driver import Limits, run_trajectory
from spadework.tasks.task import Task
from spadework.tools.function import FunctionTool, tool
from spadework.tools.gateway import Gateway
from spadework.tools.note import NoteConfig
from spadework.tools.tool import Image, Observation, ToolContext, current_label
from spadework.trajectories.images import image_bytes
from spadework.trajectories.tree import Node, Status, Trajectory

TASK = Task(id="t", question="Who is the mayor of Ondal Brin?", answers=("Velor Tash",))
SEARCH = Turn(calls=(ToolCall(name="search", arguments={"query": "mayor"}),))
ANSWER = Turn(thought="Ondal Brin mayor Velor Tash", answer="Velor Tash")


@tool
def search(query: str) -> Observation:
    """Search.

    Args:
        query: What for.
    """
    if query == "dead":
        raise BrokenError("connection refused")
    if query == "bug":
        raise ZeroDivisionError
    return Observation(text="Ondal Brin mayor Velor Tash", documents=("d1", "d2"))


@tool
async def read(title: str) -> Observation:
    """Read.

    Args:
        title: Of what.
    """
    await asyncio.sleep(0)
    return Observation(text="Ondal Brin is a city.", documents=("d2", "d3"))


def scripted(renderer: TagsRenderer, turns: Sequence[Turn | str], requests: list[Request] | None = None) -> ScriptedEngine:
    """An engine that says the turns one after the other and then starts again; a string is text that is no turn."""
    said = [0]

    def reply(request: Request) -> list[int]:
        if requests is not None:
            requests.append(request)
        turn = turns[said[0] % len(turns)]
        said[0] += 1
        return renderer._codec.encode([turn]) if isinstance(turn, str) else renderer.write(turn)

    return ScriptedEngine(reply)


@pytest.fixture
def run(renderer: TagsRenderer) -> Callable[..., Trajectory]:
    def run(
        turns: Sequence[Turn | str],
        /,
        *,
        engine: object = None,
        planner: Planner | None = None,
        tools: Sequence[FunctionTool] = (search, read),
        **options: object,
    ) -> Trajectory:
        requests = options.pop("requests", None)
        images, chosen = options.pop("images", None), options.pop("renderer", renderer)
        going_on = {name: options.pop(name) for name in ("start", "turns") if name in options}
        params = SamplingParams(max_tokens=options.pop("per_turn", 100), stop=("STOP",))  # type: ignore[arg-type]
        return asyncio.run(
            run_trajectory(
                TASK,
                sample=3,
                agent=planner or Planner(),
                engine=engine or scripted(chosen, turns, requests),  # type: ignore[arg-type]
                renderer=chosen,  # type: ignore[arg-type]
                gateway=Gateway(tools, images=images),  # type: ignore[arg-type]
                params=params,
                limits=Limits(**options),  # type: ignore[arg-type]
                seed=7,
                **going_on,  # type: ignore[arg-type]
            )
        )

    return run


def kinds(trajectory: Trajectory) -> list[str]:
    return [node.kind for node in trajectory.nodes]


def test_a_whole_trajectory(run: Callable[..., Trajectory], renderer: TagsRenderer) -> None:
    requests: list[Request] = []
    trajectory = run([SEARCH, ANSWER], requests=requests)
    assert (trajectory.task_id, trajectory.sample, trajectory.status, trajectory.answer) == ("t", 3, Status.COMPLETED, "Velor Tash")
    prompt, first, result, second = trajectory.nodes
    assert kinds(trajectory) == ["prompt", "generation", "observation", "generation"]
    assert [node.parent for node in trajectory.nodes] == [None, 0, 1, 2]
    assert (first.messages[0].turn, second.messages[0].turn) == (SEARCH, ANSWER)
    assert (first.messages[0].content, first.meta, first.version) == ("<search> mayor</search>", {"finish": "stop"}, 0)
    assert (result.messages[0].role, result.messages[0].name, result.messages[0].content) == (
        "tool",
        "search",
        "Ondal Brin mayor Velor Tash",
    )
    (call,) = result.meta["calls"]
    assert call.pop("seconds") > 0
    assert call == {"tool": "search", "status": "ok", "documents": ["d1", "d2"]}
    assert result.meta["ledger"].pop("seconds") == result.meta["ledger"].pop("seconds/search") > 0
    assert result.meta["ledger"] == {"calls": 1, "calls/search": 1, "errors": 0}
    assert result.meta["documents"] == ["d1", "d2"]
    assert trajectory.ledger.pop("seconds") == trajectory.ledger.pop("seconds/search") > 0
    assert trajectory.ledger == {"calls": 1, "calls/search": 1, "errors": 0, "tokens": len(first.token_ids) + len(second.token_ids)}
    # What the engine was asked is exactly what stands on the path, with the seeds and stops that the contract promises.
    assert [request.token_ids for request in requests] == [prompt.token_ids, trajectory.token_ids(2)]
    assert [request.seed for request in requests] == [derive_seed(7, "t", 3, turn) for turn in (0, 1)]
    assert {request.label for request in requests} == {"t/3"}
    assert requests[0].params.stop == ("STOP", *renderer.stop)
    assert requests[0].params.stop_token_ids == renderer.stop_token_ids


def test_the_path_is_the_conversation_that_the_renderer_renders(run: Callable[..., Trajectory], renderer: TagsRenderer) -> None:
    trajectory = run([SEARCH, ANSWER])
    messages = [message for node in trajectory.nodes for message in node.messages]
    assert trajectory.token_ids(3)[: len(trajectory.token_ids(2))] == renderer.prompt(messages[:3], DEFAULT_TOOLS)


def test_a_path_goes_on_from_anywhere(run: Callable[..., Trajectory], renderer: TagsRenderer) -> None:
    turns = ["I guess so", SEARCH, SEARCH, ANSWER]
    whole = run(turns)

    def tokens(trajectory: Trajectory) -> list[list[int]]:
        return [node.token_ids for node in trajectory.nodes]

    def spent(trajectory: Trajectory) -> dict[str, float]:
        return {name: value for name, value in trajectory.ledger.items() if not name.startswith("seconds")}

    for cut in range(len(whole.nodes)):
        part = whole.fork(cut, sample=3)
        assert part.ledger["tokens"] == sum(node.num_sampled for node in whole.nodes[: cut + 1])
        requests: list[Request] = []
        rest = run(turns[part.num_turns :], start=part, requests=requests)
        assert rest is part and tokens(rest) == tokens(whole)
        assert (rest.status, rest.answer, spent(rest)) == (whole.status, whole.answer, spent(whole))
        # The turns that are left, with the seeds that they have on the whole path; nothing else is asked again.
        assert [request.seed for request in requests] == [derive_seed(7, "t", 3, turn) for turn in range(4)][whole.fork(cut, 0).num_turns :]
        assert run([], start=rest) is rest and rest.status is Status.COMPLETED
    engine = scripted(renderer, turns)
    step = run([], engine=engine, turns=1)
    for done in (1, 2, 3):
        assert (step.status, step.num_turns, step.nodes[-1].kind) == (Status.RUNNING, done, "observation")
        run([], engine=engine, start=step, turns=1)
    assert (tokens(step), step.answer, spent(step)) == (tokens(whole), whole.answer, spent(whole))


def test_the_state_of_tools_goes_on_with_the_path(run: Callable[..., Trajectory]) -> None:
    counts: dict[str, int] = {}

    @tool(state="counter")
    def search(query: str) -> str:
        """Say how often this trajectory has asked.

        Args:
            query: Anything.
        """
        counts[current_label()] = counts.get(current_label(), 0) + 1
        return f"call {counts[current_label()]}"

    turns = [SEARCH, "I guess so", SEARCH, SEARCH, ANSWER]
    whole = run(turns, tools=[search])
    assert [message.content for node in whole.nodes for message in node.messages if message.name == "search"] == [
        "call 1",
        "call 2",
        "call 3",
    ]
    for cut in range(len(whole.nodes)):
        fork = whole.fork(cut, sample=10 + cut)
        run(turns[fork.num_turns :], start=fork, tools=[search])
        assert [node.token_ids for node in fork.nodes] == [node.token_ids for node in whole.nodes]


def test_a_note_is_made_of_what_the_path_shows(run: Callable[..., Trajectory]) -> None:
    """A note before the passage was shown is refused; forks at every node keep and refuse the same notes."""
    note = NoteConfig().build(ToolContext())[0]
    tagged = TagsRenderer(train_tokenizer([TASK.question] * 2, vocab_size=400), tools=[*DEFAULT_TOOLS, note.schema])
    noting = Turn(calls=(ToolCall(name="note", arguments={"quote": "a city"}),))
    reading = Turn(calls=(ToolCall(name="read", arguments={"title": "Ondal Brin"}),))

    @tool
    def read(title: str) -> Observation:
        """Read.

        Args:
            title: Of what.
        """
        return Observation(text="Ondal Brin is a city.", documents=("d2",))

    turns = [noting, reading, noting, ANSWER]
    options = {"tools": [read, note], "renderer": tagged}
    whole = run(turns, **options)
    assert [call["status"] for node in whole.nodes for call in node.meta.get("calls", ())] == ["error", "ok", "ok"]
    assert noted(whole) == [{"quote": "a city", "document": "d2", "claim": ""}]
    for cut in range(len(whole.nodes)):
        fork = whole.fork(cut, sample=10 + cut)
        run(turns[fork.num_turns :], start=fork, **options)
        assert [node.token_ids for node in fork.nodes] == [node.token_ids for node in whole.nodes]
        assert noted(fork) == noted(whole)


def test_pictures_are_kept_beside_the_trajectory(run: Callable[..., Trajectory], tmp_path: Path) -> None:
    @tool
    def search(query: str) -> Observation:
        """Draw.

        Args:
            query: What.
        """
        return Observation(text="a plot", images=(Image("image/png", b"PNG"), Image("image/png", url="https://a.example/b.png")))

    kept = run([SEARCH, SEARCH, ANSWER], tools=[search], images=tmp_path / "images")
    name = hashlib.sha256(b"PNG").hexdigest()
    address = {"mime": "image/png", "url": "https://a.example/b.png"}
    for node in (kept.nodes[2], kept.nodes[4]):
        assert node.meta["calls"][0]["images"] == [{"mime": "image/png", "bytes": 3, "sha256": name, "file": f"{name}.png"}, address]
        assert [message.content for message in node.messages] == ["a plot"]
    assert [path.name for path in (tmp_path / "images").iterdir()] == [f"{name}.png"]
    inline = run([SEARCH, ANSWER], tools=[search]).nodes[2].meta["calls"][0]["images"]
    assert inline == [{"mime": "image/png", "bytes": 3, "sha256": name, "data": "UE5H"}, address]
    assert image_bytes(inline[0]) == image_bytes(kept.nodes[2].meta["calls"][0]["images"][0], tmp_path / "images") == b"PNG"


def test_budgets_count_the_whole_path(run: Callable[..., Trajectory]) -> None:
    whole = run([SEARCH, SEARCH, ANSWER])
    for name, limit, cut in (("max_turns", 2, 4), ("max_calls", 1, 2), ("max_tokens", 40, 4)):
        rest = run([SEARCH], start=whole.fork(cut, sample=1), **{name: limit})
        assert rest.status is Status.TRUNCATED and str(rest.error).startswith(name)
        assert rest.num_turns == cut // 2 + (name == "max_calls")
    assert run([SEARCH], start=whole.fork(2, sample=1), max_turns=3, max_calls=2).ledger["calls"] == 2


def test_several_calls_of_one_turn_share_an_observation(renderer: TagsRenderer) -> None:
    class Both(Planner):
        def next(self, path: Sequence[Node]):  # type: ignore[no-untyped-def]
            move = super().next(path)
            both = (*SEARCH.calls, ToolCall(name="read", arguments={"title": "x"}), ToolCall(name="raed"))
            return type(move)(both) if hasattr(move, "calls") else move

    trajectory = asyncio.run(
        run_trajectory(
            TASK,
            agent=Both(),
            engine=scripted(renderer, [SEARCH, ANSWER]),
            renderer=renderer,
            gateway=Gateway([search, read]),
            params=SamplingParams(),
            limits=Limits(),
        )
    )
    result = trajectory.nodes[2]
    assert [(call["tool"], call["status"], call["documents"]) for call in result.meta["calls"]] == [
        ("search", "ok", ["d1", "d2"]),
        ("read", "ok", ["d2", "d3"]),
        ("raed", "error", []),
    ]
    assert result.meta["documents"] == ["d1", "d2", "d3"]
    assert trajectory.ledger["calls"] == 3


def test_a_malformed_turn_costs_a_turn_and_is_explained(run: Callable[..., Trajectory]) -> None:
    trajectory = run(["I guess so", ANSWER])
    assert trajectory.status is Status.COMPLETED
    assert trajectory.nodes[1].messages[0].content == "I guess so"
    assert trajectory.nodes[2].messages[0].content == trajectory.nodes[1].messages[0].turn.error  # type: ignore[union-attr]
    assert trajectory.nodes[2].meta["calls"][0]["status"] == "error"
    assert trajectory.ledger["errors"] == 1


def test_errors_in_a_row_fail(run: Callable[..., Trajectory]) -> None:
    trajectory = run(["I guess so"], planner=Planner(PlannerConfig(max_errors=2)))
    assert (trajectory.status, trajectory.answer, trajectory.num_turns) == (Status.FAILED, None, 2)
    assert "no action" in str(trajectory.error)


def test_turns_and_calls_run_out(run: Callable[..., Trajectory]) -> None:
    turns = run([SEARCH], max_turns=2)
    assert (turns.status, turns.error, turns.num_turns) == (Status.TRUNCATED, "max_turns: 2 turns without an answer", 2)
    calls = run([SEARCH], max_calls=2)
    assert (calls.status, calls.error, calls.ledger["calls"]) == (Status.TRUNCATED, "max_calls: 2 calls without an answer", 2)
    assert run([SEARCH, ANSWER], max_turns=2, max_calls=1).status is Status.COMPLETED


def test_the_path_never_outgrows_max_tokens(run: Callable[..., Trajectory]) -> None:
    whole = run([SEARCH, SEARCH, ANSWER])
    lengths = [len(node.token_ids) for node in whole.nodes]
    for limit in range(1, sum(lengths)):
        trajectory = run([SEARCH, SEARCH, ANSWER], max_tokens=limit)
        assert (trajectory.status, trajectory.answer) == (Status.TRUNCATED, None)
        assert str(trajectory.error).startswith("max_tokens")
        assert trajectory.nodes[0].token_ids == whole.nodes[0].token_ids
        if limit >= lengths[0]:
            assert sum(len(node.token_ids) for node in trajectory.nodes) <= limit
        assert trajectory.nodes[-1].kind != "observation"
    assert run([SEARCH, SEARCH, ANSWER], max_tokens=sum(lengths)).status is Status.COMPLETED


def test_a_turn_that_is_too_long_is_a_mistake_while_there_is_room(run: Callable[..., Trajectory]) -> None:
    long = Turn(calls=(ToolCall(name="search", arguments={"query": "mayor " * 140}),))
    trajectory = run([long, ANSWER])
    assert trajectory.nodes[1].meta["finish"] == "length"
    assert len(trajectory.nodes[1].token_ids) == 100
    assert trajectory.status is Status.COMPLETED and trajectory.ledger["errors"] == 1


class Unreliable:
    """An engine whose backend dies or hangs."""

    def __init__(self, hang: bool) -> None:
        self.hang = hang

    async def generate(self, request: Request) -> Completion:
        if self.hang:
            await asyncio.sleep(60)
        raise BrokenError("server gone")

    async def load(self, weights: Weights, version: int) -> None:
        """No weights."""


def test_infrastructure_failures_are_a_status(run: Callable[..., Trajectory]) -> None:
    dead = run([Turn(calls=(ToolCall(name="search", arguments={"query": "dead"}),))])
    assert (dead.status, dead.answer, kinds(dead)) == (Status.BROKEN, None, ["prompt", "generation"])
    assert dead.error == 'trajectory t/3: search({"query": "dead"}): connection refused'
    assert dead.ledger["calls/search"] == 1
    gone = run([], engine=Unreliable(hang=False))
    assert (gone.status, gone.error) == (Status.BROKEN, "server gone")
    late = run([], engine=Unreliable(hang=True), engine_timeout=0.01)
    assert (late.status, late.error) == (Status.BROKEN, "trajectory t/3: the engine gave no turn within 0.01 s")


def test_a_bug_in_a_tool_is_raised(run: Callable[..., Trajectory]) -> None:
    with pytest.raises(ZeroDivisionError):
        run([Turn(calls=(ToolCall(name="search", arguments={"query": "bug"}),))])


def test_what_the_policy_answered_itself_is_sampled_and_out_of_the_loss() -> None:
    tokenizer = train_tokenizer(["Ondal Brin mayor Velor Tash"], vocab_size=600)
    renderer = SelfSearchRenderer(tokenizer)
    text = "<search> mayor</search><information> Velor</information><answer> Velor Tash</answer>"
    said = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    trajectory = asyncio.run(
        run_trajectory(
            TASK,
            agent=Planner(),
            engine=ScriptedEngine(lambda request: said),
            renderer=renderer,
            gateway=Gateway([search]),
            params=SamplingParams(max_tokens=50),
            limits=Limits(max_tokens=400),
        )
    )
    prompt, turn = trajectory.nodes
    assert trajectory.status is Status.COMPLETED and trajectory.answer == "Velor Tash" and trajectory.ledger["calls"] == 0
    assert turn.token_ids == said and not any(prompt.mask)
    assert [token for token, kept in zip(said, turn.mask, strict=True) if not kept] == tokenizer.encode(" Velor", add_special_tokens=False)
    turn.set_advantage(2.0)
    assert [advantage != 0 for advantage in turn.advantages] == turn.mask
