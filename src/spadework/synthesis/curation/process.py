"""Which trajectories are worth imitating, by how they came to their answer (WebSailor, arXiv 2507.02592; WebShaper, 2507.15061).

A trajectory passes if it ended with an answer, the answer is right (where the outcome counts: SWiRL, 2504.04736, leaves it out), no call
failed or stayed unanswered, no call was made twice in the same words, no text of the policy runs in circles, the policy did not write
an observation itself, and it stays within the limits. This is rejection sampling: of many attempts those that pass are kept.

Not done here: the reconstruction of short thoughts, which takes a model; a model's judgement of single steps (`rewards/judge.py` has one).
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import Field

from spadework.core.config import Config
from spadework.rewards.matching import em
from spadework.rewards.transcript import turn_records
from spadework.tasks.task import Task
from spadework.trajectories.tree import Status, Trajectory

__all__ = ["ProcessFilter"]

_GUESSED = ("<tool_response>", "<information>", "<observation>", "<result>")
"""Tags of the harness: what a policy writes inside them it has made up."""


class ProcessFilter(Config):
    """What is wrong with a trajectory, and which have nothing wrong."""

    outcome: bool = True
    """Whether a wrong answer is a fault."""
    fewest_calls: int = Field(default=0, ge=0)
    """WebSailor wants more than 5."""
    most_tokens: int = Field(default=32_768, gt=0)
    """Of the longest path, observations included; WebSailor's limit."""
    run: int = Field(default=10, gt=0)
    """Words in a row that the policy may not write three times."""

    def faults(self, task: Task, trajectory: Trajectory) -> list[str]:
        """What is wrong; empty if nothing is."""
        return list(self._faults(task, trajectory))

    def kept(self, task: Task, trajectories: Iterable[Trajectory]) -> list[Trajectory]:
        """Those with nothing wrong, in their order."""
        return [trajectory for trajectory in trajectories if not self.faults(task, trajectory)]

    def _faults(self, task: Task, trajectory: Trajectory) -> Iterator[str]:
        if trajectory.status is not Status.COMPLETED or not trajectory.answer:
            yield f"it ended as {trajectory.status.value} and not with an answer"
        elif self.outcome and not em(trajectory.answer, task.answers):
            yield f"the answer '{trajectory.answer}' is wrong"
        calls = [call for turn in turn_records(trajectory) for call in turn.calls]
        if failed := next((call for call in calls if call.status != "ok"), None):
            yield f"a call of {failed.request.name} ended as {failed.status}"
        if len(calls) < self.fewest_calls:
            yield f"{len(calls)} calls are fewer than {self.fewest_calls}"
        repeated = [key for key, count in Counter(call.key for call in calls).items() if count > 1]
        if repeated:
            yield f"the call {repeated[0]} is made twice"
        texts = [message.content for node in trajectory.generations() for message in node.messages if message.role == "assistant"]
        if tag := next((tag for tag in _GUESSED for text in texts if tag in text), None):
            yield f"the policy writes {tag} itself"
        if any(count > 2 for count in self._runs(texts).values()):
            yield f"{self.run} words in a row are written three times"
        longest = max((len(trajectory.token_ids(leaf.id)) for leaf in trajectory.leaves()), default=0)
        if longest > self.most_tokens:
            yield f"{longest} tokens are more than {self.most_tokens}"

    def _runs(self, texts: Iterable[str]) -> Counter[tuple[str, ...]]:
        words = [text.split() for text in texts]
        return Counter(tuple(each[start : start + self.run]) for each in words for start in range(len(each) - self.run + 1))
