"""TRL's tools are ours and ours are TRL's: the same schemas, one environment per trajectory, errors that the model reads."""

import asyncio
from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal

import pytest
from transformers.utils import get_json_schema

from spadework.core.errors import BrokenError, ConfigError, InputError
from spadework.core.messages import ToolCall
from spadework.tools.calculator import CalculatorConfig
from spadework.tools.from_trl import TrlConfig, mount_environment, mount_function
from spadework.tools.function import FunctionTool, tool
from spadework.tools.gateway import Gateway
from spadework.tools.memory import MemoryConfig
from spadework.tools.to_trl import trl_environment, trl_functions
from spadework.tools.tool import Image, Observation, ToolContext


class Guess:
    """An environment as TRL's documentation writes them: a number is to be guessed."""

    def __init__(self) -> None:
        self.tries = 0

    def reset(self, number: int = 3, **row: Any) -> str:
        self.number, self.tries, self.done = number, 0, False
        return "Guess a number up to 9."

    def guess(self, number: int) -> str:
        """Guess the number.

        Args:
            number: From 1 to 9.
        """
        if not 1 <= number <= 9:
            raise ValueError("not between 1 and 9")
        self.tries += 1
        self.done = number == self.number
        return "yes" if self.done else f"no, try {self.tries}"

    async def hint(self) -> list[dict[str, Any]]:
        """Get a hint."""
        blocks = [{"type": "text", "text": "odd" if self.number % 2 else "even"}, {"type": "image", "image": b"PNG"}]
        return [*blocks, {"type": "image", "image": "data:image/gif;base64,R0lG"}, {"type": "image", "image": "https://a.example/b.png"}]

    def get_reward(self) -> float:
        return 1.0 / self.tries if self.done else 0.0

    def _hidden(self) -> None:
        pass

    @property
    def looked_at(self) -> int:
        raise AssertionError("a property is not computed")


def said(gateway: Gateway, *calls: tuple[str, str, dict[str, Any]]) -> list[Observation]:
    """The results of (label, tool, arguments)."""

    async def story() -> list[Observation]:
        return [await gateway.call(ToolCall(name=name, arguments=arguments), label) for label, name, arguments in calls]

    return asyncio.run(story())


def test_an_environment_per_trajectory() -> None:
    rows = {"t": {"number": 7, "other": "column"}, "u": {"number": 2}}
    gateway = Gateway(mount_environment(Guess, rows=rows.__getitem__))
    assert list(gateway.tools) == ["guess", "hint"]
    seen = said(
        gateway,
        ("t/0", "guess", {"number": 2}),
        ("u/0", "guess", {"number": 2}),
        ("t/0", "guess", {"number": 7}),
        ("t/1", "guess", {"number": 1}),
    )
    assert [observation.text for observation in seen] == [
        "Guess a number up to 9.\nno, try 1",
        "Guess a number up to 9.\nyes",
        "yes",
        "Guess a number up to 9.\nno, try 1",
    ]
    # 1 / tries once it is guessed.
    assert [observation.meta["reward"] for observation in seen] == [0.0, 1.0, 0.5, 0.0]
    gateway.settle("t/0")
    assert said(gateway, ("t/0", "guess", {"number": 7}))[0].meta["reward"] == 1.0


def test_what_an_environment_raises_is_shown_and_content_blocks_are_text_and_pictures() -> None:
    gateway = Gateway(mount_environment(Guess))
    wrong, hint, mistyped = said(gateway, ("t/0", "guess", {"number": 10}), ("t/0", "hint", {}), ("t/0", "guess", {"number": "two"}))
    assert (wrong.status, wrong.text) == ("error", "not between 1 and 9")
    assert hint.text == "Guess a number up to 9.\nodd"
    assert hint.images == (Image("image/png", b"PNG"), Image("image/gif", b"GIF"), Image("image/*", url="https://a.example/b.png"))
    assert mistyped.text == "guess: 'number' must be of type integer, not 'two'."


def test_a_fork_replays_its_path() -> None:
    async def story() -> str:
        gateway = Gateway(mount_environment(Guess))
        past = [ToolCall(name="guess", arguments={"number": number}) for number in (1, 10, 2)]
        for call in past:
            await gateway.call(call, "t/0")
        await gateway.restore("t/1", past, source="t/0")
        return (await gateway.call(ToolCall(name="guess", arguments={"number": 4}), "t/1")).text

    # Two guesses counted; the one out of range did not, then as now.
    assert asyncio.run(story()) == "no, try 3"


def test_infrastructure_that_fails_breaks_the_trajectory() -> None:
    def fetch(page: str) -> str:
        """Fetch a page.

        Args:
            page: Which.
        """
        raise ConnectionError("refused")

    with pytest.raises(BrokenError, match="refused"):
        said(Gateway([mount_function(fetch)]), ("t/0", "fetch", {"page": "a"}))


def double(number: int) -> int:
    """Double a number.

    Args:
        number: Any.
    """
    return 2 * number


def test_functions_as_trl_shows_them() -> None:
    assert said(Gateway([mount_function(double)]), ("t/0", "double", {"number": 4}))[0].text == "8"


