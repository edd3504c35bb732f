"""Citations in the answer: do they name evidence, and was it shown?

A citation is `[id]`, `[id, id]` or `<cite id="id, id">claim</cite>` with ids of documents. One whose document was never shown is
fabricated and counts as wrong even if the document happens to be evidence. Not done here: whether the cited passage supports the claim
beside it.
"""

import re
from typing import Literal

from spadework.core.errors import InputError
from spadework.rewards.reward import RewardTerm, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["CitationPrecision", "CitationRecall", "cited", "noted"]

_MARK = re.compile(r"""\[([^\[\]]+)\]|<cite\s+id=["']([^"']+)["']""")


def cited(answer: str | None) -> set[str]:
    """Ids of the documents that an answer cites."""
    return {part.strip() for match in _MARK.findall(answer or "") for part in re.split("[,;]", match[0] or match[1]) if part.strip()}


def noted(trajectory: Trajectory) -> list[dict[str, str]]:
    """What the agent noted as evidence (`tools/note.py`), in order: `quote`, as it was shown, `document`, and `claim`."""
    calls = [call for node in trajectory.nodes for call in node.meta.get("calls", ())]
    return [call["meta"]["note"] for call in calls if "note" in call.get("meta", {})]


@register("citation-precision", formula="right citations (against {against}) / citations; never shown = wrong", source="Spadework")
class CitationPrecision(RewardTerm):
    """Share of the cited documents that are right; 0 without a citation, so that leaving them out does not pay."""

    against: Literal["evidence", "shown", "noted"] = "evidence"
    """`evidence`: a right one is evidence of the task and was shown. `shown`: it was shown. `noted`: a quote of it that was shown was
    noted."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1.

        Raises:
            InputError: the task names no evidence to compare with.
        """
        if self.against == "noted":
            right = {note["document"] for note in noted(trajectory)}
        else:
            right = trajectory.documents() if self.against == "shown" else _wanted(task) & trajectory.documents()
        said = cited(trajectory.answer)
        return len(said & right) / len(said) if said else 0.0


@register("citation-recall", formula="evidence cited and shown / evidence", source="Spadework")
class CitationRecall(RewardTerm):
    """Share of the task's evidence that was shown and is cited."""

    def __call__(self, task: Task, trajectory: Trajectory) -> float:
        """Between 0 and 1.

        Raises:
            InputError: the task names no evidence.
        """
        wanted = _wanted(task)
        return len(cited(trajectory.answer) & wanted & trajectory.documents()) / len(wanted)


def _wanted(task: Task) -> set[str]:
    if not task.evidence:
        raise InputError(f"task {task.id} names no evidence to compare citations with; remove the term, or use `against: shown`")
    return set(task.evidence)
