import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.corpus.document import Document
from spadework.corpus.index import TITLE_WEIGHT, Bm25Index, analyse


def pages(*texts: str) -> list[Document]:
    return [Document(id=f"p{number}", title=f"Page{number}", text=text) for number, text in enumerate(texts)]


def numbers(index: Bm25Index, query: str, limit: int = 10) -> list[int]:
    return [number for number, _ in index.search(index.weights(query), limit)]


PAGES = pages("the mayor of Ondal", "rivers and RIVER boats", "Málaga", "and or not", "river river river river")


def test_analysis() -> None:
    assert analyse("The Rivers, of M\u00e1laga: don't!") == ["river", "malaga", "don", "t"]


def test_a_score_by_hand() -> None:
    # Two documents of two words: the title's word, counted TITLE_WEIGHT times, and one more, so both have the mean length and the length
    # factor is 1. "alpha" is in one of two: idf = ln(1 + (2 - 1 + .5) / (1 + .5)) = ln 2. Score = idf * (k1 + 1) tf / (tf + k1), k1 = 1.2.
    index = Bm25Index.build([Document(id="a", title="Alpha", text="one"), Document(id="b", title="Beta", text="two")])
    assert index.weights("alpha one") == {"alpha": pytest.approx(math.log(2)), "one": pytest.approx(math.log(2))}
    assert index.search(["one"], 5) == [(0, pytest.approx(math.log(2) * 2.2 * 1 / (1 + 1.2), abs=1e-3))]
    tf = TITLE_WEIGHT
    assert index.search(["alpha"], 5) == [(0, pytest.approx(math.log(2) * 2.2 * tf / (tf + 1.2), abs=1e-3))]


def test_inflection_case_and_accents_do_not_matter() -> None:
    index = Bm25Index.build(PAGES)
    assert set(numbers(index, "RIVER")) == {1, 4}
    assert numbers(index, "malaga") == [2]


@pytest.mark.parametrize(
    "query", ['"mayor', "text:mayor", "mayor AND nothing", "-mayor", "(mayor", "mayor^2 ~", "mayor*", "title:[mayor TO zzz]"]
)
def test_operators_are_inert(query: str) -> None:
    assert numbers(Bm25Index.build(PAGES), query) == [0]


@given(st.text(max_size=40))
def test_no_query_fails(query: str) -> None:
    assert len(numbers(INDEX, query)) <= 10


INDEX = Bm25Index.build(PAGES)


def test_nothing_to_find() -> None:
    assert numbers(INDEX, "") == numbers(INDEX, "the of and") == numbers(INDEX, "unheard") == numbers(INDEX, "mayor", limit=0) == []
    empty = Bm25Index.build([])
    assert len(empty) == 0 and numbers(empty, "mayor") == [] and empty.find("x") is None


def test_equal_scores_keep_document_order() -> None:
    index = Bm25Index.build([Document(id=str(n), title="Same", text="same words here") for n in range(300)])
    assert numbers(index, "same words", limit=7) == list(range(7))


def test_find_by_id_then_title() -> None:
    index = Bm25Index.build(
        [Document(id="x", title="Stra\u00dfe A", text=""), Document(id="y", title="x", text=""), Document(id="z", title="X", text="")]
    )
    assert index.find("x") == 0
    assert index.find("X") == 1  # no such id: the first title, case ignored
    assert index.find("STRASSE a") == 0
    assert index.find("stra") is None


def test_on_disk_as_in_memory(tmp_path: Path) -> None:
    Bm25Index.build(PAGES, tmp_path)
    opened = Bm25Index.open(tmp_path)
    assert len(opened) == len(PAGES)
    for query in ("river", "mayor of ondal", "malaga boats"):
        assert opened.search(opened.weights(query), 5) == INDEX.search(INDEX.weights(query), 5) != []
    assert opened.find("page3") == 3
