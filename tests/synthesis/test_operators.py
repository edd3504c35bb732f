from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random

import pytest
from tests.synthesis.brute_force import Facts

from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.draft import Draft, constants, guarded, places, statements
from spadework.synthesis.operators import (
    compare,
    compose,
    count,
    evolve,
    inject,
    intersect,
    link,
    list_all,
    obfuscate,
    prune,
    union,
    walk,
)
from spadework.synthesis.query import Between, Initial, OfType, OneOf, Query, Triple, Variable, answer
from spadework.synthesis.statements import LedgerGraph, Statement, WorldGraph, is_literal

X, Y, Z = (Variable(f"v{number}") for number in range(3))


class Exact(LedgerGraph):
    """A little graph that knows all."""

    exact = True


# Ada and Bo wrote books that came out with Inn; Ada comes from Pax, Bo and Cy from Qum; Cy wrote nothing. Dot founded Inn.
EDGES = [("tome", "author", "ada"), ("ode", "author", "bo"), ("tome", "publisher", "inn"), ("ode", "publisher", "inn")]
EDGES += [("ada", "birthplace", "pax"), ("bo", "birthplace", "qum"), ("cy", "birthplace", "qum"), ("inn", "founder", "dot")]
EDGES += [
    ("ada", "born", "=1913"),
    ("bo", "born", "=1918"),
    ("cy", "born", "=1950"),
    ("dot", "born", "=1911"),
    ("tome", "printed", "=1944"),
]
TYPES = {"ada": "person", "bo": "person", "cy": "person", "dot": "person", "tome": "book", "ode": "book", "inn": "company"}
TYPES |= {"pax": "city", "qum": "city"}
GRAPH = Exact([Statement(*edge, edge[0]) for edge in EDGES], {key: (key.title(),) for key in TYPES}, TYPES)


def draft(*triples: tuple, **bound: str) -> Draft:
    """A find whose target is X."""
    return Draft(Query(X, tuple(Triple(*triple) for triple in triples)), ({Variable(name): value for name, value in bound.items()},))


def all_of(operator: Callable[[Random], Draft | None], n: int = 60) -> set[Query | None]:
    """Every query that comes out, over many streams."""
    return {made.query if made else None for made in (operator(Random(seed)) for seed in range(n))}


def test_walk_forward_is_a_chain_of_look_ups() -> None:
    assert all_of(lambda random: walk(GRAPH, random, edges=2, jump=0, forward=True, start="tome")) == {
        Query(X, (Triple("tome", "author", Y), Triple(Y, "birthplace", X))),
        Query(X, (Triple("tome", "publisher", Y), Triple(Y, "founder", X))),
    }


def test_walk_asks_for_any_of_its_entities_if_there_is_one_answer() -> None:
    assert all_of(lambda random: walk(GRAPH, random, edges=1, start="qum")) == {
        # Born in Qum are two, so nobody asks for either.
        None,
        Query(X, (Triple("bo", "birthplace", X),)),
        Query(X, (Triple("cy", "birthplace", X),)),
    }


def test_walk_with_jumps_makes_trees_and_keeps_to_its_edges() -> None:
    walks = [made for seed in range(200) if (made := walk(GRAPH, Random(seed), edges=4, jump=0.5))]
    assert {len(made.query.triples) for made in walks} == {4}
    degrees = [max(Counter(end for t in made.query.triples for end in (t.subject, t.object)).values()) for made in walks]
    assert max(degrees) == 3
    assert all(made.edits[0].operator == "walk" and made.edits[0].after == 4 for made in walks)


def test_walk_to_numbers() -> None:
    assert Query(X, (Triple(X, "printed", "=1944"),)) in all_of(lambda random: walk(GRAPH, random, edges=1, numbers=True, start="tome"))


def test_a_walk_that_leads_nowhere_is_none() -> None:
    assert walk(GRAPH, Random(0), edges=9) is None
    assert walk(Exact([], {}, {}), Random(0), edges=1, start="alone") is None


def test_link_replaces_a_constant_by_what_determines_it() -> None:
    base = draft(("tome", "author", X), v0="ada")
    # Of the book tome there is only its publisher, which ode has too.
    assert all_of(lambda random: link(GRAPH, base, random)) == {None}
    base = draft((X, "publisher", "inn"), (X, "author", "ada"), v0="tome")
    made = link(GRAPH, base, Random(0), place=0)
    assert made is not None and made.query.triples == (Triple(X, "publisher", Y), Triple(X, "author", "ada"), Triple(Y, "founder", "dot"))
    assert made.bound == {X: "tome", Y: "inn"} and made.answer == "tome"
    assert made.edits[-1][:4] == ("link", "Inn, by Inn founder Dot", 2, 3)
    # Ada is the author of tome (the target, taken), was born in pax and nobody else was.
    assert all_of(lambda random: link(GRAPH, base, random, place=1)) == {
        Query(X, (Triple(X, "publisher", "inn"), Triple(X, "author", Y), Triple(Y, "birthplace", "pax")))
    }


