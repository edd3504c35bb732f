"""The trace of several agents as the trajectory of one (Chain-of-Agents, arXiv 2508.13167: multi-agent distillation).

An agent that delegates calls a tool behind which another agent works, on a trajectory of its own. One model that is to do the work of all
sees no delegation: the brief becomes a thought, the turns of the agent that was asked stand where the call stood, and what it found is the
thought with which the one that asked goes on. Every other call of every agent stays, with its results, in the order of the work; what the
paper writes as tags of roles in one transcript are thoughts here, because the protocol has no more tags.

Which call was answered by which trajectory says the record of the call (`meta["calls"][i]["meta"]["trajectory"]`): a key that the tool
chose. An agent that was asked may ask others. Not done: filtering (`curation/process.py`), briefs that were answered at the same time
as anything but one after the other, edited contexts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from spadework.core.errors import InputError
from spadework.core.messages import Message, ToolCall, Turn
from spadework.models.renderers.renderer import Renderer
from spadework.synthesis.rewriting import Step, rewritten, steps_of
from spadework.trajectories.tree import Status, Trajectory

__all__ = ["flattened"]


def flattened(
    trajectory: Trajectory,
    children: Mapping[str, Trajectory],
    renderer: Renderer,
    *,
    opening: Sequence[Message],
    tools: Sequence[dict[str, Any]],
) -> Trajectory:
    """One agent's trajectory of what several have done.

    Args:
        trajectory: of the agent that was given the task.
        children: those of the agents that were asked, by the keys in the records of the calls.
        renderer: the chat template of all of them.
        opening: messages with which the one agent begins: `agent.start(task, tools)`.
        tools: the schemas of its tools, which are those of all agents without the ones that delegate.

    Raises:
        InputError: a trajectory is missing, has not completed, is not one path, or has a turn that could not be read; one asks itself.
    """
    steps = list(_joined(_flat(trajectory, children, ())))
    made = rewritten(trajectory, steps, renderer, opening=opening, tools=tools)
    records = [record for step in steps for record in step.meta.get("calls", ())]
    made.ledger = {"calls": float(len(records)), "tokens": float(made.num_sampled)}
    made.ledger["errors"] = float(sum(record["status"] == "error" for record in records))
    made.ledger["seconds"] = float(sum(record["seconds"] for record in records))
    for record in records:
        name = f"calls/{record['tool']}"
        made.ledger[name] = made.ledger.get(name, 0.0) + 1.0
    return made


def _flat(trajectory: Trajectory, children: Mapping[str, Trajectory], above: tuple[str, ...]) -> Iterator[Step]:
    """Steps in the order of the work. One that only thinks has a turn without calls and without an answer."""
    name = f"trajectory {trajectory.task_id}/{trajectory.sample}"
    if trajectory.status is not Status.COMPLETED:
        raise InputError(f"{name} ended as {trajectory.status.value}; only completed ones are flattened")
    for step in steps_of(trajectory):
        asked = {number: key for number, key in enumerate(_keys(step)) if key is not None}
        if not asked:
            yield step
            continue
        own = _without(step, asked)
        yield own
        for number, key in asked.items():
            if key in above or key not in children:
                raise InputError(
                    f"{name}: its call was answered by trajectory '{key}', which {'asks itself' if key in above else 'is missing'}"
                )
            yield _thought(_brief(step.turn.calls[number]))
            *work, last = _flat(children[key], children, (*above, key))
            yield from work
            found = last.turn.answer or ""
            yield _thought("\n".join(filter(None, [last.turn.thought, "" if found in last.turn.thought else found])))


def _joined(steps: Iterable[Step]) -> Iterator[Step]:
    """Without steps that only think: what they think is the beginning of the next thought, each thing said once."""
    thoughts: list[str] = []
    for step in steps:
        if (thought := step.turn.thought.strip()) and thought not in thoughts:
            thoughts.append(thought)
        if step.turn.calls or step.turn.answer is not None:
            yield step.thinking("\n".join(thoughts))
            thoughts = []


def _keys(step: Step) -> list[str | None]:
    """Per call the key of the trajectory that answered it."""
    return [record.get("meta", {}).get("trajectory") for record in step.meta.get("calls", ())]


def _without(step: Step, asked: Mapping[int, str]) -> Step:
    """A step without the calls that others answered."""
    rest = [number for number in range(len(step.turn.calls)) if number not in asked]
    records = [step.meta["calls"][number] for number in rest if number < len(step.meta["calls"])]
    documents = list(dict.fromkeys(page for record in records for page in record.get("documents", ())))
    turn = step.turn.model_copy(update={"calls": tuple(step.turn.calls[number] for number in rest)})
    results = tuple(step.results[number] for number in rest if number < len(step.results))
    return replace(step, turn=turn, results=results, meta={"calls": records, "documents": documents})


def _thought(text: str) -> Step:
    return Step(Turn(thought=text))


def _brief(call: ToolCall) -> str:
    return " ".join(str(value) for value in call.arguments.values())
