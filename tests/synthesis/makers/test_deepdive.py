import pytest
from tests.synthesis.makers.drawn import draw, world

from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.synthesis.corpus_graph import CorpusGraph
from spadework.synthesis.draft import constants
from spadework.synthesis.ledger import ledger_of, rederive


def test_a_long_walk_that_names_nothing_and_asks_for_a_number() -> None:
    made = draw("deepdive", world(), 100)
    assert {task.hops for task in made} == {5, 6, 7, 8, 9}
    for task in made:
        kept = ledger_of(task)
        assert task.answers[0].isdecimal() and constants(kept.query) == set()
        assert not any(name in task.question for names in kept.names.values() for name in names)
        assert len(kept.query.triples) <= 15


def test_the_number_is_one_of_the_last_page() -> None:
    for task in draw("deepdive", world(), 30, nodes=(5, 5)):
        last = ledger_of(task).statements[-1]
        assert last.document == task.evidence[-1] and last.object == f"={task.answers[0]}" and task.hops == 5


def test_pages_with_short_chains_say_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spadework.synthesis.makers.maker._PATIENCE", 300)
    texts = {
        "Ada Moon": "Ada Moon was taught in the old town by the painter Cy Sand.",
        "Cy Sand": "Cy Sand kept the letters of his friend Eve Roe all his life.",
        "Eve Roe": "Eve Roe is a keeper of a lamp on the northern coast.",
    }
    graph = CorpusGraph(MemoryCorpus([Document(id=title, title=title, text=text) for title, text in texts.items()]))
    with pytest.raises(InputError, match=r"has about 0 different tasks for maker 'deepdive' .*, or lower nodes=\[5, 9\] or mad=\[1, 3\]"):
        draw("deepdive", graph, 1)
    (task,) = draw("deepdive", graph, 1, nodes=(2, 4))
    assert task.answers == ("Eve Roe",) and task.hops == 2 and "The name of Z begins with A." in task.question
    assert rederive(task) == task.answers and constants(ledger_of(task).query) == set()


def test_on_pages_short_lines_alone_lead_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spadework.synthesis.makers.maker._PATIENCE", 300)
    texts = {
        "Ada Moon": "Ada Moon works now for Cy Sand.",
        "Cy Sand": "Cy Sand went to school with Eve Roe.",
        # She has the same employer in other words: nobody could tell that "works for" means Ada Moon.
        "Una Vale": "The employer of Una Vale is Cy Sand.",
        "Eve Roe": "Nothing.",
    }
    graph = CorpusGraph(MemoryCorpus([Document(id=title, title=title, text=text) for title, text in texts.items()]))
    with pytest.raises(InputError, match="has about 0 different tasks"):
        draw("deepdive", graph, 1, nodes=(2, 4))
    assert draw("e2hqa", graph, 1)  # with a name it is asked
