"""Thoughts written anew: the expert's note gives the expert's own tokens back, and a model is held to what it may say."""

import json
import re
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rewards.episodes import TASK, bad, episode, search

from spadework.agents.expert import ExpertConfig, ExpertEngine
from spadework.agents.planner import Planner
from spadework.core.errors import BrokenError, InputError
from spadework.core.messages import Message, Turn
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.engines.engine import Request, SamplingParams
from spadework.engines.scripted import ScriptedEngine
from spadework.models.renderers.hermes import HermesRenderer
from spadework.models.renderers.renderer import Renderer
from spadework.models.renderers.tags import TagsRenderer
from spadework.models.tokenizer import train_tokenizer
from spadework.rewards.judge_server import JudgeServer
from spadework.rollout.driver import Limits
from spadework.rollout.groups import run_rollout
from spadework.synthesis import thoughts
from spadework.synthesis.model import Model
from spadework.synthesis.rewriting import rewritten, steps_of
from spadework.synthesis.thoughts import Moment, ask_model, fault_of, note_of, rethought
from spadework.tasks.task import Task
from spadework.tools.gateway import Gateway
from spadework.tools.search import SearchTool
from spadework.trajectories.store import Record, read_records, write_records
from spadework.trajectories.tree import Status, Trajectory

TOKENIZER = train_tokenizer(["Ondal Brin mayor Velor Tash. Who is the mayor of Ondal Brin?"] * 2, vocab_size=400)
TAGS, HERMES = TagsRenderer(TOKENIZER), HermesRenderer(TOKENIZER)
LONG = "Let me think about this for a while. The question asks for somebody, and I have to find out who that may be. "
CHAIN = Task(
    id="chain",
    question="What is the mayor spouse of Ondal Brin?",
    answers=("Mira Sool",),
    evidence=("Ondal Brin", "Velor Tash"),
    hops=2,
    meta={"steps": [["Ondal Brin", "mayor", "Velor Tash"], ["Velor Tash", "spouse", "Mira Sool"]]},
)
CORPUS = MemoryCorpus(
    [
        Document(id="Ondal Brin", title="Ondal Brin", text="Ondal Brin is a city.\nOndal Brin mayor Velor Tash"),
        Document(id="Velor Tash", title="Velor Tash", text="Velor Tash is a person.\nVelor Tash spouse Mira Sool"),
    ]
)


SCHEMAS = Gateway([SearchTool(CORPUS)]).schemas


def attempt(renderer: Renderer, wordy: bool) -> Trajectory:
    """The clean expert through the real search; `wordy`, with a long thought before everything that it does."""
    expert = ExpertEngine(renderer, [CHAIN], ExpertConfig(**dict.fromkeys(ExpertConfig.model_fields, 0.0)))

    def with_words(request: Request) -> list[int]:
        turn = renderer.parse(said[len(turns)])
        turns.append(turn)
        return renderer.write(turn.model_copy(update={"thought": LONG * len(turns)}))

    def roll(engine: ScriptedEngine) -> Trajectory:
        gateway = Gateway([SearchTool(CORPUS)])
        options: dict[str, Any] = {"agent": Planner(), "renderer": renderer, "gateway": gateway, "params": SamplingParams(max_tokens=2000)}
        (group,) = run_rollout([CHAIN], num_samples=1, engine=engine, limits=Limits(max_tokens=4000), **options)
        (made,) = group
        assert (made.status, made.answer, made.num_turns) == (Status.COMPLETED, "Mira Sool", 3)
        return made

    turns: list[Turn] = []
    clean = roll(expert)
    said = [node.token_ids for node in clean.generations()]
    return roll(ScriptedEngine(with_words)) if wordy else clean


def value(prompt: str, name: str) -> Any:
    found = re.search(rf"^{re.escape(name)}: (.*)$", prompt, re.MULTILINE)
    assert found is not None
    return json.loads(found[1])


def briefly(prompt: str) -> str:
    return f"Of course.\n**Thought:** Next I do this: {value(prompt, 'What is done next')}"


def model(server: JudgeServer, **options: Any) -> Model:
    values = {"url": server.url, "model": "scripted", "backoff": 0.0, "deadline": 10.0, "retries": 1, "concurrency": 2, **options}
    return Model(endpoint=values, patience=3)


