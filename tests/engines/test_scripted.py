"""The scripted engine keeps the engine's contract: equal columns, token limit, versions."""

import asyncio

from spadework.engines.engine import Completion, Request, SamplingParams
from spadework.engines.scripted import ScriptedEngine


def generate(engine: ScriptedEngine, max_tokens: int) -> Completion:
    return asyncio.run(engine.generate(Request(token_ids=[5], params=SamplingParams(max_tokens=max_tokens), label="t/0")))


def test_it_says_what_the_script_says() -> None:
    engine = ScriptedEngine(lambda request: [*request.token_ids, 6, 7])
    assert generate(engine, 3) == Completion([5, 6, 7], [0.0] * 3, [0.0] * 3, "stop", [0] * 3)


def test_a_long_reply_is_cut_like_any_other() -> None:
    engine = ScriptedEngine(lambda request: [1, 2, 3])
    asyncio.run(engine.load({}, version=4))
    assert generate(engine, 2) == Completion([1, 2], [0.0] * 2, [0.0] * 2, "length", [4] * 2)
