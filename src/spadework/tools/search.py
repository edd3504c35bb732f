"""Search: one query, the best pages with the passage of each that answers it best, one result per line.

The corpus of this process is searched, or providers are asked (`tools/provider.py`), the first one that answers. A snippet that already
starts with its page's title is shown as it stands, so that an evidence line can be quoted from the results word for word
(`Ondal Brin mayor Velor Tash`); the lines of a longer snippet are joined by bars. Not done here: fetching the page (`tools/read.py`).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field, field_validator, model_validator

from spadework.core.errors import ConfigError, InputError, ToolError
from spadework.corpus.document import Corpus
from spadework.corpus.ranking import Mode, RankedCorpus, rank_corpus
from spadework.corpus.store import IndexedCorpus, content_hash
from spadework.tools.provider import ProviderPart, Result, providers, show
from spadework.tools.tool import Facts, Observation, Provider, Tool, ToolContext, ToolPart, facts_of, register

__all__ = ["SearchConfig", "SearchTool", "WebSearchTool"]


@register("search")
class SearchConfig(ToolPart):
    """Search: one query, the best pages with a passage each, of the corpus or of the providers that are named."""

    limit: int = Field(default=3, ge=1, le=50)
    """Number of results."""
    numbered: bool = False
    """Put `1. `, `2. ` ... before the results."""
    mode: Mode = "bm25"
    """How the corpus is ranked: by words, by meaning (`dense`), or by both (`hybrid`)."""
    encoder: str | None = None
    """A sentence-transformers model for the vectors of a corpus that was built without, such as a generated world."""
    rerank: str | None = None
    """A cross-encoder that reads the first documents again."""
    providers: tuple[Any, ...] = ()
    """Asked instead of the corpus, in this order until one answers: names, or a name with options (`{searxng: {url: ...}}`)."""

    @field_validator("providers", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str | dict) else value

    @model_validator(mode="after")
    def _effective(self) -> "SearchConfig":
        idle = [name for name in ("mode", "encoder", "rerank") if getattr(self, name) != type(self).model_fields[name].default]
        if self.providers and idle:
            raise ValueError(f"'{idle[0]}' has no effect with providers, which rank by themselves")
        try:
            self.named()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def named(self) -> list[ProviderPart]:
        """The providers' parts.

        Raises:
            ConfigError: an unknown name or option.
        """
        found = []
        for entry in self.providers:
            if isinstance(entry, ProviderPart):
                found.append(entry)
                continue
            ((name, options),) = entry.items() if isinstance(entry, dict) and len(entry) == 1 else ((entry, None),)
            if not isinstance(name, str) or not isinstance(options, dict | None):
                raise ConfigError(f"providers: {entry!r} is neither a name nor a name with options")
            found.append(providers.build(name, options, source="providers"))
        return found

    def build(self, context: ToolContext) -> Sequence[Tool]:
        """The tool `search`."""
        if self.providers:
            return [WebSearchTool([part.build(self.limit, context) for part in self.named()], self)]
        corpus = context.need_corpus("search")
        if self.mode != "bm25" or self.encoder or self.rerank:
            if not isinstance(corpus, IndexedCorpus):
                raise InputError(f"{type(corpus).__name__} can be searched in mode 'bm25' only")
            corpus = rank_corpus(corpus, self.mode, encoder=self.encoder, reranker=self.rerank)
        return [SearchTool(corpus, self)]


def _schema(name: str, description: str) -> dict[str, Any]:
    query = {"type": "string", "description": "What to look for: names and words that the page would contain."}
    return {
        "name": name,
        "description": description,
        "parameters": {"type": "object", "properties": {"query": query}, "required": ["query"], "additionalProperties": False},
    }


def _asked(query: str) -> str:
    """The query.

    Raises:
        ToolError: it is empty.
    """
    if not query.strip():
        raise ToolError("The query is empty. Write what to look for.")
    return query


class SearchTool:
    """The tool `search` over a corpus."""

    name = "search"

    def __init__(self, corpus: Corpus, config: SearchConfig | None = None) -> None:
        self.corpus = corpus
        self.config = config or SearchConfig()
        # BM25 takes a tenth of a millisecond; a model takes long enough to be waited for in a thread.
        self.facts = Facts(inline=not isinstance(corpus, RankedCorpus), version=self._version)
        self.schema = _schema(
            self.name, f"Search the corpus. Returns the {self.config.limit} best pages, one per line, each with its best passage."
        )

    def _version(self) -> str:
        """A result depends on the pages, on how snippets are cut, on the options and on the models."""
        base, model = self.corpus, ""
        if isinstance(self.corpus, RankedCorpus):
            base = self.corpus.base
            model = self.corpus.dense[1].name if self.corpus.dense is not None else ""
        return f"{content_hash(base)} {getattr(base, 'snippets', '')!r} {self.config!r} {model}"

    async def __call__(self, *, query: str) -> Observation:
        """Search for a query.

        Raises:
            ToolError: the query is empty.
        """
        _asked(query)
        if self.facts.inline:
            hits = self.corpus.search(query, limit=self.config.limit)
        else:
            hits = await asyncio.to_thread(self.corpus.search, query, limit=self.config.limit)
        return show([Result(hit.title, hit.snippet, id=hit.id) for hit in hits], numbered=self.config.numbered)


class WebSearchTool:
    """The tool `search` by providers; the gateway calls them instead of the tool."""

    name = "search"

    def __init__(self, ways: Sequence[Provider], config: SearchConfig) -> None:
        self.config = config
        self.providers = tuple(_Way(way, config.numbered) for way in ways)
        self.facts = Facts(version=self._version)
        self.schema = _schema(self.name, f"Search the web. Returns the {config.limit} best pages, one per line, each with a passage.")

    def _version(self) -> str:
        """Options hold no key, so they may stand on a tape."""
        return repr(self.config) + "".join(f" {version()}" for way in self.providers if (version := getattr(way.provider, "version", None)))

    def advance(self, progress: float) -> None:
        """Tell providers that have a schedule how much of the training is done."""
        for way in self.providers:
            if (advance := getattr(way.provider, "advance", None)) is not None:
                advance(progress)

    async def __call__(self, *, query: str) -> Observation:
        """Ask the first provider only; the gateway asks the others."""
        return await self.providers[0](query=query)


class _Way:
    """A provider, with what holds for all of them."""

    def __init__(self, provider: Provider, numbered: bool) -> None:
        self.provider, self.name, self.numbered = provider, provider.name, numbered
        self.facts = facts_of(provider)

    async def __call__(self, *_: Any, **arguments: Any) -> Observation:
        _asked(arguments["query"])
        observation = await self.provider(**arguments)
        if not self.numbered or not observation.documents:
            return observation
        lines = observation.text.split("\n")
        return replace(observation, text="\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1)))
