"""RLTR (arXiv 2508.19598): reward the use of tools, not the answer.

-1 for a malformed trajectory; else the completeness of its tool use (are all calls made that the request needs?) plus rules: a price per
repeated call and per call that was an error. The paper's completeness is a judge's rating of the sequence of calls (`completeness`); the
default here is its twin by rule, evidence recall. The paper does not give the prices: 0.1 each, at most 0.5.
"""

from collections.abc import Sequence

from pydantic import Field

from spadework.rewards.endpoint import Endpoint
from spadework.rewards.evidence import EvidenceRecall
from spadework.rewards.format import malformed
from spadework.rewards.prompt import load_prompt, read_score
from spadework.rewards.reward import Pair, RewardTerm, register
from spadework.rewards.transcript import turn_records
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Completeness", "Rltr"]


@register("completeness", formula="a judge's rating of the calls in [0, 1]", source="RLTR, 2508.19598")
class Completeness(RewardTerm):
    """A judge's rating of the sequence of calls, between 0 and 1. The answer is not shown to it."""

    endpoint: Endpoint

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Asks for all trajectories at once."""
        self.endpoint.prefetch([self._fill(*pair) for pair in pairs], read_score)

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1.

        Raises:
            BrokenError: there is no rating.
        """
        return self.endpoint.ask(self._fill(task, trajectory), read_score)

    def _fill(self, task: Task, trajectory: Trajectory) -> str:
        calls = [call.key for turn in turn_records(trajectory) for call in turn.calls]
        return load_prompt("completeness").fill(question=task.question, calls=calls)


@register(
    "rltr", formula="-1 if malformed; {completeness} - min({most}, {repeat} repeated + {error} failed calls)", source="RLTR, 2508.19598"
)
class Rltr(RewardTerm):
    """-1 | completeness - repeat * repeated calls - error * failed calls."""

    completeness: RewardTerm = EvidenceRecall()
    repeat: float = Field(default=0.1, ge=0)
    """Price of a call that was made before in the same words."""
    error: float = Field(default=0.1, ge=0)
    """Price of a call that was an error."""
    most: float = Field(default=0.5, gt=0)
    """The prices together stop growing here."""

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Prepares the completeness of what is well formed."""
        super().prepare([pair for pair in pairs if _readable(pair[1])])

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between -1 and 1."""
        if not _readable(trajectory):
            return -1.0
        calls = [call for turn in turn_records(trajectory) for call in turn.calls]
        repeated = len(calls) - len({call.key for call in calls})
        failed = sum(call.status == "error" for call in calls)
        return self.completeness(task, trajectory) - min(self.most, self.repeat * repeated + self.error * failed)


def _readable(trajectory: Trajectory) -> bool:
    nodes = list(trajectory.generations())
    return bool(nodes) and not any(map(malformed, nodes))