def test_from_a_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("made_for_trl")
    module.double, module.Guess = double, Guess  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_for_trl", module)
    built = TrlConfig(functions=("made_for_trl:double",), environment="made_for_trl:Guess").build(ToolContext())
    assert [each.name for each in built] == ["double", "guess", "hint"]
    for path, why in (("made_for_trl", "not of the form"), ("made_for_trl:nothing", "cannot be imported"), ("nowhere.at:all", "cannot be")):
        with pytest.raises(ConfigError, match=why):
            TrlConfig(environment=path).build(ToolContext())
    with pytest.raises(ConfigError, match="name functions, an environment, or both"):
        TrlConfig.parse({}, source="tools")


class NoReset:
    def act(self) -> str:
        """Act."""
        return ""


class NoTool:
    def reset(self) -> None:
        pass


@pytest.mark.parametrize(("kind", "why"), [(NoReset, "NoReset has no `reset`"), (NoTool, "no public method but `reset`")])
def test_what_is_no_environment_is_refused(kind: type, why: str) -> None:
    with pytest.raises(InputError, match=why):
        mount_environment(kind)


class Colour(Enum):
    RED = "red"


@tool
async def everything(
    text: str,
    number: int,
    share: float,
    sure: bool,
    kind: Literal["a", "b"],
    colour: Colour,
    names: list[str],
    table: dict[str, list[int]],
    pair: tuple[int, str],
    either: int | str,
    lists: list[int] | str,
    thing: Any,
    maybe: int | None = None,
    choice: Literal["x", "y"] | None = None,
    many: int = 5,
) -> str:
    """Take arguments of all types,
    in two lines.

    Args:
        text: A text.
        number: A number.
        share: A share.
        sure: Whether.
        kind: Which kind.
        colour: Which colour.
        names: Names.
        table: A table.
        pair: A pair.
        either: One or the other.
        lists: Numbers or a text.
        thing: Anything.
        maybe: A number, or none.
        choice: One of two, or none.
        many: How many.
    """
    return f"{text} {many} {colour}"


def test_trl_makes_our_schema_from_our_functions() -> None:
    """Schema -> function -> transformers' schema is the schema that transformers makes of the function it all began with."""
    (function,) = trl_functions(Gateway([everything]))
    ours, theirs = get_json_schema(everything.function)["function"], get_json_schema(function)["function"]
    ours["description"] = " ".join(ours["description"].split())
    # The text of an Enum is a Literal by now; both are written as enum.
    assert theirs == ours


def test_functions_pass_the_gateway() -> None:
    gateway = Gateway(CalculatorConfig().build(ToolContext()))
    (calculate,) = trl_functions(gateway)
    assert asyncio.run(calculate(expression="1 / 4")) == "0.25"
    with pytest.raises(Exception, match="Division by zero"):
        asyncio.run(calculate(expression="1 / 0"))
    assert gateway.settle("trl/0")["calls/calculator"] == 2
    with pytest.raises(InputError, match="memory_read, memory_overwrite: a state per trajectory needs trl_environment"):
        trl_functions(Gateway(MemoryConfig().build(ToolContext())))


def test_environments_have_an_account_each() -> None:
    gateway = Gateway(MemoryConfig().build(ToolContext()))
    make = trl_environment(gateway)
    first, second = make(), make()

    async def story() -> list[str]:
        first.reset(id="sum", prompt="?")
        second.reset(id="sum")
        await first.memory_write(text="mine")
        return [await first.memory_read(), await second.memory_read()]

    assert asyncio.run(story()) == ["mine", "The memory is empty."]
    assert [observation.text for observation in first.shown] == ["Kept. The memory has 4 of 4000 characters.", "mine"]
    first.reset(id="next")
    assert (first.ledger["calls"], first.shown) == (2, ())
    assert asyncio.run(first.memory_read()) == "The memory is empty."


def test_a_broken_rollout_says_so() -> None:
    @tool
    async def fetch() -> str:
        """Fetch."""
        raise BrokenError("dead")

    environment = trl_environment(Gateway([fetch]))()
    environment.reset()
    with pytest.raises(BrokenError):
        asyncio.run(environment.fetch())
    assert "dead" in environment.broken
    environment.reset()
    assert environment.broken is None


@pytest.mark.parametrize(
    ("name", "key", "why"),
    [("reset", "x", "TRL's environments use themselves"), ("get_reward", "x", "themselves"), ("ask", "a-b", "Python cannot name")],
)
def test_names_that_trl_cannot_use_are_refused(name: str, key: str, why: str) -> None:
    ask = FunctionTool(double)
    ask.name, ask.schema = (
        name,
        {"name": name, "description": "Ask.", "parameters": {"type": "object", "properties": {key: {"type": "string"}}}},
    )
    with pytest.raises(InputError, match=why):
        trl_environment(Gateway([ask]))


def test_there_and_back() -> None:
    """Our tools, offered to TRL as an environment, mounted as TRL's environment: the same results, one state per trajectory."""

    def results(tools: Sequence[Any]) -> list[tuple[str, str]]:
        write, read = ("memory_write", {"text": "x" * 90}), ("memory_read", {})
        seen = said(Gateway(tools), ("t/0", *write), ("t/0", *write), ("t/0", *read), ("t/1", *read))
        return [(observation.status, observation.text) for observation in seen]

    ours = MemoryConfig(max_chars=100).build(ToolContext())
    assert results(mount_environment(trl_environment(Gateway(ours)))) == results(MemoryConfig(max_chars=100).build(ToolContext()))
