"""Matching of prefixes, choice of rows, growth: by hand."""

import numpy as np
import pytest
import torch

from spadework.engines.kv_cache import KVCache


def make_cache(rows: int = 3, dtype: torch.dtype = torch.float32) -> KVCache:
    return KVCache(2, 1, 4, rows, dtype=dtype, device=torch.device("cpu"))


def fill(cache: KVCache, row: int, tokens: list[int], *, computed: int | None = None) -> None:
    """A request that has run in a row: its keys are its tokens."""
    cache.take()
    cache.start(row, np.array(tokens), -1, 0)
    count = len(tokens) if computed is None else computed
    keys = torch.tensor(tokens[:count], dtype=torch.float32)[:, None, None].expand(count, 1, 4)
    for layer in range(2):
        cache.write(layer, torch.full((count,), row), torch.arange(count), keys, -keys)
    cache.valid[row] = count


def test_the_longest_computed_prefix_is_found() -> None:
    cache = make_cache()
    fill(cache, 0, [1, 2, 3, 4, 5], computed=2)
    fill(cache, 1, [1, 2, 3, 9])
    cache.release(1)
    # Row 0 agrees on four tokens, of which two are computed; row 1 on three. The busy row 0 promises four.
    assert cache.match(np.array([1, 2, 3, 4, 7])) == (1, 3, 4)
    assert cache.match(np.array([2, 2])) == (-1, 0, 0)
    assert cache.match(np.array([], dtype=np.int64)) == (-1, 0, 0)
    assert make_cache().match(np.array([0, 0])) == (-1, 0, 0), "an empty row has no tokens, not tokens 0"


def test_among_equals_an_idle_row_that_ends_there_comes_first() -> None:
    cache = make_cache(4)
    fill(cache, 0, [1, 2, 3])
    fill(cache, 1, [1, 2, 3, 4])
    fill(cache, 2, [1, 2, 3])
    cache.release(1)
    cache.release(2)
    assert cache.match(np.array([1, 2, 3, 5]))[:2] == (2, 3)


def test_rows_are_given_out_empty_ones_first_then_the_one_used_longest_ago() -> None:
    cache = make_cache(3)
    fill(cache, 1, [1])
    assert cache.take() == 0
    fill(cache, 0, [2])
    fill(cache, 2, [3])
    assert cache.take() is None, "all are busy"
    cache.release(2)
    cache.take()
    cache.release(1)
    assert cache.take() == 2
    assert cache.take(keep=2) == 1
    cache.start(1, np.array([4]), -1, 0)
    assert cache.take(keep=2) is None


def test_a_copied_prefix_is_a_copy() -> None:
    cache = make_cache()
    fill(cache, 0, [1, 2, 3])
    cache.start(1, np.array([1, 2, 8]), 0, 2)
    assert cache.keys[1][1, 0, :3, 0].tolist() == [1, 2, 0]
    assert cache.values[0][1, 0, :3, 0].tolist() == [-1, -2, 0]
    assert (cache.valid[1], cache.assigned[1], cache.tokens[1, :3].tolist()) == (2, 3, [1, 2, 8])
    cache.keys[1][0] = 7.0
    assert cache.keys[1][1, 0, :2, 0].tolist() == [1, 2]


def test_siblings_share_an_origin_until_it_is_overwritten() -> None:
    cache = make_cache(4)
    fill(cache, 0, [1, 2, 3])
    cache.start(1, np.array([1, 2, 3, 8]), 0, 3)
    cache.valid[1] = 4
    cache.start(2, np.array([1, 2, 3, 9]), 1, 3)
    # Row 2 copied from row 1, which has these positions from row 0: all three read those of row 0.
    assert cache.origin[:3].tolist() == [0, 0, 0] and cache.shared.tolist() == [0, 3, 3, 0]
    cache.start(3, np.array([1, 2, 3, 8, 8]), 1, 4)
    assert cache.origin[3] == 1 and cache.shared[3] == 4, "row 1 shares fewer than four with row 0"
    cache.release(0)
    cache.start(0, np.array([1, 2, 7]), 0, 2)
    assert cache.shared.tolist() == [0, 2, 2, 4], "what is continued in place stays shared"
    cache.release(1)
    cache.start(1, np.array([5, 6]), -1, 0)
    assert cache.shared.tolist() == [0, 0, 2, 0]
    cache.forget()
    assert not cache.shared.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_growth_keeps_what_is_there_and_adds_zeros(dtype: torch.dtype) -> None:
    cache = make_cache(dtype=dtype)
    fill(cache, 2, list(range(1, 257)))
    cache.reserve(256)
    assert cache.tokens.shape == (3, 256)
    cache.reserve(257)
    assert cache.tokens.shape == (3, 512) and cache.keys[0].shape == (3, 1, 512, 4) and cache.keys[0].dtype == dtype
    assert cache.values[1][2, 0, :256, 3].tolist() == [-float(n) for n in range(1, 257)]
    assert not cache.keys[0][2, :, 256:].any() and not cache.keys[0][0].any()
    cache.reserve(2000)
    assert cache.tokens.shape == (3, 2000)
    assert cache.match(np.array([1, 2, 3, 4]))[:2] == (2, 4)


def test_new_weights_void_everything_but_the_tokens_of_running_rows() -> None:
    cache = make_cache()
    fill(cache, 0, [1, 2, 3])
    fill(cache, 1, [1, 2, 3])
    cache.release(1)
    cache.forget()
    assert cache.match(np.array([1, 2, 3, 4])) == (-1, 0, 3)
    assert cache.assigned.tolist() == [3, 0, 0]
    assert cache.take() == 1


def test_memory_is_taken_only_when_it_is_written() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    before = resident()
    cache = KVCache(4, 4, 32, 512, dtype=torch.float32, device=torch.device("cpu"))
    total = 8 * cache.keys[0].numel() * 4
    assert total == 2**29 and resident() - before < total / 8
