"""A page as a browser shows it once its scripts have run: Chromium through playwright, cut off from the network.

The browser opens no connection. Every request of a page, the page itself included, is answered here by the same fetcher as all others
(`tools/web/fetch.py`), with its wall, its lists and its limits; what is not a GET for a document, a script, a style sheet or data is
refused. What could go around that (WebSockets, prefetching, name look-ups, WebRTC) meets a resolver that knows no name and a proxy that
is not there. Each page has a fresh profile: no cookies, no storage, no downloads, no service workers.

The browser is not named here by accident of what is installed: a recipe asks for it, and its absence is an error. Not done here: clicking,
typing, scrolling, screenshots.
"""

import asyncio
import shutil
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from spadework.core.config import Config
from spadework.core.errors import InputError, ToolError
from spadework.tools.tool import TransientError
from spadework.tools.web.fetch import Fetched, Fetcher

__all__ = ["Browser", "BrowserConfig", "Rendered", "find_chromium"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-pings",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    # Nothing listens there; addresses of this machine, which Chromium would reach directly, go there too.
    "--proxy-server=http://0.0.0.0:9",
    "--proxy-bypass-list=<-loopback>",
)
_KINDS = frozenset({"document", "script", "stylesheet", "xhr", "fetch"})
_DROPPED = frozenset({"content-encoding", "content-length", "transfer-encoding", "set-cookie", "connection", "content-disposition"})
"""Headers that no longer hold for a body that was unpacked, or that would start something."""
_LAUNCH_SECONDS, _READ_SECONDS, _CLOSE_SECONDS = 30.0, 3.0, 5.0


class BrowserConfig(Config):
    """The browser and its limits."""

    executable_path: Path | None = None
    """Of Chromium; looked up on PATH if not given."""
    timeout: float = Field(default=15.0, gt=0)
    """Seconds that a page may take to load; it is read as it is then."""
    settle: float = Field(default=2.0, ge=0)
    """Most seconds, after it has loaded, until nothing has been fetched for half a second."""
    max_requests: int = Field(default=60, ge=0)
    """Of a page beside itself; more are refused."""
    max_bytes: int = Field(default=20_000_000, ge=0)
    """Of all requests of a page together, unpacked; more are refused."""
    concurrency: int = Field(default=4, ge=1)
    """Pages at once."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page after its scripts."""

    html: str
    received: int
    """Bytes over the network for its requests, without the page itself."""
    refused: tuple[str, ...] = ()
    """Addresses that the page wanted and did not get."""


def find_chromium(path: Path | None = None) -> str:
    """The browser to use.

    Raises:
        InputError: there is none.
    """
    if path is not None:
        if not path.is_file():
            raise InputError(f"browser.executable_path: {path} is no file; name an installed Chromium")
        return str(path)
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise InputError("no browser is installed; install Chromium (on Debian: apt-get install chromium), or set browser.executable_path")
    return found


class Browser:
    """Renders pages; starts with the first one and is kept."""

    def __init__(self, config: BrowserConfig, fetcher: Fetcher) -> None:
        """Find the browser; nothing is started yet.

        Args:
            config: which, and its limits.
            fetcher: answers every request.

        Raises:
            InputError: playwright or Chromium is missing.
        """
        try:
            import playwright.async_api  # noqa: F401
        except ImportError:
            raise InputError("pages are rendered with playwright, which is missing; pip install 'spadework[browser]'") from None
        self.config, self.fetcher = config, fetcher
        self.path = find_chromium(config.executable_path)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: Any = None
        self._browser: Any = None

    async def render(self, fetched: Fetched) -> Rendered:
        """Run the scripts of a page.

        Args:
            fetched: its HTML; it is not fetched again.

        Raises:
            ToolError: the page could not be read, because its scripts never pause or the browser refuses it.
            TransientError: the browser failed.
        """
        from playwright.async_api import Error

        if asyncio.get_running_loop() is not self._loop:
            # What a loop that has ended held is gone with it.
            self._loop, self._driver, self._browser = asyncio.get_running_loop(), None, None
            self._starting, self._slots = asyncio.Lock(), asyncio.Semaphore(self.config.concurrency)
        async with self._slots:
            try:
                browser = await self._start()
                context = await browser.new_context(
                    accept_downloads=False, service_workers="block", user_agent=self.fetcher.config.user_agent
                )
            except (Error, TimeoutError) as error:
                raise TransientError(f"the browser did not start: {_first_line(error)}") from error
            page = _Rendering(self.config, self.fetcher, fetched)
            try:
                async with asyncio.timeout(self.config.timeout + self.config.settle + _READ_SECONDS):
                    return await page.run(context)
            except TimeoutError:
                raise ToolError(
                    f"{fetched.url} keeps the browser busy for more than {self.config.timeout:g} s. Use another source."
                ) from None
            except Error as error:
                if browser.is_connected():
                    raise ToolError(f"{fetched.url} could not be shown: {_first_line(error)}. Use another source.") from None
                raise TransientError(f"the browser ended: {_first_line(error)}") from error
            finally:
                await page.end()
                await _bounded(context.close())

    async def _start(self) -> Any:
        from playwright.async_api import async_playwright

        async with self._starting:
            if self._browser is not None and self._browser.is_connected():
                return self._browser
            async with asyncio.timeout(_LAUNCH_SECONDS):
                if self._driver is None:
                    self._driver = await async_playwright().start()
                # The sandbox of Chromium needs user namespaces, which containers often lack; playwright switches it off by default.
                self._browser = await self._driver.chromium.launch(
                    executable_path=self.path, headless=True, args=list(_FLAGS), chromium_sandbox=False
                )
            return self._browser

    async def close(self) -> None:
        """End the browser."""
        if self._driver is not None and asyncio.get_running_loop() is self._loop:
            if self._browser is not None:
                await _bounded(self._browser.close())
            await _bounded(self._driver.stop())
        self._driver = self._browser = None


