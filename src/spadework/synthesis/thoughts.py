"""Short thoughts in place of long ones (WebSailor, arXiv 2507.02592, its reconstruction of reasoning).

A strong model's trajectory is worth imitating for what it does and what comes of it; its thoughts are long, and fill the context of a
policy that learns to think like that. So the calls and the results stay, and every thought is written anew: a writer is shown the question,
the steps so far with their new thoughts, what is done next and what comes of it, and says in a few words why. It has seen the result, the
policy will not have: a thought that tells what only the result shows is refused, and so is one that is long, that has nothing to do with
what is done, or that turns the action into another one. The writer is asked again with the reason; if it fails, the trajectory is dropped.

Two writers: `note_of` is the scripted expert's note, for tasks whose steps are known; `ask_model` is a model behind an OpenAI-compatible
endpoint (`model.py`). The limit of words is a choice, not WebSailor's, which gives none. Not done: asking a policy whether it would act
alike after the new thought; finding what is told in words without capitals and digits.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeAlias

from spadework.agents.expert import note
from spadework.core.errors import InputError
from spadework.corpus.index import analyse
from spadework.models.renderers.renderer import Renderer
from spadework.rewards.prompt import load_prompt, read_thought
from spadework.synthesis.curation.asked import name_words
from spadework.synthesis.model import Model, NoReply
from spadework.synthesis.rewriting import Step, rewritten, steps_of
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Moment", "Rethought", "Writer", "ask_model", "fault_of", "note_of", "rethought"]

_BATCH = 64
_SHOWN = 2_000
"""Characters of a result that a model is shown."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A turn whose thought is to be written."""

    task: Task
    before: tuple[Step, ...]
    """With their new thoughts."""
    step: Step
    """What is done now, and what comes of it; with the old thought."""
    fault: str = ""
    """What was wrong with the last try."""


Writer: TypeAlias = Callable[[Sequence[Moment]], Sequence[str | NoReply]]
"""A thought for every moment."""


class Rethought(NamedTuple):
    """What became of a trajectory."""

    trajectory: Trajectory | None
    """With new thoughts; None if it was dropped."""
    fault: str = ""
    """Why it was."""


def rethought(
    trajectories: Iterable[Trajectory],
    tasks: Mapping[str, Task],
    writer: Writer,
    renderer: Renderer,
    *,
    longest: int = 40,
    tries: int = 3,
) -> Iterator[Rethought]:
    """Write the thoughts of trajectories anew.

    Args:
        trajectories: worth imitating otherwise (`curation/process.py`).
        tasks: by id; what they are at.
        writer: writes thoughts, many at once.
        renderer: the chat template of the trajectories.
        longest: most words of a thought.
        tries: of a thought.

    Returns:
        One result per trajectory, in their order, as soon as it is there: a writer that dies costs nothing that came before.

    Raises:
        InputError: the task of a trajectory is missing; for `ask_model` see `Model.ask`.
        BrokenError: see `Model.ask`.
    """
    rest = iter(trajectories)
    while batch := list(islice(rest, _BATCH)):
        drafts = [_Draft(trajectory, _task_of(trajectory, tasks)) for trajectory in batch]
        while waiting := [draft for draft in drafts if draft.moment is not None]:
            _write_next(waiting, writer, renderer, longest, tries)
        yield from (draft.result(renderer) for draft in drafts)


def fault_of(moment: Moment, thought: str, renderer: Renderer, longest: int = 40) -> str:
    """What is wrong with a thought; empty if nothing is. An empty thought says nothing and is right."""
    if not thought:
        return ""
    if (count := len(thought.split())) > longest:
        return f"it has {count} words, and at most {longest} are wanted"
    seen = "\n".join((moment.task.question, moment.step.action, *(f"{step.action}\n{step.shown}" for step in moment.before)))
    if told := (name_words(thought) & name_words(moment.step.shown)) - name_words(seen):
        return f"it tells '{min(told)}', which only the result shows"
    if not _about(thought, moment.step.action):
        return f"it has nothing to do with what is done, which is {moment.step.action}"
    turn = moment.step.thinking(thought).turn
    try:
        read = renderer.parse(renderer.write(turn))
    except InputError as error:
        return f"it cannot be written: {error}"
    return "" if (read.calls, read.answer) == (turn.calls, turn.answer) else "with it the turn does something else"


def note_of(moments: Sequence[Moment]) -> list[str]:
    """A writer without a model: the scripted expert's note (`agents/expert.py`) where it has to do with what is done, or else nothing."""
    notes = [note(one.task, one.before[-1].shown, one.step.action) if one.before else "" for one in moments]
    return [text if _about(text, one.step.action) else "" for text, one in zip(notes, moments, strict=True)]


def ask_model(model: Model) -> Writer:
    """A writer that asks a model, with the prompt `thought`."""

    def write(moments: Sequence[Moment]) -> list[str | NoReply]:
        return model.ask([_prompt(moment) for moment in moments], read_thought)

    return write


def _prompt(moment: Moment) -> str:
    history = [{"thought": step.turn.thought, "action": step.action, "result": step.shown[:_SHOWN]} for step in moment.before]
    return load_prompt("thought").fill(
        question=moment.task.question,
        history=history,
        action=moment.step.action,
        result=moment.step.shown[:_SHOWN] or "the end",
        fault=moment.fault or "nothing yet",
    )


def _about(thought: str, action: str) -> bool:
    return bool(set(analyse(thought)) & set(analyse(action)))


class _Draft:
    """A trajectory whose thoughts are being written, one turn after the other."""

    def __init__(self, trajectory: Trajectory, task: Task) -> None:
        self.trajectory, self.task, self.fault = trajectory, task, ""
        self.written: list[Step] = []
        try:
            self.steps = steps_of(trajectory)
        except InputError as error:
            self.steps, self.fault = [], str(error)

    @property
    def moment(self) -> Moment | None:
        """The next turn; None if there is none, or the trajectory is dropped."""
        if self.fault or len(self.written) == len(self.steps):
            return None
        return Moment(self.task, tuple(self.written), self.steps[len(self.written)])

    def result(self, renderer: Renderer) -> Rethought:
        """What became of it."""
        return Rethought(None, self.fault) if self.fault else Rethought(rewritten(self.trajectory, self.written, renderer))


def _write_next(drafts: Sequence[_Draft], writer: Writer, renderer: Renderer, longest: int, tries: int) -> None:
    """The next thought of every draft; those for which none can be had are dropped."""
    open_ones = [(draft, moment) for draft in drafts if (moment := draft.moment) is not None]
    for attempt in range(1, tries + 1):
        again: list[tuple[_Draft, Moment]] = []
        replies = writer([moment for _, moment in open_ones])
        for (draft, moment), reply in zip(open_ones, replies, strict=True):
            fault = reply.reason if isinstance(reply, NoReply) else fault_of(moment, reply.strip(), renderer, longest)
            if not fault:
                draft.written.append(moment.step.thinking(str(reply).strip()))
            elif isinstance(reply, NoReply) or attempt == tries:
                draft.fault = f"turn {len(moment.before) + 1} has no new thought: {fault}"
            else:
                again.append((draft, Moment(moment.task, moment.before, moment.step, fault)))
        open_ones = again


def _task_of(trajectory: Trajectory, tasks: Mapping[str, Task]) -> Task:
    if trajectory.task_id not in tasks:
        raise InputError(f"task '{trajectory.task_id}' is not among those that were given; pass the tasks of the trajectories")
    return tasks[trajectory.task_id]
