import json
from pathlib import Path

import pytest

from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.corpus.ingest import read_documents


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    return path


def minimal_pdf(text: str) -> bytes:
    """One page with one line of text, and an xref table whose offsets are counted here."""
    stream = f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj%s endobj\n" % (number, content)
    table = b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return body + table + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(body)


def test_rows_of_both_forms(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "corpus.jsonl",
        {"id": "a", "title": "Alpha", "text": "One.", "url": "http://x/a", "links": ["Beta"], "extra": 1},
        "",
        {"id": 7, "contents": '"Beta "of" Q"\nTwo\nlines.'},
    )
    assert list(read_documents(path)) == [
        Document(id="a", title="Alpha", text="One.", url="http://x/a", links=("Beta",)),
        Document(id="7", title='Beta "of" Q', text="Two\nlines."),
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (['{"id": "a"'], r"corpus\.jsonl, line 1: not JSON"),
        (["[1]"], "line 1: expected an object with id, title and text, found list"),
        ([{"id": "a", "title": "A", "text": "t"}, {"id": "b", "title": "B"}], "line 2: 'text' is missing"),
        ([{"id": "a", "title": None, "text": "t"}], "line 1: 'title' must be text, found NoneType"),
        ([{"id": "", "title": "A", "text": "t"}], "line 1: 'id' is empty"),
        ([{"id": "a", "title": "A", "text": "t", "links": "B"}], "line 1: 'links' must be a list"),
        ([{"id": "a", "title": "A", "text": "t"}, "", {"id": "a", "title": "B", "text": "t"}], "id 'a' occurs twice, in lines 1 and 3"),
        ([], "no documents found"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, rows: list[object], message: str) -> None:
    path = jsonl(tmp_path / "corpus.jsonl", *rows)
    with pytest.raises(InputError, match=message) as caught:
        list(read_documents(path))
    assert "\n" not in str(caught.value)


def test_missing_and_unknown_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        list(read_documents(tmp_path / "nothing"))
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(InputError, match=r"cannot read '\.docx' files"):
        list(read_documents(tmp_path / "a.docx"))
    with pytest.raises(InputError, match="no documents found"):
        list(read_documents(tmp_path))


def test_markdown(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.md").write_text(
        "---\ntitle: The Title\ntags: [x]\n---\n# Another\n\nSee [B](../b.md#part), [again](../b.md), ![image](c.png), [web](https://e.org/x_(y)),\n"
        "[top](#top) and [[Wiki Page|shown]].\n",
        encoding="utf-8",
    )
    (tmp_path / "b.md").write_text("intro\n# Heading *of* B #\ntext\n")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "c.md").write_text("never")
    b, a = read_documents(tmp_path)
    assert (b.id, b.title) == ("b.md", "Heading *of* B")
    assert (a.id, a.title) == ("sub/a.md", "The Title")
    assert a.text.startswith("# Another") and "tags" not in a.text
    assert a.links == ("b.md", "https://e.org/x_(y)", "Wiki Page")


def test_wrapped_prose_is_joined_and_structure_is_kept(tmp_path: Path) -> None:
    long = "This line of prose is long enough that it may well go on in the next"
    (tmp_path / "a.txt").write_text(f"{long}\nline of it.\n\nShort: 1\nShort: 2\n{long}\n- item\n```\n{long}\ncode\n```\n")
    (document,) = read_documents(tmp_path)
    assert document.text.split("\n") == [f"{long} line of it.", "", "Short: 1", "Short: 2", long, "- item", "```", long, "code", "```"]
    assert document.title == "a"


def test_html(tmp_path: Path) -> None:
    prose = "The quick brown fox jumps over the lazy dog, and it does so every single day of the year without any exception. " * 3
    (tmp_path / "a.html").write_text(
        f"<html><head><title>Fox\n page</title></head><body><nav><a href='/'>Home</a></nav><article><h1>Fox</h1><p>{prose}</p>"
        "<p>See <a href='b.html'>the other</a>.</p></article></body></html>"
    )
    (tmp_path / "b.html").write_text("<html><body><h1>Tiny</h1>Mayor: Velor Tash</body></html>")
    a, b = read_documents(tmp_path)
    assert a.title == "Fox page" and "quick brown fox" in a.text and "<p>" not in a.text
    assert "b.html" in a.links
    # Too little for the main-text extraction: the visible text is used.
    assert b.title == "Tiny" and "Velor Tash" in b.text


def test_pdf(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(minimal_pdf("The mayor is Velor Tash."))
    (document,) = read_documents(tmp_path / "a.pdf")
    assert document == Document(id="a.pdf", title="a", text="The mayor is Velor Tash.")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pdf", b"not a pdf", "not a readable PDF"),
        ("a.pdf", minimal_pdf(""), "no text could be extracted"),
        ("a.txt", b"caf\xe9", r"not UTF-8 text \(byte 3\)"),
        ("a.md", b"---\ntitle: [\n---\ntext", "front matter is not YAML"),
        ("a.html", b"", "a.html: not an HTML page"),
    ],
)
def test_unreadable_pages_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        list(read_documents(tmp_path))
    assert name in str(caught.value) and "\n" not in str(caught.value)
