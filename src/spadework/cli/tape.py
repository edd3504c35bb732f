"""`spadework tape`: recorded tool calls, to look at, check, compare and hand on."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spadework.cli.frame import AsJson, NewFile, command_group, print_result
from spadework.core.errors import InputError

__all__ = ["app", "diff", "export", "import_", "merge", "show", "verify"]

app = command_group("Recorded tool calls: show, verify, diff, merge, export, import. A run's folder stands for the tape in it.")

TapeFile = Annotated[Path, typer.Argument(metavar="TAPE", help="A tape, or the folder of a run that has recorded one.")]
OtherTape = Annotated[Path, typer.Argument(metavar="TAPE", help="The tape to compare it with.")]


def _open(path: Path, write: bool = False) -> Any:
    from spadework.tools.tape import Tape

    return Tape(path / "tape" if path.is_dir() else path, write=write)


def _summary(path: Path, manifest: dict[str, Any]) -> str:
    tools = ", ".join(f"{count} {name}" for name, count in manifest["tools"].items()) or "none"
    return f"{path}: {manifest['calls']} calls ({tools}), {manifest['failures']} failures, {manifest['hash'][:16]}"


@app.command()
def show(
    path: TapeFile,
    tool: Annotated[str | None, typer.Option("--tool", metavar="NAME", help="Only calls of this tool.", show_default=False)] = None,
    contains: Annotated[str, typer.Option("--contains", metavar="TEXT", help="Only calls whose arguments contain this.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most this many calls.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show what is on a tape.

    Example: spadework tape show runs/web --tool search --contains "mayor"
    """
    from dataclasses import asdict
    from itertools import islice

    from spadework.tools.tape import decode

    with _open(path) as tape:
        manifest = tape.manifest()
        wanted = (entry for entry in tape.entries() if tool in (None, entry.tool) and contains in entry.arguments)
        calls = [asdict(entry) | {"observation": decode(entry.observation)} for entry in islice(wanted, limit)]
        failures = [asdict(failure) for failure in islice((f for f in tape.failures() if tool in (None, f.tool)), limit)]
    lines = [_summary(path, manifest)]
    for call in calls:
        seen = call["observation"]
        first = " ".join(seen.text.split())
        lines.append(f"{call['tool']}({call['arguments']}) {seen.status}: {first[:120]}{'...' if len(first) > 120 else ''}")
        call["observation"] = {"text": seen.text, "status": seen.status, "documents": list(seen.documents), "meta": seen.meta}
    lines += [f"{f['tool']}({f['arguments']}) broken, call {f['number'] + 1} of {f['stream']}: {f['error']}" for f in failures]
    print_result({"manifest": manifest, "calls": calls, "failures": failures}, as_json, "\n".join(lines))


@app.command()
def verify(path: TapeFile, as_json: AsJson = False) -> None:
    """Check the file, the checksum of every record, and that each stands under the key of its call.

    Example: spadework tape verify runs/web
    """
    from spadework.tools.tape_files import verify_tape

    with _open(path) as tape:
        manifest = verify_tape(tape)
    print_result(manifest, as_json, f"{_summary(path, manifest)}\nsound")


@app.command()
def diff(first: TapeFile, second: OtherTape, as_json: AsJson = False) -> None:
    """Compare two tapes call by call. Exit code 1 if they differ.

    Example: spadework tape diff monday.tape tuesday.tape
    """
    from spadework.tools.tape_files import diff_tapes

    with _open(first) as left, _open(second) as right:
        found = diff_tapes(left, right)
    names = {"changed": "~", "only_first": "-", "only_second": "+"}
    lines = [f"{mark} {call}" for name, mark in names.items() for call in found[name]]
    lines.append(f"{found['equal']} equal, {len(found['changed'])} changed, {len(found['only_first'])} only in {first}, ")
    lines[-1] += f"{len(found['only_second'])} only in {second}; failures {found['failures'][0]} and {found['failures'][1]}"
    print_result(found, as_json, "\n".join(lines))
    if any(found[name] for name in names) or found["failures"][0] != found["failures"][1]:
        raise typer.Exit(1)


@app.command()
def merge(
    sources: Annotated[list[Path], typer.Argument(metavar="TAPE...", help="Tapes whose calls to put together.")],
    out: NewFile,
    as_json: AsJson = False,
) -> None:
    """Put the calls of several tapes on one, which may be there already. Tapes that contradict each other are refused.

    Example: spadework tape merge monday.tape tuesday.tape --out week.tape
    """
    from contextlib import ExitStack

    from spadework.tools.tape_files import merge_tapes

    with ExitStack() as stack:
        tapes = [stack.enter_context(_open(source)) for source in sources]
        target = stack.enter_context(_open(out, write=True))
        new = merge_tapes(target, tapes)
        manifest = target.manifest()
    print_result(manifest | {"new": new}, as_json, f"{_summary(out, manifest)}, {new} calls new")


@app.command()
def export(path: TapeFile, out: NewFile, as_json: AsJson = False) -> None:
    """Write a tape as one compressed file with a manifest and a hash.

    Example: spadework tape export runs/web --out web.tape.gz
    """
    from spadework.tools.tape_files import export_tape

    with _open(path) as tape:
        manifest = export_tape(tape, out)
    print_result(manifest, as_json, _summary(out, manifest))


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Written by `spadework tape export`.")], out: NewFile, as_json: AsJson = False
) -> None:
    """Make a tape of an exported file, or add it to the one that is there.

    Example: spadework tape import web.tape.gz --out web.tape
    """
    from spadework.tools.tape_files import import_tape

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with _open(out, write=True) as tape:
        manifest = import_tape(path, tape)
    print_result(manifest, as_json, f"{_summary(out, manifest)}, {manifest['new']} calls new")
