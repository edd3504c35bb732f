from functools import cache

import pytest
from tests.synthesis.makers.drawn import world

from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.rewards.matching import em
from spadework.synthesis.audit import audit
from spadework.synthesis.corpus_graph import CorpusGraph
from spadework.synthesis.ledger import ledger_of, locate, rederive
from spadework.synthesis.makers.maker import makers, tasks
from spadework.synthesis.spans import page_split
from spadework.tasks.task import Task
from spadework.tasks.validate import validate

A, B = [key for key in (f"p{number}" for number in range(100)) if page_split(key) == "train"][:2]
FILM = "The Quiet Harbour is a drama about lonely lighthouse keepers directed by Mara Velt and shown at many festivals."
PAGES = [
    Document(id=A, title="The Quiet Harbour", text=FILM),
    Document(id=B, title="Mara Velt", text="Mara Velt (born 1950) studied painting and sculpture for many years in Ostrava."),
    *(Document(id=f"noise{number}", title=f"Painter {number}", text="Painting and sculpture for many years.") for number in range(8)),
]


@cache
def graph() -> CorpusGraph:
    return CorpusGraph(MemoryCorpus(PAGES))


@cache
def made() -> dict[int, Task]:
    """By their pages: the question of one hop about the film, the one of two, and the one about the painter."""
    return {task.hops: task for task in tasks(makers.build("spans"), graph(), seed=0, n=3) if task.evidence[0] == A}


def test_a_ledger_for_names_that_are_pages_and_names_that_are_not() -> None:
    one, two = made()[1], made()[2]
    assert [edge[:3] for edge in ledger_of(one).statements] == [(A, FILM.replace("Mara Velt", "{o}"), B)]
    second = PAGES[1].text.replace("Ostrava", "{o}")
    assert [edge[:3] for edge in ledger_of(two).statements] == [(A, FILM.replace("Mara Velt", "{o}"), B), (B, second, "name:Ostrava")]
    for task in (one, two):
        assert rederive(task) == task.answers and audit(task, graph().corpus) == []
        assert locate(task, graph()) == task  # it is already
        assert validate(task, graph().corpus, em) == []
        assert task.source == graph().source and Task.model_validate_json(task.model_dump_json()) == task


def test_pages_of_other_splits_are_not_asked_about() -> None:
    with pytest.raises(InputError, match="about 0 different tasks for maker 'spans'"):
        next(tasks(makers.build("spans", {"split": "dev"}), graph(), seed=0, n=1))


def test_a_world_is_refused() -> None:
    with pytest.raises(InputError, match=r"maker 'spans' reads sentences of pages and world:.* is a world; use --corpus"):
        next(tasks(makers.build("spans"), world(), seed=0, n=1))


def test_pages_without_links_have_spans_too() -> None:
    text = "The old keepers of the northern lamp were led by Mara Velt for many years and by nobody else."
    alone = CorpusGraph(
        MemoryCorpus([Document(id=A, title="The Lamp", text=text), Document(id=B, title="The Inn", text="Nothing is said here.")])
    )
    (task,) = tasks(makers.build("spans"), alone, seed=0, n=1)
    assert task.answers == ("Mara Velt",) and task.evidence == (A,)
