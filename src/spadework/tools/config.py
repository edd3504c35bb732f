"""What a recipe says under `tools`: which tools there are, and the limits, tape and faults of the gateway in front of them."""

import difflib
from typing import Any

from pydantic import ConfigDict, model_validator

from spadework.core.config import Config
from spadework.core.errors import ConfigError
from spadework.corpus.snippet import SnippetConfig
from spadework.tools.faults import FaultsConfig
from spadework.tools.limits import GatewayConfig
from spadework.tools.read import ReadConfig
from spadework.tools.search import SearchConfig
from spadework.tools.tape import TapeConfig
from spadework.tools.tool import Tool, ToolContext, tools

__all__ = ["ToolsConfig"]


class ToolsConfig(Config):
    """What the agent may call.

    It is told of `search`, `read`, and then of every other registered tool that has a key of its name here, in their order. A tool whose
    key is null is left out. Of a part that has names, such as `mcp`, there may be several: `mcp/files`, `mcp/memory`.
    """

    model_config = ConfigDict(extra="allow")

    search: SearchConfig | None = SearchConfig(limit=3)
    read: ReadConfig | None = ReadConfig(max_chars=600)
    snippet: SnippetConfig = SnippetConfig(units=1)
    """What a search hit shows of its page."""
    gateway: GatewayConfig = GatewayConfig()
    """Limits and budgets."""
    tape: TapeConfig | None = None
    """Record calls, or replay them. A world that is searched in this process needs none: its answers are a function of the recipe."""
    faults: FaultsConfig | None = None
    """Failures on purpose."""

    @model_validator(mode="before")
    @classmethod
    def _build(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        built = dict(values)
        for name in values.keys() - cls.model_fields.keys():
            if near := difflib.get_close_matches(name, cls.model_fields, n=1, cutoff=0.8):
                raise ConfigError(f"tools: unknown key '{name}'; did you mean '{near[0]}'?")
            shelf, _, own = name.partition("/")
            part = tools.get(shelf, source="tools")
            if own and "name" not in part.model_fields:
                raise ConfigError(f"tools: '{name}': there is one '{shelf}' only; write '{shelf}'")
            if values[name] is not None and not isinstance(values[name], part):
                if not isinstance(values[name], dict):
                    raise ConfigError(f"tools: '{name}': expected its options, found {values[name]!r}")
                options = {**values[name], "name": own} if own else values[name]
                built[name] = tools.build(shelf, options, source="tools")
        return built

    def build(self, context: ToolContext) -> list[Tool]:
        """Make the tools.

        Raises:
            InputError: a tool lacks something.
        """
        parts = [self.search, self.read, *(self.model_extra or {}).values()]
        return [tool for part in parts if part is not None for tool in part.build(context)]
