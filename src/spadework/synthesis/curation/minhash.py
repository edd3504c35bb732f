"""MinHash: which texts seen before are nearly the same, without comparing all pairs (Broder 1997; Lee et al., arXiv 2107.06499).

A text is the set of its character 5-grams after normalisation. The share of equal entries of two signatures estimates the Jaccard
similarity of the sets; with 128 entries its standard error is at most 0.044. Signatures are cut into bands: texts that agree on a whole
band are compared. With 32 bands of 4 a pair at 0.8 is missed with probability (1 - 0.8^4)^32 = 5e-8, one at 0.5 is compared in 87 %.

Memory is 512 bytes per text for its signature and about as much again for the bands.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["MinHashIndex", "shingles", "signature"]

_ENTRIES = 128
_BANDS = 32
_SIZE = 5
_STREAM = np.random.default_rng(1997)
_FACTORS = _STREAM.integers(0, 1 << 64, size=(_ENTRIES, 1), dtype=np.uint64)
_SHIFTS = _STREAM.integers(0, 1 << 64, size=(_ENTRIES, 1), dtype=np.uint64)


def shingles(text: str) -> set[str]:
    """Character 5-grams of a text in lower case with single spaces; the whole text if it is shorter."""
    plain = " ".join(text.casefold().split())
    return {plain[start : start + _SIZE] for start in range(max(1, len(plain) - _SIZE + 1))}


def signature(text: str) -> NDArray[np.uint32]:
    """128 numbers; the share in which two texts agree estimates the similarity of their shingles."""
    hashed = [int.from_bytes(hashlib.blake2b(shingle.encode(), digest_size=4).digest(), "big") for shingle in sorted(shingles(text))]
    # Multiply, add, shift modulo 2^64: pairwise independent for keys of 32 bits (Dietzfelbinger 1996). Overflow is meant.
    mixed: NDArray[np.uint64] = (_FACTORS * np.array(hashed, dtype=np.uint64) + _SHIFTS) >> np.uint64(32)
    return mixed.min(axis=1).astype(np.uint32)


class MinHashIndex:
    """Texts seen so far."""

    def __init__(self) -> None:
        self._signatures: list[NDArray[np.uint32]] = []
        self._bands: list[dict[bytes, list[int]]] = [{} for _ in range(_BANDS)]

    def similar(self, signed: NDArray[np.uint32], threshold: float) -> list[tuple[int, float]]:
        """Numbers (0, 1, ...) of texts whose estimated similarity reaches the threshold, and that similarity; the most similar first."""
        found = {number for band, key in zip(self._bands, _keys(signed), strict=True) for number in band.get(key, ())}
        scored = ((number, float(np.mean(self._signatures[number] == signed))) for number in found)
        return sorted((pair for pair in scored if pair[1] >= threshold), key=lambda pair: (-pair[1], pair[0]))

    def add(self, signed: NDArray[np.uint32]) -> None:
        """Remember a text."""
        for band, key in zip(self._bands, _keys(signed), strict=True):
            band.setdefault(key, []).append(len(self._signatures))
        self._signatures.append(signed)


def _keys(signed: NDArray[np.uint32]) -> list[bytes]:
    return [part.tobytes() for part in signed.reshape(_BANDS, -1)]
