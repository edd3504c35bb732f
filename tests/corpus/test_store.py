import json
from pathlib import Path

import pytest

from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.corpus.snippet import SnippetConfig
from spadework.corpus.store import MemoryCorpus, build_corpus, content_hash, open_corpus

DOCUMENTS = [
    Document(id="a", title="Ondal Brin", text="Ondal Brin river Suka\nOndal Brin mayor Velor Tash", links=("Velor Tash",)),
    Document(id="b", title="Velor Tash", text="Velor Tash is a mayor \u2028 caf\u00e9.", url="http://x/b"),
    Document(id="c", title="Empty", text=""),
]


def test_in_memory_and_in_a_folder_alike(tmp_path: Path) -> None:
    memory, stored = MemoryCorpus(DOCUMENTS), build_corpus(DOCUMENTS, tmp_path / "corpus")
    reopened = open_corpus(tmp_path / "corpus")
    for corpus in (memory, stored, reopened):
        assert len(corpus) == 3
        assert list(corpus) == DOCUMENTS
        assert corpus.get("b") == corpus.get("velor TASH") == DOCUMENTS[1]
        assert corpus.get("nobody") is None
        assert corpus.search("Ondal Brin mayor") == memory.search("Ondal Brin mayor")
    best, *_ = memory.search("Ondal Brin mayor", limit=1)
    assert (best.id, best.title, best.snippet) == ("a", "Ondal Brin", "Ondal Brin river Suka\nOndal Brin mayor Velor Tash")
    assert memory.search("empty")[0].snippet == ""


def test_manifest(tmp_path: Path) -> None:
    corpus = build_corpus(DOCUMENTS, tmp_path / "c", snippets=SnippetConfig(units=1))
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    assert manifest["schema_version"] == 1 and manifest["documents"] == 3 and manifest["snippets"] == {"units": 1, "chars": 480}
    assert manifest["characters"] == sum(len(document.text) for document in DOCUMENTS)
    assert manifest["content_hash"] == content_hash(DOCUMENTS) == content_hash(corpus) != content_hash(DOCUMENTS[::-1])
    assert corpus.search("Ondal Brin mayor")[0].snippet == "Ondal Brin mayor Velor Tash"
    wide = open_corpus(tmp_path / "c", snippets=SnippetConfig(units=2))
    assert wide.search("Ondal Brin mayor")[0].snippet.count("\n") == 1


def test_a_rebuild_replaces_and_a_failed_one_leaves_the_old(tmp_path: Path) -> None:
    build_corpus(DOCUMENTS, tmp_path / "c")
    with pytest.raises(InputError, match="document id 'a' occurs twice"):
        build_corpus([DOCUMENTS[0], DOCUMENTS[0]], tmp_path / "c")
    assert len(open_corpus(tmp_path / "c")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert len(build_corpus(DOCUMENTS[:1], tmp_path / "c")) == 1


def test_a_corpus_can_be_rebuilt_from_itself(tmp_path: Path) -> None:
    corpus = build_corpus(DOCUMENTS, tmp_path / "c")
    assert list(build_corpus(corpus, tmp_path / "c")) == DOCUMENTS


def test_other_folders_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="exists and is not a corpus folder"):
        build_corpus(DOCUMENTS, tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_duplicate_ids_in_memory() -> None:
    with pytest.raises(InputError, match="document id 'a' occurs twice"):
        MemoryCorpus([DOCUMENTS[0], DOCUMENTS[0]])


def test_folders_that_are_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a corpus folder \(no manifest"):
        open_corpus(tmp_path)
    build_corpus(DOCUMENTS, tmp_path / "c")
    manifest = tmp_path / "c" / "manifest.json"
    good = manifest.read_text()
    for bad, message in (
        ("{", "not JSON"),
        (good.replace('"schema_version": 1', '"schema_version": 99'), "schema version 99"),
        (good.replace('"documents": 3', '"documents": 4'), "3 documents indexed, 4 expected"),
    ):
        manifest.write_text(bad)
        with pytest.raises(InputError, match=message):
            open_corpus(tmp_path / "c")
    manifest.write_text(good)
    (tmp_path / "c" / "index" / "meta.json").unlink()
    with pytest.raises(InputError, match="damaged corpus"):
        open_corpus(tmp_path / "c")


def test_documents_without_a_query_term_are_no_hits() -> None:
    assert [hit.id for hit in MemoryCorpus(DOCUMENTS).search("velor")] == ["b", "a"]
