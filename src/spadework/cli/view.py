"""`spadework view`: a run, a comparison, or several of them as a page."""

from pathlib import Path
from typing import Annotated

import typer

from spadework.cli.frame import AsJson, print_result
from spadework.core.errors import InputError

__all__ = ["view"]


def view(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs or comparisons.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page; needed for several folders.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the page of a run (which may still be going) or of a comparison; several folders give one page of success against cost.

    Example: spadework view runs/a runs/b --out runs/pareto.html
    """
    from spadework.viewer.comparison import is_comparison, write_comparison
    from spadework.viewer.pareto import write_pareto
    from spadework.viewer.report import write_report

    if len(runs) > 1:
        if out is None:
            raise InputError("the page of several runs belongs to none of their folders; name it with --out FILE")
        found = write_pareto(runs, out)
        kept = [entry["name"] for entry in found["results"] if entry["beaten_by"]["all"] is None]
        print_result({"report": str(out), **found}, as_json, f"on the frontier: {', '.join(kept)}\n{out}")
        return
    path = write_comparison(runs[0], out) if is_comparison(runs[0]) else write_report(runs[0], out=out)
    print_result({"report": str(path)}, as_json, str(path))
