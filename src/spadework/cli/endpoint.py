"""How commands name a model: `--endpoint URL --model NAME`, and `endpoint.A=B` for the other settings of `rewards.endpoint.Endpoint`.

The key is read from the environment (`endpoint.key_env` names the variable) and never from the command line, where other users of a
machine see it.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from spadework.core.errors import InputError

__all__ = ["EndpointUrl", "ModelName", "Statements", "endpoint_values"]

EndpointUrl = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="Ask a model there, for example http://127.0.0.1:8000/v1; the key comes from $SPADEWORK_JUDGE_KEY.",
        show_default=False,
    ),
]
ModelName = Annotated[str | None, typer.Option("--model", metavar="NAME", help="What the server calls the model.", show_default=False)]

Statements = Annotated[
    Path | None,
    typer.Option(
        "--statements", metavar="FILE", help="What a model has read off the corpus (`spadework corpus read`).", show_default=False
    ),
]


def endpoint_values(url: str | None, model: str | None, settings: Any, cache: Path) -> dict[str, Any] | None:
    """The values of an `Endpoint`; None if no model is named.

    Args:
        url: of `--endpoint`.
        model: of `--model`.
        settings: those of `endpoint.A=B`.
        cache: where replies are kept if no setting says otherwise.

    Raises:
        InputError: half of it is missing.
    """
    given = {"url": url, "model": model} | (settings if isinstance(settings, dict) else {})
    named = {key: value for key, value in given.items() if value is not None or key == "cache"}
    if not named:
        return None
    if "url" not in named or "model" not in named:
        raise InputError("name where the model is and what it is called: --endpoint URL --model NAME")
    return {"cache": cache, **named}