@pytest.mark.parametrize("renderer", [TAGS, HERMES], ids=["tags", "hermes"])
def test_the_note_gives_the_tokens_of_the_expert(renderer: Renderer, tmp_path: Path) -> None:
    clean, wordy = attempt(renderer, wordy=False), attempt(renderer, wordy=True)
    assert wordy.num_sampled > 2 * clean.num_sampled
    [(made, fault)] = rethought([wordy], {"chain": CHAIN}, note_of, renderer)
    assert made is not None and fault == ""
    assert [node.token_ids for node in made.nodes] == [node.token_ids for node in clean.nodes]
    assert [node.mask for node in made.nodes] == [node.mask for node in clean.nodes]
    assert (made.status, made.answer, made.documents()) == (wordy.status, wordy.answer, wordy.documents())
    assert made.ledger["tokens"] == clean.num_sampled and made.ledger["calls"] == 2 and made.meta == {"rewritten": True}
    # It was not sampled: there is no probability and no policy.
    assert {number for node in made.nodes for number in node.logprobs} == {0.0} and {node.version for node in made.nodes} == {None}
    write_records(tmp_path / "t.jsonl", [Record(made)])
    assert [record.trajectory for record in read_records(tmp_path / "t.jsonl")] == [made]


def test_the_note_by_hand() -> None:
    [(made, _)] = rethought([attempt(TAGS, wordy=True)], {"chain": CHAIN}, note_of, TAGS)
    assert made is not None
    # The question goes "mayor spouse of": after the mayor comes the spouse, so the note ends with the next query.
    assert [node.messages[0].content for node in made.generations()] == [
        "<search> Ondal Brin mayor</search>",
        "<think> Ondal Brin mayor Velor Tash mayor spouse Velor Tash spouse</think><search> Velor Tash spouse</search>",
        "<think> Velor Tash spouse Mira Sool</think><answer> Mira Sool</answer>",
    ]


words = st.lists(st.text(alphabet="abcdefgXYZ .,?!'\"12", min_size=1, max_size=12), max_size=8).map(" ".join)


@given(said=st.tuples(words, words, words), which=st.sampled_from([TAGS, HERMES]))
def test_whatever_is_thought_the_conversation_is_the_templates(said: tuple[str, str, str], which: Renderer) -> None:
    """The tokens are those of the whole conversation rendered at once, and every turn does what it did."""
    before = BASE[which.name]
    steps = [step.thinking(thought) for step, thought in zip(steps_of(before), said, strict=True)]
    made = rewritten(before, steps, which)
    spoken: list[Message] = [*before.nodes[0].messages]
    for step in steps:
        spoken += [Message(role="assistant", turn=step.turn), *step.results]
    whole = which.prompt(spoken, SCHEMAS)
    mine = made.token_ids(made.nodes[-1].id)
    assert whole == mine if which is TAGS else whole[: len(mine)] == mine  # hermes opens the next message
    for old, new in zip(before.generations(), made.generations(), strict=True):
        mine_turn, theirs = which.parse(new.token_ids), old.messages[0].turn
        assert theirs is not None and (mine_turn.calls, mine_turn.answer) == (theirs.calls, theirs.answer)
        assert new.messages[0].turn == mine_turn and all(new.mask)


BASE = {renderer.name: attempt(renderer, wordy=False) for renderer in (TAGS, HERMES)}


def test_a_model_is_shown_the_new_thoughts_and_not_the_old_ones() -> None:
    with JudgeServer(briefly) as server:
        [(made, fault)] = rethought([attempt(TAGS, wordy=True)], {"chain": CHAIN}, ask_model(model(server)), TAGS)
    assert made is not None and fault == "" and len(server.prompts) == 3
    assert not any("for a while" in prompt for prompt in server.prompts)
    history = value(server.prompts[2], "What has been done so far")
    assert [step["action"] for step in history] == ["search: Ondal Brin mayor", "search: Velor Tash spouse"]
    assert history[1]["thought"] == "Next I do this: search: Velor Tash spouse" and "Mira Sool" in history[1]["result"]
    assert value(server.prompts[0], "What comes of it") == history[0]["result"]
    assert value(server.prompts[2], "What comes of it") == "the end"
    assert "<think> Next I do this: search: Ondal Brin mayor</think><search>" in made.nodes[1].messages[0].content


