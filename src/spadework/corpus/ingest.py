"""Documents from what people have: a jsonl file, one page, or a folder of Markdown, HTML, text and PDF files.

A jsonl row is `{id, title, text}` with optional `url` and `links`, or Search-R1's `{id, contents}` with `"Title"` on the first line of the
contents and the text after it; other keys are ignored. In a folder (read recursively, in the order of the paths, hidden files left out)
the id of a page is its path, and a relative link becomes the path of the page it points at. Hard-wrapped prose is joined to whole
paragraphs, because search results show lines and sentences.

Bad input stops the reading with the file and line in one sentence; nothing is skipped silently. Not done: OCR, jsonl files inside folders.
"""

import io
import json
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from spadework.core.errors import InputError
from spadework.corpus.document import Document

__all__ = ["READABLE", "parse_page", "read_documents", "resolve_link"]

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?\n)---\s*(?:\n|\Z)", re.DOTALL)
_HEADING = re.compile(r"^#\s+(.+?)\s*#*\s*$", re.MULTILINE)
_LINK = re.compile(
    r"(?<!!)\[[^\[\]]*\]\(\s*<?([^()\s>]+(?:\([^()\s]*\)[^()\s>]*)?)>?(?:\s+[\"'][^\"']*[\"'])?\s*\)|\[\[([^\[\]|#]+)[^\[\]]*\]\]"
)
_PROSE = re.compile(r"^[^\W\d_]|^[\"\u201c\u2018(]")
_WRAPPED = 60
"""A line of at least this many characters may go on in the next one."""


