import re
import socket
from collections.abc import Iterator
from xml.etree import ElementTree

import httpx
import pytest
import trafilatura

from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.site import Site, slug
from spadework.corpus.worlds.world import World, WorldConfig

AWKWARD = [
    Document(
        id="a", title="Ondal Brin", text="Ondal Brin <b>is</b> & stays\nsee Ondal Brin's", links=("Ondal Brin", "Velor", "Velor Tash")
    ),
    Document(
        id="b",
        title="Velor Tash",
        text="# Head\nVelor Tash and Velor\n| a | b |\n| --- | --- |\n| Velor Tash | 3 |\nend",
        links=("Velor Tash", "Velor"),
    ),
    Document(
        id="c", title="Où? A/B 100% #1", text="x", url="https://example.org/c", links=("https://example.org/c", "https://example.org/d")
    ),
    Document(id="d", title="Ondal Brin", text="the second of its name"),
    Document(
        id="e", title='<script>alert("1")</script>', text='<img src=x onerror="1"> & "quoted"', links=('"><script>', "javascript:alert(1)")
    ),
]


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(WorldConfig(pages=1_000, table_rate=1, dead_link_rate=0.5, stale_rate=0.1))


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[httpx.Client]:
    with Site(world) as site, httpx.Client(base_url=site.url, trust_env=False) as client:
        yield client


@pytest.fixture
def awkward() -> Iterator[httpx.Client]:
    with Site(AWKWARD) as site, httpx.Client(base_url=site.url, trust_env=False) as client:
        yield client


def hrefs(html: str) -> list[str]:
    return re.findall(r'href="([^"]+)"', html.split("<main>")[1])


def test_a_crawl_from_the_home_page_finds_every_page_once(client: httpx.Client, world: World) -> None:
    pages, listing = [], "/"
    while listing:
        response = client.get(listing)
        assert response.status_code == 200
        found = hrefs(response.text)
        pages += [href for href in found if href.startswith("/wiki/")]
        listing = next((href for href in found if href.startswith("/?page=")), "")
    assert pages == [f"/wiki/{slug(document.title)}" for document in world]
    assert len(set(pages)) == 1_000


def test_a_page_has_its_text_and_its_links_alive_and_dead(client: httpx.Client, world: World) -> None:
    statuses = set()
    for document in world.documents()[:5] + world.documents()[-2:]:
        response = client.get(f"/wiki/{slug(document.title)}")
        assert response.status_code == 200 and response.headers["content-type"] == "text/html; charset=utf-8"
        assert set(hrefs(response.text)) == {f"/wiki/{slug(link)}" for link in document.links}
        for link in document.links:
            status = client.get(f"/wiki/{slug(link)}").status_code
            assert status == (404 if link in world.dead_titles else 200)
            statuses.add(status)
    assert statuses == {200, 404}


def test_the_main_text_survives_a_reader(client: httpx.Client, world: World) -> None:
    document = world.documents()[0]
    read = trafilatura.extract(client.get(f"/wiki/{slug(document.title)}").text, include_tables=True) or ""
    facts = [line for line in document.text.splitlines() if line.startswith(document.title) and not line.endswith(".")]
    assert facts and all(fact in read for fact in facts)


def test_sitemap_and_robots(client: httpx.Client, world: World) -> None:
    robots = client.get("/robots.txt")
    assert robots.headers["content-type"].startswith("text/plain")
    address = re.search(r"Sitemap: (\S+)", robots.text)
    assert address
    sitemap = client.get(address[1])
    assert sitemap.headers["content-type"].startswith("application/xml")
    places = [
        element.text or "" for element in ElementTree.fromstring(sitemap.content).iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")
    ]
    assert len(places) == len(set(places)) == 1_000
    assert client.get(places[-1]).status_code == 200


def test_a_large_sitemap_is_split() -> None:
    # The protocol allows 50,000 addresses in one file.
    documents = (Document(id=str(number), title=f"Page {number}", text="") for number in range(50_001))
    with Site(documents) as site, httpx.Client(base_url=site.url, trust_env=False) as client:
        places = re.findall("<loc>(.*?)</loc>", client.get("/sitemap.xml").text)
        assert places == [f"{site.url}/sitemap-1.xml", f"{site.url}/sitemap-2.xml"]
        assert [client.get(place).text.count("<loc>") for place in places] == [50_000, 1]
        assert client.get("/sitemap-3.xml").status_code == client.get("/sitemap-0.xml").status_code == 404


@pytest.mark.parametrize(
    "path", ["/nowhere", "/wiki/", "/wiki/No_Such_Page", "/wiki/../robots.txt/x", "/?page=99", "/?page=x", "/wiki/%3Cscript%3E"]
)
def test_what_does_not_exist_is_a_404(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404 and response.headers["content-type"].startswith("text/html")
    assert "<script>" not in response.text


def test_head_gives_the_headers_alone_and_other_methods_are_refused(client: httpx.Client) -> None:
    response = client.head("/")
    assert response.status_code == 200 and int(response.headers["content-length"]) > 100 and response.content == b""
    assert client.post("/").status_code == 501


def test_text_never_becomes_markup(awkward: httpx.Client) -> None:
    html = awkward.get(f"/wiki/{slug(AWKWARD[4].title)}").text
    assert "<script" not in html and "<img" not in html and "javascript:alert" not in " ".join(hrefs(html))
    assert "<p>&lt;img src=x onerror=&quot;1&quot;&gt; &amp; &quot;quoted&quot;</p>" in html
    assert '<p><a href="/wiki/Ondal_Brin">Ondal Brin</a> &lt;b&gt;is&lt;/b&gt; &amp; stays</p>' in awkward.get("/wiki/Ondal_Brin").text


def test_markdown_and_the_longest_name_first(awkward: httpx.Client) -> None:
    html = awkward.get("/wiki/Velor_Tash").text
    tash, velor = '<a href="/wiki/Velor_Tash">Velor Tash</a>', '<a href="/wiki/Velor">Velor</a>'
    table = f"<table>\n<tr><td>a</td><td>b</td></tr>\n<tr><td>{tash}</td><td>3</td></tr>\n</table>"
    assert f"<h2>Head</h2>\n<p>{tash} and {velor}</p>\n{table}\n<p>end</p>" in html


def test_any_title_has_an_address(awkward: httpx.Client) -> None:
    assert slug("Où? A/B 100% #1") == "O%C3%B9%3F_A%2FB_100%25_%231"
    assert all(awkward.get(href).status_code == 200 for href in hrefs(awkward.get("/").text))
    assert awkward.get("/wiki/Ondal%5FBrin").status_code == 200
    assert "the second of its name" in awkward.get("/wiki/Ondal_Brin_d").text
    # A link by address leads to the page that has it, or out.
    assert hrefs(awkward.get(f"/wiki/{slug(AWKWARD[2].title)}").text) == [f"/wiki/{slug(AWKWARD[2].title)}", "https://example.org/d"]


def test_start_and_stop() -> None:
    site = Site(AWKWARD, name="Home of all")
    with pytest.raises(InputError, match="not running; call start"):
        _ = site.url
    url = site.start()
    assert url.startswith("http://127.0.0.1:") and "Home of all" in httpx.get(url, trust_env=False).text
    with pytest.raises(InputError, match="running already"):
        site.start()
    site.stop()
    site.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


def test_a_taken_port_is_refused_with_the_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1:{port}.*choose another port"):
            Site(AWKWARD).start(port)
