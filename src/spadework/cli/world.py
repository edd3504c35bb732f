"""`spadework world`: generated encyclopedias with exact answers."""

import time
from typing import Annotated, Any

import typer

from spadework.cli.frame import AsJson, NewFolder, Overrides, command_group, print_result

__all__ = ["app", "build", "serve", "show"]

app = command_group("Generate worlds: corpora with a known knowledge graph behind them.")

WorldSeed = Annotated[int, typer.Option("--seed", metavar="N", help="Which world.")]
Pages = Annotated[int, typer.Option("--pages", metavar="N", help="Pages in all, at least 1000.")]


def _world(seed: int, pages: int, overrides: list[str] | None) -> Any:
    from spadework.core.config import apply_overrides
    from spadework.corpus.worlds.generate import build_world
    from spadework.corpus.worlds.world import WorldConfig

    return build_world(WorldConfig.parse(apply_overrides({"seed": seed, "pages": pages}, overrides or []), source="world"))


@app.command()
def build(out: NewFolder, overrides: Overrides = None, seed: WorldSeed = 0, pages: Pages = 1_500, as_json: AsJson = False) -> None:
    """Write a world as a corpus folder.

    Example: spadework world build --out runs/world --seed 7 --pages 2000 stale_rate=0.1
    """
    from spadework.core.events import disk_errors
    from spadework.corpus.store import build_corpus

    world = _world(seed, pages, overrides)
    with disk_errors(out):
        manifest = build_corpus(world.documents(), out).manifest
    facts = {
        "out": str(out),
        "seed": seed,
        "documents": manifest.documents,
        "world_hash": world.content_hash,
        "corpus_hash": manifest.content_hash,
    }
    print_result(facts, as_json, f"{manifest.documents} pages, world {world.content_hash} -> {out}")


@app.command()
def show(
    key: Annotated[str, typer.Argument(metavar="PAGE", help="Id, title or alias of a page.")],
    overrides: Overrides = None,
    seed: WorldSeed = 0,
    pages: Pages = 1_500,
    as_json: AsJson = False,
) -> None:
    """Show a page beside the facts behind it.

    Example: spadework world show w0-12 --seed 0
    """
    from spadework.corpus.worlds.show import show as show_page

    page = show_page(_world(seed, pages, overrides), key)
    facts = [f"  {name}: {value}" for name, value in {**page["facts"], **page["attributes"]}.items()]
    print_result(page, as_json, f"{page['title']} [{page['id']}], {page['type']}\n\n{page['text']}\n\nThe truth:\n" + "\n".join(facts))


@app.command()
def serve(
    overrides: Overrides = None,
    seed: WorldSeed = 0,
    pages: Pages = 1_500,
    port: Annotated[int, typer.Option("--port", help="On 127.0.0.1; 0 takes a free one.")] = 0,
) -> None:
    """Serve a world as a web site on this machine, until Ctrl-C.

    Example: spadework world serve --seed 7 --port 8080
    """
    from spadework.corpus.worlds.site import Site

    site = Site(_world(seed, pages, overrides).documents())
    print(site.start(port), flush=True)
    try:
        while True:
            time.sleep(3600)
    finally:
        site.stop()
