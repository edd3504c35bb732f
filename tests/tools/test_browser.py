"""A real browser, which meets the same wall as the fetcher; skipped where playwright or Chromium is missing."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spadework.core.errors import InputError
from spadework.tools.browser import _FLAGS, Browser, BrowserConfig, find_chromium
from spadework.tools.tool import LABEL, ToolContext, tools
from spadework.tools.visit import VisitConfig, VisitTool
from spadework.tools.web.fetch import Fetcher

try:
    import playwright.async_api as playwright

    find_chromium()
    WHY = ""
except (ImportError, InputError) as error:
    WHY = f"no browser: {error}"
browser = pytest.mark.skipif(bool(WHY), reason=WHY)

FILLED = """<html><head><title>App</title></head><body><div id="app"></div><script>
fetch('/data').then(r => r.text()).then(text => { document.getElementById('app').innerHTML = '<h2>Mayors</h2><p>' + text + '</p>' })
</script></body></html>"""
WAYS_OUT = """<html><body><p>Here is a text that was on the page from the start.</p><script>
const u = '127.0.0.1:PORT';
const attempts = {
  fetch: () => fetch('http://' + u + '/fetch'),
  post: () => fetch('http://' + u + '/post', {method: 'POST', body: 'x', mode: 'no-cors'}),
  xhr: () => { const x = new XMLHttpRequest(); x.open('GET', 'http://' + u + '/xhr'); x.send() },
  decimal: () => fetch('http://2130706433:PORT/'),
  ipv6: () => fetch('http://[::1]:PORT/'),
  name: () => fetch('http://localhost:PORT/'),
  image: () => { new Image().src = 'http://' + u + '/image' },
  websocket: () => new WebSocket('ws://' + u + '/websocket'),
  events: () => new EventSource('http://' + u + '/events'),
  beacon: () => navigator.sendBeacon('http://' + u + '/beacon', 'x'),
  window: () => window.open('http://' + u + '/window'),
  frame: () => add('iframe', {src: 'http://' + u + '/frame'}),
  script: () => add('script', {src: 'http://' + u + '/script'}),
  style: () => add('link', {rel: 'stylesheet', href: 'http://' + u + '/style'}),
  font: () => { const s = document.createElement('style');
    s.textContent = '@font-face{font-family:x;src:url(http://' + u + '/font)}p{font-family:x}'; document.head.append(s) },
  prefetch: () => add('link', {rel: 'prefetch', href: 'http://' + u + '/prefetch'}),
  preconnect: () => add('link', {rel: 'preconnect', href: 'http://' + u}),
  object: () => add('object', {data: 'http://' + u + '/object'}),
  video: () => add('video', {src: 'http://' + u + '/video', preload: 'auto'}),
  form: () => { const f = add('form', {action: 'http://' + u + '/form', method: 'post', target: '_blank'}); f.submit() },
  worker: () => new Worker(URL.createObjectURL(new Blob([`fetch('http://${u}/worker')`]))),
  rtc: () => { const c = new RTCPeerConnection({iceServers: [{urls: 'turn:' + u + '?transport=tcp', username: 'a', credential: 'b'}]});
    c.createDataChannel('x'); c.createOffer().then(o => c.setLocalDescription(o)) },
  file: () => add('iframe', {src: 'file:///etc/passwd'}),
  moved: () => fetch('/moved'),
  navigate: () => { location.href = 'http://' + u + '/navigate' },
};
function add(tag, values) { const e = document.createElement(tag); Object.assign(e, values); document.body.append(e); return e }
const tried = [];
for (const [name, attempt] of Object.entries(attempts)) {
  try { const made = attempt(); if (made && made.catch) made.catch(() => 0) } catch (error) { /* the next one */ }
  tried.push(name);
}
add('p', {textContent: 'Tried: ' + tried.join(' ')});
</script></body></html>"""


def visits(config: VisitConfig, *urls: str) -> list[str]:
    """Texts of pages that are visited one after the other, each by a trajectory of its own; an error as its text."""

    async def run() -> list[str]:
        tool = VisitTool(config)
        seen = []
        try:
            for number, url in enumerate(urls):
                LABEL.set(str(number))
                try:
                    seen.append((await tool(url=url)).text)
                except Exception as error:
                    seen.append(f"{type(error).__name__}: {error}")
        finally:
            await tool.close()
        return seen

    return asyncio.run(run())


def config(web: Any, *, render: str = "always", **options: Any) -> VisitConfig:
    fetch = {"allow_private": [f"127.0.0.1:{web.port}"], "robots": False, **options.pop("fetch", {})}
    return VisitConfig.parse(
        {"render": render, "fetch": fetch, "browser": {"settle": 1.0, **options} if render != "never" else None}, source="t"
    )


def children() -> set[int]:
    """Processes below this one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


