"""`spadework corpus`: turn documents into a corpus that can be searched."""

from pathlib import Path
from typing import Annotated

import typer

from spadework.cli.frame import AsJson, NewFolder, command_group, print_result

__all__ = ["app", "build"]

app = command_group("Build corpora from documents.")


@app.command()
def build(
    source: Annotated[Path, typer.Argument(metavar="PATH", help="A folder of md, txt, html or pdf files, or a jsonl file.")],
    out: NewFolder,
    dense: Annotated[
        str | None,
        typer.Option("--dense", metavar="MODEL", help="Also write vectors of this sentence-transformers model.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read documents, index them, and write a corpus folder.

    Example: spadework corpus build notes/ --out runs/corpus
    """
    from spadework.core.events import disk_errors
    from spadework.corpus.store import build_corpus

    encoder = None
    if dense is not None:
        from spadework.corpus.sentence import SentenceEncoder

        encoder = SentenceEncoder(dense)
    with disk_errors(out):
        manifest = build_corpus(source, out, encoder=encoder).manifest
    print_result(
        {"out": str(out), "dense": dense, **manifest.model_dump(mode="json")},
        as_json,
        f"{manifest.documents} documents, {manifest.characters} characters, hash {manifest.content_hash} -> {out}",
    )
