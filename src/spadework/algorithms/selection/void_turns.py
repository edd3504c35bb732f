"""Leave trajectories with a void turn out of the loss: SimpleTIR (arXiv 2509.02479).

A turn is void if it has neither a complete call nor an answer. Such turns follow tool results far from the policy's distribution, and their
unlikely tokens make gradients explode; masking single tokens did not help in the paper. Any void turn drops the whole trajectory. In the
released code it still counts in the group's mean and deviation; `baseline: false` takes it out there too. Turns that no renderer has parsed
are not judged.
"""

from spadework.algorithms.selection.selection import SelectionRule, register, without_those
from spadework.trajectories.tree import Group, Trajectory

__all__ = ["VoidTurns", "has_void_turn"]


@register(
    "void-turns",
    formula="a turn with neither call nor answer takes its trajectory out of the loss; in the baseline: {baseline}",
    source="SimpleTIR, arXiv 2509.02479",
)
class VoidTurns(SelectionRule):
    """Trajectories with any void turn are not trained on."""

    baseline: bool = True
    """Whether they stay in their group's baseline."""

    def __call__(self, groups: list[Group]) -> list[Group]:
        """The groups without training on them."""
        return without_those(groups, has_void_turn, baseline=self.baseline)


def has_void_turn(trajectory: Trajectory) -> bool:
    """Whether some parsed turn has neither a well-formed call nor an answer."""
    turns = [message.turn for node in trajectory.generations() for message in node.messages if message.turn is not None]
    return any(turn.answer is None and all(call.error is not None for call in turn.calls) for turn in turns)
