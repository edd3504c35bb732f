"""`__all__` is true: by reading every module, and by importing it."""

import importlib
from pathlib import Path

import pytest
from public_names import faults
from size_budgets import allowed, over_budget

PACKAGE = Path(__file__).resolve().parents[1] / "src/spadework"
OPTIONAL = {"peft"}
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"
]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_can_be_imported(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert error.name in OPTIONAL
        pytest.skip(f"{error.name} is not installed")
    for public in module.__all__:
        assert hasattr(module, public), f"{name}.__all__ names '{public}'"


def test_faults_are_found() -> None:
    assert list(faults("x = 1")) == ["has no __all__"]
    assert list(faults('__all__ = ["gone"]')) == ["__all__ names 'gone', which the module does not have"]
    assert list(faults("__all__ = []\ndef f(): ...\nclass _C: ...")) == ["'f' looks public but is not in __all__"]
    assert list(faults("import x", is_package=True)) == ["a package __init__ stays empty: import the defining module"]
    assert list(faults('__all__ = ["A", "f", "T"]\nfrom x import A\nasync def f(): ...\nT: int = 1')) == []


def test_what_is_too_long_is_found(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    body = "        x = 1\n"
    path.write_text("class A:\n    def __init__(self):\n" + body * 40 + "    def f(self):\n" + body * 59 + "\n" * 400)
    # `__init__` has 41 lines with its first, `f` exactly 60, the class 102, the file 502.
    assert list(over_budget(path, "long.py")) == [
        ("long.py:", "file has 502 lines, the budget is 500"),
        ("long.py:A.__init__", "function has 41 lines, the budget is 40"),
    ]


def test_an_exception_needs_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "allowed.txt"
    path.write_text("# comment\nsrc/a.py:f it is one table\nsrc/b.py:g\n")
    with pytest.raises(SystemExit, match=r"allowed\.txt:3: an exception needs a reason"):
        allowed(path)
