"""Report tasks: a topic, and a rubric made of what the pages say about it and about what it is linked to.

`meta["rubric"]` lists criteria {criterion, weight, evidence, statement}, as ResearchRubrics (arXiv 2511.07685) does: a fact about the topic
weighs 1, one about what it is linked to a half. Every criterion is a statement with its page, so it can be checked without a judge.
`meta["items"]` are the names and numbers that a full report mentions, for `set-f1` (O2-Searcher's key findings, arXiv 2505.16582), and
`meta["references"]` a weak and a strong report for pairwise rewards (Writing-RL, arXiv 2506.05760).

In those papers people or models write rubrics from a prompt; here they are exact and say nothing about style or order.
"""

import hashlib
from random import Random

from spadework.synthesis.chance import pick, shuffled
from spadework.synthesis.ledger import Edit, Ledger, dump_ledger
from spadework.synthesis.makers.maker import Maker, register
from spadework.synthesis.query import OneOf, Query
from spadework.synthesis.statements import Graph, Statement, is_literal
from spadework.tasks.task import Task

__all__ = ["Report"]

_FEWEST = 3
_QUESTIONS = (
    "Write a report on {topic}: what is known about it, and about what it is linked to.",
    "I need a report on {topic}. Cover its facts and those of what stands in relation to it.",
    "Tell me all that matters about {topic} and its connections, in a short report with sources.",
)


@register(
    "report",
    formula="a topic; its facts weigh 1, facts of what it is linked to 0.5; at most {points} criteria",
    source="Spadework; rubrics as in ResearchRubrics, 2511.07685",
)
class Report(Maker):
    """A topic with a rubric."""

    points: int = 12
    """Most criteria."""

    def draw(self, graph: Graph, random: Random) -> Task | None:
        """See `Maker`."""
        topic = pick(graph.entities, random)
        direct = list(graph.outgoing(topic))
        around = [fact for edge in direct if not is_literal(edge.object) for fact in graph.outgoing(edge.object)]
        facts: dict[str, Statement] = {}
        said: set[str] = set()
        for fact in (*direct, *shuffled(around, random)):
            # A sentence of a page that mentions several things is one criterion.
            sentence = _sentence(fact, graph)
            if fact.object != topic and fact.object not in facts and sentence not in said and len(facts) < self.points:
                facts[fact.object] = fact
                said.add(sentence)
        question = pick(_QUESTIONS, random).format(topic=_topic(graph, topic))
        told = [key for key in facts if any(name in question for name in graph.names(key))]
        if len(facts) < _FEWEST or told:
            return None
        return self._task(graph, topic, question, list(facts.values()))

    def _task(self, graph: Graph, topic: str, question: str, facts: list[Statement]) -> Task:
        keys = dict.fromkeys(key for fact in facts for key in (fact.subject, fact.object) if not is_literal(key))
        query = Query(OneOf(tuple(fact.object for fact in facts)), operation="list")
        edit = Edit("report", f"{len(facts)} criteria on {graph.name(topic)}", 0, len(facts))
        types = {key: kind for key in keys if (kind := graph.type(key))}
        kept = Ledger(query, tuple(facts), {key: graph.names(key) for key in keys}, types, (edit,))
        sentences = [_sentence(fact, graph) for fact in facts]
        rubric = [
            {
                "criterion": sentence,
                "weight": 1.0 if fact.subject == topic else 0.5,
                "evidence": [fact.document],
                "statement": list(fact[:3]),
            }
            for fact, sentence in zip(facts, sentences, strict=True)
        ]
        items = [list(graph.names(fact.object)) for fact in facts]
        name = hashlib.sha256(f"{graph.source}\n{question}".encode()).hexdigest()[:12]
        references = [" ".join(sentences[: len(sentences) // 2]), " ".join(sentences)]
        return Task(
            id=f"{self.registered_as}-{name}",
            question=question,
            answers=("; ".join(item[0] for item in items),),
            evidence=kept.documents,
            hops=len(kept.documents),
            kind=self.registered_as,
            source=graph.source,
            meta={"ledger": dump_ledger(kept), "items": items, "rubric": rubric, "references": references},
        )


def _topic(graph: Graph, key: str) -> str:
    """Its name, with the bracket of its title: there is many a "Pilot"."""
    names = graph.names(key)
    return next((name for name in names[1:2] if name.startswith(f"{names[0]} (")), names[0])


def _sentence(fact: Statement, graph: Graph) -> str:
    if "{o}" in fact.relation:
        about = "" if "{s}" in fact.relation else f"About {graph.name(fact.subject)}: "
        return about + fact.relation.replace("{s}", graph.name(fact.subject)).replace("{o}", graph.name(fact.object))
    return f"The {fact.relation} of {graph.name(fact.subject)} is {graph.name(fact.object)}."
