"""Similarity of short texts by their words: cosine of counts or of TF-IDF weights. Pure Python; published rewards often use embeddings.

TF-IDF is scikit-learn's default: idf = ln((1 + n) / (1 + df)) + 1 over the texts that are compared. Words are those of SQuAD's normal form.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from spadework.rewards.matching import norm_squad

__all__ = ["cosine", "tfidf", "word_counts"]


def word_counts(text: str) -> Counter[str]:
    """How often every word occurs."""
    return Counter(norm_squad(text).split())


def cosine(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Cosine of two sparse vectors of non-negative numbers, in [0, 1]; 0 if one is empty."""
    product = sum(value * second.get(word, 0.0) for word, value in first.items())
    lengths = math.sqrt(sum(v * v for v in first.values()) * sum(v * v for v in second.values()))
    return min(1.0, product / lengths) if lengths else 0.0


def tfidf(texts: Sequence[str]) -> list[dict[str, float]]:
    """TF-IDF weights of texts, with frequencies among these texts."""
    counts = [word_counts(text) for text in texts]
    frequency = Counter(word for count in counts for word in count)
    idf = {word: math.log((1 + len(texts)) / (1 + df)) + 1 for word, df in frequency.items()}
    return [{word: times * idf[word] for word, times in count.items()} for count in counts]