def test_link_goes_to_a_page_that_nothing_rests_on_yet() -> None:
    married = Exact([*GRAPH.statements, Statement("ada", "spouse", "cy", "ada")], {key: (key.title(),) for key in TYPES}, TYPES)
    # Cy has one spouse, but the page of Ada is the one that tells her birthplace.
    assert all_of(lambda random: link(married, draft(("ada", "birthplace", X), v0="pax"), random)) == {
        Query(X, (Triple(Y, "birthplace", X), Triple("tome", "author", Y)))
    }
    # Of Cy there is no other page.
    assert all_of(lambda random: link(married, draft(("cy", "birthplace", X), v0="qum"), random)) == {
        Query(X, (Triple(Y, "birthplace", X), Triple("ada", "spouse", Y)))
    }
    alone = Exact([*GRAPH.statements, Statement("cy", "school", "uni", "cy")], {key: (key.title(),) for key in (*TYPES, "uni")}, TYPES)
    assert all_of(lambda random: link(alone, draft(("cy", "birthplace", X), v0="qum"), random)) == {
        Query(X, (Triple(Y, "birthplace", X), Triple(Y, "school", "uni")))
    }


def test_intersect_adds_a_constraint_but_no_shortcut() -> None:
    base = draft((X, "birthplace", "pax"), v0="ada")
    assert all_of(lambda random: intersect(GRAPH, base, random)) == {
        Query(X, (Triple(X, "birthplace", "pax"), Triple("tome", "author", X)))
    }
    guarded_draft = draft((Y, "author", X), (Y, "printed", "=1944"), v0="ada", v1="tome")
    assert guarded(guarded_draft.query) and intersect(GRAPH, guarded_draft, Random(0)) is None
    made = intersect(GRAPH, guarded_draft, Random(0), Y)
    assert made is not None and made.query.triples[-1] == Triple(Y, "publisher", "inn")


def test_union_merges_constants_while_the_answer_stays() -> None:
    base = draft((X, "birthplace", "pax"), ("tome", "author", X), v0="ada")
    born, wrote = base.query.triples
    expected = {Query(X, (Triple(X, "birthplace", OneOf(pair)), wrote)) for pair in (("pax", "qum"), ("qum", "pax"))}
    expected |= {Query(X, (born, Triple(OneOf(pair), "author", X))) for pair in (("tome", "ode"), ("ode", "tome"))}
    assert all_of(lambda random: union(GRAPH, base, random)) == expected
    # By birthplace alone, Bo and Cy would be answers too.
    assert all_of(lambda random: union(GRAPH, draft((X, "birthplace", "pax"), v0="ada"), random)) == {None}


def test_count_and_list_drop_a_clue_about_the_target() -> None:
    base = draft((X, "birthplace", "qum"), ("ode", "author", X), v0="bo")
    made = count(GRAPH, base, Random(0))
    assert made is not None and made.query == Query(X, (Triple(X, "birthplace", "qum"),), operation="count")
    assert made.witnesses == ({X: "bo"}, {X: "cy"}) and answer(made.query, GRAPH) == ("2",)
    listed = list_all(GRAPH, base, Random(0))
    assert listed is not None and answer(listed.query, GRAPH) == ("Bo; Cy",)
    assert count(GRAPH, base, Random(0), most=1) is None
    assert count(GRAPH, draft((X, "birthplace", "pax"), v0="ada"), Random(0)) is None


def test_compare_by_a_number_of_all() -> None:
    made = compare(GRAPH, draft((X, "birthplace", "qum"), ("ode", "author", X), v0="bo"), Random(0))
    # 1918 against 1950: persons are compared by who was born earlier.
    assert made is not None and made.query.attribute == "born" and made.query.smaller and answer(made.query, GRAPH) == ("Bo",)
    assert [edge[:3] for edge in statements(made, GRAPH)][-2:] == [("bo", "born", "=1918"), ("cy", "born", "=1950")]


def test_compare_two_of_a_type() -> None:
    ada, dot = draft((X, "birthplace", "pax"), v0="ada"), draft(("inn", "founder", X), v0="dot")
    made = compare(GRAPH, ada, Random(0), dot)
    assert made is not None and answer(made.query, GRAPH) == ("Dot",) and made.parts == (ada, dot)
    assert compare(GRAPH, ada, Random(0), ada) is None
    assert compare(GRAPH, ada, Random(0), draft((X, "printed", "=1944"), v0="tome")) is None
    pax, qum = draft(("ada", "birthplace", X), v0="pax"), draft(("bo", "birthplace", X), v0="qum")
    assert compare(GRAPH, pax, Random(0), qum) is None, "cities have no numbers here"