def test_a_thought_that_tells_is_asked_for_again_with_the_reason() -> None:
    def hasty(prompt: str) -> str:
        if value(prompt, "What was wrong with your last thought") == "nothing yet" and "spouse" in value(prompt, "What is done next"):
            return "Thought: The spouse must be Mira Sool."
        return briefly(prompt)

    with JudgeServer(hasty) as server:
        [(made, _)] = rethought([attempt(TAGS, wordy=True)], {"chain": CHAIN}, ask_model(model(server)), TAGS)
    assert made is not None and len(server.prompts) == 4
    reason = value(server.prompts[2], "What was wrong with your last thought")
    assert reason == "it tells 'mira', which only the result shows"


@pytest.mark.parametrize(
    ("thought", "fault"),
    [
        ("", ""),
        ("The mayor of Ondal Brin is the first thing to find.", ""),
        ("mayor " * 41, "it has 41 words, and at most 40 are wanted"),
        ("It is Velor Tash who is mayor.", "it tells 'tash', which only the result shows"),
        ("I wonder what the weather is like.", "it has nothing to do with what is done, which is search: Ondal Brin mayor"),
        ("The mayor </think> of it.", "it cannot be written: a turn with tags needs"),
    ],
)
def test_what_a_thought_may_not_say(thought: str, fault: str) -> None:
    moment = Moment(CHAIN, (), steps_of(attempt(TAGS, wordy=False))[0])
    found = fault_of(moment, thought, TAGS)
    assert found.startswith(fault) and bool(found) == bool(fault)


def test_what_has_no_good_thought_is_dropped_and_the_others_are_kept() -> None:
    def wordy(prompt: str) -> str:
        return f"Thought: {'spouse ' * 50}" if "spouse" in value(prompt, "What is done next") else briefly(prompt)

    with JudgeServer(wordy) as server:
        wrong = episode(search("a"), bad(), answer="x")
        ask = ask_model(model(server))
        one, other = rethought([attempt(TAGS, wordy=True), wrong], {"chain": CHAIN, TASK.id: TASK}, ask, TAGS, tries=2)
    assert one == (None, "turn 2 has no new thought: it has 50 words, and at most 40 are wanted")
    assert other == (None, "trajectory t/0: turn 2 could not be read, so it cannot be written")
    assert len(server.prompts) == 3
    with JudgeServer(briefly, faults=["mute", "garbage"]) as server:  # two attempts at the first thought give nothing that can be read
        first, second = rethought([BASE["tags"]] * 2, {"chain": CHAIN}, ask_model(model(server, retries=1)), TAGS)
    assert first.trajectory is None and "turn 1 has no new thought" in first.fault
    assert second == first, "the same question has the same reply"


def test_an_endpoint_that_dies_costs_nothing_that_was_made_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(thoughts, "_BATCH", 1)
    tasks = {"chain": CHAIN, "other": CHAIN.model_copy(update={"question": "Whose spouse is the mayor of Ondal Brin?"})}
    again = Trajectory("other", nodes=BASE["tags"].nodes, status=Status.COMPLETED, answer="Mira Sool")
    made: list[Trajectory | None] = []

    def go(server: JudgeServer) -> Model:
        asked = Model(endpoint=model(server, cache=tmp_path, retries=0).endpoint, patience=1)
        for one in rethought([BASE["tags"], again], tasks, ask_model(asked), TAGS):
            made.append(one.trajectory)
        return asked

    with JudgeServer(briefly, faults=chain(["none"] * 4, repeat("error"))) as server, pytest.raises(BrokenError):
        go(server)
    assert len(made) == 1 and made[0] is not None
    with JudgeServer(briefly) as server:
        assert go(server).asked == 2 and made[0] == made[1], "four of six questions have their replies"


def test_bad_input() -> None:
    with pytest.raises(InputError, match="task 'chain' is not among"):
        list(rethought([BASE["tags"]], {}, note_of, TAGS))
    forked = BASE["tags"].fork(1, sample=1)
    forked.add("observation", [1], parent=0)
    [(made, fault)] = rethought([forked], {"chain": CHAIN}, note_of, TAGS)
    assert made is None and "has 2 ends, and only one path can be written anew" in fault
