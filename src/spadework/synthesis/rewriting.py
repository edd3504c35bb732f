"""A trajectory written anew with other turns, to be imitated.

What a policy has sampled is never re-tokenised, because a ratio of probabilities is about these tokens (invariant 1). A demonstration is
imitated only, so its turns may be said in other words: the prompt stays as it is, every turn is written by the renderer, every result is
appended as the driver appends it. The outcome is a trajectory like any other, and every turn reads back as the same calls or the same
answer. Like those of the scripted expert its log-probabilities are 0 and measure nothing: form no ratios with them.

Not done here: which words (`thoughts.py`), trajectories with branches or edited contexts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from spadework.core.errors import InputError
from spadework.core.messages import Message, Turn
from spadework.models.renderers.renderer import Renderer
from spadework.trajectories.tree import Trajectory

__all__ = ["Step", "rewritten", "steps_of"]


@dataclass(frozen=True, slots=True)
class Step:
    """A turn and what came of it."""

    turn: Turn
    results: tuple[Message, ...] = ()
    """Of its calls, in their order; none after an answer."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Of the node with the results."""

    @property
    def action(self) -> str:
        """What the turn does, in words."""
        if self.turn.answer is not None:
            return f"answer: {self.turn.answer}"
        return "; ".join(f"{call.name}: {', '.join(map(str, call.arguments.values()))}" for call in self.turn.calls)

    @property
    def shown(self) -> str:
        """What the results say."""
        return "\n".join(message.content for message in self.results)

    def thinking(self, thought: str) -> "Step":
        """The same with another thought."""
        return replace(self, turn=self.turn.model_copy(update={"thought": thought}))


def steps_of(trajectory: Trajectory) -> list[Step]:
    """The turns of a trajectory with their results.

    Raises:
        InputError: a turn or a call could not be read, or the trajectory is not one path.
    """
    name = f"trajectory {trajectory.task_id}/{trajectory.sample}"
    if len(trajectory.leaves()) != 1:
        raise InputError(f"{name} has {len(trajectory.leaves())} ends, and only one path can be written anew; choose one")
    steps: list[Step] = []
    for node in trajectory.nodes[1:]:
        if node.kind == "observation":
            steps[-1] = replace(steps[-1], results=node.messages, meta=node.meta)
            continue
        turn = node.messages[-1].turn if node.messages else None
        if turn is None or turn.error is not None or any(call.error is not None for call in turn.calls):
            raise InputError(f"{name}: turn {len(steps) + 1} could not be read, so it cannot be written")
        steps.append(Step(turn))
    return steps


def rewritten(
    trajectory: Trajectory,
    steps: Sequence[Step],
    renderer: Renderer,
    *,
    opening: Sequence[Message] | None = None,
    tools: Sequence[dict[str, Any]] = (),
) -> Trajectory:
    """A trajectory with the same outcome and other steps to it.

    Args:
        trajectory: has the opening, the outcome and the ledger.
        steps: what happens; the last one may have no results.
        renderer: the chat template that the trajectory was made with.
        opening: the messages of another prompt; None keeps the prompt, token for token.
        tools: the schemas that this prompt shows.

    Raises:
        InputError: a turn cannot be written, or does not read as it was written.
    """
    first = trajectory.nodes[0]
    made = Trajectory(
        trajectory.task_id,
        trajectory.sample,
        status=trajectory.status,
        answer=trajectory.answer,
        meta={**trajectory.meta, "rewritten": True},
    )
    messages = first.messages if opening is None else tuple(opening)
    tokens = first.token_ids if opening is None else renderer.prompt(messages, tools)
    last = made.add("prompt", tokens, parent=None, role=first.role, messages=messages)
    for number, step in enumerate(steps, start=1):
        token_ids = renderer.write(step.turn)
        turn = renderer.parse(token_ids)
        if (turn.calls, turn.answer) != (step.turn.calls, step.turn.answer):
            raise InputError(f"trajectory {made.task_id}/{made.sample}: turn {number} does not read as it is written: {step.turn!r}")
        said = (Message(role="assistant", content=renderer.text(token_ids), turn=turn),)
        zeros = [0.0] * len(token_ids)
        last = made.add("generation", token_ids, parent=last.id, logprobs=zeros, role=first.role, messages=said)
        if step.results:
            shown = renderer.extend(token_ids, step.results)
            last = made.add("observation", shown, parent=last.id, role=first.role, messages=step.results, meta=step.meta)
    made.ledger = {**trajectory.ledger, "tokens": float(made.num_sampled)}
    return made
