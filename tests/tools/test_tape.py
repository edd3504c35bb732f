"""A tape gives back what was recorded, to the byte; everything that can be wrong with one is one clear line."""

import asyncio
import gzip
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.core.errors import BrokenError, ConfigError, InputError
from spadework.core.messages import ToolCall
from spadework.tools.function import tool
from spadework.tools.gateway import Gateway
from spadework.tools.limits import GatewayConfig
from spadework.tools.recorder import Recorder, open_recorder
from spadework.tools.tape import Entry, Tape, TapeConfig, TapeError, call_key, canonical, decode, encode
from spadework.tools.tape_files import diff_tapes, export_tape, import_tape, merge_tapes, verify_tape
from spadework.tools.tool import Facts, Image, Observation, TransientError, Usage, current_label


def schema(name: str, argument: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    return {"name": name, "description": "x", "parameters": parameters}


def entry(query: str, text: str = "found", tool_name: str = "search") -> Entry:
    arguments = canonical({"query": query})
    return Entry(call_key(tool_name, "1", arguments), tool_name, "1", arguments, "", encode(Observation(text)))


@given(
    st.builds(
        Observation,
        text=st.text(st.characters()),
        status=st.sampled_from(["ok", "error"]),
        documents=st.lists(st.text()).map(tuple),
        seconds=st.floats(0, 1e6),
        images=st.lists(st.builds(Image, mime=st.text(), data=st.binary(), url=st.text())).map(tuple),
        links=st.lists(st.text()).map(tuple),
        usage=st.builds(Usage, bytes=st.integers(0), tokens=st.integers(0), dollars=st.floats(0, 1e6)),
        truncated=st.integers(0),
        meta=st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()),
    )
)
def test_an_observation_reads_back_equal(observation: Observation) -> None:
    text = encode(observation)
    text.encode()  # storable, half characters too
    assert decode(text) == observation


def test_equal_arguments_have_one_key_and_others_have_others() -> None:
    assert call_key("t", "1", canonical({"a": 1, "b": "ä"})) == call_key("t", "1", canonical({"b": "ä", "a": 1}))
    keys = {
        call_key(*parts)
        for parts in [("t", "1", "{}", ""), ("t", "2", "{}", ""), ("u", "1", "{}", ""), ("t", "1", "{}", "h"), ("t1", "", "{}")]
    }
    assert len(keys) == 5


def test_the_first_record_of_a_key_stands(tmp_path: Path) -> None:
    with Tape(tmp_path / "t") as tape:
        assert tape.put(entry("a", "first")).text == "first"
        assert tape.put(entry("a", "second")).text == "first"
        assert tape.get(entry("b").key) is None


WRITER = """
import sys
from pathlib import Path
from spadework.tools.tape import Entry, Tape, call_key, encode
from spadework.tools.tool import Observation
with Tape(Path(sys.argv[1])) as tape:
    for number in range(int(sys.argv[2]), int(sys.argv[2]) + 200):
        text = f'{{"query":"q{number}"}}'
        tape.put(Entry(call_key("search", "1", text), "search", "1", text, "", encode(Observation(f"text {number}"))))
"""


