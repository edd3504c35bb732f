# ruff: noqa: RUF001 -- look-alikes are what is decoded

import io

import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from spadework.core.errors import ToolError
from spadework.tools.web.fetch import Fetched
from spadework.tools.web.page import Page, decode, needs_scripts, read_page

ARTICLE = """<!doctype html><html><head><title>Ondal &amp; Brin</title><script>var menu = 1</script></head><body>
<nav><a href="/">Home</a> <a href="/about">About</a></nav>
<article><h1>Ondal Brin</h1><p>Ondal Brin is a city with a <a href="/wiki/Harbour_(port)">harbour</a> and several hundred inhabitants.</p>
<h2>Mayors</h2><table><tr><th>mayor</th><th>since</th></tr><tr><td>Velor Tash</td><td>1931</td></tr></table>
<h2>Sights</h2><ul><li>the old mill by the river</li><li>the lighthouse on the hill</li></ul></article>
<footer>Imprint</footer></body></html>"""


def fetched(body: bytes | str, mime: str = "text/html; charset=utf-8", **options: object) -> Fetched:
    body = body.encode() if isinstance(body, str) else body
    return Fetched("https://example.org/a/b", 200, {"content-type": mime} if mime else {}, body, **options)  # type: ignore[arg-type]


def read(body: bytes | str, mime: str = "text/html; charset=utf-8", *, links: bool = True, **options: object) -> Page:
    return read_page(fetched(body, mime, **options), links=links, max_chars=1000)


def pdf(*pages: str) -> bytes:
    writer = pypdf.PdfWriter()
    font = DictionaryObject(
        {
            NameObject(f"/{key}"): NameObject(f"/{value}")
            for key, value in {"Type": "Font", "Subtype": "Type1", "BaseFont": "Helvetica"}.items()
        }
    )
    for text in pages:
        page = writer.add_blank_page(200, 200)
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})})
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET".encode())
        page[NameObject("/Contents")] = writer._add_object(stream)
    writer.add_metadata({"/Title": "A paper"})
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def test_an_article_as_markdown() -> None:
    page = read(ARTICLE)
    assert page.title == "Ondal & Brin"
    assert "| Velor Tash | 1931 |" in page.text and "- the old mill by the river" in page.text and "## Mayors" in page.text
    assert "[harbour](https://example.org/wiki/Harbour_(port))" in page.text
    assert page.links(page.text) == ("https://example.org/wiki/Harbour_(port)",)
    assert not any(word in page.text for word in ("About", "Imprint", "var menu"))
    stripped = read(ARTICLE, links=False).text
    assert "a harbour and" in stripped and page.links(stripped) == ()


def test_a_page_of_links_keeps_them() -> None:
    page = read('<title>List</title><a href="/x">X &lt;1&gt;</a> <a href="javascript:a()">Y</a> <a href="http://[">Z_</a>')
    assert "[X <1>](https://example.org/x)" in page.text and "Z_" in page.text
    assert page.links(page.text) == ("https://example.org/x",)
    assert read('<a href="/x">X</a>', links=False).text == "X"


@pytest.mark.parametrize(
    "mime", ["text/plain", "application/json", "application/ld+json", "text/csv", "application/xml", "text/markdown", ""]
)
def test_texts_stay_as_they_are(mime: str) -> None:
    assert read('{"a": [1,\n 2]}', mime).text == '{"a": [1,\n 2]}'


def test_a_pdf_page_by_page() -> None:
    for mime in ("application/pdf", "application/octet-stream"):
        page = read(pdf("Ondal Brin has a har-", "Velor Tash"), mime)
        assert page.title == "A paper" and page.text == "Ondal Brin has a har-\n\nVelor Tash"
    for body in (b"%PDF-1.7 nonsense", b"", pdf("x")[:200]):
        with pytest.raises(ToolError, match="not a readable PDF"):
            read(body, "application/pdf")
    with pytest.raises(ToolError, match="too large"):
        read(pdf("x"), "application/pdf", complete=False)


@pytest.mark.parametrize(("body", "mime"), [(b"\x89PNG\r\n", "image/png"), (b"a\0b", ""), (b"abc", "application/zip"), (b"x", "text")])
def test_other_types_are_refused(body: bytes, mime: str) -> None:
    with pytest.raises(ToolError, match="can not be read"):
        read(body, mime)


@pytest.mark.parametrize(
    ("body", "mime", "text"),
    [
        ("é".encode(), "text/plain", "é"),
        ("é".encode("latin-1"), "text/plain", "é"),
        ("é".encode("latin-1"), "text/plain; charset=ISO-8859-1", "é"),
        # What says latin-1 means Windows-1252, which has a dash where the other has a control character.
        ("–".encode("cp1252"), "text/plain; charset=latin1", "–"),
        ("日本".encode("shift_jis"), 'text/plain; charset="Shift_JIS"', "日本"),
        ("日本".encode("utf-16"), "text/plain; charset=latin-1", "日本"),
        (b"\xef\xbb\xbfabc", "text/plain", "abc"),
        (b'<meta charset="koi8-r">\xc1', "text/html", '<meta charset="koi8-r">а'),
        (b'<meta charset="utf-16">\xc3\xa9', "text/html", '<meta charset="utf-16">é'),
        # Codecs of Python that are no charsets are passed over.
        *((b"abc", f"text/plain; charset={name}", "abc") for name in ("zip", "hex", "idna", "unicode_escape", "utf-7", "nonsense")),
    ],
)
def test_charsets(body: bytes, mime: str, text: str) -> None:
    assert decode(fetched(body, mime)) == text


def test_a_cut_inside_a_character() -> None:
    assert decode(fetched("aé".encode()[:-1], "text/plain", complete=False)) == "a\ufffd"


def test_sections_by_number_and_by_heading() -> None:
    text = "\n".join(["# Top", "a" * 700, "## Early life", "b" * 700, "## Later_years!", "c" * 700])
    page = Page("u", "t", text, max_chars=1000)
    assert page.outline == [("Top", 1), ("Early life", 2), ("Later_years!", 3)]
    assert [page.part_of(name) for name in ("2", "Early_life", "early%20life", "later-years", "Top", "nowhere", "", "99")] == [
        2,
        2,
        1,
        3,
        1,
        1,
        1,
        99,
    ]
    assert page.parts[1].startswith("## Early life")


def test_the_shell_of_an_application() -> None:
    shell = '<html><body><div id="app"></div><script src="/app.js"></script></body></html>'
    assert needs_scripts(shell, read(shell)) and not needs_scripts("<p>short</p>", read("<p>short</p>"))
    assert not needs_scripts(ARTICLE, read(ARTICLE))


@given(st.binary(max_size=200), st.sampled_from(["text/html", "text/plain", "application/pdf", "application/json", ""]))
def test_whatever_comes_is_a_page_or_an_explained_refusal(body: bytes, mime: str) -> None:
    try:
        page = read(body, mime)
    except ToolError as error:
        assert str(error)
    else:
        assert "\0" not in page.text
        page.text.encode()