class _Rendering:
    """One page and its requests."""

    def __init__(self, config: BrowserConfig, fetcher: Fetcher, fetched: Fetched) -> None:
        self.config, self.fetcher, self.fetched = config, fetcher, fetched
        self.requests = self.bytes = self.received = 0
        self.refused: list[str] = []
        self.served = False
        self.tasks: set[asyncio.Task[None]] = set()

    async def run(self, context: Any) -> Rendered:
        from playwright.async_api import TimeoutError as LateError

        await context.route("**/*", self._take)
        await context.route_web_socket("**/*", lambda socket: socket.close())
        page = await context.new_page()
        page.on("popup", lambda popup: asyncio.ensure_future(_bounded(popup.close())))
        await page.goto(self.fetched.url, wait_until="commit", timeout=1000 * self.config.timeout)
        # A page that never finishes or never rests is read as it is then.
        with suppress(LateError):
            await page.wait_for_load_state("load", timeout=1000 * self.config.timeout)
            if self.config.settle:
                await page.wait_for_load_state("networkidle", timeout=1000 * self.config.settle)
        return Rendered(await page.content(), self.received, tuple(self.refused))

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _take(self, route: Any) -> None:
        # Held, so that requests of a page that is given up end with it.
        task = asyncio.ensure_future(self._answer(route))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, route: Any) -> None:
        from playwright.async_api import Error

        request = route.request
        fetched = await self._fetch(request)
        # The page may be closed by now.
        with suppress(Error):
            if fetched is None:
                self.refused.append(request.url[:200])
                # No Content leaves the page as it is; a navigation that fails would put an error page in its place.
                await (route.fulfill(status=204) if request.is_navigation_request() else route.abort("blockedbyclient"))
                return
            headers = {name: value for name, value in fetched.headers.items() if name not in _DROPPED}
            await route.fulfill(status=fetched.status, headers=headers, body=fetched.body)

    async def _fetch(self, request: Any) -> Fetched | None:
        if not self.served and request.is_navigation_request() and request.url == self.fetched.url:
            self.served = True
            return self.fetched
        if request.method != "GET" or request.resource_type not in _KINDS or self.requests >= self.config.max_requests:
            return None
        if request.is_navigation_request() and not _in_frame(request):
            # A page that sends its visitor elsewhere by script, or opens a window: this page is what was asked for.
            return None
        self.requests += 1
        try:
            fetched = await self.fetcher.get(request.url, robots=False)
        except (ToolError, TransientError):
            return None
        self.received += fetched.received
        self.bytes += len(fetched.body)
        return fetched if self.bytes <= self.config.max_bytes else None


def _in_frame(request: Any) -> bool:
    """Whether a navigation is that of a frame inside the page."""
    from playwright.async_api import Error

    try:
        return request.frame.parent_frame is not None
    except Error:  # of a window that does not exist yet
        return False


async def _bounded(closing: Awaitable[Any]) -> None:
    """Give back what may be gone already, within a deadline."""
    with suppress(Exception):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await closing


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
