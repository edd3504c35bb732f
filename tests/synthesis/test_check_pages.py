"""The comparison of pages with their world finds what is not so, and clues that mean more than their words."""

from pathlib import Path

import check_pages
import pytest
from tests.synthesis.makers.drawn import draw, pages, world

from spadework.synthesis.ledger import ledger_of, with_ledger
from spadework.synthesis.statements import Statement


def truth() -> check_pages.Truth:
    return check_pages.Truth(world().world)


@pytest.mark.parametrize("name", ["crawlqa", "e2hqa"])
def test_chains_of_look_ups_have_one_answer(name: str) -> None:
    compared = truth()
    assert {compared.verdict(task) for task in draw(name, pages(), 30)} == {"right"}


def test_a_statement_that_is_not_so_is_found() -> None:
    compared, graph = truth(), pages()
    edge = next(edge for key in graph.entities for edge in graph.outgoing(key) if edge.relation == "{s} mentor {o}")
    names = {key: graph.names(key) for key in graph.entities}
    assert compared.relation(edge, names) == ("mentor", False)
    assert compared.relation(edge._replace(relation="{s} employer {o}"), names) is None
    other = next(key for key in graph.entities if key not in (edge.subject, edge.object))
    assert compared.relation(edge._replace(object=other), names) is None
    turned = Statement(edge.object, "{o} mentor {s}", edge.subject, edge.object)
    assert compared.relation(turned, names) == ("mentor", True)


def test_damaged_tasks_are_found() -> None:
    compared = truth()
    (task,) = draw("e2hqa", pages(), 1)
    kept = ledger_of(task)
    assert compared.verdict(task.model_copy(update={"answers": ("Nobody",)})) == "wrong"
    first, *rest = kept.statements
    lie = first._replace(relation=first.relation.replace("{o}", "not {o}"))
    assert compared.verdict(with_ledger(task, type(kept)(kept.query, (lie, *rest), kept.names))) == "untrue"


def test_words_that_mean_more_than_they_say() -> None:
    """Of some questions that are unique among the words of the pages the world has several answers."""
    compared = truth()
    assert {"right"} < {compared.verdict(task) for task in draw("webshaper", pages(), 200)} <= {"right", "2 answers", "3 answers"}


def test_the_site_of_a_world_as_a_folder(tmp_path: Path) -> None:
    check_pages.write_pages(world().world, tmp_path)
    files = sorted(tmp_path.iterdir())
    assert len(files) == len(list(world().world)) and '.html">' in files[0].read_text(encoding="utf-8")
