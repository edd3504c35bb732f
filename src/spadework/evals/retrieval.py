"""Retrieval figures of a corpus: are the gold pages of a question among the first hits when the question itself is the query?

recall@k is the mean share of gold pages in the first k hits, all@k the share of questions with every gold page in the first k, and ndcg@10
uses binary relevance with discount 1 / log2(rank + 1) (Järvelin and Kekäläinen, 2002). One query per question: what an agent gains by
asking several is what these numbers leave open.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spadework.core.errors import InputError
from spadework.corpus.document import Corpus

__all__ = ["read_questions", "retrieval_report"]

_RECALL_AT = (2, 5, 10)
_ALL_AT = (5, 10)
_DEPTH = 10


def read_questions(path: Path) -> Iterator[dict[str, Any]]:
    """Rows `{id, question, gold_ids, ...}` of a jsonl file.

    Raises:
        InputError: the file is missing, or a row is not of this form; names the line.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}, line {number}: not JSON ({error})") from None
            if not isinstance(row, dict) or not isinstance(row.get("question"), str) or not isinstance(row.get("gold_ids"), list):
                raise InputError(f"{path}, line {number}: a row needs 'question' (text) and 'gold_ids' (a list of document ids)")
            yield row


def retrieval_report(corpus: Corpus, questions: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Search once per question and average.

    Args:
        corpus: what is searched.
        questions: rows with `question` and `gold_ids`.

    Returns:
        recall@2, recall@5, recall@10, all@5, all@10, ndcg@10 (shares in [0, 1]) and n.

    Raises:
        InputError: there is no question, or one has no gold id or one that the corpus does not hold.
    """
    sums = dict.fromkeys([*(f"recall@{k}" for k in _RECALL_AT), *(f"all@{k}" for k in _ALL_AT), f"ndcg@{_DEPTH}"], 0.0)
    count = 0
    for number, row in enumerate(questions, start=1):
        name = row.get("id", number)
        gold = set(row["gold_ids"])
        if not gold:
            raise InputError(f"question {name}: 'gold_ids' is empty")
        for key in row["gold_ids"]:
            document = corpus.get(key)
            if document is None or document.id != key:
                raise InputError(f"question {name}: the corpus holds no document '{key}'; it is not the corpus of these questions")
        found = [hit.id in gold for hit in corpus.search(row["question"], limit=_DEPTH)]
        for k in _RECALL_AT:
            sums[f"recall@{k}"] += sum(found[:k]) / len(gold)
        for k in _ALL_AT:
            sums[f"all@{k}"] += sum(found[:k]) == len(gold)
        ideal = sum(_discount(rank) for rank in range(min(len(gold), _DEPTH)))
        sums[f"ndcg@{_DEPTH}"] += sum(_discount(rank) for rank, hit in enumerate(found) if hit) / ideal
        count += 1
    if not count:
        raise InputError("no questions to evaluate")
    return {name: value / count for name, value in sums.items()} | {"n": count}


def _discount(rank: int) -> float:
    """Discount of a zero-based rank."""
    return 1 / math.log2(rank + 2)
