from tests.synthesis.brute_force import Facts
from tests.synthesis.makers.drawn import draw, pages, world

from spadework.synthesis.ledger import ledger_of, rederive


def test_the_root_is_determined_by_its_branches_together_only() -> None:
    facts = Facts(world().world)
    for task in draw("infoseek", world(), 40):
        query = ledger_of(task).query
        for index in range(len(query.triples)):
            rest = type(query)(query.target, query.triples[:index] + query.triples[index + 1 :])
            assert len(facts.targets(rest)) > 1, task.question


def test_deeper_trees_have_more_clues() -> None:
    def clues(depth: int) -> int:
        return sum(len(ledger_of(task).query.triples) for task in draw("infoseek", world(), 40, depth=(depth, depth)))

    assert clues(1) < clues(3)


def test_on_documents() -> None:
    assert all(rederive(task) == task.answers and task.hops >= 2 for task in draw("infoseek", pages(), 30))
