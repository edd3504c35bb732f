"""A corpus as a real web site on loopback, so that crawling and browsing go through HTTP.

`/` lists the pages, `/wiki/SLUG` is a page whose links are real `<a>` elements, `/sitemap.xml` and `/robots.txt` are what a crawler
expects. A link to a page that does not exist is served as it stands and leads to a 404. Pages are rendered per request with the standard
library alone; text of a page is escaped, so nothing written in it becomes markup.

Only the Markdown that worlds write is rendered: headings, tables, plain lines. It listens on 127.0.0.1 and nowhere else.
"""

import re
from collections.abc import Callable, Iterable
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from spadework.core.errors import InputError
from spadework.corpus.document import Document

__all__ = ["Site", "slug"]

_SAFE = "()',!*"
_PER_LISTING = 200
_PER_SITEMAP = 50_000
"""Most addresses in one file, by the sitemap protocol (sitemaps.org)."""
_HTML, _XML, _TEXT = "text/html; charset=utf-8", "application/xml; charset=utf-8", "text/plain; charset=utf-8"


def slug(title: str) -> str:
    """The last part of a page's address: spaces become underscores, the rest is percent-encoded as in any URL."""
    return quote("_".join(title.split()), safe=_SAFE)


class Site:
    """Serves documents over HTTP until it is stopped. Usable as a context manager that gives the address."""

    def __init__(self, documents: Iterable[Document], *, name: str = "Encyclopedia") -> None:
        """Take the documents; nothing listens yet.

        Args:
            documents: the pages. A second page of the same title gets its id appended to its address.
            name: title of the home page.
        """
        self.name = name
        self.pages: dict[str, Document] = {}
        for document in documents:
            page = slug(document.title)
            self.pages[page if page not in self.pages else f"{page}_{slug(document.id)}"] = document
        self._by_url = {document.url: page for page, document in self.pages.items() if document.url}
        self._server: ThreadingHTTPServer | None = None
        self._thread: Thread | None = None

    def start(self, port: int = 0) -> str:
        """Listen on 127.0.0.1 and return the address without a final slash.

        Args:
            port: 0 takes a free one.

        Raises:
            InputError: the port is taken or may not be used, or the site is running already.
        """
        if self._server is not None:
            raise InputError(f"the site is running already at {self.url}")
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"site": self}))
        except OSError as error:
            raise InputError(f"cannot listen on 127.0.0.1:{port}: {error.strerror}; choose another port or 0 for a free one") from None
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self.url

    @property
    def url(self) -> str:
        """The address of a running site.

        Raises:
            InputError: it is not running.
        """
        if self._server is None:
            raise InputError("the site is not running; call start() first")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Stop listening. A site that is not running stays so."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = self._thread = None

    def __enter__(self) -> Self:
        """Start on a free port; the address is `site.url`."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop."""
        self.stop()

    def answer(self, target: str) -> tuple[int, str, str]:
        """Status, content type and body for a request target such as `/wiki/Ondal_Brin`."""
        parts = urlsplit(target)
        if parts.path == "/":
            return self._listing(parts.query)
        if parts.path == "/robots.txt":
            return 200, _TEXT, f"User-agent: *\nAllow: /\nSitemap: {self.url}/sitemap.xml\n"
        if found := re.fullmatch(r"/sitemap(?:-(\d{1,6}))?\.xml", parts.path):
            return self._sitemap(int(found[1]) if found[1] else None)
        if parts.path.startswith("/wiki/"):
            # Clients differ in what they percent-encode.
            document = self.pages.get(quote(unquote(parts.path.removeprefix("/wiki/")), safe=_SAFE))
            if document is not None:
                return 200, _HTML, self._article(document)
        return self._missing(parts.path)

    def _missing(self, path: str) -> tuple[int, str, str]:
        return 404, _HTML, _page("Not found", [f"<p>There is no page at {escape(path)}.</p>"])

    def _listing(self, query: str) -> tuple[int, str, str]:
        number = parse_qs(query).get("page", ["1"])[0]
        last = max(1, -(-len(self.pages) // _PER_LISTING))
        if not re.fullmatch(r"\d{1,6}", number) or not 1 <= int(number) <= last:
            return self._missing(f"/?page={number}")
        first = (int(number) - 1) * _PER_LISTING
        entries = list(self.pages.items())[first : first + _PER_LISTING]
        body = ["<ul>", *(f'<li><a href="/wiki/{page}">{escape(document.title)}</a></li>' for page, document in entries), "</ul>"]
        if int(number) < last:
            body.append(f'<p><a rel="next" href="/?page={int(number) + 1}">More pages</a></p>')
        return 200, _HTML, _page(self.name, body)

    def _sitemap(self, number: int | None) -> tuple[int, str, str]:
        files = -(-len(self.pages) // _PER_SITEMAP)
        if number is None and files > 1:
            kind, places = "sitemap", [f"{self.url}/sitemap-{file}.xml" for file in range(1, files + 1)]
        elif number is not None and not 1 <= number <= files:
            return self._missing(f"/sitemap-{number}.xml")
        else:
            first = ((number or 1) - 1) * _PER_SITEMAP
            kind, places = "url", [f"{self.url}/wiki/{page}" for page in list(self.pages)[first : first + _PER_SITEMAP]]
        root = "sitemapindex" if kind == "sitemap" else "urlset"
        entries = "".join(f"<{kind}><loc>{escape(place)}</loc></{kind}>\n" for place in places)
        opening = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        return 200, _XML, f"{opening}{entries}</{root}>\n"

    def _article(self, document: Document) -> str:
        anchors = {link: f'<a href="{escape(self._address(link))}">{escape(link)}</a>' for link in document.links if link}
        # Longest first: a name that begins with another one is linked as a whole.
        names = sorted(anchors, key=lambda link: (-len(link), link))
        pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, names))})(?!\w)" if names else r"(?!)")
        used: set[str] = set()

        def inline(text: str) -> str:
            pieces = pattern.split(text)
            used.update(pieces[1::2])
            return "".join(anchors[piece] if index % 2 else escape(piece) for index, piece in enumerate(pieces))

        body = _blocks(document.text, inline)
        rest = [anchors[link] for link in anchors if link not in used]
        if rest:
            body += ["<ul>", *(f"<li>{anchor}</li>" for anchor in rest), "</ul>"]
        return _page(document.title, body)

    def _address(self, link: str) -> str:
        if link in self._by_url:
            return f"/wiki/{self._by_url[link]}"
        return link if link.startswith(("http://", "https://")) else f"/wiki/{slug(link)}"


