"""A scripted expert of mixed quality, whose trajectories are the demonstrations of the SFT cold start.

It knows the steps of a task (`meta["steps"]`) but works through the real tools: it quotes an evidence line only when a tool has shown
it, reads the page when search has not, and gives up when nothing shows it. After a fact it repeats how the question goes on
from there, and the query that comes of it, so that every part is a copy of something just before it, in chains of any length. With its
habits switched on it also stops early, wastes searches and follows namesakes, so that imitation teaches the protocol together with faults
that reinforcement can remove.

Steps are `[subject, relation, object]` (tasks of a world: evidence `{subject} {relation} {object}`) or `{query, quote, document}`
(spans of any corpus). Not done here: counting, which takes more pages than a search shows.
"""

import re
from collections.abc import Generator, Iterable
from itertools import pairwise
from random import Random
from typing import TypeAlias

from pydantic import Field

from spadework.core.config import Config
from spadework.core.errors import InputError
from spadework.core.messages import ToolCall, Turn
from spadework.core.seeds import rng
from spadework.engines.engine import Request
from spadework.engines.scripted import ScriptedEngine
from spadework.models.renderers.renderer import Renderer
from spadework.tasks.task import Task

__all__ = ["UNKNOWN", "ExpertConfig", "ExpertEngine", "Script", "demonstrate", "note"]

Script: TypeAlias = Generator[Turn, str, None]
"""Yields a turn and is sent the text of its tool results; the last turn is an answer."""

UNKNOWN = "unknown"
"""The answer of an expert that has not found the evidence."""

_NEXT_PART = re.compile(r"read '([^'\n]+#\d+)' to go on")
_NAME = r"[A-Z]\w*(?: [A-Z]\w*)*"


class ExpertConfig(Config):
    """How often the expert falls into each habit. With every rate 0 it takes the shortest way to the gold answer."""

    stop_early: float = Field(default=0.4, ge=0, le=1)
    """Per task of several steps: answer with what an intermediate step found. Per step of a span task: search for the first half of the
    words and give up if that does not show the quote."""
    wasted_search: float = Field(default=0.25, ge=0, le=1)
    """Per step: first search for something that does not help, or for the same thing once already."""
    namesake: float = Field(default=0.1, ge=0, le=1)
    """Per step: take the fact of another entity with a similar name if the results show one."""
    name_only_query: float = Field(default=0.2, ge=0, le=1)
    """Per step of a world's task: search for the name alone; the page has to be read if the results do not show the fact."""
    read_first: float = Field(default=0.1, ge=0, le=1)
    """Per step of a world's task: read the page without a search."""


class ExpertEngine(ScriptedEngine):
    """Answers each request with the expert's next turn, so that the ordinary driver and tools make its trajectories.

    It tells trajectories apart by the request's label, `TASK_ID/SAMPLE`; each has its own random stream.
    """

    def __init__(self, renderer: Renderer, tasks: Iterable[Task], config: ExpertConfig | None = None, *, seed: int = 0) -> None:
        super().__init__(self._turn)
        self.renderer = renderer
        self.tasks = {task.id: task for task in tasks}
        self.config = config or ExpertConfig()
        self.seed = seed
        self._scripts: dict[str, tuple[Script, int]] = {}
        """Per label: the script, and how many tokens of the path it has seen."""

    def _turn(self, request: Request) -> list[int]:
        script, seen = self._scripts.pop(request.label, (None, 0))
        if script is None or len(request.token_ids) <= seen:
            task = self.tasks[request.label.rpartition("/")[0]]
            script = demonstrate(task, rng(self.seed, "expert", request.label), self.config)
            turn = next(script)
        else:
            turn = script.send(self.renderer.text(request.token_ids[seen:]))
        reply = self.renderer.write(turn)
        if turn.answer is None:
            self._scripts[request.label] = (script, len(request.token_ids) + len(reply))
        return reply


def demonstrate(task: Task, random: Random, config: ExpertConfig) -> Script:
    """The expert's turns on one task, given what the tools return.

    Args:
        task: its `meta["steps"]` say what to look up.
        random: decides which habits show.
        config: their rates.

    Raises:
        InputError: the task has no steps.
    """
    steps = task.meta.get("steps")
    if not steps:
        raise InputError(
            f"task '{task.id}': its meta has no 'steps', which the scripted expert follows; use tasks from a maker that records them"
        )
    if task.kind == "count":
        raise InputError(f"task '{task.id}': the scripted expert can not count; it solves chain, comparison, intersection and span tasks")
    if isinstance(steps[0], dict):
        return _quote_spans(task, steps, random, config)
    if task.kind == "intersection":
        return _narrow_down(task, steps, random, config)
    chained = steps[-1][2] in task.answers and all(before[2] == after[0] for before, after in pairwise(steps))
    return (_follow_steps if chained or task.kind in ("chain", "comparison") else _work_back)(task, steps, random, config)


