"""Documents of a user are listed, searched and read; nothing outside of their folder is."""

import asyncio
import os
import socket
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from spadework.core.errors import InputError, ToolError
from spadework.core.messages import ToolCall
from spadework.tools.confined import Confined
from spadework.tools.files import FilesConfig
from spadework.tools.gateway import Gateway
from spadework.tools.tool import Observation, ToolContext

SECRET = "the launch code is 4711"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with documents, and with ways out of it that must lead nowhere."""
    root, outside = tmp_path / "documents", tmp_path / "outside"
    for folder in (root / "reports", outside, tmp_path / "documents-2"):
        folder.mkdir(parents=True)
    (outside / "secret.md").write_text(SECRET)
    (tmp_path / "documents-2" / "secret.md").write_text(SECRET)
    (root / "notes.md").write_text("# Notes\n\nThe ferry to Ondal leaves at nine.\n")
    (root / "reports" / "2024.html").write_text(
        "<html><head><title>Report 2024</title></head><body><p>Sales rose to 950 units in Brin.</p></body></html>"
    )
    (root / "table.csv").write_text("city,people\nOndal,1200\n")
    (root / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (root / ".hidden.md").write_text(SECRET)
    (root / ".git").mkdir()
    (root / ".git" / "config.md").write_text(SECRET)
    (root / "link.md").symlink_to(outside / "secret.md")
    (root / "relative.md").symlink_to("../outside/secret.md")
    (root / "out").symlink_to(outside)
    (root / "reports" / "up").symlink_to("../..")
    (root / "inner.md").symlink_to("notes.md")
    (root / "loop.md").symlink_to("loop.md")
    (root / "dangling.md").symlink_to("nothing.md")
    (root / "zero.md").symlink_to("/dev/zero")
    (root / "environment.md").symlink_to("/proc/self/environ")
    os.mkfifo(root / "pipe.md")
    return root


def call(root: Path, name: str, options: dict[str, Any] | None = None, **arguments: Any) -> Observation:
    async def story() -> Observation:
        gateway = Gateway(FilesConfig(root=root, **(options or {})).build(ToolContext()))
        return await gateway.call(ToolCall(name=name, arguments=arguments), "t/0")

    return asyncio.run(story())


def test_list(root: Path) -> None:
    assert call(root, "list_files").text.splitlines() == [
        "notes.md (44 bytes)",
        "picture.png (11 bytes)",
        "reports/2024.html (104 bytes)",
        "table.csv (23 bytes)",
    ]
    assert call(root, "list_files", folder="reports/").text == "reports/2024.html (104 bytes)"
    assert call(root, "list_files", folder="nothing").status == "error"


def test_read(root: Path) -> None:
    seen = call(root, "read_file", path="notes.md")
    assert (seen.text, seen.documents, seen.usage.bytes) == ("# Notes\n\nThe ferry to Ondal leaves at nine.", ("notes.md",), 44)
    assert call(root, "read_file", path="./reports//2024.html").text == "Report 2024\n\nSales rose to 950 units in Brin."
    assert call(root, "read_file", path="table.csv").text == "city,people\nOndal,1200"


def test_pdf(root: Path) -> None:
    (root / "paper.pdf").write_bytes(PDF)
    assert call(root, "read_file", path="paper.pdf").text == "The bridge of Velor"
    (root / "paper.pdf").write_bytes(PDF[:60])
    assert "not a readable PDF" in call(root, "read_file", path="paper.pdf").text


def test_search(root: Path) -> None:
    seen = call(root, "search_files", query="ferry Ondal")
    first, *_, last = seen.text.splitlines()
    assert first == "notes.md: The ferry to Ondal leaves at nine."
    assert last == "[1 files cannot be searched, for example picture.png]"
    assert seen.documents[0] == "notes.md"
    assert "launch" not in call(root, "search_files", query="launch code secret").text


def test_search_sees_files_that_change(root: Path) -> None:
    async def story() -> list[str]:
        gateway = Gateway(FilesConfig(root=root).build(ToolContext()))
        search = ToolCall(name="search_files", arguments={"query": "lighthouse"})
        before = (await gateway.call(search, "t/0")).text
        (root / "new.txt").write_text("The lighthouse was built in 1871.")
        return [before.splitlines()[0], (await gateway.call(search, "t/0")).text.splitlines()[0]]

    assert asyncio.run(story()) == ["No results.", "new.txt: The lighthouse was built in 1871."]


def test_long_files_come_in_parts(root: Path) -> None:
    (root / "long.txt").write_text("a" * 60 + "\n" + "b" * 60)
    (root / "long.txt#9").write_text("a name of its own")
    options = {"max_chars": 100}
    assert call(root, "read_file", options, path="long.txt").text == "a" * 60 + "\n[part 1 of 2; read 'long.txt#2' to go on]"
    assert call(root, "read_file", options, path="long.txt#2").text == "b" * 60
    assert call(root, "read_file", options, path="long.txt#9").text == "a name of its own"
    assert call(root, "read_file", options, path="long.txt#3").text == "'long.txt' has 2 parts; there is no part 3."


def test_the_version_follows_the_files(root: Path) -> None:
    def version() -> str:
        found = FilesConfig(root=root).build(ToolContext())[0].facts.version  # type: ignore[attr-defined]
        return found()  # type: ignore[no-any-return]

    first = version()
    assert version() == first
    (root / "notes.md").write_text("# Notes\n\nThe ferry to Ondal leaves at five.\n")
    assert version() != first


def test_no_folder() -> None:
    with pytest.raises(InputError, match="/nowhere: no such folder"):
        FilesConfig(root=Path("/nowhere")).build(ToolContext())


ATTEMPTS = {
    "parent": "../outside/secret.md",
    "parent of a folder": "reports/../../outside/secret.md",
    "parent at the end": "reports/..",
    "parent back into the folder": "../documents/notes.md",
    "sibling with the same beginning": "../documents-2/secret.md",
    "dots and slashes": "./.././outside//secret.md",
    "absolute": "{outside}/secret.md",
    "absolute into the folder": "{root}/notes.md",
    "two slashes": "//etc/passwd",
    "etc": "/etc/passwd",
    "proc": "/proc/self/environ",
    "device": "/dev/zero",
    "file url": "file:///etc/passwd",
    "home": "~/.ssh/id_rsa",
    "variable": "$HOME/.bashrc",
    "encoded dots": "%2e%2e/outside/secret.md",
    "encoded slashes": "..%2foutside%2fsecret.md",
    "encoded twice": "%252e%252e%252foutside%252fsecret.md",
    "backslashes": "..\\outside\\secret.md",
    "drive": "C:\\Windows\\win.ini",
    "full-width dots": "\uff0e\uff0e/outside/secret.md",
    "one dot leaders": "\u2024\u2024/outside/secret.md",
    "two dot leader": "\u2025/outside/secret.md",
    "division slash": "..\u2215outside\u2215secret.md",
    "full-width slash": "..\uff0foutside\uff0fsecret.md",
    "dots with a joiner": ".\u200d./outside/secret.md",
    "dots with a space": ".. /outside/secret.md",
    "three dots": ".../outside/secret.md",
    "overlong utf-8": "\u00c0\u00ae\u00c0\u00ae/outside/secret.md",
    "nul": "notes.md\0.png",
    "nul before a parent": "\0../outside/secret.md",
    "lone surrogate": "\udcff../outside/secret.md",
    "line end": "../outside/secret.md\n",
    "other case": "NOTES.MD",
    "other case of a parent folder": "REPORTS/../../outside/secret.md",
    "link": "link.md",
    "relative link": "relative.md",
    "link within the folder": "inner.md",
    "linked folder": "out/secret.md",
    "link upwards": "reports/up/outside/secret.md",
    "link that leads to itself": "loop.md",
    "link to nothing": "dangling.md",
    "link to a device": "zero.md",
    "link into proc": "environment.md",
    "pipe": "pipe.md",
    "hidden file": ".hidden.md",
    "hidden folder": ".git/config.md",
    "folder": "reports",
    "file as a folder": "notes.md/secret.md",
    "long name": "a" * 300 + ".md",
    "long path": "a/" * 3000 + "secret.md",
    "many parents": "../" * 400 + "etc/passwd",
    "part of a parent": "../outside/secret.md#1",
    "part of a link": "link.md#1",
    "empty": "",
    "dot": ".",
    "slash": "/",
}


@pytest.mark.parametrize("tool", ["read_file", "list_files"])
@pytest.mark.parametrize("path", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_no_path_leads_out(root: Path, tool: str, path: str) -> None:
    path = path.format(root=root, outside=root.parent / "outside") if "{" in path else path
    seen = call(root, tool, **{"path" if tool == "read_file" else "folder": path})
    if tool == "list_files" and path in ("", ".", "reports"):
        assert seen.status == "ok"
    else:
        assert seen.status == "error"
    assert "4711" not in seen.text
    assert "root:" not in seen.text
    assert "secret.md (" not in seen.text


def test_the_same_path_inside_is_read(root: Path) -> None:
    # The fixture works: what refuses is the way, not the file.
    (root / "outside").mkdir()
    (root / "outside" / "secret.md").write_text(SECRET)
    assert call(root, "read_file", path="outside/secret.md").text == SECRET


def test_sockets_and_devices(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.md")
        assert "no regular file" in call(root, "read_file", path="socket.md").text
    try:
        os.mknod(root / "device.md", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this user may not make devices")
    assert "no regular file" in call(root, "read_file", path="device.md").text


def test_large_files_are_refused_before_they_are_read(root: Path) -> None:
    with (root / "huge.txt").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte that takes no room
    assert call(root, "read_file", path="huge.txt").text == "'huge.txt' is too large: 1,099,511,627,776 bytes, the limit is 20,000,000."
    assert "huge.txt (1.1e+06 MB)" in call(root, "list_files").text


def test_binary_and_broken_files(root: Path) -> None:
    assert call(root, "read_file", path="picture.png").text == "'picture.png' is no text (11 bytes). Read text, Markdown, HTML or PDF."
    (root / "latin.md").write_bytes(b"caf\xe9")
    assert call(root, "read_file", path="latin.md").text == "'latin.md': not UTF-8 text (byte 3)"
    (root / "empty.csv").write_text("")
    assert call(root, "read_file", path="empty.csv").text == "'empty.csv' is empty."
    assert str(root) not in call(root, "read_file", path="latin.md").text


def test_names_that_no_line_can_show_are_left_out(root: Path) -> None:
    (root / "two\nnotes.md (1 bytes)").write_text("x")
    (root / os.fsdecode(b"caf\xe9.md")).write_text("x")
    (root / "caf\u00e9.md").write_text("x")
    lines = call(root, "list_files").text.splitlines()
    assert [line for line in lines if "(1 bytes)" in line] == ["caf\u00e9.md (1 bytes)"]


@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_a_link_that_is_swapped_in_while_files_are_opened(root: Path, swapped: str) -> None:
    """Another thread replaces what is read by a link to the secret, over and over; it is never read."""
    outside = root.parent / "outside"
    (root / "turn").mkdir()
    (root / "turn" / "secret.md").write_text("harmless")
    target = root / "turn" / "secret.md" if swapped == "file" else root / "turn"
    aside, link = root.parent / "aside", root.parent / "link"
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            link.symlink_to(outside / "secret.md" if swapped == "file" else outside)
            target.rename(aside)
            link.rename(target)
            target.unlink()
            aside.rename(target)
            done.wait(0.0003)  # else the two threads may run in step, and the real one is never met

    thread = threading.Thread(target=swap)
    thread.start()
    confined, seen = Confined(root), {"harmless": 0, "refused": 0}
    try:
        for _ in range(3000):
            try:
                seen[confined.read("turn/secret.md", 1000).decode()] += 1
            except ToolError:
                seen["refused"] += 1
    finally:
        done.set()
        thread.join()
    assert seen["harmless"] > 0
    assert seen["refused"] > 0


def test_descriptors_are_given_back(root: Path) -> None:
    confined = Confined(root)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else None
    for path in ("notes.md", "reports/2024.html", "link.md", "out/secret.md", "pipe.md", "nothing"):
        for _ in range(20):
            with suppress(ToolError):
                confined.read(path, 1000)
            next(iter(confined.entries("reports")), None)
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def _pdf(text: str) -> bytes:
    """The smallest PDF with one line of text."""
    content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"xref\n0 6\n0000000000 65535 f \n%strailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (table, len(out))


PDF = _pdf("The bridge of Velor")
