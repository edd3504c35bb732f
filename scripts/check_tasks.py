"""Checks synthesised tasks on their world by brute force. It shares no code with the makers, the solver or the operators.

Run as `python scripts/check_tasks.py FILE --world SEED --pages N [--sample N]`. It reads the JSON of the task file and the dictionaries of
the world (titles, types, facts, numbers), nothing else. A query is evaluated as a tree of sets: from the leaves to the target, a
variable's set is what fits all of its branches, over all pages. The solver of the package searches from triple to triple instead.

For every task:

- true: every statement of the ledger is a fact of the world, on the page of its subject; names, types and documents are the world's;
- unique: the world gives the question one answer, and it is the gold answer; also where two descriptions may mean one entity;
- necessary: without any one of its pages, the world gives another answer or none (but for reports and requests without an answer);
- sufficient: the statements of the ledger alone give the gold answer;
- clues: without any one triple, range or initial there are other answers (InfoSeek, arXiv 2509.00375). Counted, and no failure: a maker may
  leave a clue in that shortens the way;
- silent: the question does not tell the answer.

Of a task that says that it has no answer (`meta.answerable` is false), the statements are true and the world gives none.
"""

import argparse
import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Facts", "check", "world_facts"]

Values = dict[str, Any]
_OPEN = {"report", "rltr"}
"""Kinds that want more than an answer: their pages are worth reading, and the answer does not need all of them."""


class Facts:
    """Statements as plain tuples, with names and types."""

    def __init__(self, edges: Iterable[tuple[str, str, str]], names: Mapping[str, Sequence[str]], types: Mapping[str, str]) -> None:
        self.edges, self.names, self.types = set(edges), names, types
        self.far: dict[tuple[str, str, bool], set[str]] = defaultdict(set)
        """By relation, value, and whether the value is the subject: what stands at the other end."""
        self.ends: dict[tuple[str, bool], set[str]] = defaultdict(set)
        for subject, relation, object in self.edges:
            self.far[relation, subject, True].add(object)
            self.far[relation, object, False].add(subject)
            self.ends[relation, True].add(subject)
            self.ends[relation, False].add(object)
        self.hidden = ""
        """Subject of statements that are left out."""

    def across(self, relation: str, value: str, from_subject: bool) -> set[str]:
        """What a value has the relation to, or what has it to the value."""
        if from_subject:
            return set() if value == self.hidden else self.far.get((relation, value, True), set())
        return self.far.get((relation, value, False), set()) - {self.hidden}

    def name(self, value: str) -> str:
        """What it is called."""
        return value[1:] if value.startswith("=") else self.names[value][0]


def world_facts(world: Any) -> Facts:
    """The dictionaries of a world (`corpus/worlds/world.py`) as statements."""
    edges = [(subject, relation, object) for subject, facts in world.facts.items() for relation, object in facts.items()]
    edges += [(subject, name, f"={value}") for subject, numbers in world.attributes.items() for name, value in numbers.items()]
    names = {key: (entity.title, *entity.aliases) for key, entity in world.entities.items()}
    return Facts(edges, names, {key: entity.type for key, entity in world.entities.items()})


def check(task: Values, world: Facts) -> list[str]:
    """What is wrong with a task as `KIND: explanation`; empty if nothing is.

    Args:
        task: a line of a task file.
        world: all that is true.
    """
    ledger = task["meta"]["ledger"]
    query = ledger["query"]
    problems = list(_untrue(task, ledger, world))
    if task["meta"].get("answerable") is False:
        found = _targets(query, world, distinct=False)
        return [*problems, *([f"unique: the world gives {_shown(query, world)}, and none is wanted"] if found else [])]
    gold = _settled(query, world)
    if gold is None:
        return [*problems, f"unique: the world gives {_shown(query, world)}"]
    if not _is_gold(query, gold, task, world):
        return [*problems, f"unique: the world's answer is {_texts(query, gold, world)}, the gold answer {task['answers']}"]
    for page in ledger["documents"] if task["kind"] not in _OPEN else ():
        world.hidden = page
        if _settled(query, world) == gold:
            problems.append(f"necessary: {page} is not needed")
        world.hidden = ""
    alone = Facts([tuple(edge[:3]) for edge in ledger["statements"]], ledger["names"], ledger["types"])  # type: ignore[misc]
    if _settled(query, alone) != gold:
        problems.append(f"sufficient: the ledger gives {_shown(query, alone)}")
    for part in query.get("parts") or [query]:
        problems += [f"clues: {clue} is not needed" for clue in _needless(part, world)]
    if query.get("operation") != "compare" and (told := _told(task)):
        problems.append(f"silent: the question says '{told}'")
    return problems


