"""The maker contract: how a published recipe draws tasks from a graph.

A maker is a frozen configuration with one method, `draw`: one attempt on a graph with a random stream. `task_at` gives attempt number
`index` a stream of its own, so the same seed gives the same tasks in any process and in any order, and `tasks` may be resumed anywhere:
it numbers the draws (`meta["draw"]`), drops questions that were asked before, and keeps only their hashes.

To split a run over processes, give each a range of indices for `task_at` and drop repeats in the order of the indices. Gates are not
applied here; neither are statements looked up on their pages (`ledger.locate`), which costs more than drawing them.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import count
from random import Random
from typing import Any, ClassVar, Literal, TypeVar

from spadework.core.errors import InputError
from spadework.core.registry import Part, Registry
from spadework.core.seeds import rng
from spadework.corpus.index import analyse
from spadework.synthesis.draft import Draft, constants, ledger, statements
from spadework.synthesis.ledger import Ledger, dump_ledger
from spadework.synthesis.query import answer_items, derivations
from spadework.synthesis.statements import Graph
from spadework.synthesis.wording import word
from spadework.tasks.task import Task

__all__ = ["Maker", "finish", "makers", "new_ones", "question_key", "register", "task_at", "tasks"]

T = TypeVar("T")
_PATIENCE = 20_000
"""Draws in a row without a new task after which a graph counts as exhausted."""
_FEWEST_TERMS = 5
"""Telling words of a sentence by which something can be found."""
_SAMPLE = 1_000
"""Entities that are looked at for an edge before a graph is said to have none."""


class Maker(Part):
    """A recipe for tasks; its defaults are the published setting where there is one."""

    needs: ClassVar[Literal["world", "documents", "model", "pages"]] = "documents"
    """The least it can work on: the graph of a world, any graph, or any graph with a language model; `pages`: a corpus, and no world."""

    @abstractmethod
    def draw(self, graph: Graph, random: Random) -> Draft | Task | None:
        """One attempt.

        Args:
            graph: where to draw from.
            random: decides everything.

        Returns:
            A finished draft or, from makers that word their questions themselves, a task; None: nothing here.
        """

    def check(self, graph: Graph) -> None:
        """Refuse a graph that it can not work on.

        Raises:
            InputError: it needs a world, or pages.
        """
        if self.needs == "pages" and graph.exact:
            raise InputError(f"maker '{self.registered_as}' reads sentences of pages and {graph.source} is a world; use --corpus")
        if self.needs == "world" and not graph.exact:
            raise InputError(f"maker '{self.registered_as}' needs the graph of a world and {graph.source} is not one; use --world")


makers: Registry[Maker] = Registry("maker", "spadework.synthesis.makers")
"""All registered makers."""
register = makers.register


def tasks(maker: Maker, graph: Graph, *, seed: int, n: int, start: int = 0, seen: Iterable[str] = ()) -> Iterator[Task]:
    """Draw tasks with different questions.

    Args:
        maker: what draws.
        graph: where from.
        seed: other seeds give other tasks.
        n: how many.
        start: the first draw; to resume, one more than `meta["draw"]` of the last task.
        seen: questions that were asked before; to resume, those of all tasks so far.

    Raises:
        InputError: the maker can not work on this graph, or the graph has too few different tasks; says how many there were.
    """
    maker.check(graph)
    drawn = (task_at(maker, graph, seed, index) for index in count(start))
    keyed = ((question_key(task.question), task) if task else None for task in drawn)
    return new_ones(keyed, {question_key(question) for question in seen}, n, maker, graph)


def new_ones(drawn: Iterable[tuple[bytes, T] | None], keys: set[bytes], n: int, maker: Maker, graph: Graph) -> Iterator[T]:
    """What was not asked before, in its order.

    Args:
        drawn: by draw, the key of the question and what to give back for it; None: the draw failed.
        keys: those of questions that were asked before; grows.
        n: how many.
        maker: what draws, for the error.
        graph: where from, for the error.

    Raises:
        InputError: too many draws in a row gave nothing new.
    """
    made = in_vain = 0
    stream = iter(drawn)
    while made < n:
        one = next(stream)
        if one is None or one[0] in keys:
            in_vain += 1
            if in_vain == _PATIENCE:
                raise InputError(_exhausted(maker, graph, len(keys), len(keys) - made + n))
            continue
        keys.add(one[0])
        made, in_vain = made + 1, 0
        yield one[1]


def task_at(maker: Maker, graph: Graph, seed: int, index: int) -> Task | None:
    """The task of one draw, whatever was drawn before; None if the draw failed."""
    random = rng("synthesis", maker.registered_as, graph.source, seed, index)
    drawn = maker.draw(graph, random)
    task = finish(drawn, graph, random, maker.registered_as) if isinstance(drawn, Draft) else drawn
    return task and task.model_copy(update={"meta": {**task.meta, "draw": index}})


def question_key(question: str) -> bytes:
    """What is kept of a question to know it again: eight bytes, whatever its case and spaces."""
    return hashlib.blake2b(" ".join(question.casefold().split()).encode(), digest_size=8).digest()


def finish(draft: Draft, graph: Graph, random: Random, kind: str) -> Task | None:
    """Word a draft and write its ledger.

    None if no wording keeps the answer to itself, if there is a way around one of its pages, or if a question on documents names nothing
    and has no clue that says much: it has a single answer by its words alone ("works for"), and others where a page has other words.

    `meta` has the ledger; `items` for answers with several parts; `level` of difficulty, where the maker has levels; and `steps`, which
    the scripted expert follows, if the answer of a find on a world can be looked up from the names in the question.
    """
    if not all(_straight(part, graph) and _anchored(part, graph) for part in draft.parts or (draft,)):
        return None
    question = word(draft, graph, random)
    if question is None:
        return None
    kept = ledger(draft, graph)
    operation = draft.query.operation
    items = [list(graph.names(draft.answer))] if operation == "find" else answer_items(draft.query, graph)
    several = operation in ("list", "compose")
    meta: dict[str, Any] = {"ledger": dump_ledger(kept)}
    if several:
        meta["items"] = items
    if draft.level:
        meta["level"] = draft.level
    if graph.exact and (steps := _steps(draft, kept, graph)):
        meta["steps"] = steps
    name = hashlib.sha256(f"{graph.source}\n{question}".encode()).hexdigest()[:12]
    return Task(
        id=f"{kind}-{name}",
        question=question,
        answers=("; ".join(item[0] for item in items),) if several else tuple(items[0]),
        evidence=kept.documents,
        hops=len(kept.documents),
        kind=kind,
        source=graph.source,
        meta=meta,
    )


def _anchored(draft: Draft, graph: Graph) -> bool:
    """Whether a question names something, or a sentence in it says enough to be found by it."""
    said = (triple.relation.replace("{s}", " ").replace("{o}", " ") for triple in draft.query.triples)
    return graph.exact or bool(constants(draft.query)) or any(len(set(analyse(text))) >= _FEWEST_TERMS for text in said)


def _straight(draft: Draft, graph: Graph) -> bool:
    """Whether every answer can be found in one way only, so that it rests on all of its pages."""
    ways = len(draft.witnesses)
    one_each = draft.query.operation != "find" or len(statements(draft, graph)) <= len(draft.query.triples)
    return one_each and derivations(draft.query, graph, ways + 1) <= ways


def _steps(draft: Draft, kept: Ledger, graph: Graph) -> list[list[str]]:
    """The look-ups that lead from the names in the question to the answer, if a find has nothing vague: its statements in solving order."""
    if draft.query.operation != "find" or draft.query.conditions or len(kept.statements) != len(draft.query.triples):
        return []
    return [[graph.name(edge.subject), edge.relation, graph.name(edge.object)] for edge in kept.statements]


def _exhausted(maker: Maker, graph: Graph, made: int, n: int) -> str:
    name = maker.registered_as
    if not made and maker.needs != "pages" and not any(graph.outgoing(entity) for entity in graph.entities[:_SAMPLE]):
        return f"{graph.source} has no links between its pages, and maker '{name}' follows links; use a corpus with links, or maker 'spans'"
    ranges = [f"{key}={list(value)}" for key, value in maker if type(maker).model_fields[key].annotation == tuple[int, int]]
    lower = f", or lower {' or '.join(ranges)}" if ranges and not graph.exact else ""
    return f"{graph.source} has about {made} different tasks for maker '{name}' and {n} are wanted; ask for fewer, use more pages{lower}"
