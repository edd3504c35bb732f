"""`spadework view`: a run as a page."""

from spadework.cli.frame import AsJson, RunFolder, print_result

__all__ = ["view"]


def view(run: RunFolder, as_json: AsJson = False) -> None:
    """Write the page of a run: report.html in its folder. The run may still be going.

    Example: spadework view runs/demo
    """
    from spadework.viewer.report import write_report

    path = write_report(run)
    print_result({"report": str(path)}, as_json, str(path))
