"""How the relations and numbers of a world are said in clauses: derived once from the sentences of `corpus/worlds/schema.py`.

From "{s} was born in {o}." come, for a person, "who was born in {o}", and for a city, "that {s} was born in". A clause is `open` if its
other end stands last, so that the other end may bring clauses of its own; the rest takes names only. Every relation also has the forms
"whose birthplace is {o}" and "that is the birthplace of {s}", which are open.

Not done: other relations than those of the schema. A corpus has sentences in their place (`wording.py`).
"""

from typing import NamedTuple

from spadework.corpus.worlds.schema import ATTRIBUTES, RELATIONS

__all__ = ["AS_OBJECT", "AS_SUBJECT", "NOUNS", "NUMBERS", "SENTENCES", "SUPERLATIVES", "YEARS", "Clause", "plural", "value_range"]


class Clause(NamedTuple):
    """A relative clause with `{}` for its other end."""

    relative: str
    """who, whom, that or whose."""
    rest: str
    open: bool
    """Whether the other end stands last."""
    direct: bool
    """Whether `Which person` and the rest make a question."""


NOUNS = {
    "founded": "year of foundation",
    "born": "year of birth",
    "released": "year of release",
    "printed": "year of printing",
    "opened": "year of opening",
    "staff": "size of the staff",
    "students": "number of students",
}
"""Numbers that are no nouns by their own name."""
YEARS = frozenset({"founded", "born", "released", "printed", "opened"})
"""Numbers that are years."""
SUPERLATIVES = {
    "earlier": "earliest",
    "the larger": "the largest",
    "is longer": "is the longest",
    "is higher": "is the highest",
    "has more": "has the most",
}
"""From comparing two to comparing several."""

_SINGULAR = {"was": "were", "is": "are", "has": "have", "reaches": "reach"}


def plural(verb_phrase: str) -> str:
    """A verb phrase whose subject is several: "was born" to "were born", "lies" to "lie"."""
    verb, space, rest = verb_phrase.partition(" ")
    return f"{_SINGULAR.get(verb, verb.removesuffix('s'))}{space}{rest}"


def value_range(low: int, high: int, *, year: bool) -> str:
    """A range of numbers: "the early 1910s", "between 300 and 400". Early is 0 to 3, mid 4 to 6, late 7 to 9."""
    decade = low - low % 10
    name = {(0, 9): "the", (0, 3): "the early", (4, 6): "the mid", (7, 9): "the late"}.get((low - decade, high - decade), "")
    if year and name:
        return f"{name}{'-' if name == 'the mid' else ' '}{decade}s"
    return f"between {low} and {high}"


def _who(kind: str) -> str:
    return "who" if kind == "person" else "that"


def _clauses(sentence: str, head: str, other: str, kind: str) -> list[Clause]:
    """The clause about the head that a sentence makes, if it makes a good one."""
    sentence = sentence.removesuffix(".")
    if sentence.startswith(f"{head} "):
        rest = sentence.removeprefix(f"{head} ")
        return [Clause(_who(kind), rest.replace(other, "{}"), rest.endswith(other), True)]
    if sentence.startswith(f"{other} ") and not sentence.endswith(f"by {head}"):
        rest = " ".join(sentence.replace(head, "").split())
        return [Clause("whom" if kind == "person" else "that", rest.replace(other, "{}"), False, False)]
    return []


AS_SUBJECT: dict[str, list[Clause]] = {}
"""By relation: clauses about its subject."""
AS_OBJECT: dict[str, list[Clause]] = {}
"""By relation: clauses about its object."""
SENTENCES: dict[str, tuple[str, ...]] = {}
"""By relation: whole sentences with `{s}` and `{o}`."""
NUMBERS: dict[tuple[str, str], Clause] = {}
"""By type and attribute: the clause with `{}` for the number."""

for _kind, _relations in RELATIONS.items():
    for _relation in _relations:
        _name = _relation.name
        SENTENCES[_name] = (*_relation.prose, f"The {_name} of {{s}} is {{o}}.")
        AS_SUBJECT[_name] = [clause for text in _relation.prose for clause in _clauses(text, "{s}", "{o}", _kind)]
        AS_SUBJECT[_name].append(Clause("whose", f"{_name} is {{}}", True, False))
        AS_OBJECT[_name] = [clause for text in _relation.prose for clause in _clauses(text, "{o}", "{s}", _relation.target)]
        AS_OBJECT[_name].append(Clause(_who(_relation.target), f"is the {_name} of {{}}", True, True))

for _kind, _numbers in ATTRIBUTES.items():
    for _number in _numbers:
        if _number.prose.startswith("{s} "):
            _text = _number.prose.removeprefix("{s} ").removesuffix(".").replace("the year ", "").replace("{o}", "{}")
            NUMBERS[_kind, _number.name] = Clause(_who(_kind), _text, False, True)
        else:
            _text = "has {} students" if _number.name == "students" else f"has a {_number.name} of {{}}"
            NUMBERS[_kind, _number.name] = Clause(_who(_kind), _text, False, True)