def read_documents(source: Path) -> Iterator[Document]:
    """Read documents in a fixed order.

    Args:
        source: a `.jsonl` file, a page (`.md .markdown .html .htm .txt .pdf`) or a folder of pages.

    Raises:
        InputError: the path is missing, a file or row cannot be read, an id occurs twice, or there is no document at all.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    if source.is_dir():
        documents = _folder(source)
        remedy = f"put {', '.join(_READERS)} files there, or name a .jsonl file itself"
    elif source.suffix.lower() == ".jsonl":
        documents = _jsonl(source)
        remedy = "write one {id, title, text} object per line"
    elif source.suffix.lower() in _READERS:
        documents = iter((parse_page(source.read_bytes(), source.name, str(source)),))
        remedy = ""
    else:
        raise InputError(f"{source}: cannot read '{source.suffix}' files; supported: .jsonl, {', '.join(_READERS)}")
    empty = True
    for document in documents:
        empty = False
        yield document
    if empty:
        raise InputError(f"{source}: no documents found; {remedy}")


def _jsonl(path: Path) -> Iterator[Document]:
    lines: dict[str, int] = {}
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            place = f"{path}, line {number}"
            try:
                row = json.loads(raw)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise InputError(f"{place}: not JSON ({error})") from None
            document = _row(row, place)
            if document.id in lines:
                raise InputError(f"{path}: id '{document.id}' occurs twice, in lines {lines[document.id]} and {number}; ids must be unique")
            lines[document.id] = number
            yield document


def _row(row: Any, place: str) -> Document:
    if not isinstance(row, dict):
        raise InputError(f"{place}: expected an object with id, title and text, found {type(row).__name__}")
    contents = row.get("contents")
    if "text" not in row and isinstance(contents, str):
        title, _, text = contents.partition("\n")
        row = {**row, "title": title.strip().removeprefix('"').removesuffix('"'), "text": text}
    if isinstance(row.get("id"), int):
        row = {**row, "id": str(row["id"])}
    for key in ("id", "title", "text"):
        if key not in row:
            raise InputError(f"{place}: '{key}' is missing; a row needs id, title and text, or id and contents")
        if not isinstance(row[key], str):
            raise InputError(f"{place}: '{key}' must be text, found {type(row[key]).__name__}")
    url, links = row.get("url"), row.get("links") or []
    if not isinstance(url, str | None):
        raise InputError(f"{place}: 'url' must be text, found {type(url).__name__}")
    if not isinstance(links, list) or not all(isinstance(link, str) for link in links):
        raise InputError(f"{place}: 'links' must be a list of titles or urls")
    if not row["id"]:
        raise InputError(f"{place}: 'id' is empty")
    return Document(id=row["id"], title=row["title"], text=row["text"], url=url, links=tuple(links))


def _folder(folder: Path) -> Iterator[Document]:
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    for name in paths:
        hidden = any(part.startswith(".") for part in name.split("/"))
        if not hidden and Path(name).suffix.lower() in _READERS:
            yield parse_page((folder / name).read_bytes(), name, str(folder / name))


def parse_page(raw: bytes, name: str, place: str) -> Document:
    """A page from its bytes.

    Args:
        raw: of the file.
        name: becomes the id; its suffix, one of `READABLE`, says how the bytes are read.
        place: names the file in errors.

    Raises:
        InputError: there is no text in it, or it cannot be read.
    """
    title, text, targets = _READERS[Path(name).suffix.lower()](raw, place)
    if not text.strip():
        raise InputError(f"{place}: no text could be extracted; remove the file or convert it to text")
    links = dict.fromkeys(link for target in targets if (link := resolve_link(target, name)))
    return Document(id=name, title=title or Path(name).stem, text=text.strip(), links=tuple(links))


def resolve_link(target: str, name: str) -> str:
    """A link as the id of a page of the folder, or as the url or title that it is; empty if it leads to no page.

    Args:
        target: what the link says.
        name: id of the page on which it stands.
    """
    if target.startswith(("#", "mailto:", "javascript:", "tel:", "data:")):
        return ""
    if "://" in target or target.startswith("//"):
        return target
    path = unquote(target.partition("#")[0].partition("?")[0])
    if not posixpath.splitext(path)[1]:
        return path
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path)).lstrip("/")


def _decode(raw: bytes, place: str) -> str:
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: not UTF-8 text (byte {error.start}); convert it to UTF-8") from None


def _markdown(raw: bytes, place: str) -> tuple[str, str, list[str]]:
    text = _decode(raw, place)
    title = ""
    matter = _FRONT_MATTER.match(text)
    if matter:
        text = text[matter.end() :]
        try:
            values = yaml.safe_load(matter[1])
        except yaml.YAMLError as error:
            raise InputError(f"{place}: the front matter is not YAML: {' '.join(str(error).split())}") from None
        title = str(values.get("title", "")) if isinstance(values, dict) else ""
    heading = _HEADING.search(text)
    if not title and heading:
        title = heading[1]
    return title, _unwrap(text), [target or wiki.strip() for target, wiki in _LINK.findall(text)]


def _text(raw: bytes, place: str) -> tuple[str, str, list[str]]:
    return "", _unwrap(_decode(raw, place)), []


def _html(raw: bytes, place: str) -> tuple[str, str, list[str]]:
    import trafilatura  # slow to import, and most corpora need none of it

    tree = trafilatura.load_html(raw)
    if tree is None:
        raise InputError(f"{place}: not an HTML page; remove the file or convert it to text")
    title = " ".join("".join(tree.xpath("(//title)[1]//text()") or tree.xpath("(//h1)[1]//text()")).split())
    targets = [str(href).strip() for href in tree.xpath("//body//a/@href")]
    # Extraction keeps the main text and drops menus; short or odd pages give nothing, and then all the visible text is better than none.
    text = trafilatura.extract(raw, output_format="markdown", include_comments=False) or trafilatura.html2txt(raw)
    return title, text, targets


def _pdf(raw: bytes, place: str) -> tuple[str, str, list[str]]:
    import pypdf
    import pypdf.errors

    try:
        reader = pypdf.PdfReader(io.BytesIO(raw))
        title = (reader.metadata.title if reader.metadata else None) or ""
        text = "\n\n".join(page.extract_text() for page in reader.pages)
    except (pypdf.errors.PyPdfError, ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        # What pypdf raises depends on where a file is damaged.
        raise InputError(f"{place}: not a readable PDF ({' '.join(str(error).split())}); remove the file or convert it to text") from None
    return title.strip(), _unwrap(re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", text)), []


def _unwrap(text: str) -> str:
    """Join the lines of a hard-wrapped paragraph: a long line followed by one that starts like prose. Code blocks stay."""
    result: list[str] = []
    fenced = joinable = False
    for line in text.splitlines():
        stripped = line.strip()
        fence = stripped.startswith(("```", "~~~"))
        fenced ^= fence
        if joinable and not fenced and line == line.lstrip() and _PROSE.match(line):
            result[-1] = f"{result[-1].rstrip()} {stripped}"
        else:
            result.append(line)
        special = fence or fenced or stripped.startswith(("#", "|", ">"))
        joinable = len(line) >= _WRAPPED and not special
    return "\n".join(result)


_READERS: dict[str, Callable[[bytes, str], tuple[str, str, list[str]]]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".html": _html,
    ".htm": _html,
    ".txt": _text,
    ".pdf": _pdf,
}
"""Suffix to a reader that gives title (may be empty), text and link targets."""

READABLE = tuple(_READERS)
"""Suffixes of the pages that are understood."""
