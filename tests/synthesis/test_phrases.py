import re

import pytest

from spadework.corpus.worlds.schema import ATTRIBUTES, RELATIONS
from spadework.synthesis.phrases import AS_OBJECT, AS_SUBJECT, NUMBERS, SENTENCES, Clause, plural, value_range


def test_clauses_of_a_relation() -> None:
    assert AS_SUBJECT["birthplace"] == [
        Clause("who", "was born in {}", True, True),
        Clause("who", "comes from {}", True, True),
        Clause("whose", "birthplace is {}", True, False),
    ]
    assert AS_OBJECT["birthplace"] == [
        Clause("that", "{} was born in", False, False),
        Clause("that", "{} comes from", False, False),
        Clause("that", "is the birthplace of {}", True, True),
    ]
    # "A book that was written by {}" is no good the other way round: "whom {} was written by".
    assert [f"{clause.relative} {clause.rest}" for clause in AS_OBJECT["author"]] == ["who wrote {}", "who is the author of {}"]
    assert Clause("that", "{} leads on the field", False, False) in AS_SUBJECT["captain"]


def test_every_relation_and_number_can_be_said_from_both_ends() -> None:
    for relations in RELATIONS.values():
        for relation in relations:
            for clauses in (AS_SUBJECT[relation.name], AS_OBJECT[relation.name]):
                assert any(clause.open for clause in clauses)
                for clause in clauses:
                    assert clause.rest.count("{}") == 1 and not re.search(r"\{[so]\}|  |\.$", clause.rest)
                    assert clause.open == clause.rest.endswith("{}")
                    subject = clause.relative in ("who", "that") and not clause.rest.startswith("{}")
                    assert clause.direct == subject and clause.relative in ("who", "whom", "that", "whose")
            assert all("{s}" in text and "{o}" in text for text in SENTENCES[relation.name])
    for kind, numbers in ATTRIBUTES.items():
        for number in numbers:
            assert NUMBERS[kind, number.name].rest.count("{}") == 1
    assert NUMBERS["person", "born"].rest == "was born in {}" and NUMBERS["city", "population"].rest == "has a population of {}"


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("was born in {}", "were born in {}"),
        ("lies in {}", "lie in {}"),
        ("reaches the sea at {}", "reach the sea at {}"),
        ("wrote {}", "wrote {}"),
        ("is the star of {}", "are the star of {}"),
        ("has 9 students", "have 9 students"),
    ],
)
def test_plural_verbs(one: str, several: str) -> None:
    assert plural(one) == several


@pytest.mark.parametrize(
    ("low", "high", "year", "text"),
    [
        (1910, 1919, True, "the 1910s"),
        (1910, 1913, True, "the early 1910s"),
        (1914, 1916, True, "the mid-1910s"),
        (1917, 1919, True, "the late 1910s"),
        (1911, 1913, True, "between 1911 and 1913"),
        (1910, 1919, False, "between 1910 and 1919"),
    ],
)
def test_ranges(low: int, high: int, year: bool, text: str) -> None:
    assert value_range(low, high, year=year) == text
