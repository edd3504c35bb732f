import pytest
from tests.synthesis.makers.drawn import draw, pages, world

from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.rewards.sets import SetF1, gold_items
from spadework.synthesis.corpus_graph import CorpusGraph
from spadework.synthesis.ledger import ledger_of, rederive
from spadework.synthesis.statements import Graph
from spadework.trajectories.tree import Trajectory


@pytest.mark.parametrize("graph", [world(), pages()])
def test_every_criterion_is_a_statement_of_its_page(graph: Graph) -> None:
    for task in draw("report", graph, 60):
        assert rederive(task) == task.answers and 3 <= len(task.meta["rubric"]) <= 12
        for point, item, statement in zip(task.meta["rubric"], task.meta["items"], ledger_of(task).statements, strict=True):
            subject, relation, object = point["statement"]
            assert object in graph.objects(subject, relation) and point["evidence"] == [statement.document] == [subject]
            assert item[0] in point["criterion"] and item == list(graph.names(object))
            assert point["weight"] == (1.0 if graph.name(subject) in task.question else 0.5)


def test_the_number_of_criteria_can_be_set() -> None:
    assert max(len(task.meta["rubric"]) for task in draw("report", world(), 40, points=4)) == 4


def test_rewards_read_it() -> None:
    (task,) = draw("report", world(), 1)
    assert len(gold_items(task)) == len(task.meta["rubric"])
    assert SetF1()(task, Trajectory(task.id, answer=task.answers[0])) == 1
    weak, strong = task.meta["references"]
    assert strong.startswith(weak) and task.meta["rubric"][-1]["criterion"] in strong.removeprefix(weak)


def test_a_sentence_of_a_page_is_one_criterion() -> None:
    texts = {
        "Lamps (play)": "Lamps was written by Ada Moon and by Cy Sand. In the winter the northern coast saw its many lights with Ada Moon.",
        "Ada Moon": "Ada Moon was taught in the old town by Cy Sand. The lamps of the town were lit by Eve Roe every single night.",
        "Cy Sand": "Nothing.",
        "Eve Roe": "Nothing.",
    }
    graph = CorpusGraph(MemoryCorpus([Document(id=title, title=title, text=text) for title, text in texts.items()]))
    task = next(task for task in draw("report", graph, 3) if "Lamps" in task.question)
    assert "Lamps (play)" in task.question
    criteria = [(point["criterion"], point["weight"]) for point in task.meta["rubric"]]
    # Three things are mentioned; the second sentence about Ada Moon names a thing that the first one has.
    assert criteria[0] == ("Lamps was written by Ada Moon and by Cy Sand.", 1.0) and len(dict(criteria)) == len(criteria)
    assert ("About Ada Moon: The lamps of the town were lit by Eve Roe every single night.", 0.5) in criteria