@pytest.fixture
def app(web: Any) -> Iterator[Any]:
    web.html("/app", FILLED)
    web.serve("/data", "text/plain", b"Velor Tash has been the mayor of Ondal Brin since 1931, and still is.")
    yield web


@browser
def test_a_page_that_scripts_fill_in(app: Any) -> None:
    article = app.html(
        "/article", "<article><p>" + "All of this text stands in the page itself. " * 8 + "</p><script>fetch('/data')</script></article>"
    )
    before = children()
    (always,) = visits(config(app), f"{app.url}/app")
    assert "Velor Tash has been the mayor" in always and "## Mayors" in always
    # The page itself is not fetched a second time.
    assert [path for path, _ in app.seen] == ["/app", "/data"]
    assert children() <= before
    app.seen.clear()
    texts = visits(config(app, render="when-empty"), f"{app.url}/app", article)
    assert "Velor Tash" in texts[0] and "stands in the page itself" in texts[1]
    assert [path for path, _ in app.seen] == ["/app", "/data", "/article"]
    (never,) = visits(config(app, render="never"), f"{app.url}/app")
    assert "may need scripts, which are not run here" in never


@browser
def test_no_way_out_of_a_page(secret: Any, web: Any) -> None:
    web.html("/page", WAYS_OUT.replace("PORT", str(secret.port)))
    web.redirect("/moved", f"http://127.0.0.1:{secret.port}/moved")
    before = secret.connections
    # The port of the secret server is an allowed one: only the address stands in the way.
    (text,) = visits(config(web, timeout=5.0, fetch={"ports": [80, 443, secret.port]}), f"{web.url}/page")
    assert "from the start" in text and "Tried: fetch post xhr" in text and "moved navigate" in text
    assert secret.connections == before


@browser
def test_without_its_requests_answered_the_browser_reaches_nothing(secret: Any, web: Any) -> None:
    # The flags alone, should a request ever get by the fetcher.
    web.html("/", "page")

    async def run() -> list[str]:
        async with playwright.async_playwright() as driver:
            chromium = await driver.chromium.launch(executable_path=find_chromium(), args=list(_FLAGS), chromium_sandbox=False)
            page = await chromium.new_page()
            errors = []
            for url in (web.url, f"http://127.0.0.1:{secret.port}/", f"http://localhost:{secret.port}/", f"http://[::1]:{secret.port}/"):
                try:
                    await page.goto(url, timeout=5000)
                except playwright.Error as error:
                    errors.append(str(error))
            await chromium.close()
            return errors

    before = secret.connections
    assert len(asyncio.run(run())) == 4
    assert secret.connections == before and web.seen == []


@browser
def test_limits_of_a_page(app: Any) -> None:
    loop = app.html("/loop", "<p>text</p><script>while (true) {}</script>")
    many = app.html("/many", "<p>" + "text " * 50 + "</p><script>for (let i = 0; i < 30; i++) fetch('/data?' + i)</script>")
    texts = visits(config(app, timeout=3.0, max_requests=5), loop, many, f"{app.url}/app")
    assert texts[0] == f"ToolError: {loop} keeps the browser busy for more than 3 s. Use another source."
    assert "text text" in texts[1] and sum(path.startswith("/data?") for path, _ in app.seen) == 5
    # The browser is as good as new.
    assert "Velor Tash" in texts[2]
    (starved,) = visits(config(app, max_bytes=10), f"{app.url}/app")
    assert "Velor Tash" not in starved


@browser
def test_a_browser_that_is_gone_is_started_again(app: Any) -> None:
    async def run() -> int:
        fetcher = Fetcher(app.config(robots=False))
        rendering = Browser(BrowserConfig(settle=0.5), fetcher)
        page = await fetcher.get(f"{app.url}/app")
        count = 0
        for _ in range(2):
            count += "Velor Tash" in (await rendering.render(page)).html
            await rendering._browser.close()
        await rendering.close()
        return count

    assert asyncio.run(run()) == 2


def test_a_browser_that_is_missing_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"executable_path: .*chrome is no file"):
        find_chromium(tmp_path / "chrome")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="apt-get install chromium"):
        find_chromium()
    # With playwright or without, a recipe that asks for a browser does not start without one.
    with pytest.raises(InputError, match=r"playwright|chromium"):
        tools.build("visit", {"render": "always"}).build(ToolContext())
