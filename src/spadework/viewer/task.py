"""The page of a synthesised task: the graph of its question, how it was made, the evidence with what is said there, and the gates."""

import json
from collections.abc import Sequence
from pathlib import Path

from spadework.core.events import write_atomic
from spadework.corpus.document import Pages
from spadework.synthesis.draft import branches
from spadework.synthesis.ledger import Ledger, ledger_of
from spadework.synthesis.query import Between, Initial, OfType, OneOf, Query, Term, Variable, witnesses
from spadework.synthesis.statements import LedgerGraph, Statement
from spadework.tasks.task import Task
from spadework.viewer.markup import Html, el, join
from spadework.viewer.page import page
from spadework.viewer.sections import missing, section

__all__ = ["query_graph", "task_lines", "write_task"]

_ROW, _INDENT, _LEFT = 46, 24, 14
"""Pixels of a row of the graph, of a step to the right, and before the first node."""
_LETTER = 7.6
"""Pixels of a letter, about."""
_LONGEST = 44
"""Letters of a line in the graph; the relation of a document corpus is a whole sentence."""


def write_task(task: Task, out: Path, corpus: Pages | None = None) -> None:
    """Write the page of a task, one file with nothing to fetch.

    Args:
        task: what is shown.
        out: the file.
        corpus: where its evidence is; None: statements are shown without their pages.

    Raises:
        InputError: its ledger is damaged, or the disk is full.
    """
    kept = ledger_of(task) if "ledger" in task.meta else None
    none = missing("This task keeps no ledger.")
    parts = [
        ("graph", "Graph", section("graph", "Graph of the question", _LEAD, _graphs(kept) if kept else none)),
        ("steps", "Steps", section("steps", "How it was made", None, _edits(kept) if kept else none)),
        ("evidence", "Evidence", section("evidence", "Evidence", None, *_pages(task, kept, corpus))),
        ("gates", "Gates", section("gates", "Gates", None, _gates(kept) if kept else none)),
    ]
    raw = el("pre", json.dumps(task.model_dump(mode="json"), indent=2, ensure_ascii=False))
    parts.append(("raw", "Raw", section("raw", "The task as it is stored", None, el("details", el("summary", "Show the JSON"), raw))))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, page(f"{task.id}: a Spadework task", _hero(task), parts))


_LEAD = "The ring at the top is asked for. Rings are not named in the question, squares are. An arrow leads from subject to object."


def task_lines(task: Task) -> str:
    """A task as text for a terminal."""
    lines = [f"{task.id}  ({task.kind}, {task.hops} pages, {task.source})", "", task.question, "", f"answers:  {' | '.join(task.answers)}"]
    lines.append(f"evidence: {', '.join(task.evidence)}")
    if "ledger" in task.meta:
        kept = ledger_of(task)
        lines += ["", "statements:", *(f"  [{one.document}] {_said(one, kept.graph)}" for one in kept.statements)]
        lines += ["edits:", *(f"  {edit.operator}: {edit.did} ({edit.before} -> {edit.after} clues)" for edit in kept.edits)]
        lines += ["gates:"] * bool(kept.gates) + [
            f"  {gate.gate}: {'passed' if gate.passed else 'failed'}; {gate.reason}" for gate in kept.gates
        ]
    return "\n".join(lines)


def query_graph(query: Query, graph: LedgerGraph, meant: dict[str, str] | None = None) -> Html:
    """The tree of a query as SVG: one row per node, its relation to the row above over its name.

    Args:
        query: a query without parts.
        graph: has the names.
        meant: by name of a variable, what it stands for.
    """
    rows: list[tuple[int, int, str, str, bool]] = []
    _rows(query, query.target, graph, meant or {}, frozenset(), -1, "", rows)
    depth: list[int] = []
    drawn: list[Html] = []
    width = 0.0
    for number, (parent, level, relation, label, named) in enumerate(rows):
        depth.append(level)
        x, y = _LEFT + level * _INDENT, 26 + number * _ROW
        if parent >= 0:
            above = 26 + parent * _ROW
            drawn.append(el("path", d=f"M{x - _INDENT} {above + 8}V{y}H{x - 9}", class_="edge"))
            drawn.append(el("text", el("title", relation), _cut(relation), x=x + 14, y=y - 13, class_="relation"))
        if named:
            drawn.append(el("rect", x=x - 7, y=y - 7, width=14, height=14, rx=3, class_="named"))
        else:
            drawn.append(el("circle", cx=x, cy=y, r=8 if number == 0 else 7, class_="target" if number == 0 else "variable"))
        drawn.append(el("text", el("title", label), _cut(label), x=x + 14, y=y + 5, class_="node"))
        width = max(width, x + 24 + _LETTER * max(len(_cut(label)), len(_cut(relation))))
    height = 26 + len(rows) * _ROW - 18
    return el(
        "svg",
        drawn,
        viewBox=f"0 0 {width:.0f} {height}",
        width=f"{width:.0f}",
        height=height,
        class_="query",
        role="img",
        aria_label="Graph of the question",
    )


