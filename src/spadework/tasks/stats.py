"""What a task file holds, in numbers."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from spadework.tasks.task import Task

__all__ = ["stats"]


def stats(tasks: Sequence[Task]) -> dict[str, Any]:
    """Counts by kind, hops, level and source; answers; words of questions; pages of evidence; what gates said.

    `repeated_answers` is the share of tasks whose gold answer another task has too: a high one invites guessing.
    """
    answers = Counter(task.answers[0] for task in tasks)
    words = sorted(len(task.question.split()) for task in tasks)
    gates = [gate for task in tasks for gate in (task.meta.get("ledger") or {}).get("gates", ())]
    return {
        "n": len(tasks),
        "kind": _counts(task.kind for task in tasks),
        "hops": _counts(task.hops for task in tasks),
        "level": _counts(task.meta["level"] for task in tasks if "level" in task.meta),
        "source": _counts(task.source for task in tasks),
        "answers": len(answers),
        "repeated_answers": sum(count for count in answers.values() if count > 1) / len(tasks),
        "words": {"least": words[0], "median": words[len(words) // 2], "most": words[-1]},
        "pages": len({page for task in tasks for page in task.evidence}),
        "ledgers": sum("ledger" in task.meta for task in tasks),
        "gates": {
            name: {"passed": sum(bool(gate[1]) for gate in gates if gate[0] == name), "n": count}
            for name, count in Counter(gate[0] for gate in gates).items()
        },
    }


def _counts(values: Any) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values).items())}