def _follow_steps(task: Task, steps: list[list[str]], random: Random, config: ExpertConfig) -> Script:
    """Chains, whose last object is the answer, and comparisons, whose answer is one of the subjects."""
    compares = steps[-1][2] not in task.answers
    stop = len(steps)
    if stop > 1 and random.random() < config.stop_early:
        stop = random.randrange(1, stop)
    thought, found, known = "", "", None
    for (subject, relation, target), follows in zip(steps[:stop], _what_follows(task.question, steps), strict=False):
        # A step that starts where the last one ended starts from what was found, right or wrong.
        subject = found if subject == known else subject
        evidence = yield from _look_up(subject, relation, target, steps[0][0], thought, random, config)
        if evidence is None:
            yield Turn(answer=UNKNOWN)
            return
        (fact, found), known = evidence, target
        thought = _with_what_follows(fact, found, follows)
    if compares:
        found = task.answers[0] if stop == len(steps) else steps[0][0]
    yield Turn(thought=thought, answer=found)


def _with_what_follows(fact: str, found: str, follows: str) -> str:
    """The note after a fact: the fact, how the question goes on from there, and the query that comes of it."""
    query = f" {found} {follows.rpartition(' ')[2]}" if follows[-1:].isalpha() else ""
    return f"{fact} {follows}".rstrip() + query


def note(task: Task, shown: str, action: str) -> str:
    """What the expert would note before an action of somebody else's.

    Args:
        task: its `meta["steps"]` say what there is to find; without them nothing is noted.
        shown: the results before the action.
        action: what is done, in words.

    Returns:
        The last of the steps' facts that the results show; of several one whose object the action names. Empty if they show none, and
        where the action is the fact itself.
    """
    steps = task.meta.get("steps") or []
    if not steps or isinstance(steps[0], dict):
        quotes = [step["quote"] for step in steps if _shows(shown, step["quote"])]
        return quotes[-1] if quotes and quotes[-1] not in task.answers else ""
    facts = [
        (target in action, number, _with_what_follows(f"{subject} {relation} {target}", target, follows))
        for number, ((subject, relation, target), follows) in enumerate(zip(steps, _what_follows(task.question, steps), strict=True))
        if _evidence(shown, subject, relation, target) == (f"{subject} {relation} {target}", target)
    ]
    return max(facts)[2] if facts else ""


def _what_follows(question: str, steps: list[list[str]]) -> list[str]:
    """For each step its relation as it stands in the question, with the next relation or the sign that ends the question.

    Empty where a question is asked in another order than it is solved.
    """
    said: list[str] = []
    place = 0
    for (_, relation, _), following in zip(steps, [*steps[1:], None], strict=True):
        ending = rf"(?:, then)? {re.escape(following[1])}\b" if following else "[?.]"
        # From the last relation on, because a chain may have the same one twice.
        found = re.compile(rf"\b{re.escape(relation)}{ending}").search(question, place)
        said.append(found[0] if found else "")
        place = found.start() + len(relation) if found else place
    return said


def _narrow_down(task: Task, steps: list[list[str]], random: Random, config: ExpertConfig) -> Script:
    """Intersections: all constraints in one search, then each constraint confirmed for the entity that it shows."""
    found = steps[0][0]
    if random.random() < config.wasted_search:
        yield Turn(calls=(_search(f"{steps[0][1]} {steps[0][2]}"),))
    shown = yield Turn(calls=(_search(" ".join(f"{relation} {target}" for _, relation, target in steps)),))
    open_steps = [step for step in steps if _evidence(shown, *step) != (" ".join(step), step[2])]
    if len(open_steps) == len(steps):
        yield Turn(answer=UNKNOWN)
        return
    thought = " | ".join(" ".join(step) for step in steps if step not in open_steps)
    if random.random() >= config.stop_early:
        for _, relation, target in open_steps:
            evidence = yield from _look_up(found, relation, target, found, thought, random, config.model_copy(update={"namesake": 0.0}))
            thought = evidence[0] if evidence else ""
    yield Turn(thought=thought, answer=found)


