"""The token view's data: every token of some training groups with mask, log-probability, entropy and advantage.

One JSON block instead of one element per token keeps a report small: texts are listed once, columns that are constant are one number, and
unsampled nodes carry no columns. The page's script draws from it. Groups whose rewards differ come first, because only they teach; what
does not fit into the budget is counted and named.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, pvariance
from typing import Any

from spadework.trajectories.tree import Node
from spadework.viewer.contents import Attempt
from spadework.viewer.markup import Html, raw

__all__ = ["TokenData", "script_json", "token_data"]

_MAX_GROUPS, _MAX_TOKENS = 3, 60_000


@dataclass(frozen=True, slots=True)
class TokenData:
    """What the script needs, and what was left out of it."""

    content: dict[str, Any]
    groups: int
    trajectories: int
    left_out: int
    """Trajectories of the file that are not in the content."""


def script_json(value: Any) -> Html:
    """JSON that can stand inside a script element: no `<` can end it or open another."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return raw(text)


def token_data(attempts: Sequence[Attempt], decode: Callable[[int], str]) -> TokenData:
    """Columns of the most telling groups.

    Args:
        attempts: trajectories of one training step; those of one task form a group.
        decode: text of a token.
    """
    by_task: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_task.setdefault(attempt.task.id, []).append(attempt)
    ranked = sorted(by_task.values(), key=lambda group: -pvariance([a.trajectory.reward for a in group]))
    numbers: dict[int, int] = {}
    groups: list[dict[str, Any]] = []
    spent = shown = 0
    for group in ranked[:_MAX_GROUPS]:
        items = []
        for attempt in sorted(group, key=lambda a: (-a.trajectory.reward, a.trajectory.sample)):
            size = sum(len(node.token_ids) for node in attempt.trajectory.nodes)
            if spent + size > _MAX_TOKENS:
                continue
            spent += size
            items.append(_item(attempt, numbers))
        if items:
            shown += len(items)
            task = group[0].task
            groups.append({"id": task.id, "question": task.question, "gold": task.answers[0], "hops": task.hops, "items": items})
    texts = [decode(token) for token in numbers]
    content = {"texts": texts, "ids": list(numbers), "groups": groups}
    return TokenData(content, len(groups), shown, len(attempts) - shown)


def _item(attempt: Attempt, numbers: dict[int, int]) -> dict[str, Any]:
    trajectory = attempt.trajectory
    values = [a for node in trajectory.nodes for a, sampled in zip(node.advantages, node.mask, strict=False) if sampled]
    return {
        "sample": trajectory.sample,
        "reward": round(trajectory.reward, 3),
        "advantage": round(fmean(values), 4) if values else None,
        "solved": attempt.solved,
        "status": trajectory.status.value,
        "answer": trajectory.answer,
        "calls": attempt.calls,
        "nodes": [_columns(node, numbers) for node in trajectory.nodes],
    }


def _columns(node: Node, numbers: dict[int, int]) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": node.kind, "t": [numbers.setdefault(token, len(numbers)) for token in node.token_ids]}
    if node.role != "planner":
        entry["role"] = node.role
    if node.derived_from is not None:
        entry["from"] = node.derived_from
    if node.parent is not None and node.parent != node.id - 1:
        entry["parent"] = node.parent
    if node.version is not None:
        entry["v"] = node.version
    if any(node.mask):
        entry["m"] = 1 if all(node.mask) else [int(sampled) for sampled in node.mask]
        entry["lp"] = [round(value, 3) for value in node.logprobs]
        entry["h"] = _constant([round(value, 3) for value in node.entropies])
        if node.advantages:
            entry["a"] = _constant([round(value, 4) for value in node.advantages])
    return entry


def _constant(column: list[float]) -> float | list[float]:
    return column[0] if len(set(column)) == 1 else column
