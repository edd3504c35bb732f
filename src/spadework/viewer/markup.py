"""HTML and SVG as values: everything is escaped unless it is `Html` already.

`el("p", page.text)` can be fed any string, because a plain string is data and is escaped; only what this module made is `Html`. That is how
a page or a trajectory with a `<script>` in it stays text in a report (invariant 8). No templates inside templates, no parsing.
"""

import html
from collections.abc import Iterable
from typing import TypeAlias

__all__ = ["Child", "Html", "el", "join", "raw"]

_VOID = {"br", "hr", "input", "meta", "line", "circle", "rect", "path", "polyline"}


class Html(str):
    """Markup that is safe to write as it stands."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | Html | Iterable[Child] | None"


def raw(markup: str) -> Html:
    """Vouch for markup that is written in this package; never for text from a run."""
    return Html(markup)


def join(*children: Child) -> Html:
    """Concatenate children; None is nothing, a plain string is escaped."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, str | int | float):
            parts.append(html.escape(str(child)))
        else:
            parts.append(join(*child))
    return Html("".join(parts))


def el(tag: str, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """One element.

    Args:
        tag: its name.
        children: text (escaped), `Html`, numbers, None, or iterables of them.
        attributes: `class_` is `class`; other underscores become hyphens. None and False leave an attribute out, True writes it bare.
    """
    written = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        key = name.rstrip("_").replace("_", "-")
        written.append(f" {key}" if value is True else f' {key}="{html.escape(str(value))}"')
    opening = f"<{tag}{''.join(written)}"
    return Html(f"{opening}/>" if tag in _VOID else f"{opening}>{join(*children)}</{tag}>")
