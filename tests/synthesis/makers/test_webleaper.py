import pytest
from tests.synthesis.brute_force import Facts
from tests.synthesis.makers.drawn import draw, pages, world

from spadework.core.errors import InputError
from spadework.rewards.sets import gold_items
from spadework.synthesis.ledger import ledger_of
from spadework.synthesis.query import OneOf, Variable


@pytest.mark.parametrize(("variant", "kind"), [("basic", str), ("union", OneOf), ("reverse-union", Variable)])
def test_every_entity_that_belongs_is_required(variant: str, kind: type) -> None:
    facts = Facts(world().world)
    for task in draw("webleaper", world(), 40, variants=(variant,)):
        query = ledger_of(task).query
        assert isinstance(query.triples[0].object, kind)
        assert sorted(gold[0] for gold in gold_items(task)) == sorted(map(world().name, facts.targets(query)))
        assert 3 <= len(task.meta["items"]) <= 20


def test_the_number_of_entities_can_be_set() -> None:
    assert all(len(task.meta["items"]) == 5 for task in draw("webleaper", world(), 20, entities=(5, 5)))


def test_documents_do_not_say_that_they_are_all() -> None:
    with pytest.raises(InputError, match="maker 'webleaper' needs the graph of a world"):
        draw("webleaper", pages(), 1)
