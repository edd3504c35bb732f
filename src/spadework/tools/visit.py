"""Visit: a page of the web as Markdown, in parts; and find, which searches the pages that were visited.

`URL#2` is the second part of a page and `URL#History` the part with that heading, so that a protocol with one argument can read on. A
trajectory sees a page as it was when it first came there; the parts fit together, and find searches what was shown. What is fetched, and
what never, is decided in `tools/web`; a page that only scripts fill in is rendered by a browser where the recipe says so.

A site that does not answer is news for the model: after the gateway's attempts it is told, and chooses another page. Only if several sites
in a row are silent is our own network taken to be down, and the trajectory broken.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from spadework.core.errors import BrokenError, ToolError
from spadework.tools.browser import Browser, BrowserConfig
from spadework.tools.find import FindTool
from spadework.tools.tool import Facts, Observation, Provider, Tool, ToolContext, ToolPart, Usage, current_label, register
from spadework.tools.web.address import parse_url
from spadework.tools.web.fetch import FetchConfig, Fetched, Fetcher
from spadework.tools.web.page import Page, decode, is_html, needs_scripts, read_html, read_page
from spadework.tools.web.pages import Pages

__all__ = ["VisitConfig", "VisitTool"]

_ACCEPT = "text/html, application/xhtml+xml, application/pdf, text/*;q=0.9, application/json;q=0.9, */*;q=0.5"
_HEADINGS = 20
"""Most entries of the outline that a first part ends with."""


@register("visit")
class VisitConfig(ToolPart):
    """Visit pages of the web, in parts, and find text in them: the tools `visit` and `find`."""

    max_chars: int = Field(default=4000, ge=200)
    """Characters per part. Keep it below the gateway's `max_chars`, which cuts without a way to go on."""
    links: Literal["keep", "strip"] = "keep"
    """Whether links stay in the text as `[text](address)`, or only their text does."""
    render: Literal["never", "always", "when-empty"] = "never"
    """Let a browser run the scripts of a page: of every one, or of one whose HTML holds scripts and next to no text."""
    browser: BrowserConfig | None = None
    """Which browser, and its limits."""
    find: bool = True
    """Offer `find` too."""
    fetch: FetchConfig = FetchConfig()
    """What may be fetched."""

    @model_validator(mode="after")
    def _effective(self) -> "VisitConfig":
        if self.render == "never" and self.browser is not None:
            raise ValueError("browser has no effect with render: never; set render: when-empty or always")
        return self

    def build(self, context: ToolContext) -> Sequence[Tool]:
        """The tools `visit` and `find`.

        Raises:
            InputError: a list of addresses cannot be read, or pages should be rendered and there is no browser.
        """
        visit = VisitTool(self)
        return [visit, FindTool(visit.pages)] if self.find else [visit]


