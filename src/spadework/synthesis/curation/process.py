"""Which trajectories are worth imitating, by how they came to their answer (WebSailor, arXiv 2507.02592; WebShaper, 2507.15061).

A trajectory passes if it ended with an answer, the answer is right (where the outcome counts: SWiRL, 2504.04736, leaves it out) and was
given after the evidence had been shown, every turn could be read, no call failed or stayed unanswered, no call was made twice in the same
words, no text of the policy runs in circles, the policy did not write an observation itself, and it stays within the limits. This is
rejection sampling: of many attempts those that pass are kept (`synthesis/demonstrations.py` takes the best of them).

Not done here: the reconstruction of short thoughts (`synthesis/thoughts.py`); a model's judgement of single steps (`rewards/judge.py` has
one).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pydantic import Field

from spadework.core.config import Config
from spadework.rewards.matching import em
from spadework.rewards.transcript import turn_records
from spadework.tasks.task import Task
from spadework.trajectories.tree import Status, Trajectory

__all__ = ["Fault", "ProcessFilter"]

_FORGED = ("<tool_response>", "<information>", "<observation>", "<result>")
"""Tags of the harness: what a policy writes inside them it has made up."""


class Fault(NamedTuple):
    """What is wrong with a trajectory."""

    kind: str
    """A name to count by: how it ended (`broken`, `truncated` ...), or `wrong`, `guessed`, `malformed`, `failed call`, `few calls`,
    `repeated call`, `forged`, `circles`, `long`."""
    text: str
    """The same in words."""


class ProcessFilter(Config):
    """What is wrong with a trajectory, and which have nothing wrong."""

    outcome: bool = True
    """Whether a wrong answer is a fault."""
    evidence: bool = True
    """Whether it is one to answer before all pages of the task's evidence have been shown."""
    fewest_calls: int = Field(default=0, ge=0)
    """WebSailor wants more than 5."""
    most_tokens: int = Field(default=32_768, gt=0)
    """Of the longest path, observations included; WebSailor's limit."""
    run: int = Field(default=10, gt=0)
    """Words in a row that the policy may not write three times."""

    def faults(self, task: Task, trajectory: Trajectory) -> list[Fault]:
        """What is wrong, the outcome first; empty if nothing is."""
        return list(self._faults(task, trajectory))

    def kept(self, task: Task, trajectories: Iterable[Trajectory]) -> list[Trajectory]:
        """Those with nothing wrong, in their order."""
        return [trajectory for trajectory in trajectories if not self.faults(task, trajectory)]

    def _faults(self, task: Task, trajectory: Trajectory) -> Iterator[Fault]:
        if trajectory.status is not Status.COMPLETED or not trajectory.answer:
            yield Fault(trajectory.status.value, f"it ended as {trajectory.status.value} and not with an answer")
        elif self.outcome and not em(trajectory.answer, task.answers):
            yield Fault("wrong", f"the answer '{trajectory.answer}' is wrong")
        if self.evidence and (unseen := [page for page in task.evidence if page not in trajectory.documents()]):
            yield Fault("guessed", f"the page {unseen[0]} of the evidence was never shown")
        turns = turn_records(trajectory)
        said = [message.turn for turn in turns for message in turn.node.messages if message.turn is not None]
        calls = [call for turn in turns for call in turn.calls]
        if wrong := next((text for text in [*(turn.error for turn in said), *(call.request.error for call in calls)] if text), None):
            yield Fault("malformed", f"a turn could not be read: {wrong}")
        if failed := next((call for call in calls if call.status != "ok"), None):
            yield Fault("failed call", f"a call of {failed.request.name} ended as {failed.status}")
        if len(calls) < self.fewest_calls:
            yield Fault("few calls", f"{len(calls)} calls are fewer than {self.fewest_calls}")
        if repeated := [key for key, count in Counter(call.key for call in calls).items() if count > 1]:
            yield Fault("repeated call", f"the call {repeated[0]} is made twice")
        yield from self._faults_of_text(trajectory)

    def _faults_of_text(self, trajectory: Trajectory) -> Iterator[Fault]:
        texts = [message.content for node in trajectory.generations() for message in node.messages if message.role == "assistant"]
        if tag := next((tag for tag in _FORGED for text in texts if tag in text), None):
            yield Fault("forged", f"the policy writes {tag} itself")
        if any(count > 2 for count in self._runs(texts).values()):
            yield Fault("circles", f"{self.run} words in a row are written three times")
        longest = max((len(trajectory.token_ids(leaf.id)) for leaf in trajectory.leaves()), default=0)
        if longest > self.most_tokens:
            yield Fault("long", f"{longest} tokens are more than {self.most_tokens}")

    def _runs(self, texts: Iterable[str]) -> Counter[tuple[str, ...]]:
        words = [text.split() for text in texts]
        return Counter(tuple(each[start : start + self.run]) for each in words for start in range(len(each) - self.run + 1))