def _untrue(task: Values, ledger: Values, world: Facts) -> Iterator[str]:
    for subject, relation, object, page, *_ in ledger["statements"]:
        if (subject, relation, object) not in world.edges or page != subject:
            yield f"true: {subject} {relation} {object} on {page}"
    pages = list(dict.fromkeys(edge[3] for edge in ledger["statements"]))
    if not pages == list(ledger["documents"]) == list(task["evidence"]):
        yield "true: the pages of the statements are not the evidence"
    for key, names in ledger["names"].items():
        if tuple(names) != tuple(world.names[key]) or ledger["types"].get(key) != world.types[key]:
            yield f"true: {key} is {world.names[key]}, {world.types[key]}"


def _settled(query: Values, facts: Facts) -> Any:
    """The one answer of a query; None if there is none, or if it depends on how the question is read."""
    operation, parts = query.get("operation", "find"), query.get("parts") or []
    if operation == "compose":
        answers = tuple(_settled(part, facts) for part in parts)
        return None if None in answers else answers
    if operation == "compare" and parts:
        answers = [_settled(part, facts) for part in parts]
        return None if None in answers else _compared(query, {one for answer in answers for one in answer}, facts)
    strict, loose = _targets(query, facts, distinct=True), _targets(query, facts, distinct=False)
    if not strict or strict != loose:
        return None
    if operation == "compare":
        return _compared(query, strict, facts)
    return None if operation == "find" and len(strict) > 1 else frozenset(strict)


def _compared(query: Values, candidates: set[str], facts: Facts) -> tuple[str, frozenset[str]] | None:
    """The winner among the candidates; one who is not known could be the winner."""
    numbers: dict[str, int] = {}
    for one in candidates:
        found = facts.across(query["attribute"], one, True)
        if len(found) != 1:
            return None
        numbers[one] = int(next(iter(found))[1:])
    ordered = sorted(numbers, key=lambda one: numbers[one] if query["smaller"] else -numbers[one])
    return (ordered[0], frozenset(ordered)) if len(ordered) > 1 and numbers[ordered[0]] != numbers[ordered[1]] else None


def _targets(query: Values, facts: Facts, *, distinct: bool) -> set[str]:
    """Values of the target. Two variables may be one entity unless `distinct`."""
    if isinstance(query["target"], list):
        return _constants(query["target"])
    _assert_tree(query)
    loose = _members(query, query["target"], frozenset(), facts)
    loose = {key for key in facts.names if _holds(query, query["target"], key, facts)} if loose is None else loose
    if not distinct:
        return loose
    return {value for value in loose if any(map(_all_different, _ways(query, {query["target"]: value}, facts)))}


def _members(query: Values, variable: str, used: frozenset[int], facts: Facts) -> set[str] | None:
    """What fits a variable and all its branches that are not used yet; None: it has no branch."""
    fitting: set[str] | None = None
    for index, end, forwards in _branches(query, variable, used):
        relation = query["triples"][index][1]
        others = _members(query, end, used | {index}, facts) if _variable(end) else _constants(end)
        if others is None:
            others = {value for value in facts.ends[relation, not forwards] if _holds(query, end, value, facts)}
        near = {value for other in others for value in facts.across(relation, other, not forwards)}
        fitting = near if fitting is None else fitting & near
    return fitting and {value for value in fitting if _holds(query, variable, value, facts)}


def _branches(query: Values, variable: str, used: frozenset[int]) -> Iterator[tuple[int, Any, bool]]:
    """Number of the triple, the term at its other end, and whether the variable is its subject."""
    for index, (subject, _, object) in enumerate(query.get("triples", ())):
        if index not in used and variable in (subject, object):
            yield index, object if subject == variable else subject, subject == variable


def _ways(query: Values, bound: dict[str, str], facts: Facts, used: frozenset[int] = frozenset()) -> Iterator[dict[str, str]]:
    """All ways to fill in the other variables."""
    step = next((step for variable in bound for step in [next(_branches(query, variable, used), None)] if step), None)
    if step is None:
        yield bound
        return
    index, end, forwards = step
    subject, relation, object = query["triples"][index]
    found = facts.across(relation, bound[subject if forwards else object], forwards)
    if not _variable(end):
        if found & _constants(end):
            yield from _ways(query, bound, facts, used | {index})
        return
    for value in sorted(found):
        if _holds(query, end, value, facts):
            yield from _ways(query, {**bound, end: value}, facts, used | {index})


def _all_different(bound: dict[str, str]) -> bool:
    entities = [value for value in bound.values() if not value.startswith("=")]
    return len(entities) == len(set(entities))


def _assert_tree(query: Values) -> None:
    """Sets say the same as assignments only on trees: every variable is reached on one way, and every triple is reached."""
    reached, waiting, used = {query["target"]}, [query["target"]], set()
    while waiting:
        for index, end, _ in _branches(query, waiting.pop(), frozenset(used)):
            used.add(index)
            if _variable(end):
                if end in reached:
                    raise SystemExit(f"this query is no tree, which is not checked here: {json.dumps(query)}")
                reached.add(end)
                waiting.append(end)
    if len(used) < len(query.get("triples", ())) or {condition[0] for condition in query.get("conditions", ())} - reached:
        raise SystemExit(f"this query does not hang together, which is not checked here: {json.dumps(query)}")


