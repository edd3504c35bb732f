"""Public names: every module of the package says in `__all__` what it offers, and offers all that looks public.

Run as `python scripts/public_names.py`. Checked without importing anything, so it takes a moment only: `__all__` is there, every name in it
is defined or imported in the module, and every public class or function is in it. Package `__init__` files are empty.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["faults"]

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src/spadework"


def faults(text: str, *, is_package: bool = False) -> Iterator[str]:
    """What is wrong with the public names of a module's source."""
    if is_package:
        if text.strip():
            yield "a package __init__ stays empty: import the defining module"
        return
    tree = ast.parse(text)
    listed = _listed(tree)
    if listed is None:
        yield "has no __all__"
        return
    bound = set(_bound(tree.body))
    yield from (f"__all__ names '{name}', which the module does not have" for name in listed if name not in bound)
    defined = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
    yield from (f"'{name}' looks public but is not in __all__" for name in defined if not name.startswith("_") and name not in listed)


def _listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            return [str(name) for name in ast.literal_eval(node.value)]
    return None


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Names that statements bind at the top level, also under `if` and `try`."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
        elif isinstance(node, ast.If | ast.Try):
            yield from _bound(node.body + node.orelse)


def main() -> int:
    """Print the faults of the package; 1 if there are any."""
    failures = [
        f"{path.relative_to(ROOT)}: {fault}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for fault in faults(path.read_text(encoding="utf-8"), is_package=path.name == "__init__.py" and path.parent != PACKAGE)
    ]
    print("\n".join(failures), end="\n" if failures else "", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
