"""Pages are visited in parts through the gateway, and stay as they were seen."""

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from spadework.core.errors import BrokenError, ConfigError
from spadework.core.messages import ToolCall
from spadework.tools.gateway import Gateway, GatewayConfig
from spadework.tools.tool import Observation, Tool, ToolContext, tools
from spadework.tools.visit import VisitConfig

PARAGRAPH = "<p>" + "Ondal Brin is a city on a river. " * 8 + "</p>"
LONG = f"<title>Ondal Brin</title><article><h2>Origin</h2>{PARAGRAPH}<h2>Early life</h2>{PARAGRAPH}<h2>Mayors</h2>{PARAGRAPH}</article>"


def calls(built: list[Tool], *wanted: tuple[str, dict[str, Any]], label: str = "t/0", **limits: Any) -> tuple[list[Observation], dict]:
    """Make calls one after the other; the observations and the ledger."""

    async def run() -> tuple[list[Observation], dict]:
        gateway = Gateway(built, GatewayConfig(backoff=0, **limits))
        try:
            seen = [await gateway.call(ToolCall(name=name, arguments=arguments), label) for name, arguments in wanted]
            return seen, gateway.settle(label)
        finally:
            await gateway.close()

    return asyncio.run(run())


def part(web, **options: Any) -> list[Tool]:
    fetch = {"allow_private": [f"127.0.0.1:{web.port}"], **options.pop("fetch", {})}
    return list(tools.build("visit", {"fetch": fetch, **options}).build(ToolContext()))


def test_a_page_in_parts(web) -> None:
    url = web.html("/wiki", LONG)
    wanted = [("visit", {"url": url + fragment}) for fragment in ("", "#2", "#Mayors", "#9", "#nowhere")]
    (first, second, mayors, ninth, nowhere), ledger = calls(part(web, max_chars=350), *wanted)
    assert first.text.startswith("# Ondal Brin\n\n## Origin\n\nOndal Brin is a city")
    assert f"\n[part 1 of 3; visit '{url}#2' to go on]\n[sections and their parts: Origin (1), Early life (2), Mayors (3)]" in first.text
    assert second.text.startswith("## Early life") and second.text.endswith(f"[part 2 of 3; visit '{url}#3' to go on]")
    assert mayors.text.startswith("## Mayors") and "[part" not in mayors.text
    assert (ninth.status, ninth.text) == ("error", f"{url} has 3 parts; there is no part 9.")
    assert nowhere.text == first.text and first.documents == (url,)
    # Fetched once, and paid for once.
    assert [path for path, _ in web.seen] == ["/robots.txt", "/wiki"]
    assert ledger["bytes/visit"] == len(LONG)


def test_a_page_stays_as_it_was_seen_first_within_a_trajectory(web) -> None:
    url = web.html("/", "<p>first</p>")
    web.redirect("/old", "/")

    async def run() -> list[str]:
        gateway = Gateway(part(web))
        seen = []
        for label, address, text in (("a", f"{web.url}/old", "second"), ("a", url, "third"), ("b", url, "fourth"), ("a", url, "")):
            seen.append((await gateway.call(ToolCall(name="visit", arguments={"url": address}), label)).text)
            web.html("/", f"<p>{text}</p>")
        gateway.settle("a")
        seen.append((await gateway.call(ToolCall(name="visit", arguments={"url": url}), "a")).status)
        await gateway.close()
        return seen

    assert asyncio.run(run()) == ["first", "first", "third", "first", "error"]


@pytest.mark.parametrize(
    ("path", "status", "why"),
    [("/missing", 404, "HTTP 404 (there is no such page)"), ("/closed", 403, "HTTP 403 (it is refused)"), ("/teapot", 418, "HTTP 418")],
)
def test_what_is_not_there_is_explained(web, path: str, status: int, why: str) -> None:
    web.pages[path] = (status, {"Content-Type": "text/html"}, b"<p>sorry</p>")
    (seen,), _ = calls(part(web), ("visit", {"url": web.url + path}))
    assert (seen.status, seen.text) == ("error", f"{web.url}{path} can not be read: {why}.")


def test_what_can_not_be_shown_is_explained(web) -> None:
    empty = web.html("/app", "<html><body><div></div><script>go()</script></body></html>")
    wanted = [empty, "http://127.0.0.1:1/", "file:///etc/passwd", "wiki"]
    seen, _ = calls(part(web), *(("visit", {"url": url}) for url in wanted))
    assert [one.status for one in seen] == ["error"] * 4
    for one, why in zip(seen, ["may need scripts", "not on the public internet", "not a web address", "not a web address"], strict=True):
        assert why in one.text


def test_a_site_that_does_not_answer_is_news_for_the_model_until_nobody_answers(web) -> None:
    web.pages["/busy"] = (503, {}, b"")
    built = part(web, fetch={"allow_private": ["127.0.0.0/8"], "robots": False})
    (busy, dead), ledger = calls(built, ("visit", {"url": f"{web.url}/busy"}), ("visit", {"url": "http://127.0.0.2:9/"}), attempts=2)
    assert busy.text == "'127.0.0.1' does not answer. Use another source." and dead.status == "error"
    assert ledger["retries/visit"] == 2 and ledger["failovers/visit"] == 2
    with pytest.raises(BrokenError, match="is this machine connected"):
        calls(built, *(("visit", {"url": f"http://127.0.0.{number}:9/"}) for number in range(2, 6)))


def test_a_fork_has_seen_what_came_before_it(web) -> None:
    first, second = web.html("/1", "<p>one</p>"), web.html("/2", "<p>two</p>")
    made = [ToolCall(name="visit", arguments={"url": url}) for url in (first, f"{web.url}/none", second)]

    async def run() -> list[str]:
        gateway = Gateway(part(web))
        for call in made:
            await gateway.call(call, "a")
        web.pages.clear()
        await gateway.restore("b", made[:2], source="a")
        seen = [await gateway.call(ToolCall(name="find", arguments={"pattern": word}), "b") for word in ("one", "two")]
        seen.append(await gateway.call(made[2], "b"))
        await gateway.close()
        return [one.status for one in seen]

    # The second page was visited after the fork, and is gone by now.
    assert asyncio.run(run()) == ["ok", "error", "error"]


def test_options_that_can_not_take_effect(web) -> None:
    with pytest.raises(ValidationError, match="browser has no effect with render: never"):
        VisitConfig(browser={})
    with pytest.raises(ConfigError, match="allow_private: 'nowhere'"):
        VisitConfig(fetch={"allow_private": ["nowhere"]}).build(ToolContext())
    assert [tool.name for tool in part(web, find=False)] == ["visit"]
