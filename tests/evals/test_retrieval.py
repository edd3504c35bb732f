import json
import math
from pathlib import Path

import pytest

from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.corpus.ingest import read_documents
from spadework.corpus.store import MemoryCorpus
from spadework.evals.retrieval import read_questions, retrieval_report


def ranked_corpus() -> MemoryCorpus:
    """Twelve pages that the query `river` ranks d0, d1, ... d11: the same length, ever fewer rivers."""
    count = 12
    return MemoryCorpus(
        Document(id=f"d{n}", title="Page", text="river " * (count - n) + " ".join(f"w{n}x{i}" for i in range(n))) for n in range(count)
    )


def test_figures_by_hand() -> None:
    corpus = ranked_corpus()
    assert [hit.id for hit in corpus.search("river", limit=12)] == [f"d{n}" for n in range(12)]
    report = retrieval_report(
        corpus,
        [
            {"question": "river", "gold_ids": ["d0", "d3"]},  # zero-based ranks 0 and 3
            {"question": "river", "gold_ids": ["d7"]},  # rank 7
            {"question": "river", "gold_ids": ["d11", "d2"]},  # rank 2, and one beyond 10
        ],
    )
    two = 1 + 1 / math.log2(3)  # ideal gain of two gold pages
    ndcg = ((1 + 1 / math.log2(5)) / two + 1 / math.log2(9) + (1 / math.log2(4)) / two) / 3
    assert report == {
        "recall@2": pytest.approx((0.5 + 0 + 0) / 3),
        "recall@5": pytest.approx((1 + 0 + 0.5) / 3),
        "recall@10": pytest.approx((1 + 1 + 0.5) / 3),
        "all@5": pytest.approx(1 / 3),
        "all@10": pytest.approx(2 / 3),
        "ndcg@10": pytest.approx(ndcg),
        "n": 3,
    }


def test_questions_that_do_not_fit_the_corpus() -> None:
    corpus = ranked_corpus()
    with pytest.raises(InputError, match="question q: the corpus holds no document 'x'"):
        retrieval_report(corpus, [{"id": "q", "question": "river", "gold_ids": ["x"]}])
    with pytest.raises(InputError, match="question 1: 'gold_ids' is empty"):
        retrieval_report(corpus, [{"question": "river", "gold_ids": []}])
    with pytest.raises(InputError, match="no questions"):
        retrieval_report(corpus, [])


def test_bad_question_files(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    with pytest.raises(InputError, match="no such file"):
        list(read_questions(path))
    good = json.dumps({"question": "q", "gold_ids": ["a"]})
    for bad, message in (("{", "line 3: not JSON"), ('{"question": "q"}', "line 3: a row needs 'question'"), ("[]", "line 3: a row needs")):
        path.write_text(f"{good}\n\n{bad}\n")
        with pytest.raises(InputError, match=message):
            list(read_questions(path))


@pytest.mark.parametrize(
    # Reference: bm25s, Lucene variant, k1 1.5, b 0.75. We may be at most 1.5 points below it.
    ("name", "reference"),
    [("hotpotqa_dev500", {"recall@5": 0.776, "recall@10": 0.927}), ("musique_train100", {"recall@5": 0.498, "recall@10": 0.567})],
)
def test_real_corpora_reach_the_reference(data_dir: Path, name: str, reference: dict[str, float]) -> None:
    corpus = MemoryCorpus(read_documents(data_dir / name / "corpus.jsonl"))
    report = retrieval_report(corpus, read_questions(data_dir / name / "questions.jsonl"))
    for figure, value in reference.items():
        assert report[figure] >= value - 0.015
