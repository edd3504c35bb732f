"""`spadework search`: what an agent's search tool finds."""

from typing import Annotated

import typer

from spadework.cli.frame import AsJson, CorpusFolder, print_result

__all__ = ["search"]


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Plain words.")],
    corpus: CorpusFolder,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many documents.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Search a corpus.

    Example: spadework search "who designed the lighthouse" --corpus runs/corpus
    """
    from spadework.corpus.store import open_corpus

    hits = open_corpus(corpus).search(query, limit=limit)
    lines = [f"{number}. {hit.title} [{hit.id}] {hit.score:.2f}\n   {hit.snippet}" for number, hit in enumerate(hits, start=1)]
    print_result([hit.model_dump() for hit in hits], as_json, "\n".join(lines) or "nothing found")