def _blocks(text: str, inline: Callable[[str], str]) -> list[str]:
    """HTML of Markdown text, line by line."""
    html: list[str] = []
    in_table = False
    for line in text.splitlines():
        row = line.startswith("|")
        if row != in_table:
            html.append("<table>" if row else "</table>")
            in_table = row
        heading = re.match(r"(#{1,5}) (.*)", line)
        if row and re.fullmatch(r"[|\s:-]+", line):
            continue
        if row:
            html.append(f"<tr>{''.join(f'<td>{inline(cell.strip())}</td>' for cell in line.strip('| ').split('|'))}</tr>")
        elif heading:
            level = len(heading[1]) + 1
            html.append(f"<h{level}>{inline(heading[2])}</h{level}>")
        elif line.strip():
            html.append(f"<p>{inline(line)}</p>")
    return [*html, "</table>"] if in_table else html


def _page(title: str, body: list[str]) -> str:
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8"><title>{escape(title)}</title></head>',
        "<body>",
        '<nav><a href="/">Home</a></nav>',
        "<main>",
        f"<h1>{escape(title)}</h1>",
        *body,
        "</main>",
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


class _Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"
    timeout = 10
    # Headers and body are two writes; with Nagle's algorithm the second waits 40 ms for the acknowledgement of the first.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._reply(with_body=True)

    def do_HEAD(self) -> None:
        self._reply(with_body=False)

    def _reply(self, *, with_body: bool) -> None:
        status, kind, text = self.site.answer(self.path)
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the gateway keeps the record of requests."""
