"""The words that names are made of: one fixed list of pseudo-words, shared by all worlds and splits.

A full name is two of these words, or three where a split has too few pairs. Which split a full name belongs to is a hash of the name
itself, so a training world and a test world can never share a name, whatever their seeds, while they share every word: what is learned
about words carries over, what is remembered about entities does not.

No word is a prefix of another and no two have the same English stem, so a tokenizer or a search index never takes one for another.
"""

import random
import zlib
from functools import cache
from typing import Literal

__all__ = ["Split", "lexicon", "name_space", "split_of"]

Split = Literal["train", "dev", "test"]

_SIZE = 700
_SHARE = {"train": 0.8, "dev": 0.1, "test": 0.1}
_ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "dr", "gr", "kr", "tr", "sk")
_VOWELS = "aeiou"
_CODAS = ("n", "l", "r", "k", "m", "sh", "th", "x", "v", "d", "rn", "lk", "nd")
_REAL = frozenset({"Foken", "Fokar", "Gonad", "Model", "Natud", "Negik", "Neguk", "Skukok"})
"""Words that the syllables can spell and that mean, or sound like, something."""


@cache
def lexicon() -> tuple[str, ...]:
    """The fixed list of capitalised words of two or three syllables, in alphabetical order."""
    random_value = random.Random(20240229).random

    def pick(options: tuple[str, ...] | str) -> str:
        return options[int(random_value() * len(options))]

    words: list[str] = []
    prefixes: set[str] = set()
    while len(words) < _SIZE:
        middle = pick(_ONSETS[:14]) + pick(_VOWELS) if random_value() < 0.25 else ""
        word = (pick(_ONSETS) + pick(_VOWELS) + middle + pick(_ONSETS[:14]) + pick(_VOWELS) + pick(_CODAS)).capitalize()
        own = {word[:end] for end in range(1, len(word) + 1)}
        if word in prefixes or word in _REAL or not own.isdisjoint(words) or word.endswith(("ed", "er")):
            continue
        words.append(word)
        prefixes |= own
    return tuple(sorted(words))


def split_of(name: str) -> Split:
    """The split that a full name belongs to: eight in ten are `train`, one is `dev`, one is `test`."""
    bucket = zlib.crc32(name.encode()) % 10
    return "train" if bucket < 8 else "dev" if bucket == 8 else "test"


def name_space(split: Split) -> int:
    """About how many two-word names a split has, the same words in another order not counted again."""
    words = len(lexicon())
    return int(_SHARE[split] * words * (words - 1) / 2)