def test_obfuscate_a_number() -> None:
    # 1913: the 1910s hold Bo and Dot too, 1910 to 1913 hold Dot.
    assert all_of(lambda random: obfuscate(GRAPH, draft((X, "born", "=1913"), v0="ada"), random, 1)) == {None}
    base = draft((X, "born", "=1913"), (X, "birthplace", "pax"), v0="ada")
    wanted = [Query(X, (Triple(X, "born", Y), Triple(X, "birthplace", "pax")), (Between(Y, 1910, high),)) for high in (1919, 1913)]
    assert all_of(lambda random: obfuscate(GRAPH, base, random, 1)) == set(wanted)
    assert obfuscate(GRAPH, draft((X, "birthplace", "pax"), v0="ada"), Random(0), 1) is None


def test_obfuscate_a_name() -> None:
    made = obfuscate(GRAPH, draft((X, "birthplace", "pax"), v0="ada"), Random(0), 2)
    assert made is not None and made.query == Query(X, (Triple(X, "birthplace", Y),), (OfType(Y, "city"), Initial(Y, "P")))
    assert made.bound == {X: "ada", Y: "pax"} and made.edits[-1].level == 2
    # Both authors that the company Inn published are left.
    assert obfuscate(GRAPH, draft((X, "publisher", "inn"), v0="tome"), Random(0), 2) is None


def test_obfuscate_a_constant_by_a_number_of_it() -> None:
    base = draft(("tome", "author", X), v0="ada")
    assert all_of(lambda random: obfuscate(GRAPH, base, random, 3)) == {
        Query(X, (Triple(Y, "author", X), Triple(Y, "printed", Z)), (OfType(Y, "book"), Between(Z, 1940, 1949))),
        Query(X, (Triple(Y, "author", X), Triple(Y, "printed", Z)), (OfType(Y, "book"), Between(Z, 1944, 1946))),
    }
    assert obfuscate(GRAPH, draft((X, "birthplace", "pax"), v0="ada"), Random(0), 3) is None, "Pax has no number"


def test_inject_replaces_a_mention_or_adds_a_constraint() -> None:
    base = draft((X, "author", "ada"), v0="tome")
    assert all_of(lambda random: inject(GRAPH, base, random)) == {
        Query(X, (Triple(X, "author", "ada"), Triple(X, "publisher", "inn"))),
        Query(X, (Triple(X, "author", Y), Triple(Y, "birthplace", "pax"))),
    }
    made = inject(GRAPH, base, Random(0))
    assert made is not None and made.edits[-1].operator == "inject"


def test_evolve_drops_the_most_telling_clue() -> None:
    # `ode` has one author, two persons come from Qum; what is left is enough.
    base = draft((X, "birthplace", "qum"), ("ode", "author", X), (X, "born", "=1918"), v0="bo")
    made = evolve(GRAPH, base, Random(0))
    assert made is not None and made.query.triples == (base.query.triples[0], base.query.triples[2])
    assert made.edits[-1][:4] == ("evolve", "Ode was dropped", 3, 2)
    vague = evolve(GRAPH, draft((X, "birthplace", "pax"), v0="ada"), Random(0))
    assert vague is not None and vague.query.conditions == (OfType(Y, "city"), Initial(Y, "P"))


def test_prune_leaves_what_is_needed() -> None:
    base = draft((X, "birthplace", "qum"), ("ode", "author", X), v0="bo")
    assert prune(GRAPH, base, Random(0)).query == Query(X, (Triple("ode", "author", X),))
    needed = draft((X, "birthplace", "qum"), (X, "born", "=1918"), v0="bo")
    assert all_of(lambda random: prune(GRAPH, needed, random)) == {Query(X, (Triple(X, "born", "=1918"),))}
    # An unnamed company with a founder says nothing more than that there is one.
    open_end = draft(("ode", "author", X), (Y, "publisher", Z), ("ode", "publisher", Z), v0="bo", v1="tome", v2="inn")
    assert len(prune(GRAPH, open_end, Random(0)).query.triples) == 1
    assert prune(LedgerGraph(GRAPH.statements, {}, TYPES), base, Random(0)) == base, "what is not exact can not tell"


