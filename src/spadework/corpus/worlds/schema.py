"""What there is in a world: types of entities, relations between them, numbers about them, and how each is said in prose.

Every relation is functional (one object per subject), so a chain of relations has one answer. Names of types, relations and attributes are
single lower-case English words, different after stemming within a type, so that a search tells them apart. The generic
phrasings fit every relation; a relation may add sentences of its own.
"""

from dataclasses import dataclass

__all__ = ["ATTRIBUTES", "GENERIC_PROSE", "PLURALS", "RELATIONS", "SHARES", "TABLES", "Attribute", "Relation"]


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation that every entity of a type has to one entity of another type."""

    name: str
    target: str
    """Type of the object."""
    prose: tuple[str, ...] = ()
    """Sentences with `{s}` for the subject and `{o}` for the object, beside the generic ones."""
    symmetric: bool = False
    """If a has it to b, b has it to a; with an odd number of entities one goes without."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A number that every entity of a type has."""

    name: str
    low: int
    high: int
    prose: str
    """A sentence with `{s}` for the subject and `{o}` for the number."""
    smaller: bool
    """Whether comparisons ask for the smaller number (earlier years) or for the larger one."""
    asks: str
    """Comparison, to follow `Which TYPE`: "was founded earlier"."""


SHARES = {
    "person": 0.30,
    "city": 0.16,
    "company": 0.10,
    "film": 0.08,
    "book": 0.08,
    "university": 0.06,
    "river": 0.05,
    "mountain": 0.05,
    "country": 0.04,
    "museum": 0.04,
    "team": 0.04,
}
"""Share of the entities that have each type."""

PLURALS = {
    "person": "persons",
    "city": "cities",
    "company": "companies",
    "film": "films",
    "book": "books",
    "university": "universities",
    "river": "rivers",
    "mountain": "mountains",
    "country": "countries",
    "museum": "museums",
    "team": "teams",
}

GENERIC_PROSE = (
    "The {r} of {s} is {o}.",
    "{s}'s {r} is {o}.",
    "{o} is the {r} of {s}.",
    "{s} has {o} as {r}.",
    "For {s}, the {r} is {o}.",
)

