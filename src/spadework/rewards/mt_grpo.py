"""MT-GRPO's rewards (arXiv 2505.11821): turns are paid for working calls and for finding the gold, the outcome for the answer and its form.

A turn: 0.2 times the share of its calls that worked, plus 0.5 if a gold stands in a result. The outcome: 0.5 if the answer contains a
gold, plus 1 if it equals one, plus 0.2 for the format of the whole, plus 0.2 times the share of well-formed turns. The paper has one call
per trajectory; here every turn is paid.
"""

from spadework.rewards.format import malformed, valid
from spadework.rewards.matching import contains, em
from spadework.rewards.reward import RewardTerm, TurnReward, register
from spadework.rewards.transcript import TurnRecord, turn_records
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Outcome", "TurnOutcome"]


@register("mt-grpo-turn", formula="{execution} (share of calls that worked) + {found} [gold in a result]", source="MT-GRPO, 2505.11821")
class TurnOutcome(TurnReward):
    """0.2 (share of calls that worked) + 0.5 [a gold in a result]; 0 for a turn without calls."""

    execution: float = 0.2
    found: float = 0.5

    def __call__(self, task: Task, trajectory: Trajectory) -> list[float]:
        """Between 0 and 0.7 per turn."""
        return [self._value(task, turn) for turn in turn_records(trajectory)]

    def _value(self, task: Task, turn: TurnRecord) -> float:
        if not turn.calls:
            return 0.0
        worked = sum(call.status == "ok" for call in turn.calls) / len(turn.calls)
        return self.execution * worked + self.found * any(contains(text, task.answers) for text in turn.texts)


@register(
    "mt-grpo",
    formula="{contained} contains + {exact} EM + {valid_format} [valid] + {turn_format} (share of well-formed turns)",
    source="MT-GRPO, 2505.11821",
)
class Outcome(RewardTerm):
    """0.5 [contains a gold] + [equals a gold] + 0.2 [valid] + 0.2 (share of well-formed turns)."""

    contained: float = 0.5
    exact: float = 1.0
    valid_format: float = 0.2
    turn_format: float = 0.2

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1.9."""
        nodes = list(trajectory.generations())
        share = sum(not malformed(node) for node in nodes) / len(nodes) if nodes else 0.0
        value = self.valid_format * valid(trajectory) + self.turn_format * share
        if trajectory.answer is None:
            return value
        return value + self.contained * contains(trajectory.answer, task.answers) + self.exact * em(trajectory.answer, task.answers)