def test_several_processes_may_write(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "t", str(start)]) for start in (0, 100, 200)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    with Tape(tmp_path / "t", write=False) as tape:
        # 0 to 399, of which 200 were written twice.
        assert verify_tape(tape)["calls"] == 400


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t"
    with pytest.raises(TapeError, match=r"t: no such tape; record one"):
        Tape(path, write=False)
    with pytest.raises(TapeError, match="is a folder"):
        Tape(tmp_path)
    path.write_text("this is no database, and long enough to be looked at " * 50)
    with pytest.raises(TapeError, match="not a tape, or damaged"):
        Tape(path, write=False)
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE other (x)")
    database.close()
    with pytest.raises(TapeError, match="is a database but not a tape"):
        Tape(path)
    path.unlink()
    Tape(path).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE facts SET value='99' WHERE name='schema'")
    database.close()
    with pytest.raises(TapeError, match=r"schema version 99 is unknown; this version of spadework reads 1; record it again"):
        Tape(path)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    with Tape(tmp_path / "t") as tape:
        tape.put(entry("a"))
    with sqlite3.connect(tmp_path / "t") as database:
        database.execute("UPDATE calls SET observation=replace(observation, 'found', 'forged')")
    database.close()
    with Tape(tmp_path / "t", write=False) as tape, pytest.raises(TapeError, match=f"record {entry('a').key[:12]} of search is damaged"):
        tape.get(entry("a").key)
    data = bytearray((tmp_path / "t").read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    (tmp_path / "t").write_bytes(data)
    with pytest.raises(TapeError, match="t: "), Tape(tmp_path / "t", write=False) as tape:
        verify_tape(tape)


def test_export_and_import_give_the_same_contents_and_bytes(tmp_path: Path) -> None:
    with Tape(tmp_path / "a") as one, Tape(tmp_path / "b") as two:
        for query in ("x", "y", "ü \ud800"):
            one.put(entry(query))
        manifest = export_tape(one, tmp_path / "a.gz")
        assert (manifest["calls"], manifest["tools"]) == (3, {"search": 3})
        assert import_tape(tmp_path / "a.gz", two)["new"] == 3
        assert two.manifest() == one.manifest()
        export_tape(two, tmp_path / "b.gz")
        assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
        assert import_tape(tmp_path / "a.gz", two)["new"] == 0
        lines = gzip.decompress((tmp_path / "a.gz").read_bytes())
        for name, content, message in [
            ("cut", (tmp_path / "a.gz").read_bytes()[:-40], "cut off"),
            ("changed", gzip.compress(lines.replace(b"found", b"faked")), "its manifest says"),
            ("short", gzip.compress(lines[: lines.rindex(b"\n", 0, -1) + 1]), "its manifest says"),
            ("other", gzip.compress(lines.replace(b'"schema":1', b'"schema":7')), "schema version 7"),
            ("none", b"text", "not an exported tape"),
        ]:
            (tmp_path / name).write_bytes(content)
            with pytest.raises(TapeError, match=message):
                import_tape(tmp_path / name, two)
        assert two.manifest() == one.manifest()


def test_merge_and_diff(tmp_path: Path) -> None:
    with Tape(tmp_path / "a") as one, Tape(tmp_path / "b") as two, Tape(tmp_path / "c") as target:
        for query in ("both", "one"):
            one.put(entry(query))
        for query in ("both", "two"):
            two.put(entry(query))
        assert merge_tapes(target, [one, two]) == 3
        found = diff_tapes(one, two)
        assert (found["equal"], found["changed"]) == (1, [])
        assert (found["only_first"], found["only_second"]) == (['search({"query":"one"})'], ['search({"query":"two"})'])
        one.put(entry("two", "another text"))
        with pytest.raises(TapeError, match=r'search\(\{"query":"two"\}\) has two different observations'):
            merge_tapes(target, [one])
        assert diff_tapes(one, two)["changed"] == ['search({"query":"two"})']


class Web:
    """A tool over the network that counts what goes out."""

    name = "web"
    facts = Facts(price=0.1)
    schema = schema("web", "query")

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def __call__(self, *, query: str) -> Observation:
        self.sent.append(query)
        await asyncio.sleep(0.01)
        if query.startswith("dead"):
            raise TransientError("refused")
        return Observation(f"{len(self.sent)}: {query}", documents=("d",))


FAST = GatewayConfig(backoff=0.0, attempts=2)


def run(tape: Path, *queries: str, web: Web | None = None, label: str = "t/0", **recorder: Any) -> tuple[list[Any], dict[str, float], Web]:
    """Calls at once, the ledger, and the tool."""
    web = web or Web()

    async def everything() -> tuple[list[Any], dict[str, float]]:
        opened = Tape(tape, write=recorder.get("mode", "record") == "record")
        gateway = Gateway([web], FAST, recorder=Recorder(opened, **recorder))
        calls = [gateway.call(ToolCall(name="web", arguments={"query": query}), label) for query in queries]
        results = await asyncio.gather(*calls, return_exceptions=True)
        ledger = gateway.settle(label)
        await gateway.close()
        return results, ledger

    return *asyncio.run(everything()), web


def test_calls_in_flight_together_go_out_once_and_a_replay_is_equal(tmp_path: Path) -> None:
    recorded, ledger, web = run(tmp_path / "t", "a", "b", "a", "a")
    assert web.sent == ["a", "b"]
    assert recorded[0] == recorded[2] == recorded[3]
    # All four count with their price, two of them were saved.
    assert (ledger["hits"], ledger["dollars"], ledger["saved"]) == (2, pytest.approx(0.4), pytest.approx(0.2))
    replayed, again, other = run(tmp_path / "t", "a", "b", "a", "a", mode="replay")
    assert replayed == recorded and other.sent == []
    assert {k: v for k, v in again.items() if "hits" not in k and "saved" not in k} == {
        k: v for k, v in ledger.items() if "hits" not in k and "saved" not in k
    }
    assert "misses" not in again


def test_what_broke_breaks_again_in_the_replay_and_nowhere_else(tmp_path: Path) -> None:
    recorded, _, web = run(tmp_path / "t", "a", "dead end")
    assert len(web.sent) == 3  # two attempts at the dead one
    replayed, _, other = run(tmp_path / "t", "a", "dead end", mode="replay")
    assert other.sent == [] and replayed[0] == recorded[0]
    assert isinstance(replayed[1], BrokenError) and str(replayed[1]) == str(recorded[1])
    # Another trajectory has not broken there; what it asked is not on the tape.
    with pytest.raises(InputError, match="is not on the tape"):
        raise run(tmp_path / "t", "dead end", label="u/0", mode="replay")[0][0]
    # Recording again: what goes well this time does not break in a replay.
    alive = Web()
    alive.facts = Facts()
    alive.__class__ = type("Alive", (Web,), {"__call__": lambda self, query: _answer(query)})
    run(tmp_path / "t", "a", "dead end", web=alive)
    assert run(tmp_path / "t", "a", "dead end", mode="replay")[0][1].text == "alive dead end"


async def _answer(query: str) -> Observation:
    return Observation(f"alive {query}")


def test_a_call_that_is_not_on_the_tape(tmp_path: Path) -> None:
    run(tmp_path / "t", "mayor of Ondal Brin", "river of Kedun", "mayor of Kedun")
    [error], _, _ = run(tmp_path / "t", "mayor Ondal", mode="replay")
    assert isinstance(error, InputError)
    assert str(error).endswith(
        'web({"query":"mayor Ondal"}), call 1 of trajectory t/0, is not on the tape; '
        "record it with tools.tape.mode=record, or set tools.tape.miss to live or nearest"
    )
    [near], ledger, web = run(tmp_path / "t", "mayor Ondal", mode="replay", miss="nearest")
    # Shared words: 2 of 4 with the first, 0 of 5 with the second, 1 of 4 with the third.
    assert near.text.endswith("mayor of Ondal Brin") and web.sent == []
    assert near.meta == {"nearest": {"arguments": '{"query":"mayor of Ondal Brin"}', "likeness": 0.5}}
    assert ledger["misses"] == 1
    [live], ledger, web = run(tmp_path / "t", "mayor Ondal", mode="replay", miss="live")
    assert (live.text, web.sent, ledger["misses"]) == ("1: mayor Ondal", ["mayor Ondal"], 1)
    with Tape(tmp_path / "t", write=False) as tape:
        assert tape.manifest()["calls"] == 3


def test_a_tape_that_cannot_take_a_record_loses_nothing_and_is_loud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def everything() -> list[Observation]:
        tape = Tape(tmp_path / "t")
        # SQLite's own limit of pages: the error is the one of a full disk (SQLITE_FULL).
        tape._db.execute("PRAGMA max_page_count=12")
        recorder = Recorder(tape)
        gateway = Gateway([Web()], FAST, recorder=recorder)
        seen = [await gateway.call(ToolCall(name="web", arguments={"query": f"{n} " + "x" * 2000}), "t/0") for n in range(30)]
        assert recorder.unrecorded > 0
        await gateway.close()
        return seen

    seen = asyncio.run(everything())
    assert [observation.status for observation in seen] == ["ok"] * 30
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "the disk is full; free some space; the run goes on, but its tape is incomplete" in error
    with Tape(tmp_path / "t", write=False) as tape:
        assert 0 < verify_tape(tape)["calls"] < 30


class Notes:
    """A tool whose results depend on the trajectory so far."""

    name = "note"
    schema = schema("note", "text")

    def __init__(self, state: str = "notes") -> None:
        self.facts = Facts(state=state)
        self.kept: dict[str, list[str]] = {}
        self.closed: list[str] = []

    async def __call__(self, *, text: str) -> Observation:
        notes = self.kept.setdefault(current_label(), [])
        await asyncio.sleep(0)
        notes.append(text)
        return Observation(" ".join(notes))

    async def settle(self, label: str) -> None:
        await asyncio.sleep(0)
        del self.kept[label]
        self.closed.append(label)


class Copied(Notes):
    async def fork(self, old: str, new: str, calls: int) -> bool:
        self.kept[new] = self.kept[old][:calls]
        return True


def note(text: str) -> ToolCall:
    return ToolCall(name="note", arguments={"text": text})


def test_state_is_kept_per_trajectory_and_given_back_at_its_end() -> None:
    async def story() -> None:
        notes = Notes()
        gateway = Gateway([notes])
        # Calls of one turn run one after the other, in their order.
        both = await asyncio.gather(gateway.call(note("a"), "t/0"), gateway.call(note("b"), "t/0"), gateway.call(note("x"), "u/0"))
        assert [observation.text for observation in both] == ["a", "a b", "x"]
        gateway.settle("t/0")
        gateway.settle("never used")
        await gateway.drain()
        assert notes.closed == ["t/0"] and list(notes.kept) == ["u/0"]
        await gateway.close()
        assert notes.kept == {}

    asyncio.run(story())


@pytest.mark.parametrize("kind", [Notes, Copied])
@pytest.mark.parametrize("source", [None, "t/0"])
def test_state_is_rebuilt_where_a_trajectory_goes_on(kind: type[Notes], source: str | None) -> None:
    async def story() -> None:
        notes = kind()
        gateway = Gateway([notes])
        for text in "abc":
            await gateway.call(note(text), "t/0")
        path = [note("a"), ToolCall(name="note", error="malformed"), note("b")]
        await gateway.restore("t/1", path, source=source)
        assert (await gateway.call(note("z"), "t/1")).text == "a b z"
        assert (await gateway.call(note("d"), "t/0")).text == "a b c d"
        # Only its own call is on the fork's ledger, but the index goes on.
        assert gateway.settle("t/1")["calls/note"] == 1

    asyncio.run(story())


def test_a_state_is_part_of_the_key_and_is_rebuilt_after_hits(tmp_path: Path) -> None:
    async def story(mode: Any, texts: str, miss: Any = "error") -> tuple[list[str], Notes]:
        notes = Notes()
        gateway = Gateway([notes], recorder=Recorder(Tape(tmp_path / "t", write=mode == "record"), mode=mode, miss=miss))
        seen = [(await gateway.call(note(text), "t/0")).text for text in texts]
        kept = {label: list(values) for label, values in notes.kept.items()}
        await gateway.close()
        notes.kept = kept
        return seen, notes

    recorded, _ = asyncio.run(story("record", "aab"))
    assert recorded == ["a", "a a", "a a b"]
    replayed, notes = asyncio.run(story("replay", "aab"))
    assert replayed == recorded and notes.kept == {}
    # The tape answers two calls; before the third goes out, the tool is shown them.
    seen, notes = asyncio.run(story("replay", "aac", "live"))
    assert seen == ["a", "a a", "a a c"] and notes.kept == {"t/0": ["a", "a", "c"]}


def test_the_version_of_a_tool_is_asked_only_for_a_tape(tmp_path: Path) -> None:
    asked: list[int] = []

    @tool(version=lambda: asked.append(1) or "v7")
    def look(query: str) -> str:
        """Look.

        Args:
            query: For what.
        """
        return query

    call = ToolCall(name="look", arguments={"query": "x"})
    asyncio.run(Gateway([look]).call(call, "t/0"))
    assert asked == []
    with Tape(tmp_path / "t") as tape:
        gateway = Gateway([look], recorder=Recorder(tape))
        for _ in range(3):
            asyncio.run(gateway.call(call, "t/0"))
        assert asked == [1] and [entry.version for entry in tape.entries()] == ["v7"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"miss": "live"}, "miss has no effect in mode 'record'"), ({"mode": "replay"}, "mode 'replay' needs the path of a tape")],
)
def test_settings_that_cannot_take_effect(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TapeConfig.parse(settings, source="recipe")


def test_a_run_keeps_its_tape_in_its_folder(tmp_path: Path) -> None:
    assert open_recorder(None, tmp_path) is None
    assert open_recorder(TapeConfig(mode="live", path=tmp_path / "t"), tmp_path) is None
    recorder = open_recorder(TapeConfig(), tmp_path)
    assert recorder is not None and recorder.tape.path == tmp_path / "tape"
    recorder.tape.close()
