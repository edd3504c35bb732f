"""RLTR: requests for a planner whose use of tools is judged, not what it says (arXiv 2508.19598).

Most requests to a research agent have no gold answer. These ask for a note on something that has to be found first; what can be checked is
whether the pages were consulted: those that lead to it and its own. They are the task's evidence, which the reward of that paper reads
(`rewards/rltr.py`: completeness, here evidence recall, minus repeated and failed calls). `answers` names what the note is about, because
every task has an answer; no part of that reward reads it.

In the paper requests are those of users, and a judge rates completeness.
"""

import hashlib
from dataclasses import replace
from random import Random

from spadework.synthesis.chance import pick, within
from spadework.synthesis.draft import Draft
from spadework.synthesis.ledger import ledger_of, with_ledger
from spadework.synthesis.makers.maker import Maker, finish, register
from spadework.synthesis.operators import link, prune, walk
from spadework.synthesis.statements import Graph
from spadework.tasks.task import Task

__all__ = ["Rltr"]

_REQUESTS = (
    "Find it, read its page, and write a short note on it.",
    "Look it up as well and tell me what would interest a visitor.",
    "When you have found it, sum up its own page for me.",
    "Then recommend what to read on it first, after a look at its page.",
)


@register("rltr", formula="a look-up, {rounds} rounds of description (fewest, most), and an open request", source="RLTR, 2508.19598")
class Rltr(Maker):
    """Requests whose pages are known."""

    rounds: tuple[int, int] = (0, 2)
    """Fewest and most descriptions that have to be resolved before the look-up."""

    def draw(self, graph: Graph, random: Random) -> Task | None:
        """See `Maker`."""
        draft: Draft | None = walk(graph, random, edges=1, jump=0, forward=True)
        for _ in range(within(self.rounds, random)):
            draft = draft and link(graph, draft, random)
        draft = draft and prune(graph, draft, random)
        about = graph.outgoing(draft.answer) if draft else ()
        found = finish(draft, graph, random, self.registered_as) if draft and about else None
        if draft is None or found is None:
            return None
        question = f"{found.question} {pick(_REQUESTS, random)}"
        kept = ledger_of(found)
        said = tuple(dict.fromkeys((*kept.statements, *about)))
        names = {key: graph.names(key) for one in said for key in (one.subject, one.object) if not key.startswith("=")}
        name = hashlib.sha256(f"{graph.source}\n{question}".encode()).hexdigest()[:12]
        kept = replace(kept, statements=said, names=kept.names | names, types=kept.types | {k: t for k in names if (t := graph.type(k))})
        evidence = {"evidence": kept.documents, "hops": len(kept.documents)}
        return with_ledger(found.model_copy(update={"id": f"{self.registered_as}-{name}", "question": question, **evidence}), kept)
