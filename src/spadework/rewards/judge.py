"""Rewards that a frozen model gives: is the answer right (`judge`), is a step sensible (`swirl`).

WebSailor, WebDancer, DeepDive and Tongyi DeepResearch train on a judge's 0/1 verdict. The prompt is a pinned file (`prompt.py`), the model
is asked through `endpoint.py`: an unreachable or unintelligible judge breaks the trajectory. Not done here: several votes, graded
verdicts.
"""

from collections.abc import Iterator, Sequence

from spadework.rewards.endpoint import Endpoint
from spadework.rewards.prompt import load_prompt, read_verdict
from spadework.rewards.reward import Pair, RewardTerm, TurnReward, register
from spadework.rewards.transcript import turn_records
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Judge", "JudgedSteps"]


@register("judge", formula="1 if a judge accepts the answer, else 0", source="WebSailor, DeepDive, Tongyi")
class Judge(RewardTerm):
    """1 if a judge finds that the answer names what a gold names, else 0. Without an answer: 0, and nobody is asked."""

    endpoint: Endpoint
    prompt: str = "correctness"
    """A prompt of this package, or the path of a .txt file with the places $question, $golds and $answer."""

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Asks for all answers at once."""
        self.endpoint.prefetch([self._fill(*pair) for pair in pairs if pair[1].answer], _yes)

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """0 or 1.

        Raises:
            BrokenError: there is no verdict.
        """
        return self.endpoint.ask(self._fill(task, trajectory), _yes) if trajectory.answer else 0.0

    def _fill(self, task: Task, trajectory: Trajectory) -> str:
        return load_prompt(self.prompt).fill(question=task.question, golds=list(task.answers), answer=trajectory.answer)


@register("swirl", formula="1 if a judge finds the turn sensible, else 0", source="SWiRL, 2504.04736")
class JudgedSteps(TurnReward):
    """SWiRL (arXiv 2504.04736): 1 per turn that a generative judge finds sensible given what came before, else 0; no gold is used."""

    endpoint: Endpoint

    def prepare(self, pairs: Sequence[Pair]) -> None:
        """Asks for all turns at once."""
        self.endpoint.prefetch([prompt for pair in pairs for prompt in self._fill(*pair)], _yes)

    def __call__(self, task: Task, trajectory: Trajectory) -> list[float]:
        """0 or 1 per turn.

        Raises:
            BrokenError: there is no verdict.
        """
        return [self.endpoint.ask(prompt, _yes) for prompt in self._fill(task, trajectory)]

    def _fill(self, task: Task, trajectory: Trajectory) -> Iterator[str]:
        prompt = load_prompt("step")
        history: list[str] = []
        for turn in turn_records(trajectory):
            step = "\n".join(message.content for message in turn.node.messages)
            yield prompt.fill(question=task.question, history="\n".join(history), step=step)
            history += [step, *turn.texts]


def _yes(reply: str) -> float:
    return float(read_verdict(reply, "yes", "no") == "yes")