RELATIONS: dict[str, tuple[Relation, ...]] = {
    "person": (
        Relation("birthplace", "city", ("{s} was born in {o}.", "{s} comes from {o}.")),
        Relation("employer", "company", ("{s} works for {o}.", "{o} employs {s}.")),
        Relation("school", "university", ("{s} studied at {o}.", "{s} holds a degree from {o}.")),
        Relation("spouse", "person", ("{s} is married to {o}.",), symmetric=True),
        Relation("mentor", "person", ("{s} was taught by {o}.", "{o} taught {s}.")),
    ),
    "city": (
        Relation("country", "country", ("{s} lies in {o}.", "{s} belongs to {o}.")),
        Relation("mayor", "person", ("{o} governs {s}.", "{s} is run by {o}.")),
        Relation("river", "river", ("{s} stands on {o}.", "{o} flows through {s}.")),
        Relation("twin", "city", ("{s} is twinned with {o}.",), symmetric=True),
    ),
    "country": (
        Relation("capital", "city", ("{s} is governed from {o}.",)),
        Relation("leader", "person", ("{s} is led by {o}.", "{o} leads {s}.")),
        Relation("ally", "country", ("{s} is allied with {o}.",), symmetric=True),
        Relation("summit", "mountain", ("{s} rises to {o}.",)),
    ),
    "river": (
        Relation("source", "mountain", ("{s} rises on {o}.", "{s} springs from {o}.")),
        Relation("mouth", "city", ("{s} reaches the sea at {o}.",)),
    ),
    "mountain": (
        Relation("climber", "person", ("{o} was the first to climb {s}.", "{s} was first climbed by {o}.")),
        Relation("village", "city", ("{s} is reached from {o}.",)),
    ),
    "company": (
        Relation("headquarters", "city", ("{s} is based in {o}.", "{s} has its offices in {o}.")),
        Relation("founder", "person", ("{o} founded {s}.", "{s} was founded by {o}.")),
        Relation("rival", "company", ("{s} competes with {o}.",), symmetric=True),
        Relation("owner", "person", ("{o} owns {s}.", "{s} belongs to {o}.")),
    ),
    "university": (
        Relation("campus", "city", ("{s} has its lecture halls in {o}.",)),
        Relation("rector", "person", ("{o} heads {s}.", "{s} is headed by {o}.")),
        Relation("donor", "company", ("{o} gives money to {s}.",)),
    ),
    "film": (
        Relation("director", "person", ("{o} directed {s}.", "{s} was directed by {o}.")),
        Relation("star", "person", ("{o} plays the lead in {s}.", "{s} stars {o}.")),
        Relation("setting", "city", ("{s} takes place in {o}.",)),
        Relation("studio", "company", ("{s} was made by {o}.", "{o} produced {s}.")),
    ),
    "book": (
        Relation("author", "person", ("{o} wrote {s}.", "{s} was written by {o}.")),
        Relation("publisher", "company", ("{o} published {s}.", "{s} came out with {o}.")),
        Relation("translator", "person", ("{o} translated {s}.",)),
        Relation("subject", "country", ("{s} is about {o}.", "{s} tells the history of {o}.")),
    ),
    "museum": (
        Relation("site", "city", ("{s} stands in {o}.", "{s} can be visited in {o}.")),
        Relation("architect", "person", ("{o} designed {s}.", "{s} was designed by {o}.")),
        Relation("sponsor", "company", ("{o} pays for {s}.",)),
    ),
    "team": (
        Relation("home", "city", ("{s} plays in {o}.",)),
        Relation("captain", "person", ("{o} leads {s} on the field.",)),
        Relation("coach", "person", ("{o} trains {s}.", "{s} is trained by {o}.")),
        Relation("backer", "company", ("{s} is paid by {o}.",)),
    ),
}

_FOUNDED = Attribute("founded", 1100, 1990, "{s} was founded in {o}.", True, "was founded earlier")
_POPULATION = Attribute("population", 1_000, 900_000, "{o} people live in {s}.", False, "has the larger population")

ATTRIBUTES: dict[str, tuple[Attribute, ...]] = {
    "person": (Attribute("born", 1900, 1999, "{s} was born in the year {o}.", True, "was born earlier"),),
    "city": (_POPULATION, _FOUNDED),
    "country": (_POPULATION, Attribute("area", 500, 90_000, "{s} covers {o} square miles.", False, "has the larger area")),
    "river": (Attribute("length", 20, 4_000, "{s} is {o} miles long.", False, "is longer"),),
    "mountain": (Attribute("height", 900, 9_000, "{s} is {o} metres high.", False, "is higher"),),
    "company": (_FOUNDED, Attribute("staff", 10, 90_000, "{s} has a staff of {o}.", False, "has the larger staff")),
    "university": (_FOUNDED, Attribute("students", 300, 60_000, "{o} students are enrolled at {s}.", False, "has more students")),
    "film": (Attribute("released", 1920, 2020, "{s} was released in {o}.", True, "was released earlier"),),
    "book": (Attribute("printed", 1600, 2020, "{s} was printed in {o}.", True, "was printed earlier"),),
    "museum": (Attribute("opened", 1700, 2020, "{s} opened in {o}.", True, "opened earlier"),),
    "team": (_FOUNDED,),
}

TABLES: dict[str, tuple[tuple[str, str], ...]] = {
    "person": (("film", "director"), ("book", "author"), ("company", "founder")),
    "city": (("museum", "site"), ("company", "headquarters"), ("university", "campus")),
    "country": (("city", "country"), ("book", "subject")),
    "river": (("city", "river"),),
    "mountain": (("river", "source"),),
    "company": (("film", "studio"), ("book", "publisher"), ("person", "employer")),
    "university": (("person", "school"),),
}
"""Tables that a page of a type may carry: entities of the first type that have the relation to it."""
