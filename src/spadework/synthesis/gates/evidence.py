"""Is what the answer rests on there to be read? Every statement of the ledger stands on its page, and nothing else is called evidence.

A statement is looked at where the ledger says that it stands, or where the graph finds it; without either on the whole page. It is there if
the page is the task's evidence and its text names the object by one of its names. Tasks without a ledger: every evidence page exists and
one of them has the answer; a yes, a no and a number may be worked out and stand nowhere.

Not done: whether the sentence says the relation. On a world it does, because a fact line is looked for as a whole.
"""

from typing import ClassVar

from spadework.corpus.document import Pages
from spadework.rewards.matching import norm_squad
from spadework.synthesis.gates.gate import Check, Gate, Ground, Need, graph_of, register
from spadework.synthesis.ledger import Ledger, Verdict, ledger_of
from spadework.synthesis.names import mentions
from spadework.synthesis.statements import Statement, is_literal
from spadework.tasks.task import Task

__all__ = ["Evidence"]


@register("evidence", formula="every statement stands on its page", source="ASearcher, 2508.07976")
class Evidence(Gate):
    """Every statement of the ledger stands on its page."""

    needs: ClassVar[tuple[Need, ...]] = ("pages",)

    def open(self, ground: Ground) -> Check:
        """See `Gate`."""
        pages = ground.pages
        assert pages is not None

        def check(task: Task) -> Verdict:
            if "ledger" not in task.meta:
                return self._read(task, pages)
            ledger = ledger_of(task)
            if other := set(task.evidence) ^ set(ledger.documents):
                return self.drop("evidence and ledger name different pages", sorted(other))
            graph = graph_of(ground, task) if ground.graph is not None else None
            for statement in ledger.statements:
                try:
                    stated = graph.located(statement) if graph is not None else statement
                except ValueError:  # a world has no such line
                    return self.drop("a page does not say what the ledger has of it", list(statement[:4]))
                if not _stands(stated, ledger, pages):
                    return self.drop("a page does not say what the ledger has of it", list(statement[:4]))
            return self.keep(f"{len(ledger.statements)} statements stand on their pages", ledger.documents)

        return check

    def _read(self, task: Task, pages: Pages) -> Verdict:
        if not task.evidence:
            return self.drop("it names no evidence")
        found = {key: page for key in task.evidence if (page := pages.get(key)) is not None and page.id == key}
        if missing := [key for key in task.evidence if key not in found]:
            return self.drop("evidence is missing", missing)
        computed = norm_squad(task.answers[0]) in ("yes", "no") or task.answers[0].isdecimal()
        texts = [f"{page.title}\n{page.text}" for page in found.values()]
        if not computed and not any(mentions(text, answer) for text in texts for answer in task.answers):
            return self.drop("no evidence page has the answer", task.evidence)
        return self.keep(f"{len(texts)} evidence pages are there", task.evidence)


def _stands(statement: Statement, ledger: Ledger, pages: Pages) -> bool:
    page = pages.get(statement.document)
    if page is None or page.id != statement.document:
        return False
    text = page.text if statement.start < 0 else page.text[statement.start : statement.end]
    names = (statement.object[1:],) if is_literal(statement.object) else ledger.names[statement.object]
    return any(mentions(text, name) for name in names)
