"""Renderers by the names that recipes use."""

import inspect
from typing import Any

from transformers import PreTrainedTokenizerFast

from spadework.core.errors import ConfigError
from spadework.models.renderers.hermes import HermesRenderer
from spadework.models.renderers.renderer import Renderer
from spadework.models.renderers.self_search import SelfSearchRenderer
from spadework.models.renderers.tags import TagsRenderer

__all__ = ["RENDERERS", "make_renderer"]

RENDERERS: dict[str, type[TagsRenderer] | type[HermesRenderer]] = {
    "tags": TagsRenderer,
    "hermes": HermesRenderer,
    "self-search": SelfSearchRenderer,
}


def make_renderer(name: str, tokenizer: PreTrainedTokenizerFast, **options: Any) -> Renderer:
    """Build a renderer.

    Args:
        name: one of `RENDERERS`.
        tokenizer: its vocabulary has `<|im_start|>` and `<|im_end|>`.
        options: keyword arguments of the renderer's class.

    Raises:
        ConfigError: the name or an option is unknown, or the renderer refuses the tokenizer.
    """
    if name not in RENDERERS:
        raise ConfigError(f"unknown renderer '{name}'; there are {', '.join(sorted(RENDERERS))}")
    known = list(inspect.signature(RENDERERS[name]).parameters)[1:]
    for option in options:
        if option not in known:
            raise ConfigError(f"renderer '{name}' has no option '{option}'; it has {', '.join(known) or 'none'}")
    return RENDERERS[name](tokenizer, **options)
