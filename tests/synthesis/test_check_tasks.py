"""The independent checker passes what the makers make, and finds every kind of damage."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import check_tasks
import pytest

from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.makers.maker import makers, tasks
from spadework.synthesis.statements import WorldGraph

Values = dict[str, Any]
# f, g and h are films, a to c persons, m and n companies.
EDGES = [("f", "director", "a"), ("g", "director", "b"), ("h", "director", "b"), ("a", "mentor", "c"), ("b", "mentor", "c")]
EDGES += [("a", "employer", "m"), ("b", "employer", "m"), ("c", "employer", "n"), ("f", "released", "=1990"), ("g", "released", "=1995")]
NAMES = {key: (f"{key.upper()} Name",) for key in "abcfghmn"}
TYPES = dict.fromkeys("abc", "person") | dict.fromkeys("fgh", "film") | dict.fromkeys("mn", "company")


def facts(edges: list[tuple[str, str, str]] = EDGES) -> check_tasks.Facts:
    return check_tasks.Facts(edges, NAMES, TYPES)


def task(query: Values, answers: list[str], stated: str, items: list[list[str]] | None = None, question: str = "Who?") -> Values:
    """A task whose ledger has the statements named, for example `f a` for what f has to a."""
    pairs = [edge.split() for edge in stated.split(", ")]
    edges = [next(edge for edge in EDGES if [edge[0], edge[2]] == pair) for pair in pairs]
    pages = list(dict.fromkeys(edge[0] for edge in edges))
    named = {end for edge in edges for end in (edge[0], edge[2]) if end[0] != "="}
    ledger = {
        "query": query,
        "statements": [[*edge, edge[0], -1, -1] for edge in edges],
        "documents": pages,
        "names": {key: list(NAMES[key]) for key in named},
        "types": {key: TYPES[key] for key in named},
    }
    return {"id": "t", "kind": "x", "question": question, "answers": answers, "evidence": pages, "meta": {"ledger": ledger, "items": items}}


FILM: Values = {"target": "V@v0", "triples": [["V@v0", "director", "C@a"]]}


def test_answers_by_hand() -> None:
    assert check_tasks.check(task(FILM, ["F Name"], "f a"), facts()) == []
    early: Values = {"target": "V@v0", "triples": [["V@v1", "director", "V@v0"], ["V@v1", "released", "V@v2"]]}
    early["conditions"] = [["V@v1", "type", "film"], ["V@v2", "between", 1990, 1994]]
    assert check_tasks.check(task(early, ["A Name"], "f a, f =1990"), facts()) == []
    employer = task({**early, "triples": [*early["triples"], ["V@v0", "employer", "C@m"]]}, ["A Name"], "f a, f =1990, a m")
    assert check_tasks.check(employer, facts()) == ["clues: ['V@v0', 'employer', 'C@m'] is not needed"]
    count = {**FILM, "triples": [["V@v0", "director", "C@b"]], "operation": "count"}
    assert check_tasks.check(task(count, ["2"], "g b, h b"), facts()) == []
    films = task({**count, "operation": "list"}, ["H Name; G Name"], "g b, h b", [["H Name"], ["G Name"]])
    assert check_tasks.check(films, facts()) == []
    older: Values = {"target": ["C@f", "C@g"], "operation": "compare", "attribute": "released", "smaller": True}
    assert check_tasks.check(task(older, ["F Name"], "f =1990, g =1995", question="F Name or G Name?"), facts()) == []
    assert check_tasks.check(task({**older, "smaller": False}, ["F Name"], "f =1990, g =1995"), facts()) != []
    both = {"target": "V@v0", "operation": "compose", "parts": [FILM, count]}
    assert check_tasks.check(task(both, ["F Name; 2"], "f a, g b, h b", [["F Name"], ["2"]]), facts()) == []


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (task(FILM, ["G Name"], "f a"), "unique: the world's answer is [['F Name']], the gold answer ['G Name']"),
        (task({**FILM, "triples": [["V@v0", "director", "C@b"]]}, ["G Name"], "g b"), "unique: the world gives 2 answers: g, h"),
        (task({**FILM, "triples": [["V@v0", "mentor", "C@a"]]}, ["G Name"], "g b"), "unique: the world gives 0 answers: "),
        # Either of a and b is enough of a clue to c.
        (
            task({"target": "V@v0", "triples": [["V@v1", "mentor", "V@v0"], ["V@v2", "mentor", "V@v0"]]}, ["C Name"], "a c, b c"),
            "clues: ['V@v1', 'mentor', 'V@v0'] is not needed",
        ),
        # Both a and b lead to m, so neither page is needed.
        (
            task({"target": "V@v0", "triples": [["V@v1", "employer", "V@v0"], ["V@v1", "mentor", "C@c"]]}, ["M Name"], "a m, a c"),
            "necessary: a is not needed",
        ),
        (task({**FILM, "triples": [["V@v0", "director", "V@v1"], ["V@v1", "mentor", "C@c"], ["V@v0", "released", "C@=1990"]]}, ["F Name"],
              "f a, f =1990"), "sufficient: the ledger gives 0 answers: "),
        (task(FILM, ["F Name"], "f a", question="Is it f name?"), "silent: the question says 'F Name'"),
        (task(FILM, ["F Name"], "f a, g b"), "necessary: g is not needed"),
    ],
)  # fmt: skip
def test_damage_is_found(broken: Values, problem: str) -> None:
    assert problem in check_tasks.check(broken, facts())


def test_a_task_without_an_answer() -> None:
    for relation, problems in (("mentor", []), ("director", ["unique: the world gives 1 answers: f, and none is wanted"])):
        asked = task({**FILM, "triples": [["V@v0", relation, "C@a"]]}, ["unknown"], "f a")
        asked["meta"]["answerable"] = False
        assert check_tasks.check(asked, facts()) == problems


def test_untrue_statements_are_found() -> None:
    good = task(FILM, ["F Name"], "f a")

    def changed(change: Callable[[Values], Any]) -> list[str]:
        copy = json.loads(json.dumps(good))
        change(copy)
        return [problem for problem in check_tasks.check(copy, facts()) if problem.startswith("true")]

    assert changed(lambda t: None) == []
    assert changed(lambda t: t["meta"]["ledger"]["statements"][0].__setitem__(2, "b")) == ["true: f director b on f"]
    assert changed(lambda t: t["meta"]["ledger"]["statements"][0].__setitem__(3, "g"))[0] == "true: f director a on g"
    assert changed(lambda t: t.update(evidence=["g"])) == ["true: the pages of the statements are not the evidence"]
    assert changed(lambda t: t["meta"]["ledger"]["names"].update(a=["B Name"])) == ["true: a is ('A Name',), person"]


def test_a_query_that_is_no_tree_is_refused() -> None:
    ring = [["V@v0", "mentor", "V@v1"], ["V@v1", "employer", "V@v2"], ["V@v0", "employer", "V@v2"]]
    with pytest.raises(SystemExit, match="no tree"):
        check_tasks.check(task({"target": "V@v0", "triples": ring}, ["A Name"], "a c"), facts())
    with pytest.raises(SystemExit, match="hang together"):
        check_tasks.check(task({**FILM, "triples": [*FILM["triples"], ["V@v8", "mentor", "C@c"]]}, ["F Name"], "f a"), facts())


@cache
def graph() -> WorldGraph:
    return WorldGraph(build_world(WorldConfig(seed=4, pages=1_000, alias_rate=0.3)))


@pytest.mark.parametrize("name", [name for name in makers.names() if makers.get(name).needs != "pages"])
def test_what_a_maker_makes_passes(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = check_tasks.world_facts(graph().world)
    made = [json.loads(made.model_dump_json()) for made in tasks(makers.build(name), graph(), seed=2, n=60)]
    # Makers of open tasks keep no ledger, and have nothing to be checked by a query.
    for one in made:
        if "ledger" in one["meta"]:
            assert [problem for problem in check_tasks.check(one, world) if not problem.startswith("clues")] == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = tasks(makers.build("sailorfog"), WorldGraph(build_world(WorldConfig(seed=4, pages=1_000))), seed=0, n=6)
    lines = [json.loads(made.model_dump_json()) for made in drawn]
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = [str(file), "--world", "4", "--pages", "1000"]
    assert check_tasks.main(arguments) == 0
    assert capsys.readouterr().out.startswith(
        "6 tasks; that fail: true 0, unique 0, necessary 0, sufficient 0, silent 0, without a ledger 0;"
    )
    lines[2]["answers"] = ["Nobody Else"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert check_tasks.main([*arguments, "--sample", "6"]) == 1
    assert f"{lines[2]['id']}: unique: the world's answer is" in capsys.readouterr().out
