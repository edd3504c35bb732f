"""Compares what is read off the pages of a world as plain HTML with the world: statements, and the answers of tasks.

Run as `python scripts/check_pages.py --world SEED --pages N --write FOLDER` to write the world's site as a folder of HTML pages, and
with `--tasks FILE` to check tasks that `spadework synth` made from the corpus of that folder. A statement is true if the world has a
sentence for its two ends that reads like it. A clue means the relation behind its sentence, so a task is asked of the world in its
meaning, whatever the words: what is unique on the pages by its words alone has several answers there.
"""

import argparse
import re
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

from spadework.corpus.ingest import read_documents
from spadework.corpus.store import MemoryCorpus
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.schema import GENERIC_PROSE, RELATIONS
from spadework.corpus.worlds.site import Site
from spadework.corpus.worlds.world import World, WorldConfig
from spadework.synthesis.corpus_graph import CorpusGraph
from spadework.synthesis.ledger import Ledger, ledger_of
from spadework.synthesis.query import Query, Term, Triple, Variable, solve
from spadework.synthesis.statements import Statement, WorldGraph
from spadework.tasks.dataset import read_tasks
from spadework.tasks.task import Task

__all__ = ["Truth", "write_pages"]

_SAID = {
    (kind, relation.name): ("{s} {r} {o}", *GENERIC_PROSE, *relation.prose)
    for kind, relations in RELATIONS.items()
    for relation in relations
}
_MANY = 3


def write_pages(world: World, folder: Path) -> None:
    """The site of a world as a folder of HTML pages with relative links."""
    folder.mkdir(parents=True, exist_ok=True)
    site = Site(world)
    for page in site.pages:
        body = re.sub(r'href="/wiki/([^"]*)"', r'href="\1.html"', site.answer(f"/wiki/{page}")[2])
        (folder / f"{unquote(page)}.html").write_text(body, encoding="utf-8")


class Truth:
    """A world, as what its pages say is compared with it."""

    def __init__(self, world: World) -> None:
        self.world, self.graph = world, WorldGraph(world)
        self.ids = {entity.title: entity.id for entity in world.entities.values()}

    def relation(self, edge: Statement, names: dict[str, tuple[str, ...]]) -> tuple[str, bool] | None:
        """The relation behind a statement, and whether its subject is the page's object; None if the world does not say so."""
        ends = [self.ids.get(names[key][0]) for key in (edge.subject, edge.object)]
        read = {edge.relation.replace("{s}", s).replace("{o}", o) for s in names[edge.subject] for o in names[edge.object]}
        for turned in (False, True):
            subject, object = reversed(ends) if turned else ends
            for relation, target in self.world.facts.get(subject or "", {}).items():
                texts = _SAID[self.world.entities[subject or ""].type, relation] if target == object else ()
                called = [(s, o) for s in self.world.names(subject or "") for o in self.world.names(target)] if texts else []
                if read & {text.format(s=s, r=relation, o=o) for text in texts for s, o in called}:
                    return relation, turned
        return None

    def verdict(self, task: Task) -> str:
        """`right`, `untrue`, `wrong`, or the number of answers that the world gives (3: three or more)."""
        kept = ledger_of(task)
        behind = {edge.relation: self.relation(edge, kept.names) for edge in kept.statements}
        if None in behind.values():
            return "untrue"
        for query, gold in zip(kept.query.parts or (kept.query,), task.meta.get("items") or [task.answers], strict=True):
            found = self._solved(query, kept, behind)
            if found and len(found) != 1:
                return f"{len(found)} answers"
            if found and self.graph.name(found[0]) not in gold:
                return "wrong"
        return "right"

    def _solved(self, query: Query, kept: Ledger, behind: dict[str, tuple[str, bool] | None]) -> list[str]:
        """Answers of the world; empty if the question names its target by an alias."""
        # A line without the page's own name has an alias in it, by which the page is named.
        alias: dict[Term, str] = {
            triple.subject: next(self.ids[kept.names[edge.subject][0]] for edge in kept.statements if edge.relation == triple.relation)
            for triple in query.triples
            if "{s}" not in triple.relation and isinstance(triple.subject, Variable)
        }
        triples = []
        for triple in query.triples:
            relation, turned = behind[triple.relation] or ("", False)
            ends = [
                alias.get(end) or (end if not isinstance(end, str) else self.ids[kept.names[end][0]])
                for end in (triple.subject, triple.object)
            ]
            triples.append(Triple(ends[turned], relation, ends[not turned]))
        conditions = tuple(condition for condition in query.conditions if condition.variable not in alias)
        return [] if query.target in alias else solve(Query(query.target, tuple(triples), conditions), self.graph, _MANY, distinct=False)


def main(arguments: list[str]) -> int:
    """Write pages, compare their statements, and check tasks; 1 if something is untrue or wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--world", type=int, required=True, help="seed")
    parser.add_argument("--pages", type=int, default=1_500)
    parser.add_argument("--write", type=Path, help="folder for the HTML pages; their statements are compared")
    parser.add_argument("--tasks", type=Path, nargs="*", default=[], help="task files made from these pages")
    given = parser.parse_args(arguments)
    truth, bad = Truth(build_world(WorldConfig(seed=given.world, pages=given.pages))), 0
    if given.write:
        write_pages(truth.world, given.write)
        graph = CorpusGraph(MemoryCorpus(read_documents(given.write)))
        edges = [edge for key in graph.entities for edge in graph.outgoing(key)]
        untrue = [edge for edge in edges if truth.relation(edge, {key: graph.names(key) for key in (edge.subject, edge.object)}) is None]
        print(f"{len(edges)} statements, {len(untrue)} untrue", *untrue[:5], sep="\n")
        bad += len(untrue)
    for file in given.tasks:
        verdicts = Counter(truth.verdict(task) for task in read_tasks(file))
        print(f"{file}: {', '.join(f'{n} {verdict}' for verdict, n in verdicts.most_common())}")
        bad += verdicts["untrue"] + verdicts["wrong"]
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
