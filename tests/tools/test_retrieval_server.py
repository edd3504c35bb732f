"""Search-R1's retrieval contract over loopback, both ends."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from spadework.core.errors import BrokenError, InputError
from spadework.core.messages import ToolCall
from spadework.corpus.document import Document
from spadework.corpus.store import MemoryCorpus
from spadework.tools.gateway import Gateway
from spadework.tools.provider import Result
from spadework.tools.providers.retrieve import Retrieve, RetrievePart
from spadework.tools.retrieval_server import RetrievalServer
from spadework.tools.search import SearchConfig
from spadework.tools.tool import Observation, ToolContext

CORPUS = MemoryCorpus(
    [
        Document(id="d1", title="Ondal Brin", text="Ondal Brin mayor Velor Tash"),
        Document(id="d2", title="Nesh", text="A river.\nIt passes Ondal."),
    ]
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with RetrievalServer(CORPUS) as url:
        yield url


def post(url: str, body: Any) -> httpx.Response:
    return httpx.post(f"{url}/retrieve", json=body, trust_env=False, timeout=30)


def test_the_contract(url: str) -> None:
    answer = post(url, {"queries": ["Ondal mayor", "river", "granite", ""], "topk": 1, "return_scores": True}).json()
    first, second, third, fourth = answer["result"]
    assert first[0]["document"] == {"id": "d1", "title": "Ondal Brin", "contents": '"Ondal Brin"\nOndal Brin mayor Velor Tash'}
    assert first[0]["score"] == CORPUS.search("Ondal mayor")[0].score
    assert [row["document"]["id"] for row in second] == ["d2"] and third == fourth == []


def test_without_scores_the_documents_stand_alone(url: str) -> None:
    answer = post(url, {"queries": ["Ondal"]}).json()
    assert {row["id"] for row in answer["result"][0]} == {"d1", "d2"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "expected an object"),
        ({}, "queries: expected a list"),
        ({"queries": "a"}, "queries: expected a list"),
        ({"queries": [1]}, "queries: expected a list"),
        ({"queries": ["a"] * 4097}, "at most 4096"),
        ({"queries": ["a"], "topk": 0}, "topk"),
        ({"queries": ["a"], "topk": True}, "topk"),
        ({"queries": ["a"], "topk": 101}, "topk"),
        ({"queries": ["a"], "return_scores": "yes"}, "return_scores"),
    ],
)
def test_other_requests_are_refused(url: str, body: Any, says: str) -> None:
    answer = post(url, body)
    assert answer.status_code == 400 and says in answer.json()["detail"]


def test_other_addresses_and_sizes(url: str) -> None:
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        assert client.get("/health").json() == {"status": "healthy", "documents": 2}
        assert client.get("/").status_code == client.post("/x", json={}).status_code == 404
        assert client.post("/retrieve", content=b"{").status_code == 400
        assert client.post("/retrieve", content=iter([b"{}"])).status_code == 413  # chunked, so nobody knows how much will come


def test_many_clients_at_once(url: str) -> None:
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda number: post(url, {"queries": ["Ondal"] * (number % 5)}).json(), range(64)))
    assert [len(answer["result"]) for answer in answers] == [number % 5 for number in range(64)]


def search(url: str) -> Observation:
    (tool,) = SearchConfig(providers=({"retrieve": {"url": url}},), limit=2).build(ToolContext())
    door = Gateway([tool])
    return asyncio.run(door.call(ToolCall(name="search", arguments={"query": "Ondal mayor"}), "t/0"))


@pytest.mark.parametrize("suffix", ["", "/", "/retrieve"])
def test_both_ends(url: str, suffix: str) -> None:
    seen = search(url + suffix)
    assert seen.text == "Ondal Brin mayor Velor Tash\nNesh: A river. | It passes Ondal."
    assert seen.documents == ("d1", "d2") and seen.usage.bytes > 100


def test_what_other_servers_answer() -> None:
    provider = RetrievePart(url="http://127.0.0.1:1").build(3, ToolContext())
    assert isinstance(provider, Retrieve)
    bare = {"result": [[{"contents": '"Nesh"\nA river.'}, {"document": {"id": 7, "contents": "No title here"}, "score": 0.5}]]}
    assert provider.results(bare) == [Result("Nesh", "A river.", id="Nesh"), Result("No title here", "", id="7")]


def test_a_stopped_server_is_infrastructure() -> None:
    server = RetrievalServer(CORPUS)
    url = server.start()
    with pytest.raises(InputError, match="cannot listen"):
        RetrievalServer(CORPUS, port=int(url.rpartition(":")[2])).start()
    server.stop()
    server.stop()
    with pytest.raises(BrokenError, match="ConnectError"):
        search(url)
