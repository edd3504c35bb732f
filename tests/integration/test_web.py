"""A world served as a web site is researched over HTTP: search, visit, find, answer, and again from the tape with the site gone."""

import asyncio
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from spadework.agents.planner import Planner
from spadework.core.messages import ToolCall, Turn
from spadework.corpus.store import MemoryCorpus
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.site import Site, slug
from spadework.corpus.worlds.world import World, WorldConfig
from spadework.engines.engine import Request, SamplingParams
from spadework.engines.scripted import ScriptedEngine
from spadework.models.renderers.hermes import HermesRenderer
from spadework.models.tokenizer import train_tokenizer
from spadework.rollout.driver import Limits, run_trajectory
from spadework.tasks.task import Task
from spadework.tools.function import tool
from spadework.tools.gateway import Gateway
from spadework.tools.recorder import Recorder
from spadework.tools.tape import Tape
from spadework.tools.tool import Tool, ToolContext, tools
from spadework.trajectories.tree import Status, Trajectory


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(WorldConfig(pages=1_000))


@pytest.fixture(scope="module")
def renderer(world: World) -> HermesRenderer:
    tokenizer: PreTrainedTokenizerFast = train_tokenizer([document.text for document in list(world)[:50]], vocab_size=400)
    return HermesRenderer(tokenizer)


def toolbox(world: World, url: str) -> list[Tool]:
    """A search engine that shows addresses, as those of the web do, and the tools for what it shows."""
    corpus = MemoryCorpus(list(world))

    @tool
    def search(query: str) -> str:
        """Search the web.

        Args:
            query: What for.
        """
        return "\n".join(f"{hit.title}: {url}/wiki/{slug(hit.title)}" for hit in corpus.search(query, limit=3))

    fetch = {"allow_private": [url.removeprefix("http://")]}
    return [search, *tools.build("visit", {"fetch": fetch, "links": "strip", "max_chars": 300}).build(ToolContext())]


def research(world: World, renderer: HermesRenderer, url: str, title: str, relation: str, recorder: Recorder) -> Trajectory:
    """An agent that works by what it is shown: the first result, the place where the relation stands, what follows it there."""

    def reply(request: Request) -> list[int]:
        shown = renderer.text(request.token_ids).rpartition("<tool_response>")[2].partition("</tool_response>")[0]
        steps = renderer.text(request.token_ids).count("<tool_response>")
        if steps == 0:
            turn = Turn(calls=(ToolCall(name="search", arguments={"query": f"{title} {relation}"}),))
        elif steps == 1:
            address = next(line.rpartition(": ")[2] for line in shown.splitlines() if line.startswith(f"{title}: "))
            turn = Turn(calls=(ToolCall(name="visit", arguments={"url": address}),))
        elif steps == 2:
            turn = Turn(calls=(ToolCall(name="find", arguments={"pattern": f"{title} {relation}"}),))
        else:
            turn = Turn(answer=shown.partition(f"{title} {relation} ")[2].splitlines()[0])
        return renderer.write(turn)

    async def run() -> Trajectory:
        gateway = Gateway(toolbox(world, url), recorder=recorder)
        task = Task(id="t", kind="chain", question=f"What is the {relation} of {title}?", answers=("x",))
        try:
            return await run_trajectory(
                task,
                agent=Planner(),
                engine=ScriptedEngine(reply),
                renderer=renderer,
                gateway=gateway,
                params=SamplingParams(max_tokens=500),
                limits=Limits(max_tokens=50_000),
            )
        finally:
            await gateway.close()

    return asyncio.run(run())


def test_a_fact_of_the_web_is_found_and_replayed(world: World, renderer: HermesRenderer, tmp_path: Path) -> None:
    entity, facts = next(iter(world.facts.items()))
    relation, target = next(iter(facts.items()))
    title, target = world.entities[entity].title, world.entities[target].title
    with Site(world) as site:
        url = site.url
        live = research(world, renderer, url, title, relation, Recorder(Tape(tmp_path / "tape")))
    assert (live.status, live.answer) == (Status.COMPLETED, target), live.error
    assert [record["tool"] for node in live.nodes for record in node.meta.get("calls", ())] == ["search", "visit", "find"]
    assert live.ledger["bytes/visit"] > 0
    # The site is gone, and the tape remembers.
    again = research(world, renderer, url, title, relation, Recorder(Tape(tmp_path / "tape"), mode="replay"))
    assert [node.token_ids for node in again.nodes] == [node.token_ids for node in live.nodes]
    assert again.answer == target and again.ledger["hits"] == 3
