"""Two agents that really work, one for the other, as one trajectory; and any tree of delegations keeps its calls in order."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.synthesis.test_thoughts import CHAIN, CORPUS, SCHEMAS, TAGS, TOKENIZER

from spadework.agents.expert import ExpertConfig, ExpertEngine
from spadework.agents.planner import Planner
from spadework.core.errors import InputError
from spadework.core.messages import Message, ToolCall, Turn
from spadework.engines.engine import Request, SamplingParams
from spadework.engines.scripted import ScriptedEngine
from spadework.models.renderers.tags import DEFAULT_TOOLS, TagsRenderer
from spadework.rollout.driver import Limits, run_trajectory
from spadework.synthesis.curation.process import ProcessFilter
from spadework.synthesis.flatten import flattened
from spadework.tasks.task import Task
from spadework.tools.function import tool
from spadework.tools.gateway import Gateway
from spadework.tools.search import SearchTool
from spadework.tools.tool import Observation
from spadework.trajectories.tree import Status, Trajectory

OPENING = Planner().start(CHAIN, SCHEMAS)
RESEARCH = {**DEFAULT_TOOLS[0], "name": "research", "description": "asks a colleague"}
BOTH = TagsRenderer(TOKENIZER, tools=[*DEFAULT_TOOLS, RESEARCH])
PARTS = {
    "Who is the mayor of Ondal Brin?": ["Ondal Brin", "mayor", "Velor Tash"],
    "Who is the spouse of Velor Tash?": ["Velor Tash", "spouse", "Mira Sool"],
}


async def work() -> tuple[Trajectory, dict[str, Trajectory]]:
    """A coordinator that only asks, and a colleague who searches: both through the driver, with their own tools."""
    reports: dict[str, Trajectory] = {}
    tasks = [Task(id=question, question=question, answers=(step[2],), meta={"steps": [step]}) for question, step in PARTS.items()]
    colleague = ExpertEngine(BOTH, tasks, ExpertConfig(**dict.fromkeys(ExpertConfig.model_fields, 0.0)))
    common: dict[str, Any] = {"agent": Planner(), "renderer": BOTH, "params": SamplingParams(), "limits": Limits(max_tokens=4000)}

    @tool
    async def research(query: str) -> Observation:
        """Ask a colleague.

        Args:
            query: What to find out.
        """
        task = next(task for task in tasks if task.question == query)
        reports[query] = await run_trajectory(task, engine=colleague, gateway=Gateway([SearchTool(CORPUS)]), **common)
        return Observation(reports[query].answer or "nothing", meta={"trajectory": query})

    def ask(query: str, thought: str) -> Turn:
        return Turn(thought=thought, calls=(ToolCall(name="research", arguments={"query": query}),))

    turns = [ask(query, f"I need part {number}.") for number, query in enumerate(PARTS, start=1)] + [Turn(answer="Mira Sool")]
    script = iter(turns)

    def coordinate(request: Request) -> list[int]:
        return BOTH.write(next(script))

    return await run_trajectory(CHAIN, engine=ScriptedEngine(coordinate), gateway=Gateway([research]), **common), reports


def test_two_agents_become_one() -> None:
    trace, reports = asyncio.run(work())
    assert (trace.status, trace.num_turns, trace.documents()) == (Status.COMPLETED, 3, set())
    assert [one.num_turns for one in reports.values()] == [2, 2]
    made = flattened(trace, reports, TAGS, opening=OPENING, tools=SCHEMAS)
    # The brief is a thought before the colleague's search, and what the colleague found one before the next brief.
    assert [node.messages[0].content for node in made.generations()] == [
        "<think> I need part 1.\n Who is the mayor of Ondal Brin?</think><search> Ondal Brin mayor</search>",
        "<think> Ondal Brin mayor Velor Tash\n I need part 2.\n Who is the spouse of Velor Tash?</think>"
        "<search> Velor Tash spouse</search>",
        "<think> Velor Tash spouse Mira Sool</think><answer> Mira Sool</answer>",
    ]
    assert (made.status, made.answer, made.documents()) == (Status.COMPLETED, "Mira Sool", {"Ondal Brin", "Velor Tash"})
    assert made.ledger["calls"] == made.ledger["calls/search"] == 2 and made.ledger["errors"] == 0
    # It is what one agent with search alone would have on its path, and worth imitating.
    conversation = [*OPENING]
    for node in made.nodes[1:]:
        conversation += node.messages
    assert made.token_ids(made.nodes[-1].id) == TAGS.prompt(conversation, SCHEMAS)
    assert ProcessFilter().faults(CHAIN, made) == []
    assert ProcessFilter().faults(CHAIN, trace)[0].kind == "guessed", "the coordinator itself has seen no page"


def test_what_cannot_be_flattened() -> None:
    trace, reports = asyncio.run(work())
    first, second = reports
    with pytest.raises(InputError, match=r"answered by trajectory 'Who is the spouse of Velor Tash\?', which is missing"):
        flattened(trace, {first: reports[first]}, TAGS, opening=OPENING, tools=SCHEMAS)
    with pytest.raises(InputError, match="which asks itself"):
        flattened(trace, {first: trace, second: trace}, TAGS, opening=OPENING, tools=SCHEMAS)
    reports[second].status = Status.TRUNCATED
    with pytest.raises(InputError, match="ended as truncated; only completed ones are flattened"):
        flattened(trace, reports, TAGS, opening=OPENING, tools=SCHEMAS)


Work = list[Any]
"""Searches by their numbers, and lists for what others were asked."""
trees = st.recursive(
    st.lists(st.integers(0, 99), max_size=3), lambda inner: st.lists(st.integers(0, 99) | inner, max_size=4), max_leaves=12
)


def played(work: Work, key: str, children: dict[str, Trajectory]) -> Trajectory:
    made = Trajectory(key, status=Status.COMPLETED, answer=f"found {key}")
    last = made.add("prompt", [0], parent=None).id
    for number, part in enumerate(work):
        asks = isinstance(part, list)
        child = f"{key}.{number}"
        record: dict[str, Any] = {"tool": "research" if asks else "search", "status": "ok", "seconds": 1.0, "documents": []}
        if asks:
            children[child] = played(part, child, children)
            record["meta"] = {"trajectory": child}
        call = ToolCall(name=record["tool"], arguments={"query": f"brief {child}" if asks else f"query {part}"})
        said = Message(role="assistant", turn=Turn(thought=f"thought {child}", calls=(call,)))
        last = made.add("generation", [1], parent=last, logprobs=[-1.0], messages=[said]).id
        shown = Message(role="tool", content="shown", name=call.name)
        last = made.add("observation", [2], parent=last, messages=[shown], meta={"calls": [record], "documents": []}).id
    made.add("generation", [1], parent=last, logprobs=[-1.0], messages=[Message(role="assistant", turn=Turn(answer=made.answer))])
    return made


def searches(work: Work) -> list[str]:
    return [one for part in work for one in (searches(part) if isinstance(part, list) else [f"query {part}"])]


@given(trees)
def test_every_search_stays_in_its_order_and_every_word_is_said(work: Work) -> None:
    children: dict[str, Trajectory] = {}
    trace = played(work, "w", children)
    made = flattened(trace, children, TAGS, opening=OPENING, tools=SCHEMAS)
    turns = [node.messages[0].turn for node in made.generations()]
    assert [call.arguments["query"] for turn in turns if turn for call in turn.calls] == searches(work)
    assert turns[-1] is not None and turns[-1].answer == made.answer == "found w"
    said = "\n".join(turn.thought for turn in turns if turn)
    assert all(said.count(f"brief {key}\n") + said.count(f"brief {key}") >= 1 and f"found {key}" in said for key in children)
    assert made.ledger["calls"] == len(searches(work)) == made.ledger.get("calls/search", 0.0)