@pytest.mark.parametrize(("relation", "bound", "left"), [("founder", {X: "dot", Y: "inn"}, 0), ("author", {X: "ada", Y: "tome"}, 1)])
def test_prune_drops_first_letters_that_are_not_needed(relation: str, bound: dict[Variable, str], left: int) -> None:
    # One company has a founder; two books have an author, and one of them begins with T.
    conditions = (OfType(Y, TYPES[bound[Y]]), Initial(Y, bound[Y][0]))
    made = prune(GRAPH, Draft(Query(X, (Triple(Y, relation, X),), conditions), (bound,)), Random(0))
    assert made.query.conditions == conditions[: 1 + left] and made.bound == bound


def test_compose_asks_for_all() -> None:
    ada, dot = draft((X, "birthplace", "pax"), v0="ada"), draft(("inn", "founder", X), v0="dot")
    made = compose([ada, dot])
    assert made is not None and answer(made.query, GRAPH) == ("Ada; Dot",)
    assert compose([ada]) is None and compose([ada, ada]) is None


# What every operator keeps, on a world, by code that shares nothing with the solver and reads the pages alone.


@cache
def world_graph() -> WorldGraph:
    return WorldGraph(build_world(WorldConfig(seed=3, pages=1_000)))


@cache
def facts() -> Facts:
    return Facts(world_graph().world)


KEEPING: dict[str, Callable[[WorldGraph, Draft, Random], Draft | None]] = {
    "walk": lambda graph, made, random: made,
    "link": link,
    "intersect": intersect,
    "intersect elsewhere": lambda graph, made, random: intersect(graph, made, random, list(made.bound)[-1]),
    "union": union,
    "obfuscate 1": lambda graph, made, random: obfuscate(graph, made, random, 1),
    "obfuscate 2": lambda graph, made, random: obfuscate(graph, made, random, 2),
    "obfuscate 3": lambda graph, made, random: obfuscate(graph, made, random, 3),
    "inject": inject,
    "evolve": evolve,
    "prune": prune,
}


def drafts(numbers: bool = False, n: int = 60) -> list[Draft]:
    walks = (walk(world_graph(), Random(seed), edges=1 + seed % 4, numbers=numbers) for seed in range(n))
    return [made for made in walks if made is not None and not is_literal(list(made.bound.values())[-1])]


@pytest.mark.parametrize("name", KEEPING)
def test_an_operator_keeps_the_answer_the_only_one(name: str) -> None:
    graph, made_any = world_graph(), 0
    for seed, base in enumerate(drafts(numbers=name == "obfuscate 1")):
        made = KEEPING[name](graph, base, Random(seed))
        if made is None:
            continue
        made_any += 1
        assert made.answer == base.answer
        assert facts().targets(made.query) == {base.answer}
        assert all(isinstance(t.subject, Variable) or isinstance(t.object, Variable) for t in made.query.triples)
        assert len(set(made.bound.values())) == len(made.bound)
        assert not constants(made.query) & {value for value in made.bound.values() if not is_literal(value)}
        assert guarded(made.query) or not guarded(base.query)
        for statement in statements(made, graph):
            assert statement[:3] in facts().facts
        if name == "prune":
            for index in range(len(made.query.triples)):
                shorter = replace(made.query, triples=made.query.triples[:index] + made.query.triples[index + 1 :])
                assert not shorter.triples or facts().targets(shorter) != {made.answer}
    assert made_any >= 10


def test_layers_of_links_guard_the_target() -> None:
    for seed, base in enumerate(drafts()):
        made: Draft | None = base
        for place in places(base.query):
            made = made and link(world_graph(), made, Random(seed), place)
        assert made is None or guarded(made.query)


@pytest.mark.parametrize("operator", [count, list_all, compare])
def test_what_is_gathered_is_all_there_is(operator: Callable[..., Draft | None]) -> None:
    graph, made_any = world_graph(), 0
    for seed, base in enumerate(drafts(n=120)):
        made = operator(graph, base, Random(seed))
        if made is None:
            continue
        made_any += 1
        found = facts().targets(replace(made.query, operation="find"))
        assert found == {witness[X] for witness in made.witnesses} and 2 <= len(found) <= 9
        if operator is count:
            assert answer(made.query, graph) == (str(len(found)),)
        if operator is compare:
            numbers = {key: int(facts().by_subject[made.query.attribute, key][0][1:]) for key in found}
            best = (min if made.query.smaller else max)(numbers, key=numbers.__getitem__)
            assert answer(made.query, graph) == graph.names(best) and list(numbers.values()).count(numbers[best]) == 1
    assert made_any >= 10


def test_the_same_stream_gives_the_same_draft() -> None:
    for operator in (link, inject, evolve, union):
        for base in drafts()[:10]:
            assert operator(world_graph(), base, Random(7)) == operator(world_graph(), base, Random(7))