def _holds(query: Values, variable: str, value: str, facts: Facts) -> bool:
    for name, kind, *wanted in query.get("conditions", ()):
        if name != variable:
            continue
        if kind == "between":
            if not value.startswith("=") or not wanted[0] <= int(value[1:]) <= wanted[1]:
                return False
        elif kind == "type":
            if facts.types.get(value) != wanted[0]:
                return False
        elif not facts.name(value).lower().startswith(wanted[0].lower()):
            return False
    return True


def _variable(term: Any) -> bool:
    return isinstance(term, str) and term.startswith("V@")


def _constants(term: Any) -> set[str]:
    return {one[2:] for one in ([term] if isinstance(term, str) else term)}


def _needless(query: Values, world: Facts) -> Iterator[str]:
    """Clues of a find that can be dropped, a triple with the branch behind it."""
    if query.get("operation", "find") != "find" or isinstance(query["target"], list):
        return
    gold = _targets(query, world, distinct=False)
    triples, conditions = query.get("triples", []), query.get("conditions", [])
    for index, dropped in enumerate(triples):
        rest, reached, used = {**query, "triples": triples[:index] + triples[index + 1 :]}, [query["target"]], set()
        for variable in reached:
            for number, end, _ in _branches(rest, variable, frozenset(used)):
                used.add(number)
                reached += [end] if _variable(end) else []
        rest["triples"] = [rest["triples"][number] for number in sorted(used)]
        rest["conditions"] = [condition for condition in conditions if condition[0] in reached]
        if rest["triples"] and _targets(rest, world, distinct=False) == gold:
            yield str(dropped)
    for index, dropped in enumerate(conditions):
        # A type makes a sentence of it: "a city beginning with K".
        if (
            dropped[1] != "type"
            and _targets({**query, "conditions": conditions[:index] + conditions[index + 1 :]}, world, distinct=False) == gold
        ):
            yield str(dropped)


def _texts(query: Values, answer: Any, facts: Facts) -> list[list[str]]:
    """Every part of an answer with all its names."""
    if query.get("operation") == "compose":
        return [_texts(part, one, facts)[0] for part, one in zip(query["parts"], answer, strict=True)]
    if query.get("operation") == "count":
        return [[str(len(answer))]]
    if query.get("operation") == "compare":
        return [list(facts.names[answer[0]])]
    return [list(facts.names[one]) if one in facts.names else [facts.name(one)] for one in sorted(answer)]


def _is_gold(query: Values, answer: Any, task: Values, facts: Facts) -> bool:
    texts, operation = _texts(query, answer, facts), query.get("operation", "find")
    if operation in ("list", "compose"):
        items = task["meta"]["items"]
        same = items == texts if operation == "compose" else sorted(items) == sorted(texts)
        return same and task["answers"] == ["; ".join(item[0] for item in items)]
    return bool(task["answers"] == texts[0])


def _shown(query: Values, facts: Facts) -> str:
    if query.get("parts"):
        return "no single answer"
    found = sorted(_targets(query, facts, distinct=False))
    return f"{len(found)} answers: {', '.join(found[:4])}"


def _told(task: Values) -> str:
    texts = [name for item in task["meta"].get("items") or [task["answers"]] for name in item]
    return next(
        (text for text in texts if not text.isdigit() and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", task["question"], re.I)), ""
    )


def main(arguments: Sequence[str]) -> int:
    """Check a file; 1 if a task fails."""
    from spadework.corpus.worlds.generate import build_world
    from spadework.corpus.worlds.world import WorldConfig

    parser = argparse.ArgumentParser(description="Check synthesised tasks on their world by brute force.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--world", type=int, required=True, metavar="SEED")
    parser.add_argument("--pages", type=int, default=1_500)
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="so many of the tasks, drawn at random; 0: all")
    given = parser.parse_args(arguments)
    tasks = [json.loads(line) for line in given.file.read_text(encoding="utf-8").splitlines()]
    if given.sample and given.sample < len(tasks):
        tasks = random.Random(0).sample(tasks, given.sample)
    world = world_facts(build_world(WorldConfig(seed=given.world, pages=given.pages)))
    failed: Counter[str] = Counter()
    for task in tasks:
        if "ledger" not in task["meta"]:
            failed["without a ledger"] += 1
            continue
        problems = check(task, world)
        failed.update({problem.partition(":")[0] for problem in problems})
        for problem in problems:
            if not problem.startswith("clues"):
                print(f"{task['id']}: {problem}")
    counts = ", ".join(f"{kind} {failed[kind]}" for kind in ("true", "unique", "necessary", "sufficient", "silent", "without a ledger"))
    print(f"{len(tasks)} tasks; that fail: {counts}; with a clue that is not needed: {failed['clues']}")
    return int(any(failed[kind] for kind in failed if kind != "clues"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