def _rows(
    query: Query,
    term: Term,
    graph: LedgerGraph,
    meant: dict[str, str],
    seen: frozenset[int],
    parent: int,
    relation: str,
    rows: list[tuple[int, int, str, str, bool]],
) -> None:
    level = rows[parent][1] + 1 if parent >= 0 else 0
    rows.append((parent, level, relation, _label(query, term, graph, meant), not isinstance(term, Variable)))
    here = len(rows) - 1
    for index, end, forwards in branches(query, term, seen) if isinstance(term, Variable) else ():
        name = query.triples[index].relation.replace("{s}", "\u2026").replace("{o}", "\u2026")
        _rows(query, end, graph, meant, seen | {index}, here, f"{name} \u2192" if forwards else f"\u2190 {name}", rows)


def _label(query: Query, term: Term, graph: LedgerGraph, meant: dict[str, str]) -> str:
    if isinstance(term, str):
        return graph.name(term)
    if isinstance(term, OneOf):
        return " or ".join(map(graph.name, term.constants))
    vague = [_vague(condition) for condition in query.conditions if condition.variable == term]
    stands_for = graph.name(meant[term.name]) if term.name in meant else ""
    return " \u00b7 ".join(filter(None, [f"?{' = ' if stands_for else ''}{stands_for}", *vague]))


def _vague(condition: OfType | Initial | Between) -> str:
    if isinstance(condition, OfType):
        return f"a {condition.type}"
    return f"{condition.letter}\u2026" if isinstance(condition, Initial) else f"{condition.low} to {condition.high}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}\u2026"


def _graphs(kept: Ledger) -> Html:
    drawn: list[Html] = []
    for number, query in enumerate(kept.query.parts or (kept.query,), start=1):
        found = witnesses(query, kept.graph, 1) if query.triples else []
        meant = {variable.name: value for variable, value in found[0].items()} if found else {}
        title = el("h3", f"Part {number}") if kept.query.parts else None
        drawn.append(
            el(
                "div",
                title,
                el(
                    "div",
                    query_graph(query, kept.graph, meant),
                    class_="scroll",
                    tabindex=0,
                    role="region",
                    aria_label="Graph of the question",
                ),
                class_="panel wide",
            )
        )
    if kept.query.operation != "find":
        by = f" by {kept.query.attribute}, {'smallest' if kept.query.smaller else 'largest'}" if kept.query.attribute else ""
        drawn.append(el("p", f"Asked: {kept.query.operation}{by}.", class_="note"))
    return join(drawn)


def _edits(kept: Ledger) -> Html:
    rows = [
        el(
            "tr",
            el("th", edit.operator, scope="row"),
            el("td", edit.did),
            el("td", str(edit.level or "")),
            el("td", f"{edit.before} \u2192 {edit.after}"),
        )
        for edit in kept.edits
    ]
    return _table("Steps", ("operator", "what it did", "level", "clues"), rows) if rows else missing("No operator was noted.")


def _gates(kept: Ledger) -> Html:
    rows = [
        el(
            "tr",
            el("th", gate.gate, scope="row"),
            el("td", el("span", "passed" if gate.passed else "failed", class_=f"chip {'good' if gate.passed else 'bad'}")),
            el("td", gate.reason),
            el("td", ", ".join(gate.evidence)),
        )
        for gate in kept.gates
    ]
    return _table("Gates", ("gate", "verdict", "why", "evidence"), rows) if rows else missing("No gate has looked at this task yet.")


def _table(label: str, header: Sequence[str], rows: list[Html]) -> Html:
    head = el("thead", el("tr", [el("th", cell, scope="col") for cell in header]))
    return el("div", el("table", head, el("tbody", rows)), class_="scroll", tabindex=0, role="region", aria_label=label)


def _pages(task: Task, kept: Ledger | None, corpus: Pages | None) -> list[Html]:
    shown = []
    for number, key in enumerate(task.evidence, start=1):
        stated = [one for one in kept.statements if one.document == key] if kept else []
        document = corpus.get(key) if corpus else None
        said = el("ul", [el("li", _said(one, kept.graph)) for one in stated]) if kept and stated else None
        text = el("div", _marked(document.text, stated), class_="text") if document else None
        title = document.title if document else key
        shown.append(el("div", el("h3", f"{number}. {title}", el("span", key, class_="unit")), said, text, class_="panel wide"))
    if corpus is None:
        shown.append(missing("The pages are not at hand; name them with --corpus DIR or --world SEED."))
    return shown or [missing("This task names no page.")]


def _marked(text: str, stated: Sequence[Statement]) -> Html:
    parts: list[Html | str] = []
    done = 0
    for start, end in sorted((one.start, one.end) for one in stated if one.start >= 0):
        if end > done:
            parts += [text[done : max(start, done)], el("mark", text[max(start, done) : end])]
            done = end
    return join(*parts, text[done:])


def _said(statement: Statement, graph: LedgerGraph) -> str:
    subject, object = graph.name(statement.subject), graph.name(statement.object)
    if "{o}" in statement.relation:
        return statement.relation.replace("{s}", subject).replace("{o}", object)
    return f"{subject}: {statement.relation} {object}"


def _hero(task: Task) -> Html:
    level = [f"level {task.meta['level']}"] if "level" in task.meta else []
    chips = [el("span", text, class_="chip") for text in [task.kind, *level, f"{task.hops} pages", task.source] if text]
    answer = el(
        "p", "Answer: ", el("b", task.answers[0]), f" (or {', '.join(task.answers[1:])})" if task.answers[1:] else "", class_="gold"
    )
    return join(el("h1", task.question), answer, el("p", chips, class_="meta"))
