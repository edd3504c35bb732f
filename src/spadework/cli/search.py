"""`spadework search`: what an agent's search tool finds, and a server for others' agents."""

import time
from typing import Annotated

import typer

from spadework.cli.frame import AsJson, CorpusFolder, DefaultRun, RerankModel, SearchMode, command_group, print_result

__all__ = ["app", "run", "serve"]

app = command_group("Search a corpus. `spadework search QUERY` is short for `spadework search run QUERY`.", cls=DefaultRun)


@app.command()
def run(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Plain words.")],
    corpus: CorpusFolder,
    mode: SearchMode = "bm25",
    rerank: RerankModel = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most this many documents.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Search a corpus.

    Example: spadework search "who designed the lighthouse" --corpus runs/corpus --mode hybrid
    """
    from spadework.corpus.ranking import rank_corpus
    from spadework.corpus.store import open_corpus

    hits = rank_corpus(open_corpus(corpus), mode, reranker=rerank).search(query, limit=limit)
    lines = [
        f"{number}. {hit.title} [{hit.id}] {hit.score:.{2 if mode == 'bm25' else 4}f}\n   {hit.snippet}"
        for number, hit in enumerate(hits, start=1)
    ]
    print_result([hit.model_dump() for hit in hits], as_json, "\n".join(lines) or "nothing found")


@app.command()
def serve(
    corpus: CorpusFolder,
    mode: SearchMode = "bm25",
    rerank: RerankModel = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. There is no login: open it to machines you trust.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
) -> None:
    """Serve a corpus to agents of other frameworks by Search-R1's `POST /retrieve`, until Ctrl-C.

    Example: spadework search serve --corpus runs/corpus --port 8000
    """
    from spadework.corpus.ranking import rank_corpus
    from spadework.corpus.store import open_corpus
    from spadework.tools.retrieval_server import RetrievalServer

    server = RetrievalServer(rank_corpus(open_corpus(corpus), mode, reranker=rerank), host=host, port=port)
    print(f"{server.start()}/retrieve", flush=True)
    try:
        while True:
            time.sleep(3600)
    finally:
        server.stop()
