"""What a web page says, as Markdown in parts: from HTML (main text, tables, lists, links), PDF, JSON and plain text.

trafilatura finds the main text of HTML; where it finds none, all the visible text is better than nothing. The bytes are decoded as browsers
do: a byte order mark, then the header's charset, then the page's own declaration, then UTF-8, then Windows-1252. Scripts are not run here
(`tools/browser.py`), pictures are not read.
"""

import codecs
import copy
import io
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urljoin

from spadework.core.errors import ToolError
from spadework.tools.read import parts
from spadework.tools.web.fetch import Fetched

__all__ = ["Page", "decode", "is_html", "needs_scripts", "read_html", "read_page"]

_PDF_PAGES, _PDF_SECONDS = 300, 20.0
_SHELL_CHARS = 200
"""A page with scripts and less text than this is taken for the shell of an application."""
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_NO_CHARSETS = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "utf_7"})
"""Codecs of Python that no page means."""
_TEXT = re.compile(r"text/|application/(?:[\w.-]+\+)?(?:json|xml|yaml|x-ndjson|ld\+json)$")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_LINK = re.compile(r"\]\((https?://[^\s()\[\]]+(?:\([^\s()\[\]]*\)[^\s()\[\]]*)*)[^)]*\)")
_ESCAPE, _ANGLES = re.compile(r"\\([\\`*_{}\[\]()<>#+.!|~-])"), re.compile(r"\]\(<([^<>\s]+)>\)")
_HYPHEN = re.compile(r"(?<=[a-z])-\n(?=[a-z])")
"""A word that a PDF breaks at the end of a line."""


@dataclass(frozen=True)
class Page:
    """A page as a trajectory has seen it."""

    url: str
    title: str
    text: str
    """Markdown."""
    max_chars: int
    """Of a part."""
    complete: bool = True
    """False where the page was cut because of its size."""

    @cached_property
    def parts(self) -> list[str]:
        """The text in parts, cut before a heading where one stands in the second half of a part, else at a line end."""
        return parts(self.text, self.max_chars, marks=("\n#", "\n", " "))

    @cached_property
    def outline(self) -> list[tuple[str, int]]:
        """The headings, each with the number of the part that it stands in."""
        return [(match[1], number) for number, text in enumerate(self.parts, start=1) for match in _HEADING.finditer(text)]

    def part_of(self, fragment: str) -> int:
        """The part that a fragment means: a number, or a heading as pages name it (`#Early_life`); else the first one."""
        if re.fullmatch(r"\d{1,9}", fragment):
            return int(fragment)
        wanted = _words(fragment)
        return next((number for heading, number in self.outline if wanted and _words(heading) == wanted), 1)

    @staticmethod
    def links(text: str) -> tuple[str, ...]:
        """Addresses that a text of a page links to."""
        return tuple(dict.fromkeys(_LINK.findall(text)))


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.replace("_", " ").casefold()))


def is_html(fetched: Fetched) -> bool:
    """Whether an answer is a page of HTML, as it says or, where it says nothing, as it looks."""
    if fetched.mime:
        return fetched.mime in ("text/html", "application/xhtml+xml")
    return bool(re.match(rb"\s*<(?:!doctype html|html|head|body)", fetched.body[:1000], re.IGNORECASE))


def needs_scripts(html: str, page: Page) -> bool:
    """Whether a page looks like the shell of an application that fills itself in."""
    return len(page.text) < _SHELL_CHARS and "<script" in html.lower()


def read_page(fetched: Fetched, *, links: bool, max_chars: int) -> Page:
    """Read what was fetched.

    Args:
        fetched: a body with its headers.
        links: whether links stay in the text as Markdown.
        max_chars: of a part.

    Raises:
        ToolError: it is of a type that can not be read, damaged, or empty.
    """
    if is_html(fetched):
        return read_html(decode(fetched), fetched, links=links, max_chars=max_chars)
    mime = fetched.mime or "application/octet-stream"
    if mime == "application/pdf" or (mime == "application/octet-stream" and fetched.body.startswith(b"%PDF-")):
        title, text = _read_pdf(fetched)
    elif _TEXT.match(mime) or (not fetched.mime and b"\0" not in fetched.body):
        title, text = "", decode(fetched)
    else:
        raise ToolError(f"{fetched.url} is of type {mime[:80]}, which can not be read. Visit web pages, PDF files or texts.")
    return _page(fetched, title, text, max_chars)


