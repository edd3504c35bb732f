"""The gateway turns the policy's mistakes into text, infrastructure failures into BrokenError, and lets bugs through."""

import asyncio
import time

import pytest

from spadework.core.errors import BrokenError, ConfigError, InputError, ToolError
from spadework.core.messages import ToolCall
from spadework.tools.function import tool
from spadework.tools.gateway import Gateway, GatewayConfig
from spadework.tools.tool import Observation


@tool
def echo(text: str, times: int = 1) -> str:
    """Repeat a text.

    Args:
        text: What to repeat.
        times: How often.
    """
    return text * times


@tool
async def slow(seconds: float) -> str:
    """Wait.

    Args:
        seconds: How long.
    """
    await asyncio.sleep(seconds)
    return "awake"


@tool
def fail(how: str) -> str:
    """Raise.

    Args:
        how: Which error.
    """
    raise {
        "tool": ToolError("Try another page."),
        "broken": BrokenError("connection refused"),
        "timeout": TimeoutError("read timed out"),
    }.get(how, ZeroDivisionError("a bug"))


def call(gateway: Gateway, name: str, label: str = "t/0", **arguments: object) -> Observation:
    return asyncio.run(gateway.call(ToolCall(name=name, arguments=arguments), label))


def test_a_good_call_returns_the_tools_text_and_is_paid_for() -> None:
    gateway = Gateway([echo])
    observation = call(gateway, "echo", text="ab", times=2)
    assert (observation.text, observation.status, observation.tool) == ("abab", "ok", "echo")
    ledger = gateway.settle("t/0")
    assert ledger["seconds"] == observation.seconds > 0
    assert ledger == {"calls": 1, "calls/echo": 1, "errors": 0, "seconds": observation.seconds, "seconds/echo": observation.seconds}


def test_ledgers_are_per_trajectory_and_settled_once() -> None:
    gateway = Gateway([echo])
    call(gateway, "echo", "a/0", text="x")
    call(gateway, "echo", "b/0", text="x")
    call(gateway, "ecko", "b/0", text="x")
    assert gateway.settle("a/0")["calls"] == 1
    # b: one good call and one that names no tool
    ledger = gateway.settle("b/0")
    assert (ledger["calls"], ledger["calls/echo"], ledger["errors"]) == (2, 1, 1)
    assert gateway.settle("b/0") == {"calls": 0, "errors": 0, "seconds": 0}


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (ToolCall(name="ecko"), "There is no tool 'ecko'. Did you mean 'echo'? The tools are: echo, fail."),
        (ToolCall(name="browse"), "There is no tool 'browse'. The tools are: echo, fail."),
        (ToolCall(name="echo", error="search is not closed"), "search is not closed"),
        (ToolCall(name="echo"), "echo: 'text' is missing."),
        (ToolCall(name="echo", arguments={"text": 3}), "echo: 'text' must be of type string, not 3."),
        (ToolCall(name="echo", arguments={"text": "a", "time": 3}), "echo: 'time' is not an argument; the arguments are: text, times."),
        (ToolCall(name="fail", arguments={"how": "tool"}), "Try another page."),
    ],
)
def test_the_policys_mistakes_become_text_for_it(wanted: ToolCall, text: str) -> None:
    gateway = Gateway([echo, fail])
    observation = asyncio.run(gateway.call(wanted, "t/0"))
    assert (observation.status, observation.text) == ("error", text)
    assert gateway.settle("t/0")["errors"] == 1


@pytest.mark.parametrize(("how", "why"), [("broken", "connection refused"), ("timeout", "TimeoutError: read timed out")])
def test_infrastructure_failures_name_trajectory_tool_and_arguments(how: str, why: str) -> None:
    gateway = Gateway([fail])
    with pytest.raises(BrokenError, match=rf'^trajectory t/0: fail\(\{{"how": "{how}"\}}\): {why}$'):
        call(gateway, "fail", how=how)
    assert gateway.settle("t/0")["calls/fail"] == 1


def test_a_call_past_its_deadline_is_broken() -> None:
    gateway = Gateway([slow], GatewayConfig(timeout=0.01))
    start = time.perf_counter()
    with pytest.raises(BrokenError, match=r"no result within 0\.01 s"):
        call(gateway, "slow", seconds=30.0)
    assert time.perf_counter() - start < 5


def test_a_bug_in_a_tool_passes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        call(Gateway([fail]), "fail", how="bug")


def test_a_long_result_is_cut_and_says_so() -> None:
    gateway = Gateway([echo], GatewayConfig(max_chars=200))
    exact = call(gateway, "echo", text="x", times=200)
    assert exact.text == "x" * 200
    cut = call(gateway, "echo", text="x", times=201)
    # 80 characters of the 200 are kept free for the note
    assert cut.text == "x" * 120 + "\n[cut: 120 of 201 characters are shown]"
    assert gateway.settle("t/0")["trimmed"] == 1


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="same name"):
        Gateway([echo, echo])


def test_a_deadline_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="timeout"):
        GatewayConfig.parse({"timeout": 0}, source="recipe.yaml")


def test_an_inline_call_costs_less_than_150_microseconds() -> None:
    gateway, wanted = Gateway([echo]), ToolCall(name="echo", arguments={"text": "x"})

    async def best_of(rounds: int, calls: int) -> float:
        seconds = []
        for _ in range(rounds):
            start = time.process_time()
            for _ in range(calls):
                await gateway.call(wanted, "t/0")
            seconds.append((time.process_time() - start) / calls)
        return min(seconds)

    assert asyncio.run(best_of(10, 50)) < 150e-6
