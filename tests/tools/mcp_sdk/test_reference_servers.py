"""The protocol's reference servers from npm, mounted for real: files, memory, everything.

`make test` installs them into `.venv/mcp-servers` where npm is there; MCP_SERVERS names another folder that `npm install --prefix` filled.
"""

import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the MCP SDK is not installed (extra `mcp`)")

from .conftest import Mount, ask

_FOLDER = Path(os.environ.get("MCP_SERVERS") or Path(__file__).resolve().parents[3] / ".venv" / "mcp-servers")


@pytest.fixture
def program(request: pytest.FixtureRequest) -> str:
    path = _FOLDER / "node_modules" / ".bin" / f"mcp-server-{request.param}"
    if shutil.which("node") is None:
        pytest.skip("no node, so no reference MCP servers")
    if not path.exists():
        pytest.skip(f"no reference MCP servers in {_FOLDER}; `make test` installs them where npm is there")
    return str(path)


@pytest.mark.parametrize("program", ["filesystem"], indirect=True)
def test_files(program: str, mount: Mount, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "note.txt").write_text("the mayor is Velor Tash\n")
    gateway = mount({"name": "files", "command": [program, str(folder)], "exclude": ["write_file", "edit_file"]})
    assert {"read_text_file", "search_files", "list_directory"} <= gateway.tools.keys()
    assert "write_file" not in gateway.tools
    assert ask(gateway, "read_text_file", path=str(folder / "note.txt")).text == "the mayor is Velor Tash\n"
    assert ask(gateway, "list_directory", path=str(folder)).text == "[FILE] note.txt"
    outside = ask(gateway, "read_text_file", path="/etc/passwd")
    assert outside.status == "error" and "outside allowed directories" in outside.text
    assert ask(gateway, "read_text_file", path=3).text == "read_text_file: 'path' must be of type string, not 3."


@pytest.mark.parametrize("program", ["memory"], indirect=True)
def test_memory_of_a_trajectory(program: str, mount: Mount) -> None:
    where = {"variables": {"MEMORY_FILE_PATH": "{scratch}/memory.jsonl"}, "per_trajectory": True}
    gateway = mount({"name": "memory", "command": [program], **where})
    mayor = {"name": "Velor Tash", "entityType": "person", "observations": ["mayor of Kedun"]}
    assert ask(gateway, "create_entities", "a/0", entities=[mayor]).status == "ok"
    assert "mayor of Kedun" in ask(gateway, "search_nodes", "a/0", query="Velor").text
    # Another trajectory knows nothing of it.
    assert "mayor of Kedun" not in ask(gateway, "read_graph", "b/0").text


@pytest.mark.parametrize("program", ["everything"], indirect=True)
def test_everything(program: str, mount: Mount) -> None:
    gateway = mount({"name": "everything", "command": [program]})
    assert ask(gateway, "echo", message="hello").text == "Echo: hello"
    assert ask(gateway, "get-sum", a=2, b=3).text == "The sum of 2 and 3 is 5."
    picture = ask(gateway, "get-tiny-image")
    assert picture.images[0].mime == "image/png" and picture.images[0].data.startswith(b"\x89PNG")
    structured = ask(gateway, "get-structured-content", location="Chicago")
    assert structured.meta["structured"].keys() == {"temperature", "conditions", "humidity"}
    links = ask(gateway, "get-resource-links", count=2)
    assert len(links.links) == 2
    reference = ask(gateway, "get-resource-reference", resourceType="Text", resourceId=1)
    assert len(reference.documents) == 1 and reference.documents[0] in reference.text
