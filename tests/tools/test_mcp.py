"""How a recipe mounts a server, how results become observations, and schemas that are stranger than our check."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spadework.core.errors import BrokenError, ConfigError, InputError
from spadework.tools.config import ToolsConfig
from spadework.tools.mcp import McpConfig, McpTool, observation, write_listing
from spadework.tools.schema import mismatch
from spadework.tools.tool import Tool, ToolContext

LISTING = {"server": "s", "version": "2", "tools": [{"name": "a", "inputSchema": {"type": "object"}}]}


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({}, "give either a command, which starts the server, or the url"),
        ({"command": ["a"], "url": "http://b"}, "give either a command"),
        ({"url": "http://b", "env": ["KEY"]}, "there is no command"),
        ({"command": ["a"], "headers": {"x": "y"}}, "there is no url"),
        ({"command": ["a"], "include": ["x"], "exclude": ["y"]}, "give include or exclude, not both"),
        ({"url": "ftp://b"}, "url must start with http"),
        ({"command": ["a"], "variables": {"API_KEY": "x"}}, "API_KEY looks like a secret"),
        ({"command": ["a"], "name": "a b"}, "'name'"),
        ({"comand": ["a"]}, "unknown key 'comand'; did you mean 'command'?"),
    ],
)
def test_settings_that_are_wrong(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as found:
        McpConfig.parse(given_, source="mcp")
    assert message in str(found.value)


def test_a_recipe_may_have_several() -> None:
    values = {"mcp/files": {"command": ["a"]}, "mcp/web": {"url": "http://b"}}
    config = ToolsConfig.parse(values, source="tools")
    assert [part.name for part in (config.model_extra or {}).values()] == ["files", "web"]
    # As it is saved, so it is read.
    assert ToolsConfig.parse(config.model_dump(mode="json"), source="tools") == config
    for wrong, message in [
        ({"mcp/files": 3}, "expected its options, found 3"),
        ({"mpc/files": {}}, "unknown tool 'mpc'; did you mean 'mcp'"),
        ({"search/two": {}}, "there is one 'search' only"),
    ]:
        with pytest.raises(ConfigError, match=message):
            ToolsConfig.parse(wrong, source="tools")


def mounted(tmp_path: Path, there: Any = LISTING, **own: Any) -> list[Tool]:
    pytest.importorskip("mcp", reason="the MCP SDK is not installed (extra `mcp`)")
    write_listing(there, tmp_path / "listing.json")
    values = {"command": ["a"], "listing": str(tmp_path / "listing.json"), **own}
    return list(McpConfig.parse(values, source="mcp").build(ToolContext()))


def test_a_listing_says_what_there_is_without_a_server(tmp_path: Path) -> None:
    [tool] = mounted(tmp_path, prefix="my.")
    assert isinstance(tool, McpTool)
    assert tool.schema == {"name": "my_a", "description": "", "parameters": {"type": "object", "properties": {}}}
    again = mounted(tmp_path, {**LISTING, "tools": [{"name": "a", "inputSchema": {"type": "object", "required": ["x"]}}]})
    versions = [str(found.facts.version) for found in (tool, again[0])]
    # Server, its version, and a hash of what the tool asks for: another schema is another key on the tape.
    assert [version.split()[:2] for version in versions] == [["s", "2"]] * 2 and versions[0] != versions[1]


@pytest.mark.parametrize(
    ("listing", "own", "message"),
    [
        (LISTING, {"include": ["b"]}, "mcp/server has no tool 'b'; its tools are: a"),
        (LISTING, {"exclude": ["b"]}, "has no tool 'b'"),
        (LISTING, {"exclude": ["a"]}, "mcp/server offers no tools"),
        ({"tools": 3}, {}, "not a list of tools; write it with"),
        (LISTING, {"env": ["NOT_SET_AT_ALL"]}, "the environment variable NOT_SET_AT_ALL is not set"),
        (LISTING, {"command": [], "url": "http://b", "headers": {"A": "Bearer ${NOT_SET_AT_ALL}"}}, "NOT_SET_AT_ALL is not set"),
        (LISTING, {"listing": "/no/such/file"}, "No such file or directory; write it with"),
    ],
)
def test_mounts_that_are_wrong(tmp_path: Path, listing: Any, own: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as found:
        mounted(tmp_path, listing, **own)
    assert message in str(found.value)


def test_observations() -> None:
    assert observation({"content": []}).text == "The tool gave no output."
    assert observation({"content": [], "structuredContent": {"b": "é"}}).text == '{"b": "é"}'
    failed = observation({"content": [{"type": "text", "text": "no"}], "isError": True})
    assert (failed.status, failed.text) == ("error", "no")
    with pytest.raises(BrokenError, match="not base64"):
        observation({"content": [{"type": "image", "data": "??", "mimeType": "image/png"}]})


LEAF = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["string", "x"])
WORDS = st.sampled_from(["type", "properties", "required", "items", "prefixItems", "enum", "minimum", "anyOf", "additionalProperties", "x"])
INNER = st.dictionaries(WORDS, LEAF | st.lists(LEAF, max_size=2), max_size=3)
SCHEMA = st.dictionaries(WORDS, LEAF | INNER | st.lists(LEAF | INNER, max_size=2), max_size=4)


@settings(max_examples=60)
@given(schema=SCHEMA, value=LEAF | st.lists(LEAF, max_size=2) | INNER)
def test_no_schema_stumbles_our_check(schema: dict[str, Any], value: Any) -> None:
    tool = McpTool({"name": "a", "inputSchema": schema}, "1", McpConfig(command=("a",)), None)  # type: ignore[arg-type]
    json.dumps(tool.schema)
    mismatch({"x": value, "type": value}, tool.schema["parameters"])
