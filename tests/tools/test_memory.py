"""A memory belongs to one trajectory, holds a bounded text, and comes back when a path goes on."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from spadework.core.messages import ToolCall
from spadework.tools.gateway import Gateway
from spadework.tools.memory import MemoryConfig
from spadework.tools.recorder import Recorder
from spadework.tools.tape import Tape
from spadework.tools.tool import Observation, ToolContext


def gateway_with(recorder: Recorder | None = None, **options: Any) -> Gateway:
    return Gateway(MemoryConfig(**options).build(ToolContext()), recorder=recorder)


def write(text: str) -> ToolCall:
    return ToolCall(name="memory_write", arguments={"text": text})


def overwrite(text: str) -> ToolCall:
    return ToolCall(name="memory_overwrite", arguments={"text": text})


READ = ToolCall(name="memory_read")


def said(gateway: Gateway, calls: Sequence[ToolCall], label: str = "t/0") -> list[Observation]:
    async def story() -> list[Observation]:
        return [await gateway.call(call, label) for call in calls]

    return asyncio.run(story())


def test_write_read_overwrite() -> None:
    seen = said(gateway_with(), [READ, write("one"), write("two"), READ, overwrite("three"), READ])
    # "one\ntwo" is 7 characters.
    assert [observation.text for observation in seen] == [
        "The memory is empty.",
        "Kept. The memory has 3 of 4000 characters.",
        "Kept. The memory has 7 of 4000 characters.",
        "one\ntwo",
        "Kept. The memory has 5 of 4000 characters.",
        "three",
    ]
    assert seen[4].meta == {"memory": "three"}


def test_every_trajectory_has_its_own_and_forgets_it() -> None:
    gateway = gateway_with()
    said(gateway, [write("mine")], "t/0")
    assert said(gateway, [READ], "t/1")[0].text == "The memory is empty."
    assert said(gateway, [READ], "t/0")[0].text == "mine"
    gateway.settle("t/0")
    assert said(gateway, [READ], "t/0")[0].text == "The memory is empty."


def test_what_does_not_fit_is_refused_and_nothing_is_lost() -> None:
    gateway = gateway_with(max_chars=100)
    seen = said(gateway, [write("a" * 60), write("b" * 40), READ, overwrite("c" * 101), write("b" * 39), READ])
    # 60 + 1 + 40 = 101 characters do not fit; 60 + 1 + 39 = 100 do.
    assert [observation.status for observation in seen] == ["ok", "error", "ok", "error", "ok", "ok"]
    assert seen[1].text == "The memory would have 101 characters; it holds 100. Write a shorter text that keeps what matters."
    assert seen[2].text == "a" * 60
    assert seen[5].text == "a" * 60 + "\n" + "b" * 39


def test_clean_memory_alone() -> None:
    gateway = gateway_with(clean=True)
    assert list(gateway.tools) == ["clean_memory"]
    (seen,) = said(gateway, [ToolCall(name="clean_memory", arguments={"content": "what I know"})])
    assert (seen.status, seen.meta) == ("ok", {"memory": "what I know"})


@pytest.mark.parametrize("living", [True, False])
def test_a_fork_goes_on_with_what_its_path_wrote(living: bool) -> None:
    gateway = gateway_with(max_chars=100)
    past = [write("one"), write("x" * 200), write("two")]

    async def story() -> list[str]:
        for call in past:
            await gateway.call(call, "t/0")
        await gateway.call(overwrite("later"), "t/0")
        await gateway.restore("t/1", past, source="t/0" if living else None)
        return [(await gateway.call(READ, label)).text for label in ("t/1", "t/0")]

    assert asyncio.run(story()) == ["one\ntwo", "later"]


def test_what_a_tape_has_answered_is_in_the_memory_all_the_same(tmp_path: Any) -> None:
    recorder = Recorder(Tape(tmp_path / "tape"))
    said(gateway_with(recorder), [write("one"), READ])
    # The first call is on the tape, the second is not: the tool must have seen the first one then.
    seen = said(gateway_with(recorder), [write("one"), write("two"), READ])
    assert seen[2].text == "one\ntwo"
    recorder.tape.close()