class VisitTool:
    """The tool `visit`."""

    name = "visit"

    def __init__(self, config: VisitConfig | None = None, *, fetcher: Fetcher | None = None) -> None:
        """Make the tool.

        Args:
            config: its options.
            fetcher: made from the config if not given.

        Raises:
            InputError: see `VisitConfig.build`.
        """
        self.config = config or VisitConfig()
        self.pages = Pages()
        self.fetcher = fetcher or Fetcher(self.config.fetch)
        self.browser = Browser(self.config.browser or BrowserConfig(), self.fetcher) if self.config.render != "never" else None
        self.facts = Facts(version=f"1 {self.config!r}", state="pages", host=_host)
        self.providers: tuple[Provider, ...] = (self, _Silence(self))
        url = {"type": "string", "description": "Address of a page; `ADDRESS#2` is its second part, `ADDRESS#History` that section."}
        self.schema: dict[str, Any] = {
            "name": self.name,
            "description": "Visit a web page and read it.",
            "parameters": {"type": "object", "properties": {"url": url}, "required": ["url"], "additionalProperties": False},
        }

    async def __call__(self, *, url: str) -> Observation:
        """Show one part of a page.

        Raises:
            ToolError: the page is not there, may not be visited or cannot be read, or has no such part.
            TransientError: the site does not answer.
        """
        label = current_label()
        with self.pages.call(label):
            address, _, fragment = url.strip().partition("#")
            target = parse_url(address)
            page, received = self.pages.get(label, target.url), 0
            if page is None:
                page, received = await self._load(target.url)
            number = page.part_of(fragment)
            if not 1 <= number <= len(page.parts):
                some = "1 part" if len(page.parts) == 1 else f"{len(page.parts)} parts"
                raise ToolError(f"{page.url} has {some}; there is no part {number}.")
            self.pages.visit(label, target.url, page)
        text = page.parts[number - 1]
        return Observation(
            text=_shown(page, number), tool=self.name, documents=(page.url,), links=Page.links(text), usage=Usage(bytes=received)
        )

    async def _load(self, url: str) -> tuple[Page, int]:
        """Fetch a page and read it, and how many bytes came."""
        fetched = await self.fetcher.get(url, accept=_ACCEPT)
        if fetched.status >= 300:
            raise ToolError(f"{fetched.url} can not be read: HTTP {fetched.status}{_REASONS.get(fetched.status, '')}.")
        page, received = await self._read(fetched)
        if not page.text:
            hint = "; it may need scripts, which are not run here" if self.browser is None and is_html(fetched) else ""
            raise ToolError(f"{fetched.url} has no text{hint}. Use another source.")
        return page, received

    async def _read(self, fetched: Fetched) -> tuple[Page, int]:
        options: dict[str, Any] = {"links": self.config.links == "keep", "max_chars": self.config.max_chars}
        if self.browser is None or not is_html(fetched):
            return await asyncio.to_thread(read_page, fetched, **options), fetched.received
        if self.config.render == "when-empty":
            page = await asyncio.to_thread(read_page, fetched, **options)
            if not needs_scripts(decode(fetched), page):
                return page, fetched.received
        rendered = await self.browser.render(fetched)
        return await asyncio.to_thread(read_html, rendered.html, fetched, **options), fetched.received + rendered.received

    def settle(self, label: str) -> None:
        """Forget the pages of a trajectory."""
        self.pages.forget(label)

    async def fork(self, old: str, new: str, calls: int) -> bool:
        """Copy the pages that a trajectory had visited after its first calls."""
        return self.pages.fork(old, new, calls)

    async def close(self) -> None:
        """Close connections and the browser."""
        await self.fetcher.close()
        if self.browser is not None:
            await self.browser.close()


class _Silence:
    """What the model is told once all attempts at a page are used up."""

    name = "no answer"

    def __init__(self, visit: VisitTool) -> None:
        self.visit = visit

    async def __call__(self, *_: Any, **arguments: Any) -> Observation:
        host = _host(arguments)
        if self.visit.fetcher.offline:
            raise BrokenError(f"neither {host} nor the sites before it have answered; is this machine connected?")
        with self.visit.pages.call(current_label()):
            raise ToolError(f"'{host}' does not answer. Use another source.")


_REASONS = {401: " (it needs a password)", 403: " (it is refused)", 404: " (there is no such page)", 410: " (the page is gone)"}


def _host(arguments: dict[str, Any]) -> str:
    try:
        return parse_url(str(arguments["url"]).partition("#")[0]).host
    except ToolError:
        return ""


def _shown(page: Page, number: int) -> str:
    """A part with what leads on from it."""
    text, last = page.parts[number - 1], len(page.parts)
    if number == 1 and page.title and page.title.casefold() not in text[: len(page.title) + 10].casefold():
        text = f"# {page.title}\n\n{text}"
    if number < last:
        text += f"\n[part {number} of {last}; visit '{page.url}#{number + 1}' to go on]"
    elif not page.complete:
        text += "\n[the page is longer than what can be read]"
    if number == 1 < last and page.outline:
        rest = len(page.outline) - _HEADINGS
        listed = ", ".join(f"{heading} ({part})" for heading, part in page.outline[:_HEADINGS])
        text += f"\n[sections and their parts: {listed}{f' and {rest} more' if rest > 0 else ''}]"
    return text