def _work_back(task: Task, steps: list[list[str]], random: Random, config: ExpertConfig) -> Script:
    """Trees of look-ups. A fact whose subject is known is looked up by it, any other by its objects, all in one search."""
    config = config.model_copy(update={"namesake": 0.0})
    known = {name for step in steps for name in (step[0], step[2]) if name in task.question}
    left = list(steps)
    stop = random.randrange(1, len(left)) if len(left) > 1 and random.random() < config.stop_early else 0
    thought = found = ""
    while len(left) > stop:
        subject, relation, target = next((step for step in left if step[0] in known or step[2] in known), left[0])
        about = [step for step in left if step[0] == subject and step[2] in known]
        if subject in known or not about:
            query = f"{subject} {relation}"
            evidence = yield from _look_up(subject, relation, target, steps[0][2], f"{thought} {query}".lstrip(), random, config)
            proved, found = [[subject, relation, target]] if evidence else [], subject if target in known else target
        else:
            if random.random() < config.wasted_search:
                yield Turn(thought=thought, calls=(_search(relation),))
                thought = ""
            query = " ".join(f"{relation} {target}" for _, relation, target in about)
            shown = yield Turn(thought=f"{thought} {query}".lstrip(), calls=(_search(query),))
            proved, found = [step for step in about if _evidence(shown, *step) == (" ".join(step), step[2])], subject
        if not proved:
            yield Turn(answer=UNKNOWN)
            return
        left = [step for step in left if step not in proved]
        known.add(found)
        thought = " | ".join(" ".join(step) for step in proved)
    yield Turn(thought=thought, answer=found if stop else task.answers[0])


def _look_up(
    subject: str, relation: str, target: str, origin: str, thought: str, random: Random, config: ExpertConfig
) -> Generator[Turn, str, tuple[str, str] | None]:
    """Find one fact. Returns the evidence line and the object that it names, or None."""
    if random.random() < config.wasted_search:
        yield Turn(thought=thought, calls=(_search(random.choice((f"{subject} {relation}", origin, relation))),))
        thought = ""
    namesake = random.random() < config.namesake
    if random.random() < config.read_first:
        shown = yield Turn(thought=thought, calls=(_read(subject),))
    else:
        query = subject if random.random() < config.name_only_query else f"{subject} {relation}"
        shown = yield Turn(thought=thought, calls=(_search(query),))
        if namesake and (other := _namesake_evidence(shown, subject, relation)):
            return other
        if evidence := _evidence(shown, subject, relation, target):
            return evidence
        shown = yield Turn(calls=(_read(subject),))
    while (evidence := _evidence(shown, subject, relation, target)) is None and (part := _NEXT_PART.search(shown)):
        shown = yield Turn(calls=(_read(part[1]),))
    return evidence


def _quote_spans(task: Task, steps: list[dict[str, str]], random: Random, config: ExpertConfig) -> Script:
    """Spans: the question does not name the page, so a page is read only once a search has shown it."""
    thought = ""
    for step in steps:
        if random.random() < config.wasted_search:
            yield Turn(thought=thought, calls=(_search(random.choice((step["query"], steps[0]["query"]))),))
            thought = ""
        words = step["query"].split(" ")
        hasty = random.random() < config.stop_early
        query = " ".join(words[: (len(words) + 1) // 2]) if hasty else step["query"]
        shown = yield Turn(thought=thought, calls=(_search(query),))
        if hasty and not _shows(shown, step["quote"]):
            yield Turn(answer=UNKNOWN)
            return
        if not _shows(shown, step["quote"]) and step["document"] in shown:
            shown = yield Turn(calls=(_read(step["document"]),))
        while not _shows(shown, step["quote"]):
            part = _NEXT_PART.search(shown)
            if part is None:
                yield Turn(answer=UNKNOWN)
                return
            shown = yield Turn(calls=(_read(part[1]),))
        thought = step["quote"]
    # An answer that may repeat the quote needs no thought that does.
    yield Turn(answer=thought) if thought in task.answers else Turn(thought=thought, answer=task.answers[0])


def _search(query: str) -> ToolCall:
    return ToolCall(name="search", arguments={"query": query})


def _read(title: str) -> ToolCall:
    return ToolCall(name="read", arguments={"title": title})


def _evidence(shown: str, subject: str, relation: str, target: str) -> tuple[str, str] | None:
    """The line that states the fact, and its object. The known object first: an outdated page may state another one."""
    head = f"{subject} {relation}"
    # No mark ends the object: it is all that follows in the line, up to a bar or a tag.
    objects = [found.strip() for found in re.findall(rf"(?<!\w )(?<!\w){re.escape(head)} ([^\n<|]+)", shown)]
    if not objects:
        return None
    found = target if target in objects else objects[0]
    return f"{head} {found}", found


def _namesake_evidence(shown: str, subject: str, relation: str) -> tuple[str, str] | None:
    """The first line that states the relation of another entity whose name shares a word with the subject."""
    words = set(subject.split())
    # A whole line of two names, or a name and a number: "Velor Tash founded Suka Mor." is a sentence.
    line = rf"(?:^|[>|]|: |\d\. ) *({_NAME}) {re.escape(relation)} ({_NAME}|\d+) *(?=$|[<|])"
    for name, value in re.findall(line, shown, flags=re.MULTILINE):
        if name != subject and words & set(name.split()):
            return f"{name} {relation} {value}", value
    return None


def _shows(shown: str, quote: str) -> bool:
    """Whether a quote stands in the text, spaces, line ends and the bars between the lines of a snippet apart."""
    return re.sub(r"\s|\|", "", quote) in re.sub(r"\s|\|", "", shown)
