"""`spadework synth`: tasks by the recipes of published systems, from a world or a corpus."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from spadework.cli.endpoint import EndpointUrl, ModelName, Statements, endpoint_values
from spadework.cli.frame import AsJson, OneCorpus, OneWorld, Overrides, Pages, Resume, print_result
from spadework.core.errors import InputError

__all__ = ["synth"]


def synth(
    settings: Overrides = None,
    maker: Annotated[str | None, typer.Option("--maker", metavar="NAME", help="Which recipe; --list has them.", show_default=False)] = None,
    corpus: OneCorpus = None,
    world: OneWorld = None,
    pages: Pages = 1_500,
    count: Annotated[int, typer.Option("--n", metavar="N", min=1, help="Tasks in the end.")] = 100,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The .jsonl file to write.", show_default=False)] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Which tasks are drawn.")] = 0,
    workers: Annotated[int, typer.Option("--workers", metavar="K", min=1, help="Processes; the result is the same.")] = 1,
    endpoint: EndpointUrl = None,
    model: ModelName = None,
    statements: Statements = None,
    resume: Resume = False,
    listed: Annotated[bool, typer.Option("--list", help="List the makers and stop; with --json also their settings.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make tasks with a ledger of what their answers rest on.

    Settings are those of the maker (levels=[3]) and, after `world.`, those of a world (world.stale_rate=0.1). With --endpoint and --model a
    model words the questions, and says which are sound; `endpoint.deadline=30`, `model.budget=5000` are settings of it.

    Example: spadework synth --maker sailorfog --world 1 --n 1000 --out runs/tasks.jsonl
    """
    if listed:
        _list(as_json)
        return
    if maker is None or out is None:
        raise InputError("name a maker and a file: --maker NAME --out FILE; `spadework synth --list` has the makers")
    from spadework.core.config import apply_overrides
    from spadework.synthesis.batch import Batch, write_batch
    from spadework.synthesis.model import Model
    from spadework.synthesis.source import Source

    options = apply_overrides({}, settings or [])
    source = Source.of(corpus, world, pages, options.pop("world", None), statements)
    asked = endpoint_values(endpoint, model, options.pop("endpoint", None), out.with_name(f"{out.stem}.replies"))
    more = options.pop("model", {})
    if asked is None and more:
        raise InputError("`model.` settings are those of a model; name one: --endpoint URL --model NAME")
    teller = None if asked is None else Model.parse({"endpoint": asked, **more}, source="--endpoint")
    batch = Batch(maker=maker, options=options, source=source, seed=seed)
    start = time.monotonic()
    made = write_batch(batch, out, n=count, workers=workers, resume=resume, model=teller)
    seconds = time.monotonic() - start
    facts = {"out": str(out), "maker": maker, **made._asdict(), "seconds": round(seconds, 3)}
    rate = f", {made.new} of them now, {made.new / seconds:.0f} tasks/s" if made.new else ", all of them before"
    lines = [f"{number} {what}" for what, number in sorted(made.model.items())]
    print_result(facts, as_json, "\n".join([*lines, f"{made.n} tasks from {made.source}{rate} -> {out}"]))


def _list(as_json: bool) -> None:
    from spadework.core.registry import shown
    from spadework.synthesis.makers.maker import makers

    rows: list[dict[str, Any]] = []
    for name in makers.names():
        maker = makers.get(name)
        fields = {
            key: {"default": shown(field.default), "description": field.description or ""} for key, field in maker.model_fields.items()
        }
        rows.append({"name": name, "needs": maker.needs, "formula": maker.published(), "source": maker.source, "settings": fields})
    width = max(len(row["name"]) for row in rows)
    lines = [f"{row['name']:<{width}}  {row['source']}; needs {row['needs']}\n{'':<{width}}  {row['formula']}" for row in rows]
    print_result(rows, as_json, "\n".join(lines))