def read_html(html: str, fetched: Fetched, *, links: bool, max_chars: int) -> Page:
    """Read HTML.

    Args:
        html: as it came, or after scripts have run.
        fetched: where it came from.
        links: whether links stay in the text as Markdown.
        max_chars: of a part.

    Raises:
        ToolError: there is no text.
    """
    import lxml.etree  # slow to import, like what follows
    import lxml.html
    import trafilatura

    try:
        tree = lxml.html.document_fromstring(html.encode("utf-8", "replace"), parser=lxml.html.HTMLParser(encoding="utf-8"))
    except lxml.etree.ParserError:  # nothing but comments
        return _page(fetched, "", "", max_chars)
    title = " ".join("".join(tree.xpath("(//title)[1]//text()") or tree.xpath("(//h1)[1]//text()")).split())
    text = trafilatura.extract(
        copy.deepcopy(tree),
        url=fetched.url,
        output_format="markdown",
        include_comments=False,
        include_tables=True,
        include_links=links,
        favor_recall=True,
    )
    if not text:
        for anchor in list(tree.iter("a")) if links else ():
            _write_out(anchor, fetched.url)
        text = trafilatura.html2txt(tree)
    # Escapes and angle brackets are for programs that show Markdown; they would stand between the model and a quote.
    return _page(fetched, title, _ESCAPE.sub(r"\1", _ANGLES.sub(r"](\1)", text)), max_chars)


def _write_out(anchor: Any, base: str) -> None:
    """Put a link's address into its text."""
    text, address = " ".join(anchor.text_content().split()), _absolute(base, anchor.get("href", ""))
    if text and address:
        tail = anchor.tail
        anchor.clear()
        anchor.text, anchor.tail = f"[{text}]({address})", tail


def _absolute(base: str, href: str) -> str:
    try:
        address = urljoin(base, href.strip())
    except ValueError:
        return ""
    return address if address.startswith(("http://", "https://")) and not re.search(r"[\s()<>]", address) else ""


def _page(fetched: Fetched, title: str, text: str, max_chars: int) -> Page:
    return Page(fetched.url, title.strip()[:300], text.replace("\0", "").strip(), max_chars, fetched.complete)


def _read_pdf(fetched: Fetched) -> tuple[str, str]:
    import pypdf
    import pypdf.errors

    if not fetched.complete:
        raise ToolError(f"{fetched.url} is a PDF file of more than {len(fetched.body)} bytes, which is too large to be read.")
    start, pages = time.monotonic(), []
    try:
        reader = pypdf.PdfReader(io.BytesIO(fetched.body))
        title = str((reader.metadata.title if reader.metadata else None) or "")
        for page in reader.pages[:_PDF_PAGES]:
            pages.append(page.extract_text())
            if time.monotonic() - start > _PDF_SECONDS:
                break
    except (pypdf.errors.PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError, NotImplementedError) as error:
        # A damaged file makes the reader stumble anywhere.
        raise ToolError(f"{fetched.url} is not a readable PDF file ({type(error).__name__}).") from None
    return title, _HYPHEN.sub("", "\n\n".join(pages))


def decode(fetched: Fetched) -> str:
    """The text of a body."""
    body = fetched.body
    for mark, charset in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(charset, "replace")
    for charset in _declared(fetched):
        try:
            if codecs.lookup(charset).name.replace("-", "_") not in _NO_CHARSETS:
                # A page that says latin-1 means Windows-1252 (WHATWG encoding).
                return body.decode("cp1252" if codecs.lookup(charset).name in ("iso8859-1", "ascii") else charset, "replace")
        except LookupError:
            continue
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        # A cut may split the last character.
        at_end = not fetched.complete and error.start >= len(body) - 3
        return body.decode("utf-8" if at_end else "cp1252", "replace")


def _declared(fetched: Fetched) -> Iterator[str]:
    header: Any = re.search(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", fetched.headers.get("content-type", ""), re.IGNORECASE)
    if header:
        yield header[1]
    if meta := _META.search(fetched.body[:2048]):
        # A page that could be read so far is not UTF-16, whatever it says.
        yield re.sub(r"(?i)^utf-?16.*", "utf-8", meta[1].decode("ascii", "replace"))
