"""The shape of the repository: the rules of the house that a look at the tree can check."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src/spadework"
MODULES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_opens_with_its_idea(path: Path) -> None:
    if path.name == "__init__.py" and path.parent != PACKAGE:
        assert path.read_text() == ""
        return
    docstring = ast.get_docstring(ast.parse(path.read_text()), clean=False)
    assert docstring, "a module opens with a docstring"
    assert len(docstring.splitlines()) <= 20, "a module docstring is short"


def test_no_drawers_and_no_empty_words_in_names() -> None:
    for path in MODULES:
        assert "util" not in path.stem and "helper" not in path.stem, f"{path}: name the thing that the module holds"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                assert not re.search(r"(Manager|Helper|Processor|Factory)$", node.name), f"{path}: {node.name}"


def test_tests_mirror_the_package() -> None:
    for folder in (path for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name not in {"integration", "__pycache__"}):
        assert (PACKAGE / folder.name).is_dir(), f"tests/{folder.name} has no counterpart in src/spadework"
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_every_folder_has_a_page_in_the_docs() -> None:
    index = (ROOT / "docs/README.md").read_text()
    for folder in sorted(path.name for path in FOLDERS if path.parent == PACKAGE):
        assert (ROOT / "docs" / f"{folder}.md").is_file(), f"docs/{folder}.md is missing"
        assert f"({folder}.md)" in index, f"docs/README.md does not link {folder}.md"


def test_links_in_the_docs_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
            if not target.startswith(("http://", "https://", "mailto:")):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}, which does not exist"
