"""Size budgets: a file has at most 500 lines, a class 300, a function 60, an `__init__` method 40.

Run as `python scripts/size_budgets.py [FOLDER ...]`. Exceptions stand in `scripts/size_allowed.txt`, one per line as `PATH:NAME reason`;
NAME is empty for a whole file. An exception that is no longer needed is an error, so that the list only shrinks.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["allowed", "over_budget"]

FILE, CLASS, FUNCTION, INIT = 500, 300, 60, 40
ROOT = Path(__file__).resolve().parents[1]


def over_budget(path: Path, name: str) -> Iterator[tuple[str, str]]:
    """What is too long in a file, as (`NAME-OF-FILE:QUALIFIED.NAME`, explanation)."""
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    if lines > FILE:
        yield f"{name}:", f"file has {lines} lines, the budget is {FILE}"
    yield from _definitions(ast.parse(text), f"{name}:")


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _definitions(child, prefix)
            continue
        lines = (child.end_lineno or child.lineno) - child.lineno + 1
        kind, budget = ("class", CLASS) if isinstance(child, ast.ClassDef) else ("function", INIT if child.name == "__init__" else FUNCTION)
        if lines > budget:
            yield f"{prefix}{child.name}", f"{kind} has {lines} lines, the budget is {budget}"
        yield from _definitions(child, f"{prefix}{child.name}.")


def allowed(path: Path) -> dict[str, str]:
    """Exceptions with their reasons.

    Raises:
        SystemExit: an exception has no reason.
    """
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        key, _, reason = line.partition(" ")
        if not reason.strip():
            raise SystemExit(f"{path}:{number}: an exception needs a reason")
        found[key] = reason.strip()
    return found


def main(folders: list[str]) -> int:
    """Print what is over budget; 1 if there is something."""
    exceptions = allowed(ROOT / "scripts/size_allowed.txt")
    used = set()
    failures = []
    for folder in folders or ["src", "scripts", "benchmarks", "examples"]:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for key, explanation in over_budget(path, path.relative_to(ROOT).as_posix()):
                used.add(key)
                if key not in exceptions:
                    failures.append(f"{key} {explanation}")
    if not folders:
        failures += [f"scripts/size_allowed.txt: {key} is within its budget now; delete the line" for key in exceptions if key not in used]
    print("\n".join(failures), end="\n" if failures else "", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
