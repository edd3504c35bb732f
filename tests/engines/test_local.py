"""The local engine samples what recomputing everything with transformers samples, whatever is batched, cached, forked or replaced."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from pytest import approx
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config

from spadework.core.errors import InputError
from spadework.engines.engine import Completion, Request, SamplingParams
from spadework.engines.local import LocalEngine, LocalEngineConfig

Engines = Any
GREEDY = SamplingParams(temperature=0.0, max_tokens=12)


def make_engine(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, **options: Any) -> LocalEngine:
    engine = LocalEngine(model.config, tokenizer, LocalEngineConfig(**({"max_num_seqs": 16} | options)))
    asyncio.run(engine.load(dict(model.named_parameters()), 0))
    return engine


@pytest.fixture
def engine(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> LocalEngine:
    return make_engine(model, tokenizer)


def prompt(length: int, seed: int = 0) -> list[int]:
    stream = random.Random(seed)
    return [stream.randrange(5, 260) for _ in range(length)]


def run(engine: LocalEngine, *requests: Request) -> list[Completion]:
    async def all_at_once() -> list[Completion]:
        async with asyncio.timeout(30):
            return list(await asyncio.gather(*map(engine.generate, requests)))

    return asyncio.run(all_at_once())


def assert_same(found: Sequence[Completion], expected: Sequence[Completion]) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.token_ids == theirs.token_ids
        assert mine.logprobs == approx(theirs.logprobs, abs=1e-4)
        assert mine.entropies == approx(theirs.entropies, abs=1e-4)
        assert len(mine.versions) == len(mine.token_ids)


WAYS = [
    SamplingParams(temperature=0.0, max_tokens=10),
    SamplingParams(temperature=1.0, max_tokens=12),
    SamplingParams(temperature=0.7, top_p=0.8, max_tokens=9),
    SamplingParams(temperature=1.3, top_k=5, max_tokens=8),
    SamplingParams(temperature=1.0, top_p=0.5, top_k=3, max_tokens=11),
]


def test_a_mixed_batch_equals_recomputation(engine: LocalEngine, naive: Any) -> None:
    requests = [Request(prompt(3 + 7 * i, i), way, seed=100 + i) for i, way in enumerate([*WAYS, *WAYS])]
    assert_same(run(engine, *requests), [naive.generate(request) for request in requests])


def test_a_prompt_of_one_token(engine: LocalEngine, naive: Any) -> None:
    request = Request([7], WAYS[1], seed=3)
    assert_same(run(engine, request), [naive.generate(request)])


def test_a_turn_continues_in_place(engine: LocalEngine, naive: Any) -> None:
    path, cached = prompt(20), []
    for turn in range(4):
        request = Request(list(path), WAYS[turn], seed=turn)
        before = engine.stats["cached_tokens"]
        [completion] = run(engine, request)
        assert_same([completion], [naive.generate(request)])
        cached.append(engine.stats["cached_tokens"] - before)
        path += completion.token_ids + prompt(6, seed=turn)
    # All but the last sampled token of the turn before has keys and values; 20 + 10 - 1, + 1 + 6 + 12 - 1, + 1 + 6 + 9 - 1.
    assert cached == [0, 29, 47, 62]


def test_eight_samples_prefill_their_prompt_once(engine: LocalEngine, naive: Any) -> None:
    requests = [Request(prompt(40), WAYS[1], seed=seed) for seed in range(8)]
    assert_same(run(engine, *requests), [naive.generate(request) for request in requests])
    assert engine.stats["prompt_tokens"] == 8 * 40
    # The last token of a prompt is always computed: its hidden state gives the first sample.
    assert engine.stats["cached_tokens"] == 7 * 39
    assert engine.stats["sampled_tokens"] == 8 * 12


def test_forks_copy_their_prefix(engine: LocalEngine, naive: Any) -> None:
    [trunk] = run(engine, Request(prompt(15), WAYS[1], seed=1))
    forks = [Request(prompt(15) + trunk.token_ids[:cut], WAYS[1], seed=50 + cut) for cut in (2, 5, 9)]
    another = trunk.token_ids[4] - 1
    forks.append(Request(prompt(15) + trunk.token_ids[:4] + [another, 7, 8], WAYS[2], seed=60))
    before = engine.stats["cached_tokens"]
    assert_same(run(engine, *forks), [naive.generate(request) for request in forks])
    # 15 + 2 - 1, 15 + 5 - 1, 15 + 9 - 1, and 15 + 4 (the fork's own three tokens are new).
    assert engine.stats["cached_tokens"] - before == 16 + 19 + 23 + 19


def test_a_fork_leaves_its_trunk_cached(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, naive: Any) -> None:
    engine = make_engine(model, tokenizer, max_num_seqs=4)

    def cached(*requests: Request) -> int:
        before = engine.stats["cached_tokens"]
        assert_same(run(engine, *requests), [naive.generate(request) for request in requests])
        return engine.stats["cached_tokens"] - before

    [first] = run(engine, Request(prompt(20), WAYS[1], seed=1))
    result = prompt(20) + first.token_ids + prompt(6, seed=1)
    # Other sequences have taken all rows by the time that the path forks at its result, in two copies, beside the trunk's next turn.
    for seed in range(5, 8):
        run(engine, Request(prompt(9, seed=seed), WAYS[1], seed=seed))
    [second] = run(engine, Request(result, WAYS[1], seed=2))
    assert cached(*[Request(result, WAYS[1], seed=seed) for seed in (3, 4)]) == 2 * (len(result) - 1)
    trunk = Request(result + second.token_ids + prompt(6, seed=2), WAYS[1], seed=9)
    assert cached(trunk, Request(result, WAYS[1], seed=10)) == len(result) + len(second.token_ids) - 1 + len(result) - 1


def test_a_request_samples_the_same_alone_and_in_any_company(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    requests = [Request(prompt(4 + i % 5, seed=i // 3), WAYS[i % 5], seed=i) for i in range(12)]
    alone = [run(make_engine(model, tokenizer), request)[0] for request in requests]
    assert_same(run(make_engine(model, tokenizer), *requests), alone)
    assert_same(run(make_engine(model, tokenizer), *requests[::-1])[::-1], alone)


def test_a_random_schedule_over_few_rows_equals_recomputation(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, naive: Any
) -> None:
    stream = random.Random(5)
    trunks = [prompt(24, seed=i) for i in range(3)]
    requests = []
    for i in range(30):
        way = stream.choice(WAYS).model_copy(update={"max_tokens": stream.randint(1, 8)})
        requests.append(Request(stream.choice(trunks)[: stream.randint(1, 24)] + prompt(stream.randint(0, 5), seed=i), way, seed=i))
    engine = make_engine(model, tokenizer, max_num_seqs=4, max_num_batched_tokens=40)

    async def staggered() -> list[Completion]:
        async def later(request: Request) -> Completion:
            for _ in range(stream.randrange(20)):
                await asyncio.sleep(0)
            return await engine.generate(request)

        return list(await asyncio.gather(*map(later, requests)))

    assert_same(asyncio.run(staggered()), [naive.generate(request) for request in requests])


def test_a_long_prompt_goes_through_in_parts_and_threads_change_nothing(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, naive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [Request(prompt(length, seed=length), WAYS[length % 5], seed=length) for length in (5, 90, 1, 17, 40)]
    expected = [naive.generate(request) for request in requests]
    monkeypatch.setattr("spadework.engines.cpu_forward.CHUNK", 32)
    monkeypatch.setattr("spadework.engines.cpu_forward.WORTH_A_THREAD", 1)
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            assert_same(run(make_engine(model, tokenizer), *requests), expected)
        finally:
            torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 3])
def test_more_requests_than_rows_wait_for_a_row(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, naive: Any, rows: int) -> None:
    # With one row the second request shares a prefix with the only row there is: it must be given up for it, not waited for.
    requests = [Request(prompt(12)[: 4 + i] + prompt(3, seed=i), GREEDY) for i in range(7)]
    engine = make_engine(model, tokenizer, max_num_seqs=rows)
    assert_same(run(engine, *requests), [naive.generate(request) for request in requests])


def test_the_row_used_longest_ago_is_given_up(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    engine = make_engine(model, tokenizer, max_num_seqs=2)
    first, second, third = (Request(prompt(20, seed=i), GREEDY) for i in range(3))
    for request in (first, second, first, third):
        run(engine, request)
    before = engine.stats["cached_tokens"]
    run(engine, first)
    assert engine.stats["cached_tokens"] - before == 19
    run(engine, second)
    assert engine.stats["cached_tokens"] - before == 19


def test_rows_grow_past_their_first_length(engine: LocalEngine, naive: Any) -> None:
    lengths = (5, 240, 250, 300)
    short = Request(prompt(30), GREEDY)
    run(engine, short)
    requests = [Request(prompt(length, seed=length), SamplingParams(temperature=0.0, max_tokens=30)) for length in lengths]
    for request, completion in zip(requests, run(engine, *requests), strict=True):
        logprobs, best = naive.score(request.token_ids, completion.token_ids)
        assert completion.token_ids == best
        assert completion.logprobs == approx(logprobs, abs=1e-4)
    before = engine.stats["cached_tokens"]
    assert_same(run(engine, short), [naive.generate(short)])
    assert engine.stats["cached_tokens"] - before == 29, "what was cached before is still there"


def test_the_path_for_other_types_and_devices_samples_the_same(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, naive: Any
) -> None:
    engine = make_engine(model, tokenizer)
    engine._cpu_forward = None
    trunk = Request(prompt(25), WAYS[1], seed=1)
    requests = [Request(prompt(25)[: 9 + 4 * i] + prompt(5 * i, seed=i), WAYS[i], seed=i) for i in range(5)]
    assert_same(run(engine, trunk), [naive.generate(trunk)])
    assert_same(run(engine, *requests), [naive.generate(request) for request in requests])


def test_a_bfloat16_cache_is_close(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, naive: Any) -> None:
    engine = make_engine(model, tokenizer, kv_cache_dtype="bfloat16")
    requests = [Request(prompt(30), SamplingParams(max_tokens=40), seed=seed) for seed in range(4)]
    for request, completion in zip(requests, run(engine, *requests), strict=True):
        logprobs, _ = naive.score(request.token_ids, completion.token_ids)
        difference = abs(logprobs - completion.logprobs)
        assert 1e-5 < difference.max() < 0.2 and difference.mean() < 0.03


# Ends of a sample


def test_a_stop_string_may_lie_anywhere(engine: LocalEngine, tokenizer: PreTrainedTokenizerFast) -> None:
    long = SamplingParams(max_tokens=60)
    [free] = run(engine, Request(prompt(10), long, seed=4))

    def text(count: int) -> str:
        return tokenizer.backend_tokenizer.decode(free.token_ids[:count], skip_special_tokens=False)

    stops = sorted({text(60)[a : a + n] for a in range(0, 60) for n in (1, 2, 3, 5, 8)})
    stops = [stop for stop in stops if stop.isascii() and stop][:40]
    found = run(engine, *[Request(prompt(10), long.model_copy(update={"stop": (stop, "never said")}), seed=4) for stop in stops])
    spanning = 0
    for stop, completion in zip(stops, found, strict=True):
        end = next(count for count in range(1, 61) if stop in text(count))
        assert completion.token_ids == free.token_ids[:end] and completion.finish == "stop"
        spanning += stop not in tokenizer.backend_tokenizer.decode(free.token_ids[end - 1 : end], skip_special_tokens=False)
    assert spanning >= 10, "enough of them spread over several tokens"


def test_a_stop_string_of_the_prompt_does_not_count(engine: LocalEngine, tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer.encode("Who is the mayor?")
    [completion] = run(engine, Request(ids, GREEDY.model_copy(update={"stop": ("mayor?",)})))
    assert completion.finish == "length"


def test_a_stop_token_is_kept(engine: LocalEngine) -> None:
    [free] = run(engine, Request(prompt(10), GREEDY))
    stop = free.token_ids[4]
    [completion] = run(engine, Request(prompt(10), GREEDY.model_copy(update={"stop_token_ids": (stop,)})))
    assert completion.token_ids == free.token_ids[: free.token_ids.index(stop) + 1] and completion.finish == "stop"


def test_token_limits(engine: LocalEngine, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    [none, one, five] = run(engine, *[Request(prompt(10), GREEDY.model_copy(update={"max_tokens": n})) for n in (0, 1, 5)])
    assert [len(c.token_ids) for c in (none, one, five)] == [0, 1, 5]
    assert {c.finish for c in (none, one, five)} == {"length"}
    short = make_engine(model, tokenizer, max_model_len=16)
    [cut, exact, full] = run(short, *[Request(prompt(n), GREEDY.model_copy(update={"max_tokens": 6})) for n in (12, 9, 16)])
    assert (len(cut.token_ids), cut.finish) == (4, "context")
    assert (len(exact.token_ids), exact.finish) == (6, "length")
    assert (full.token_ids, full.finish) == ([], "context")


def test_the_models_own_window_is_the_limit(engine: LocalEngine) -> None:
    [completion] = run(engine, Request(prompt(508), GREEDY))
    assert (len(completion.token_ids), completion.finish) == (4, "context")


def test_embeddings_may_be_padded_beyond_the_vocabulary(tokenizer: PreTrainedTokenizerFast) -> None:
    config = Qwen3Config(
        vocab_size=len(tokenizer) + 500, hidden_size=16, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1,
        head_dim=16, intermediate_size=16, max_position_embeddings=128, tie_word_embeddings=True,
    )  # fmt: skip
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    [completion] = run(make_engine(model, tokenizer), Request(prompt(4), SamplingParams(max_tokens=20, stop=("zz",)), seed=1))
    assert max(completion.token_ids) >= len(tokenizer)


# Weights


def test_new_weights_in_flight(engine: LocalEngine, naive: Any, other_model: PreTrainedModel, naive_of: Any) -> None:
    requests = [Request(prompt(12 + i, seed=i), SamplingParams(temperature=0.0, max_tokens=14)) for i in range(3)]

    async def replaced_on_the_way() -> list[Completion]:
        running = [asyncio.ensure_future(engine.generate(request)) for request in requests]
        while engine.stats["sampled_tokens"] < 15:
            await asyncio.sleep(0)
        await engine.load(dict(other_model.named_parameters()), 7)
        return list(await asyncio.gather(*running))

    for request, completion in zip(requests, asyncio.run(replaced_on_the_way()), strict=True):
        before = completion.versions.count(0)
        assert 1 <= before < 14 and completion.versions == [0] * before + [7] * (14 - before)
        old, new = completion.token_ids[:before], completion.token_ids[before:]
        assert old == naive.score(request.token_ids, old)[1]
        # After the change everything is as if the new weights had read the whole sequence.
        logprobs, best = naive_of(other_model).score(request.token_ids + old, new)
        assert new == best
        assert completion.logprobs[before:] == approx(logprobs, abs=1e-4)


def test_nothing_cached_survives_new_weights(engine: LocalEngine, other_model: PreTrainedModel, naive_of: Any) -> None:
    request = Request(prompt(20), GREEDY)
    run(engine, request)
    asyncio.run(engine.load(dict(other_model.named_parameters()), 1))
    assert_same(run(engine, request), [naive_of(other_model).generate(request)])
    assert engine.stats["cached_tokens"] == 0


def test_a_trainer_may_go_on_writing_into_its_parameters(tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel, naive: Any) -> None:
    mine = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    engine = LocalEngine(model.config, tokenizer, LocalEngineConfig(max_num_seqs=2))
    asyncio.run(engine.load(mine, 0))
    for parameter in mine.values():
        parameter.add_(1.0)
    request = Request(prompt(8), GREEDY)
    assert_same(run(engine, request), [naive.generate(request)])


# What goes wrong


def test_a_cancelled_request_leaves_the_others_alone(engine: LocalEngine, naive: Any) -> None:
    requests = [Request(prompt(10, seed=i), WAYS[1], seed=i) for i in range(4)]

    async def one_gives_up() -> list[Completion | BaseException]:
        running = [asyncio.ensure_future(engine.generate(request)) for request in requests]
        waiting = asyncio.ensure_future(engine.generate(Request(prompt(9, seed=8), GREEDY)))
        waiting.cancel()
        while engine.stats["sampled_tokens"] < 12:
            await asyncio.sleep(0)
        running[1].cancel()
        return list(await asyncio.gather(*running, return_exceptions=True))

    results = asyncio.run(one_gives_up())
    assert isinstance(results[1], asyncio.CancelledError)
    kept = [result for result in results if isinstance(result, Completion)]
    assert_same(kept, [naive.generate(requests[i]) for i in (0, 2, 3)])
    # Its row is free again and half a sample in it does no harm.
    assert_same(run(engine, requests[1]), [naive.generate(requests[1])])


def test_an_error_in_a_step_reaches_everyone_who_waits_and_nobody_later(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, naive: Any
) -> None:
    engine = make_engine(model, tokenizer, max_num_seqs=2)
    fine = [Request(prompt(10, seed=i), GREEDY) for i in range(5)]

    async def with_a_token_that_does_not_exist() -> list[Any]:
        requests = [*fine[:1], Request([10**6], GREEDY), *fine[1:]]
        async with asyncio.timeout(30):
            return list(await asyncio.gather(*map(engine.generate, requests), return_exceptions=True))

    assert [type(result) for result in asyncio.run(with_a_token_that_does_not_exist())] == [IndexError] * 6
    assert_same(run(engine, *fine), [naive.generate(request) for request in fine])


def test_an_interrupted_event_loop_leaves_an_engine_that_works(engine: LocalEngine, naive: Any) -> None:
    async def killed() -> None:
        running = [asyncio.ensure_future(engine.generate(Request(prompt(10, seed=i), WAYS[1]))) for i in range(3)]
        while engine.stats["sampled_tokens"] < 5:
            await asyncio.sleep(0)
        assert not any(task.done() for task in running)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(killed())
    requests = [Request(prompt(10, seed=i), WAYS[1], seed=i) for i in range(3)]
    assert_same(run(engine, *requests), [naive.generate(request) for request in requests])


def test_what_cannot_be_served(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, engine: LocalEngine) -> None:
    with pytest.raises(InputError, match="call load first"):
        run(LocalEngine(model.config, tokenizer), Request([1], GREEDY))
    with pytest.raises(InputError, match="t/3: no tokens"):
        run(engine, Request([], GREEDY, label="t/3"))
    with pytest.raises(InputError, match="empty stop string"):
        run(engine, Request([1], GREEDY.model_copy(update={"stop": ("",)})))
