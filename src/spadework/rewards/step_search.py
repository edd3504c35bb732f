"""StepSearch (arXiv 2505.15107): what each search adds to what is known about the evidence, minus what it repeats.

Turn t: (1/N) sum over gold documents i of max(m_i(t) - M_i, 0), minus the share of its documents that were shown before, with m_i(t) the
best similarity of a passage of turn t to gold i and M_i the best of all earlier turns. The published scale is 0.6 and the place the last
token of the search (`last-token`). Answer: F1 + 0.618 times the mean over key groups of the best F1 of a query with a wording of the key;
-1 if text follows the answer. Released code overwrites matches of a key instead of taking the best, and doubles the step's scale by
accident.
"""

import re

from pydantic import Field

from spadework.core.errors import InputError
from spadework.rewards.matching import f1
from spadework.rewards.reward import RewardTerm, TurnReward, register
from spadework.rewards.similarity import cosine, tfidf
from spadework.rewards.transcript import TurnRecord, queries, turn_records
from spadework.rewards.weight import Weight
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["KeyScore", "StepGain", "StepSearch"]


@register(
    "stepsearch-step", formula="mean over golds of max(m - M, 0), minus the share of documents seen before", source="StepSearch, 2505.15107"
)
class StepGain(TurnReward):
    """Information gain minus redundancy of every turn; 0 for turns that show nothing."""

    weight: Weight = 0.6
    """Factor in the rubric; 0.6 is the published scale of a step."""
    texts: bool = True
    """Compare texts, by TF-IDF, with `task.meta["evidence_texts"]`; otherwise ids: m_i is 1 if evidence document i was shown."""

    def __call__(self, task: Task, trajectory: Trajectory) -> list[float]:
        """Between -1 and 1 per turn.

        Raises:
            InputError: the task has no evidence texts, or names no evidence.
        """
        golds = self._golds(task)
        best = [0.0] * len(golds)
        seen: set[str] = set()
        values = []
        for turn in turn_records(trajectory):
            near = self._matches(turn, golds)
            gain = sum(max(now - before, 0.0) for now, before in zip(near, best, strict=True)) / len(golds)
            shown = turn.documents
            repeated = sum(document in seen for document in shown) / len(shown) if shown else 0.0
            best = [max(pair) for pair in zip(near, best, strict=True)]
            seen.update(shown)
            values.append(gain - repeated)
        return values

    def _golds(self, task: Task) -> list[str]:
        golds = task.meta.get("evidence_texts") if self.texts else task.evidence
        if not golds:
            missing = (
                "meta['evidence_texts'] is not set; set it, or `texts: false` to compare ids" if self.texts else "it names no evidence"
            )
            raise InputError(f"task {task.id}: 'stepsearch-step' cannot take effect: {missing}")
        return list(golds)

    def _matches(self, turn: TurnRecord, golds: list[str]) -> list[float]:
        if not self.texts:
            return [float(gold in turn.documents) for gold in golds]
        # One passage per line, as the search tool writes results; what showed no document (an error) is no passage.
        passages = [line for call in turn.calls if call.documents for line in call.text.splitlines() if line.strip()]
        vectors = tfidf([*golds, *passages])
        return [max((cosine(gold, passage) for passage in vectors[len(golds) :]), default=0.0) for gold in vectors[: len(golds)]]


@register("stepsearch-keys", formula="mean over keys of the best F1 of a query", source="StepSearch, 2505.15107")
class KeyScore(RewardTerm):
    """Mean over `task.meta["keys"]` (lists of wordings of a sub-question) of the best F1 of a query with a wording."""

    tool: str = "search"
    """Whose queries are read."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1.

        Raises:
            InputError: the task has no keys.
        """
        keys = task.meta.get("keys")
        if not keys:
            raise InputError(f"task {task.id}: meta['keys'] is not set, so the score of search keys cannot take effect")
        asked = queries(trajectory, self.tool)
        return sum(max((f1(query, wordings, variant="squad2") for query in asked), default=0.0) for wordings in keys) / len(keys)


@register("stepsearch", formula="F1 + {key_weight} keys; -1 if text follows the answer", source="StepSearch, 2505.15107")
class StepSearch(KeyScore):
    """F1 + 0.618 key score; -1 if text follows the answer."""

    key_weight: float = Field(default=0.618, ge=0)

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """-1, or between 0 and 1 + key_weight."""
        if _goes_on(trajectory):
            return -1.0
        answer = f1(trajectory.answer, task.answers) if trajectory.answer is not None else 0.0
        return answer + self.key_weight * super().__call__(task, trajectory)


def _goes_on(trajectory: Trajectory) -> bool:
    written = [m.content for node in trajectory.generations() for m in node.messages if m.role == "assistant"]
    tail = written[-1].rpartition("</answer>") if written else ("", "", "")
    return bool(tail[1]) and bool(re.sub(r"<\|[^|>]*\|>", "", tail[2]).strip())  # control tokens such as <|im_end|> are no text
