"""The algebra that all makers share: walk, star, link, intersect, union, count, compare, obfuscate, inject, evolve, compose.

Each is a short function on (graph, draft, random) that returns another draft, or None where it can not be applied. What holds afterwards:
the target of a find is what it was; the answer is the only one that the graph gives (`query.unique`); no triple has two constants
(redundancy); and once no constant stands next to the target, none comes there again (shortcut; both WebShaper, arXiv 2507.15061). The
query stays a tree (`draft.py`).

Nothing here needs a model or renders a page. Choices are made with `random.random` and `random.shuffle` alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Literal

from spadework.corpus.worlds.schema import ATTRIBUTES
from spadework.synthesis.chance import pick, shuffled
from spadework.synthesis.draft import Draft, branches, constants, fresh, guarded, places, without
from spadework.synthesis.query import Between, Condition, Initial, OfType, OneOf, Query, Term, Triple, Variable, solve, witnesses
from spadework.synthesis.statements import Graph, Statement, is_literal, number

__all__ = [
    "compare",
    "compose",
    "count",
    "evolve",
    "inject",
    "intersect",
    "link",
    "list_all",
    "obfuscate",
    "prune",
    "star",
    "union",
    "walk",
]

_WALK_TRIES = 8
"""Nodes that are tried for an edge that leads somewhere new."""
_UNION_TRIES = 8
_FEW = 100
"""What is made vague fits at most so many entities, if there is a form that does. It keeps a question solvable, and checking it fast."""


def walk(
    graph: Graph, random: Random, *, edges: int, jump: float = 0.3, numbers: bool = False, forward: bool = False, start: str = ""
) -> Draft | None:
    """A tree of entities, one of which is asked for: WebSailor's walk (arXiv 2507.02592, section 3.1).

    Args:
        graph: where to walk.
        random: decides everything.
        edges: of the tree.
        jump: probability of going on from an earlier node instead of the newest one, which is what makes it a tree and not a chain.
        numbers: whether a number of an entity may be an edge too.
        forward: only go from subject to object, and ask for the last entity; without jumps, every step then is one look-up.
        start: where to begin; empty: anywhere.

    Returns:
        A find for a random node; the other leaves are constants. None if the walk got stuck or the question has other answers too.
    """
    nodes = [start or pick(graph.entities, random)]
    tree: list[Statement] = []
    newest = nodes[0]
    for _ in range(edges):
        for _ in range(_WALK_TRIES):
            node = pick(nodes, random) if random.random() < jump else newest
            edge = _edge(graph, node, random, set(nodes), numbers, forward)
            if edge is not None:
                break
            newest = pick(nodes, random)
        else:
            return None
        tree.append(edge)
        newest = edge.object if edge.subject == node else edge.subject
        if is_literal(newest):
            newest = node
        else:
            nodes.append(newest)
    target = nodes[-1] if forward else pick(nodes, random)
    degree = {node: sum(node in (edge.subject, edge.object) for edge in tree) for node in nodes}
    variables = [target, *(node for node in nodes if degree[node] > 1 and node != target)]
    terms: dict[str, Term] = {node: Variable(f"v{index}") for index, node in enumerate(variables)}
    triples = tuple(Triple(terms.get(edge.subject, edge.subject), edge.relation, terms.get(edge.object, edge.object)) for edge in tree)
    query = Query(Variable("v0"), triples)
    did = f"{edges} edges from {graph.name(nodes[0])}; asks for {graph.name(target)}"
    return _accept(graph, Draft(Query(query.target), ()), "walk", did, query, {Variable(f"v{i}"): node for i, node in enumerate(variables)})


def star(graph: Graph, random: Random, *, most: int = 3, start: str = "", together: bool = False) -> Draft | None:
    """An entity, and facts about it that tell it from all others, none of which is needless (InfoSeek's breadth, arXiv 2509.00375).

    Args:
        graph: where the facts are.
        random: decides everything.
        most: facts.
        start: the entity; empty: any.
        together: leave out facts that determine the entity alone.

    Returns:
        A find for the entity; None if so many facts do not determine it.
    """
    node = start or pick(graph.entities, random)
    target = Variable("v0")
    facts: list[Triple] = []
    named: set[str] = set()
    fitting: set[str] = set()
    for edge in shuffled(_edges(graph, node, {node}), random):
        if len(facts) == most:
            return None
        about = edge.subject == node
        other = edge.object if about else edge.subject
        fits = graph.subjects(edge.relation, other) if about else graph.objects(other, edge.relation)
        if other in named or (together and len(fits) == 1):
            continue
        facts.append(Triple(target, edge.relation, other) if about else Triple(other, edge.relation, target))
        named.add(other)
        fitting = fitting.intersection(fits) if len(facts) > 1 else set(fits)
        if len(fitting) == 1:
            did = f"{len(facts)} facts about {graph.name(node)}"
            made = Draft(Query(target), ()).edited("star", did, Query(target, tuple(facts)), ({target: node},))
            return prune(graph, made, random)
    return None


def link(graph: Graph, draft: Draft, random: Random, place: int | None = None) -> Draft | None:
    """Replace a constant by a variable and a triple that determines it, on a page that nothing rests on yet if there is one.

    E2HQA's replacement (WebDancer, arXiv 2505.22648) and WebShaper's expansion. The new triple alone has the constant as its only
    solution, so whoever solves it has the old question.

    Args:
        graph: where the triple is from.
        draft: a find.
        random: decides.
        place: number of the triple with the constant (`draft.places`); None: any.
    """
    for index in [place] if place is not None else shuffled(places(draft.query), random):
        old = _constant(draft.query.triples[index])
        told = {draft.bound[end] if isinstance(end, Variable) else end for end, _, _ in draft.query.triples}
        edges = shuffled(_edges(graph, old, _used(draft)), random)
        edges.sort(key=lambda edge: edge.subject in told)
        for edge in edges:
            about = edge.subject == old
            if len(graph.subjects(edge.relation, edge.object) if about else graph.objects(edge.subject, edge.relation)) == 1:
                did, query, bound = _replaced(graph, draft, index, edge)
                return draft.edited("link", did, query, (bound,))
    return None


def intersect(graph: Graph, draft: Draft, random: Random, variable: Variable | None = None) -> Draft | None:
    """Add a constraint on a variable, with a new constant.

    Args:
        graph: where it is from.
        draft: a find.
        random: decides.
        variable: what is constrained; None: the target. Nothing is added to a target that no constant stands next to.
    """
    variable = variable or draft.target
    if variable == draft.target and guarded(draft.query):
        return None
    node = draft.bound[variable]
    edge = _edge(graph, node, random, _used(draft), numbers=False)
    if edge is None:
        return None
    triple = Triple(variable, edge.relation, edge.object) if edge.subject == node else Triple(edge.subject, edge.relation, variable)
    did = f"{graph.name(edge.subject)} {edge.relation} {graph.name(edge.object)} was added"
    # One clue more, which the answer meets, leaves it the only one.
    return draft.edited("intersect", did, replace(draft.query, triples=(*draft.query.triples, triple)), draft.witnesses)


def union(graph: Graph, draft: Draft, random: Random) -> Draft | None:
    """Merge the constant of a triple with another one of its type: R(S1 or S2) for R(S1), WebShaper's R-Union.

    The answer stays the only one. The other constant has the relation too, so that it has to be looked at. None where types are not known.
    """
    for index in shuffled(places(draft.query), random):
        triple = draft.query.triples[index]
        old = _constant(triple)
        for _ in range(_UNION_TRIES if (options := graph.of_type(graph.type(old))) else 0):
            other = pick(options, random)
            related = graph.subjects(triple.relation, other) if triple.object == old else graph.objects(other, triple.relation)
            if other in _used(draft) or not related:
                continue
            merged = _with_constant(draft.query, index, OneOf(tuple(shuffled([old, other], random))))
            if made := _accept(graph, draft, "union", f"{graph.name(old)} or {graph.name(other)}", merged, draft.bound):
                return made
    return None


def count(graph: Graph, draft: Draft, random: Random, *, most: int = 9) -> Draft | None:
    """Ask how many there are, of the targets that are left when a clue about the target is dropped: 2 to `most`."""
    return _gathered(graph, draft, random, "count", most)


def list_all(graph: Graph, draft: Draft, random: Random, *, most: int = 9) -> Draft | None:
    """Ask for all of them, see `count` (WebLeaper, arXiv 2510.24697)."""
    return _gathered(graph, draft, random, "list", most)


def compare(graph: Graph, draft: Draft, random: Random, other: Draft | None = None) -> Draft | None:
    """Ask which has the smallest or largest number.

    Args:
        graph: where the numbers are.
        draft: a find.
        random: decides.
        other: a find of another entity of the same type, to compare with; None: compare what is left when a clue is dropped (see `count`).

    Returns:
        None if the candidates have no number in common, or the first two are equal.
    """
    if other is None:
        gathered = _gathered(graph, draft, random, "list", most=9)
        if gathered is None:
            return None
        base = replace(gathered, edits=draft.edits)
        candidates = [witness[draft.target] for witness in base.witnesses]
    else:
        candidates = [draft.answer, other.answer]
        if candidates[0] == candidates[1] or graph.type(candidates[0]) != graph.type(candidates[1]):
            return None
        base = Draft(Query(draft.target, parts=(draft.query, other.query)), (), (), (draft, other))
    shared = [edge.relation for edge in graph.outgoing(candidates[0]) if is_literal(edge.object)]
    for attribute in shuffled(shared, random):
        values = [number(value) for one in candidates for value in graph.objects(one, attribute)]
        known = [kind.smaller for kind in ATTRIBUTES.get(graph.type(candidates[0]), ()) if kind.name == attribute]
        smaller = known[0] if known else random.random() < 0.5
        if len(values) == len(candidates) and values.count(min(values) if smaller else max(values)) == 1:
            query = replace(base.query, operation="compare", attribute=attribute, smaller=smaller)
            return base.edited("compare", f"by {attribute}, {'smallest' if smaller else 'largest'}", query, base.witnesses)
    return None


def obfuscate(graph: Graph, draft: Draft, random: Random, level: Literal[1, 2, 3], place: int | None = None) -> Draft | None:
    """Make one constant vague: WebSailor's obfuscation. The answer stays the only one, or nothing is done.

    Level 1: a number becomes a range. Level 2: a name becomes a type and an initial (or the first letters).
    Level 3: a name becomes something of its type with a number in a range, which stands on one more page.

    Args:
        graph: what is true.
        draft: a find.
        random: decides.
        level: 1, 2 or 3.
        place: number of the triple with the constant; None: any.
    """
    for index in [place] if place is not None else shuffled(places(draft.query, numbers=level == 1), random):
        old = _constant(draft.query.triples[index])
        variable = fresh(draft.query)
        options: list[tuple[Condition, ...]]
        if level == 1:
            options = [(Between(variable, *span),) for span in _ranges(old, draft.query.triples[index].relation, graph, random)]
        else:
            kind = graph.type(old)
            typed: tuple[Condition, ...] = (OfType(variable, kind),) if kind else ()
            options = [(*typed, Initial(variable, _beginning(graph.name(old), kind, graph)))] if level == 2 else [typed]
        query = _with_constant(draft.query, index, variable)
        for conditions in options:
            made = replace(query, conditions=(*query.conditions, *conditions))
            bound = {**draft.bound, variable: old}
            vague = [(made, bound)] if level < 3 else _numbered(graph, made, bound, variable, random)
            for one, values in vague:
                if accepted := _accept(graph, draft, "obfuscate", f"{graph.name(old)} made vague", one, values, level):
                    return accepted
    return None


def inject(graph: Graph, draft: Draft, random: Random) -> Draft | None:
    """Replace the mention of an entity by a fact about it, or add a constraint on any variable: ASearcher's injection (arXiv 2508.07976).

    Unlike `link`, the fact need not determine the entity by itself; together with the rest of the question it has to.
    """
    if random.random() < 0.5:
        variable = pick(list(draft.bound), random)
        if not is_literal(draft.bound[variable]) and (made := intersect(graph, draft, random, variable)):
            return _renamed(made, "inject")
    for index in shuffled(places(draft.query), random):
        for edge in shuffled(_edges(graph, _constant(draft.query.triples[index]), _used(draft)), random)[:4]:
            did, query, bound = _replaced(graph, draft, index, edge)
            if made := _accept(graph, draft, "inject", did, query, bound):
                return made
    return None


def evolve(graph: Graph, draft: Draft, random: Random, needed: set[Triple] | None = None) -> Draft | None:
    """Remove the most telling clue, or make it vague, while the answer stays the only one: WebExplorer, long to short (arXiv 2509.06501).

    A clue tells the more, the fewer entities it fits.

    Args:
        graph: what is true.
        draft: a find.
        random: decides.
        needed: clues that can be neither removed nor made vague, which stays so as the question tells less. Grows; pass it on.
    """
    needed = set() if needed is None else needed
    order = shuffled([index for index in places(draft.query) if draft.query.triples[index] not in needed], random)
    order.sort(key=lambda index: _fitting(graph, draft.query.triples[index]))
    for index in order:
        shorter = without(draft.query, index)
        if shorter.triples:
            did = f"{graph.name(_constant(draft.query.triples[index]))} was dropped"
            if made := _accept(graph, draft, "evolve", did, shorter, draft.bound):
                return made
        levels: list[Literal[1, 2, 3]] = [2, 3]
        for level in shuffled(levels, random):
            if made := obfuscate(graph, draft, random, level, index):
                return _renamed(made, "evolve")
        needed.add(draft.query.triples[index])
    return None


def prune(graph: Graph, draft: Draft, random: Random) -> Draft:
    """Drop clues until all that are left are needed: without one there are other answers (InfoSeek, arXiv 2509.00375).

    The order is random, but names beside the target go first, because they are the short cuts.
    The last to go are first letters ("a book with N translated by X", where X translated one book). Nothing is dropped on a graph that is
    not exact: every sentence of a page is a relation of its own there and would look like enough.
    """
    if not graph.exact:
        return draft
    made = draft
    order = shuffled(draft.query.triples, random)
    order.sort(key=lambda triple: not (draft.target in (triple.subject, triple.object) and _named(triple)))
    for triple in order:
        if triple in made.query.triples:
            shorter = without(made.query, made.query.triples.index(triple))
            if shorter.triples and (accepted := _accept(graph, made, "prune", f"{triple.relation} was not needed", shorter, made.bound)):
                made = accepted
    for condition in [condition for condition in made.query.conditions if isinstance(condition, Initial)]:
        vaguer = replace(made.query, conditions=tuple(one for one in made.query.conditions if one != condition))
        made = _accept(graph, made, "prune", f"the letters {condition.letter} were not needed", vaguer, made.bound) or made
    return made


def compose(drafts: Sequence[Draft]) -> Draft | None:
    """Several questions in one, answered in order: MEM1's objectives (arXiv 2506.15841). None for fewer than two, or for repeats."""
    if len(drafts) < 2 or len({draft.query for draft in drafts}) < len(drafts):
        return None
    query = Query(Variable("v0"), operation="compose", parts=tuple(draft.query for draft in drafts))
    return Draft(Query(Variable("v0")), (), (), tuple(drafts)).edited("compose", f"{len(drafts)} questions", query, ())


def _accept(graph: Graph, draft: Draft, operator: str, did: str, query: Query, bound: dict[Variable, str], level: int = 0) -> Draft | None:
    """The edited draft, if its answer is the only one. What a dropped variable stood for is dropped.

    What the variables stand for is one way to satisfy the query, all entities different; so what is asked is whether there is a rival.
    """
    if solve(query, graph, 2, distinct=False) != [bound[draft.target]]:
        return None
    named = {term for triple in query.triples for term in (triple.subject, triple.object)}
    kept = {variable: value for variable, value in bound.items() if variable in named}
    return draft.edited(operator, did, query, (kept,), level)


def _renamed(draft: Draft, operator: str) -> Draft:
    *edits, last = draft.edits
    return replace(draft, edits=(*edits, last._replace(operator=operator)))


def _replaced(graph: Graph, draft: Draft, index: int, edge: Statement) -> tuple[str, Query, dict[Variable, str]]:
    """The constant of a triple as a variable, and an edge of it as a new triple: what was done, the query, and what is bound."""
    old = _constant(draft.query.triples[index])
    variable = fresh(draft.query)
    query = _with_constant(draft.query, index, variable)
    triple = Triple(variable, edge.relation, edge.object) if edge.subject == old else Triple(edge.subject, edge.relation, variable)
    did = f"{graph.name(old)}, by {graph.name(edge.subject)} {edge.relation} {graph.name(edge.object)}"
    return did, replace(query, triples=(*query.triples, triple)), {**draft.bound, variable: old}


def _gathered(graph: Graph, draft: Draft, random: Random, operation: Literal["count", "list"], most: int) -> Draft | None:
    target = draft.target
    for index in [-1, *shuffled([index for index, _, _ in branches(draft.query)], random)]:
        query = replace(draft.query if index < 0 else without(draft.query, index), operation=operation)
        if not query.triples:
            continue
        found = witnesses(query, graph, most + 1)
        if any(witness[target] in constants(query) for witness in found):
            continue
        # A reader who lets two descriptions mean one entity gets the same.
        if 2 <= len(found) <= most and len(witnesses(query, graph, most + 1, distinct=False)) == len(found):
            what = {"count": "how many", "list": "all"}[operation]
            return draft.edited(operation, f"{what}, for {graph.name(draft.bound[target])} alone", query, tuple(found))
    return None


def _edge(graph: Graph, node: str, random: Random, taken: set[str], numbers: bool, forward: bool = False) -> Statement | None:
    """An edge of a node to what is not taken."""
    edges = _edges(graph, node, taken, numbers, forward)
    return pick(edges, random) if edges else None


def _edges(graph: Graph, node: str, taken: set[str], numbers: bool = False, forward: bool = False) -> list[Statement]:
    out = [edge for edge in graph.outgoing(node) if edge.object not in taken and (numbers or not is_literal(edge.object))]
    return out if forward else out + [edge for edge in graph.incoming(node) if edge.subject not in taken]


def _used(draft: Draft) -> set[str]:
    """Everything that a draft names or means."""
    return constants(draft.query) | set(draft.bound.values())


def _named(triple: Triple) -> bool:
    return not (isinstance(triple.subject, Variable) and isinstance(triple.object, Variable))


def _constant(triple: Triple) -> str:
    constant = triple.subject if isinstance(triple.subject, str) else triple.object
    assert isinstance(constant, str)
    return constant


def _with_triple(query: Query, index: int, triple: Triple) -> Query:
    return replace(query, triples=(*query.triples[:index], triple, *query.triples[index + 1 :]))


def _with_constant(query: Query, index: int, term: Term) -> Query:
    """The query with another term for the constant of a triple."""
    triple = query.triples[index]
    changed = triple._replace(subject=term) if isinstance(triple.subject, str) else triple._replace(object=term)
    return _with_triple(query, index, changed)


def _fitting(graph: Graph, triple: Triple) -> int:
    """How many entities a triple with a constant fits."""
    if isinstance(triple.subject, str):
        return len(graph.objects(triple.subject, triple.relation))
    assert isinstance(triple.object, str)
    return len(graph.subjects(triple.relation, triple.object))


def _numbered(
    graph: Graph, query: Query, bound: dict[Variable, str], variable: Variable, random: Random
) -> list[tuple[Query, dict[Variable, str]]]:
    """The query with each number of what the variable stands for, as a range."""
    numbers = [edge for edge in graph.outgoing(bound[variable]) if is_literal(edge.object)]
    value = Variable(f"v{int(variable.name[1:]) + 1}")
    return [
        (
            replace(
                query,
                triples=(*query.triples, Triple(variable, edge.relation, value)),
                conditions=(*query.conditions, Between(value, *span)),
            ),
            {**bound, value: edge.object},
        )
        for edge in shuffled(numbers, random)
        for span in _ranges(edge.object, edge.relation, graph, random)
    ]


_YEARS = frozenset({"founded", "born", "released", "printed", "opened"})


def _ranges(value: str, relation: str, graph: Graph, random: Random) -> list[tuple[int, int]]:
    """Vague forms of a number, mostly the vaguest first: a decade or a third of it; a round range around any other number. See `_FEW`."""
    exact = number(value)
    if relation in _YEARS:
        decade = exact - exact % 10
        third = next((low, high) for low, high in ((0, 3), (4, 6), (7, 9)) if low <= exact % 10 <= high)
        spans = [(decade, decade + 9), (decade + third[0], decade + third[1])]
    else:
        sizes = [max(1, 10 ** (len(str(exact)) - place)) for place in (1, 2, 3)]
        spans = [(exact - exact % size, exact - exact % size + size) for size in dict.fromkeys(sizes)]
    few = [span for span in spans if len(graph.between(relation, *span)) <= _FEW]
    return (few if random.random() < 2 / 3 else few[::-1]) or spans[-1:]


def _beginning(name: str, kind: str, graph: Graph) -> str:
    """The first letter of a name, or the first two or three where too many of its type share them."""
    return next((name[:size] for size in (1, 2) if kind and len(graph.of_type(kind, name[:size])) <= _FEW), name[:3] if kind else name[:1])
