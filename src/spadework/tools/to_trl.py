"""Our tools in TRL's `GRPOTrainer`: as functions, or as an environment per rollout.

    GRPOTrainer(..., environment_factory=trl_environment(gateway))       tools with and without state, one account per rollout
    GRPOTrainer(..., tools=trl_functions(gateway))                       tools without state

TRL makes a tool's schema from a function's signature and docstring, so both are written from ours: `transformers.utils.get_json_schema`
gives the same types and descriptions (bounds, and the fields of nested objects, are lost on the way). Every call passes the gateway, with
its limits, tape, faults and budgets.

TRL counts a call as failed if it raises, so an observation of status `error` is raised and shown as TRL shows errors. TRL knows no broken
trajectory either: what the infrastructure did wrong would be shown as one more error and cost the policy its reward. So `broken` of the
environment says it, and a reward function that returns None for such an environment keeps the rollout out of its reward. Pictures are left
out. Nothing of TRL is imported; the other direction is `from_trl.py`.
"""

import inspect
import itertools
from collections.abc import Callable
from typing import Any, Literal, Union

from spadework.core.errors import BrokenError, InputError, ToolError
from spadework.core.messages import ToolCall
from spadework.tools.gateway import Gateway
from spadework.tools.tool import Observation, Tool, facts_of

__all__ = ["trl_environment", "trl_functions"]

_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
}


def trl_functions(gateway: Gateway, label: str = "trl/0") -> list[Callable[..., Any]]:
    """The tools of a gateway as async functions for `GRPOTrainer(tools=...)`.

    Args:
        gateway: has the tools.
        label: the account of all calls, because a function does not know for which rollout it is called.

    Raises:
        InputError: a tool has a state per trajectory, or an argument that Python cannot name.
    """
    if stateful := [name for name, tool in gateway.tools.items() if facts_of(tool).state]:
        raise InputError(f"{', '.join(stateful)}: a state per trajectory needs trl_environment; functions do not know their rollout")

    def function(tool: Tool) -> Callable[..., Any]:
        async def call(**arguments: Any) -> str:
            return _text(await gateway.call(ToolCall(name=tool.name, arguments=arguments), label))

        return _described(call, tool, method=False)

    return [function(tool) for tool in gateway.tools.values()]


def trl_environment(gateway: Gateway) -> Callable[[], Any]:
    """A class for `GRPOTrainer(environment_factory=...)` whose methods are the tools of a gateway.

    Its objects have `label` (the rollout at the gateway), `broken` (what the infrastructure did wrong, else None), `shown` (the
    observations so far) and `ledger` (what the last rollout spent, once it is reset); TRL hands them to reward functions as `environments`.

    Raises:
        InputError: a tool has an argument or a name that Python or TRL cannot use.
    """
    numbers = itertools.count()

    class SpadeworkEnvironment:
        """One rollout at a time."""

        label = ""
        broken: str | None = None
        shown: tuple[Observation, ...] = ()
        ledger: dict[str, float] | None = None

        def reset(self, **row: Any) -> None:
            """Close the account of the last rollout and open one for the next.

            Args:
                row: the columns of the task; `id` names the account.
            """
            if self.label:
                self.ledger = gateway.settle(self.label)
            self.label = f"{row.get('id', 'trl')}/{next(numbers)}"
            self.broken, self.shown = None, ()

    def method(tool: Tool) -> Callable[..., Any]:
        async def call(self: SpadeworkEnvironment, **arguments: Any) -> str:
            if not self.label:
                self.reset()
            try:
                seen = await gateway.call(ToolCall(name=tool.name, arguments=arguments), self.label, self.shown)
            except BrokenError as error:
                self.broken = str(error)
                raise
            self.shown += (seen,)
            return _text(seen)

        return _described(call, tool, method=True)

    for tool in gateway.tools.values():
        if tool.name.startswith("_") or hasattr(SpadeworkEnvironment, tool.name) or tool.name == "get_reward":
            raise InputError(f"tool '{tool.name}' has a name that TRL's environments use themselves; rename it")
        setattr(SpadeworkEnvironment, tool.name, method(tool))
    return SpadeworkEnvironment


def _text(seen: Observation) -> str:
    if seen.status == "error":
        raise ToolError(seen.text)
    return seen.text


def _described(call: Callable[..., Any], tool: Tool, *, method: bool) -> Callable[..., Any]:
    """Give a function the name, the signature and the docstring from which TRL makes the schema."""
    parameters = tool.schema["parameters"]
    properties, required = parameters.get("properties", {}), parameters.get("required", ())
    found = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)] if method else []
    lines = []
    for key, schema in properties.items():
        if not key.isidentifier() or key == "self":
            raise InputError(f"tool '{tool.name}': Python cannot name an argument '{key}'; TRL needs functions")
        default = inspect.Parameter.empty if key in required else schema.get("default")
        found.append(inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_python_type(schema)))
        lines.append(f"    {key}: {' '.join(schema.get('description', key).split())}")
    call.__name__ = call.__qualname__ = tool.name
    call.__doc__ = "\n".join([" ".join(tool.schema["description"].split()), *(["", "Args:", *lines] if lines else [])])
    call.__signature__ = inspect.Signature(found, return_annotation=str)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in found if each.name != "self"} | {"return": str}
    return call


def _python_type(schema: dict[str, Any]) -> Any:
    """A type whose schema is this one."""
    if "enum" in schema:
        values = tuple(value for value in schema["enum"] if value is not None)
        return Literal[values] if None not in schema["enum"] else Literal[values] | None
    if "anyOf" in schema:
        return Union[tuple(_python_type(choice) for choice in schema["anyOf"])]  # noqa: UP007
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return Union[tuple(_python_type({**schema, "type": kind}) for kind in kinds)]  # noqa: UP007
    if kinds == "array" and "items" in schema:
        return list[_python_type(schema["items"])]  # type: ignore[misc]
    if kinds == "array" and "prefixItems" in schema:
        return tuple[tuple(_python_type(item) for item in schema["prefixItems"])]  # type: ignore[misc]
    if kinds == "object" and isinstance(schema.get("additionalProperties"), dict):
        return dict[str, _python_type(schema["additionalProperties"])]  # type: ignore[misc]
    return _TYPES.get(str(kinds), Any)
