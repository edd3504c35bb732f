"""A trajectory as readable turns: thought, call, observation, answer, reward terms. Text from the run is data and is escaped.

Long observations are folded, very long ones are cut with a note of how much is missing and where it is. Gold answers are marked where an
observation shows them, so a reader sees at a glance whether the policy had the answer in front of it.
"""

import json
import re
from collections.abc import Callable, Sequence

from spadework.core.messages import Message, ToolCall
from spadework.trajectories.tree import Node
from spadework.viewer.contents import Attempt
from spadework.viewer.figures import number, thousands
from spadework.viewer.markup import Html, el, join, raw

__all__ = ["attempt_card", "marked", "stage_name"]

_FOLD, _FOLD_LINES, _CUT = 200, 3, 4000
_STAGE_NAMES = {"reading": "after reading", "sft": "after cold start (SFT)", "rl": "after RL"}


def stage_name(stage: str) -> str:
    """How a stage is called in running text."""
    return _STAGE_NAMES.get(stage, f"after {stage}")


def marked(text: str, needles: Sequence[str]) -> Html:
    """Text with every whole-word occurrence of the needles marked, case ignored."""
    wanted = [re.escape(needle) for needle in needles if needle.strip()]
    if not wanted:
        return join(text)
    pieces = re.split(rf"(?<!\w)({'|'.join(wanted)})(?!\w)", text, flags=re.IGNORECASE)
    return join(el("mark", piece) if index % 2 else piece for index, piece in enumerate(pieces))


def _folded(text: str, needles: Sequence[str]) -> Html:
    kept = text[:_CUT]
    lost = len(text) - len(kept)
    note = el("p", thousands(lost), " more characters are in the run folder's trajectories.", class_="note") if lost else None
    lines = kept.splitlines(keepends=True)
    end = len("".join(lines[:_FOLD_LINES]))
    if end > _FOLD:
        end = max(kept.rfind(" ", 0, _FOLD), kept.rfind("\n", 0, _FOLD)) + 1 or _FOLD
    if len(kept) - end <= 80:
        return join(el("div", marked(kept, needles), class_="text"), note)
    rest = marked(kept[end:], needles)
    inside = el("span", "gold answer inside", class_="chip hint") if "<mark>" in rest else None
    head = el(
        "summary",
        el("span", marked(kept[:end].rstrip(), needles), class_="text"),
        el("span", el("span", class_="more"), inside, class_="fold"),
    )
    return el("details", head, el("div", rest, class_="text"), note)


def _turn(kind: str, label: str | Html, *body: Html | str | None) -> Html:
    return el("li", el("span", label, class_="who"), el("div", *body, class_="said"), class_=f"turn {kind}")


def _call(call: ToolCall) -> Html:
    values = list(call.arguments.values())
    shown = str(values[0]) if len(values) == 1 else json.dumps(call.arguments, ensure_ascii=False)
    error = el("p", "could not be parsed: ", call.error, class_="error") if call.error else None
    return _turn("call", call.name, el("code", shown), error)


def _spoken(message: Message, solved: bool) -> list[Html]:
    turn = message.turn
    if turn is None:
        return [_turn("think", "policy", el("div", message.content, class_="text"))]
    parts = [_turn("think", "thought", el("div", turn.thought.strip(), class_="text"))] if turn.thought.strip() else []
    parts += [_call(call) for call in turn.calls]
    if turn.error:
        parts.append(
            _turn("fault", "format error", el("p", turn.error, class_="error"), el("code", message.content) if message.content else None)
        )
    if turn.answer is not None:
        parts.append(_turn("answer right" if solved else "answer wrong", "answer", el("b", turn.answer)))
    return parts


def _node_turns(node: Node, attempt: Attempt, decode: Callable[[int], str]) -> list[Html]:
    parts: list[Html] = []
    if node.derived_from is not None:
        parts.append(_turn("edge", "context", el("p", f"A new context starts here, made from step {node.derived_from}.")))
    if node.kind == "prompt":
        return parts
    if node.kind == "generation":
        if not node.messages:
            parts.append(_turn("think", node.role, el("div", "".join(map(decode, node.token_ids)), class_="text")))
        for message in node.messages:
            parts += _spoken(message, attempt.solved)
        return parts
    shown = set(node.meta.get("documents", ())) & set(attempt.task.evidence)
    badge = el("span", "shows evidence", class_="chip good") if shown else None
    faults = [call for call in node.meta.get("calls", ()) if call.get("status") not in (None, "ok")]
    fault = el("span", faults[0]["status"], class_="chip bad") if faults else None
    for message in node.messages:
        parts.append(_turn("seen", "result", _folded(message.content, attempt.task.answers), badge, fault))
    if not node.messages:
        parts.append(_turn("seen", "result", _folded("".join(map(decode, node.token_ids)), attempt.task.answers), badge, fault))
    return parts


def _verdict(attempt: Attempt) -> Html:
    if attempt.solved:
        return el("span", raw("&check; right"), class_="chip good")
    status = attempt.trajectory.status.value
    return el("span", raw("&times; wrong"), "" if status == "completed" else f", {status}", class_="chip bad")


def _facts(attempt: Attempt) -> Html:
    trajectory, evidence = attempt.trajectory, attempt.task.evidence
    found = len(set(evidence) & trajectory.documents())
    parts = [
        f"{attempt.calls} call{'' if attempt.calls == 1 else 's'}",
        f"{trajectory.num_sampled} sampled tokens",
        f"evidence {found} of {len(evidence)}" if evidence else None,
    ]
    return el("span", " · ".join(filter(None, parts)), class_="facts")


def _rewards(attempt: Attempt) -> Html:
    trajectory = attempt.trajectory
    terms = [el("span", name, raw("&nbsp;"), el("b", number(value)), class_="term") for name, value in trajectory.rewards.items()]
    total = el("span", raw("reward&nbsp;"), el("b", number(trajectory.reward)), class_="term total")
    error = el("p", trajectory.error, class_="error") if trajectory.error else None
    return el("footer", total, terms, error)


def attempt_card(attempt: Attempt, stage: str, decode: Callable[[int], str]) -> Html:
    """One attempt: verdict, turns, reward terms.

    Args:
        attempt: the trajectory and its task.
        stage: whose policy it was.
        decode: text of a token, for nodes without messages.
    """
    turns = [turn for node in attempt.trajectory.nodes for turn in _node_turns(node, attempt, decode)]
    if not turns:
        turns = [_turn("edge", "nothing", el("p", "The policy produced no turn."))]
    heading = el("header", el("h4", stage_name(stage), class_=f"stage {stage}"), _verdict(attempt), _facts(attempt))
    return el("section", heading, el("ol", turns, class_="turns"), _rewards(attempt), class_=f"attempt {stage}")
