"""Limits hold, in order, for cancelled calls too; what cannot take effect is refused."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from spadework.core.errors import BrokenError, ConfigError, ToolError
from spadework.core.messages import ToolCall
from spadework.tools.budget import BudgetError, Spending
from spadework.tools.function import tool
from spadework.tools.gateway import Gateway
from spadework.tools.limits import Bucket, Budget, CallLimits, GatewayConfig
from spadework.tools.tool import Facts, Observation, TransientError, Usage

SCHEMA: dict[str, Any] = {
    "name": "web",
    "description": "A server.",
    "parameters": {"type": "object", "properties": {"page": {"type": "integer"}}, "required": ["page"], "additionalProperties": False},
}


class Server:
    """A tool, or a provider of one, that answers what a script says: a text, an error to raise, or seconds to wait first."""

    schema = SCHEMA

    def __init__(self, *script: Any, name: str = "web", **facts: Any) -> None:
        self.script, self.name, self.facts = list(script), name, Facts(**facts)
        self.sent: list[float] = []
        self.running = self.most = 0

    async def __call__(self, *, page: int) -> Observation:
        self.sent.append(time.monotonic())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
                return Observation(f"page {page}")
            return step if isinstance(step, Observation) else Observation(step)
        finally:
            self.running -= 1


def ask(page: int = 1) -> ToolCall:
    return ToolCall(name="web", arguments={"page": page})


def quick(**settings: Any) -> GatewayConfig:
    return GatewayConfig.parse({"backoff": 0.001, **settings}, source="test")


def once(gateway: Gateway) -> Observation:
    return asyncio.run(gateway.call(ask(), "t/0"))


def test_a_failure_that_may_pass_is_tried_again_and_counted() -> None:
    server = Server(TransientError("HTTP 500"), TimeoutError(), "fine")
    gateway = Gateway([server], quick(attempts=3))
    assert once(gateway).text == "fine"
    ledger = gateway.settle("t/0")
    assert (ledger["retries"], ledger["retries/web"], ledger["errors"], len(server.sent)) == (2, 2, 0, 3)


@pytest.mark.parametrize(
    ("script", "sent", "why"),
    [
        ((TransientError("HTTP 500"),), 2, r"HTTP 500 \(2 attempts\)"),
        ((BrokenError("HTTP 401"),), 1, r"HTTP 401$"),
        ((ConnectionError("refused"),), 2, r"ConnectionError: refused \(2 attempts\)"),
        # A server that asks for more patience than max_backoff (20 s) is not asked again.
        ((TransientError("HTTP 429", retry_after=60.0),), 1, r"HTTP 429$"),
    ],
)
def test_attempts_end(script: Sequence[Exception], sent: int, why: str) -> None:
    server = Server(*script)
    with pytest.raises(BrokenError, match=why):
        once(Gateway([server], quick(attempts=2)))
    assert len(server.sent) == sent


def test_a_mistake_of_the_policy_and_a_bug_are_not_tried_again() -> None:
    server = Server(ToolError("No such page."))
    observation = once(Gateway([server], quick()))
    assert (observation.status, observation.text, len(server.sent)) == ("error", "No such page.", 1)
    with pytest.raises(ZeroDivisionError):
        once(Gateway([Server(ZeroDivisionError())], quick()))


def test_a_call_that_must_not_be_delivered_twice_is_not() -> None:
    server = Server(TransientError("HTTP 500"), "fine", retry=False)
    with pytest.raises(BrokenError, match="HTTP 500; not sent again"):
        once(Gateway([server], quick()))
    assert len(server.sent) == 1


def test_retry_after_is_honoured() -> None:
    server = Server(TransientError("HTTP 429", retry_after=0.15), "fine")
    once(Gateway([server], quick(backoff=0.0)))
    assert server.sent[1] - server.sent[0] >= 0.15


def test_waits_are_drawn_from_the_trajectory_and_the_call() -> None:
    async def pauses(seed: int) -> float:
        server = Server(TransientError("HTTP 500"), "fine")
        gateway = Gateway([server], quick(backoff=0.2))
        gateway.open("t/0", seed)
        await gateway.call(ask(), "t/0")
        return server.sent[1] - server.sent[0]

    async def all_pauses() -> list[float]:
        return [await pauses(seed) for seed in (1, 1, 2)]

    first, again, other = asyncio.run(all_pauses())
    assert first == pytest.approx(again, abs=0.02)
    assert max(first, again, other) <= 0.25


def test_the_next_provider_takes_over() -> None:
    first = Server(TransientError("HTTP 500"), name="one", price=0.5)
    second = Server("from the second", name="two", price=0.25)
    web = Server("never called")
    web.providers = (first, second)  # type: ignore[attr-defined]
    gateway = Gateway([web], quick(attempts=2))
    observation = once(gateway)
    assert (observation.text, observation.meta) == ("from the second", {"provider": "two"})
    ledger = gateway.settle("t/0")
    # Two attempts at the first, which cost nothing because they failed, and one at the second.
    assert (len(first.sent), len(second.sent), len(web.sent)) == (2, 1, 0)
    assert (ledger["failovers"], ledger["retries"], ledger["dollars"], gateway.spending.dollars) == (1, 1, 0.25, 0.25)


def test_an_attempt_that_hangs_leaves_time_for_the_next() -> None:
    server = Server(30.0, "fine")
    start = time.perf_counter()
    assert once(Gateway([server], quick(timeout=5.0, attempt_timeout=0.05))).text == "fine"
    assert time.perf_counter() - start < 3


async def _swarm(gateway: Gateway, count: int) -> list[Observation | BaseException]:
    return await asyncio.gather(*(gateway.call(ask(n), f"t/{n}") for n in range(count)), return_exceptions=True)


def test_no_more_calls_run_at_once_than_allowed() -> None:
    server = Server(0.01)
    gateway = Gateway([server], quick(concurrency=3))
    results = asyncio.run(_swarm(gateway, 12))
    assert sorted(result.text for result in results if isinstance(result, Observation)) == sorted(f"page {n}" for n in range(12))
    assert server.most == 3
    assert gateway.settle("t/11")["queued"] > 0


def test_calls_go_out_at_their_rate() -> None:
    server = Server("x")
    asyncio.run(_swarm(Gateway([server], quick(rate=50.0, burst=2)), 8))
    # Two at once, then six at 50 per second: the last one not before 0.12 s.
    assert server.sent[-1] - server.sent[0] >= 0.119
    assert server.sent[1] - server.sent[0] < 0.02


def test_tools_of_one_host_share_its_rate_and_other_hosts_are_free() -> None:
    servers = [Server("x", name=f"web{n}", host="a.example" if n < 2 else "b.example") for n in range(3)]
    for server in servers:
        server.schema = {**SCHEMA, "name": server.name}
    gateway = Gateway(servers, quick(per_host={"a.example": {"rate": 20.0, "burst": 1}}))

    async def all_calls() -> None:
        calls = [ToolCall(name=server.name, arguments={"page": 1}) for server in servers for _ in range(3)]
        await asyncio.gather(*(gateway.call(call, f"t/{n}") for n, call in enumerate(calls)))

    asyncio.run(all_calls())
    limited = sorted(servers[0].sent + servers[1].sent)
    assert limited[-1] - limited[0] >= 0.249  # five waits of 1/20 s
    assert servers[2].sent[-1] - servers[2].sent[0] < 0.05


def test_a_cancelled_call_gives_its_permit_back() -> None:
    async def story(server: Server, gateway: Gateway) -> Observation:
        running = asyncio.ensure_future(gateway.call(ask(1), "t/1"))
        waiting = asyncio.ensure_future(gateway.call(ask(2), "t/2"))
        await asyncio.sleep(0.02)
        for task in (waiting, running):
            task.cancel()
        results = await asyncio.gather(running, waiting, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 2
        server.script = ["free"]
        return await asyncio.wait_for(gateway.call(ask(3), "t/3"), 1.0)

    server = Server(30.0)
    assert asyncio.run(story(server, Gateway([server], quick(concurrency=1)))).text == "free"


def test_a_cancelled_call_takes_no_token() -> None:
    async def story() -> float:
        bucket = Bucket(20.0, 1)
        await bucket.take()
        start = time.monotonic()
        second, third = (asyncio.ensure_future(bucket.take()) for _ in range(2))
        await asyncio.sleep(0.01)
        second.cancel()
        await third
        return time.monotonic() - start

    # The third waits 0.05 s for one token, and not 0.1 s for two.
    assert asyncio.run(story()) < 0.095


def test_the_queue_is_bounded_in_length_and_in_time() -> None:
    results = asyncio.run(_swarm(Gateway([Server(0.05)], quick(concurrency=1, queue=2)), 5))
    # One runs, two wait, two are broken at once.
    assert sum(isinstance(result, BrokenError) for result in results) == 2
    assert "2 calls wait already" in str(next(result for result in results if isinstance(result, BrokenError)))
    late = asyncio.run(_swarm(Gateway([Server(0.3)], quick(concurrency=1, queue_timeout=0.05)), 2))
    assert [isinstance(result, BrokenError) for result in late] == [False, True]
    assert "no turn within 0.05 s" in str(late[1])


def test_a_gateway_may_be_used_from_one_event_loop_after_the_other() -> None:
    gateway = Gateway([Server(0.001)], quick(concurrency=1, rate=1000.0))
    for _ in range(3):
        assert not any(isinstance(result, BaseException) for result in asyncio.run(_swarm(gateway, 4)))


def test_a_trajectorys_budget_ends_politely() -> None:
    server = Server("x", price=0.1)
    for budget, allowed in (({"calls": 2}, 2), ({"dollars": 0.3}, 3), ({"dollars": 0.0}, 0)):
        gateway = Gateway([server], quick(budget=budget))
        seen = [once(gateway) for _ in range(5)]
        assert [observation.status for observation in seen] == ["ok"] * allowed + ["error"] * (5 - allowed)
        assert seen[-1].text.endswith("is used up. Give your answer now, with what you have found.")
        ledger = gateway.settle("t/0")
        assert (ledger.get("dollars", 0), ledger["refused"]) == (pytest.approx(0.1 * allowed), 5 - allowed)
        assert once(gateway).status == ("ok" if allowed else "error")  # another trajectory has its own


def test_prices_that_only_the_answer_tells_count_too() -> None:
    server = Server(Observation("x", usage=Usage(bytes=10, tokens=7, dollars=0.2)))
    gateway = Gateway([server], quick(budget={"dollars": 0.4}))
    assert [once(gateway).status for _ in range(3)] == ["ok", "ok", "error"]
    ledger = gateway.settle("t/0")
    assert (ledger["dollars"], ledger["bytes/web"], ledger["tool_tokens"]) == (0.4, 20, 14)


def test_a_runs_budget_is_a_cap_over_restarts_and_calls_in_flight(tmp_path) -> None:
    path = tmp_path / "spent.jsonl"

    def open_gateway(dollars: float) -> Gateway:
        config = quick(run_budget={"dollars": dollars})
        return Gateway([Server(0.001, price=0.3)], config, spending=Spending(config.run_budget, path))

    results = asyncio.run(_swarm(open_gateway(1.0), 10))
    assert sum(isinstance(result, BudgetError) for result in results) == 7  # 4 * 0.3 is too much
    with pytest.raises(BudgetError, match=r"budget of \$1 is used up \(\$0\.9 spent\); raise tools\.gateway\.run_budget\.dollars"):
        once(open_gateway(1.0))
    assert once(open_gateway(1.2)).status == "ok"
    with path.open("a") as file:
        file.write('{"calls": 1, "dol')  # torn by a kill
    with pytest.raises(BudgetError):
        once(open_gateway(1.2))
    assert once(open_gateway(1.5)).status == "ok"
    assert Spending(Budget(), path).calls == 5
    path.write_text("x\n")
    with pytest.raises(Exception, match=r"spent\.jsonl:1: not a line"):
        open_gateway(1.0)


def test_a_failed_call_costs_nothing_and_one_without_an_answer_its_price() -> None:
    gateway = Gateway([Server(TransientError("HTTP 500"), 30.0, price=0.3)], quick(timeout=0.05))
    with pytest.raises(BrokenError):
        once(gateway)
    assert gateway.spending.dollars == pytest.approx(0.3)


@tool
def here(page: int) -> str:
    """In place.

    Args:
        page: Which.
    """
    return "x" * page


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"burst": 2}, "burst has no effect without rate"),
        ({"timeout": 1, "attempt_timeout": 2}, "attempt_timeout 2 has no effect"),
        ({"per_tool": {"here": {"timeot": 2}}}, "unknown key 'timeot'; did you mean 'timeout'"),
        ({"per_tool": {"there": {"timeout": 2}}}, "there is no tool 'there'; the tools are: here"),
        ({"per_tool": {"here": {"timeout": 2}}}, "per_tool.here: 'timeout' has no effect, because here runs in place"),
        ({"per_host": {"*": {"rate": 2}}}, "per_host has no effect: no tool goes to a host"),
        ({"per_tool": {"here": {"max_chars": 1}}}, "max_chars"),
    ],
)
def test_a_limit_that_cannot_take_effect_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Gateway([here], GatewayConfig.parse(settings, source="recipe"))


def test_limits_of_one_tool_go_before_the_general_ones() -> None:
    config = GatewayConfig.parse({"rate": 5, "burst": 9, "per_tool": {"web": {"rate": 2, "attempts": 1}}}, source="recipe")
    assert config.limits("web") == CallLimits(rate=2, attempts=1)
    assert config.limits("other") == CallLimits(rate=5, burst=9)
    assert GatewayConfig.parse(config.model_dump(mode="json"), source="again") == config


@pytest.mark.parametrize(("how", "shape"), [("head", "a" * 120 + "\n[cut: 120 of 1000 characters are shown]"), ("head-tail", "a" * 80)])
def test_what_is_cut_is_recorded(how: str, shape: str) -> None:
    text = "a" * 900 + "z" * 100
    observation = once(Gateway([Server(Observation(text, truncated=5))], quick(max_chars=200, trim=how)))
    # 120 of the 200 characters are text, so 880 are left out, beside the 5 that the tool itself had left out.
    assert observation.text.startswith(shape) and observation.truncated == 885
    assert len(observation.text) <= 200
    if how == "head-tail":
        assert observation.text == "a" * 80 + "\n[cut: 880 of 1000 characters are left out here]\n" + "z" * 40


def test_256_calls_in_flight_pass_5000_a_second() -> None:
    gateway = Gateway([Server("x")], quick(concurrency=256))

    def seconds() -> float:
        start = time.process_time()
        asyncio.run(_swarm(gateway, 256))
        return time.process_time() - start

    assert min(seconds() for _ in range(8)) < 256 / 5000
