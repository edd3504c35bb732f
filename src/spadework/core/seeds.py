"""Seeds without state: every random stream is a hash of what it is for.

`derive_seed(run_seed, "rollout", step, task_id, sample)` gives the same number on every machine and in any order of arrival, so nothing
that is resumed, retried or run concurrently shifts anybody else's randomness.
"""

import hashlib
import random

__all__ = ["derive_seed", "rng"]


def derive_seed(*parts: str | int) -> int:
    """Hash the parts to a seed in [0, 2**63).

    Args:
        parts: what the stream is for, outermost first. 1 and "1" are different parts.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def rng(*parts: str | int) -> random.Random:
    """A Python random stream for the parts (see `derive_seed`)."""
    return random.Random(derive_seed(*parts))
