"""One self-contained HTML file that tells what a run learned: no network, no fonts to load, no library.

Text, charts and tables are in the page as they are read; the script adds the theme switch, keys, read-outs and the token view. The same run
folder always gives the same bytes. `page.py` has the frame that pages share.
"""

from collections.abc import Callable
from pathlib import Path

from spadework.core.events import write_atomic
from spadework.viewer.contents import Contents, read_contents, vocabulary
from spadework.viewer.headline import headline
from spadework.viewer.markup import Html, el, join
from spadework.viewer.page import page
from spadework.viewer.sections import cost_section, curve_section, example_section, facts, hop_section, recipe_section, tiles, token_section

__all__ = ["render", "write_report"]


def write_report(run: Path, decode: Callable[[int], str] | None = None, out: Path | None = None) -> Path:
    """Write the page of a run: `report.html` in its folder, or another file.

    Args:
        run: the run folder; the run may still be going.
        decode: text of a token; by default it is read from a checkpoint's `tokenizer.json`.
        out: the file to write instead.

    Returns:
        The path of the report.

    Raises:
        InputError: the folder is not a run, a file in it cannot be read, or the disk is full.
    """
    page = render(read_contents(run), decode or vocabulary(run))
    path = out or run / "report.html"
    write_atomic(path, page)
    return path


def render(run: Contents, decode: Callable[[int], str]) -> str:
    """The whole page as text.

    Args:
        run: what is known about the run.
        decode: text of a token.
    """
    parts = [
        ("success", "Success", hop_section(run)),
        ("cost", "Cost", cost_section(run)),
        ("curves", "Curves", curve_section(run)),
        ("examples", "Examples", example_section(run, decode)),
        ("tokens", "Tokens", token_section(run, decode)),
        ("recipe", "Repeat", recipe_section(run)),
    ]
    return page(f"{run.name}: a Spadework run", _hero(run), parts)


def _hero(run: Contents) -> Html:
    gaps = [el("p", gap, class_="missing") for gap in run.gaps]
    return join(el("h1", headline(run)), facts(run), tiles(run), gaps)
