"""The tables of the documentation that are made from the code are as they should be."""

from pathlib import Path

import pytest
from tables import PAGES, tables, with_tables

MADE = tables()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<!-- table: " in text
    assert with_tables(text, MADE) == text, "run python scripts/tables.py"


def test_marks_are_checked() -> None:
    assert with_tables("a\n<!-- table: x -->\nold\n<!-- end -->\nb", {"x": "new"}) == "a\n<!-- table: x -->\nnew\n<!-- end -->\nb"
    for text in ("<!-- table: y -->\n<!-- end -->", "<!-- table: x -->\n"):
        with pytest.raises(SystemExit, match="no such table"):
            with_tables(text, {"x": "new"})
