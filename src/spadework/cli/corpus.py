"""`spadework corpus`: turn documents into a corpus that can be searched."""

from pathlib import Path
from typing import Annotated

import typer

from spadework.cli.endpoint import EndpointUrl, ModelName, endpoint_values
from spadework.cli.frame import AsJson, CorpusFolder, NewFile, NewFolder, Overrides, Resume, command_group, print_result

__all__ = ["app", "build", "read"]

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


@app.command()
def read(
    corpus: CorpusFolder,
    out: NewFile,
    settings: Overrides = None,
    endpoint: EndpointUrl = None,
    model: ModelName = None,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Have a model read statements off every page, for `spadework synth --statements` to make tasks of.

    Every page is a line of the file as soon as it is read. What of it stands on its page is counted. Ends with exit code 1 if pages are
    left without a usable reply; --resume asks for them again.

    Example: spadework corpus read --corpus runs/corpus --endpoint http://127.0.0.1:8000/v1 --model Qwen3-8B --out runs/statements.jsonl
    """
    from spadework.core.config import apply_overrides
    from spadework.core.errors import ConfigError, InputError
    from spadework.corpus.store import open_corpus
    from spadework.synthesis.claims import read_claims, read_pages
    from spadework.synthesis.corpus_graph import CorpusGraph
    from spadework.synthesis.model import Model
    from spadework.synthesis.read_graph import ReadGraph

    options = apply_overrides({}, settings or [])
    asked = endpoint_values(endpoint, model, options.pop("endpoint", None), out.with_name(f"{out.stem}.replies"))
    more = options.pop("model", {})
    if other := next(iter(options), ""):
        raise ConfigError(f"setting '{other}': known are those of `endpoint.` and `model.`")
    if asked is None:
        raise InputError("name who reads: --endpoint URL --model NAME")
    opened = open_corpus(corpus)
    found = read_pages(opened, Model.parse({"endpoint": asked, **more}, source="--endpoint"), out, resume=resume)
    graph = ReadGraph(CorpusGraph(opened), read_claims(out))
    facts = {"out": str(out), **found._asdict(), "statements": len(graph.statements), "dropped": dict(graph.dropped)}
    lines = [f"{number} left out: {why}" for why, number in graph.dropped.most_common()]
    lines += [f"{found.malformed} left out: not a statement"] if found.malformed else []
    lines += [f"{found.unread} pages without a usable reply; the first: {found.reason}"] if found.unread else []
    print_result(facts, as_json, "\n".join([*lines, f"{len(graph.statements)} statements on {found.read} of {found.pages} pages -> {out}"]))
    if found.unread:
        raise typer.Exit(1)
