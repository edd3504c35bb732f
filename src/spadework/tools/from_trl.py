"""Tool functions and environment classes that are written for TRL, as our tools.

TRL (1.16, `trl/trainer/grpo_trainer.py`) takes as tools functions with type hints and Google docstrings, and as `environment_factory`
anything that makes objects whose public methods are such functions and that have `reset`, called with the columns of the task's row before
a rollout. What a tool returns becomes text by `str`, or is a list of content blocks; what it raises is shown to the model.

Here an environment is made per trajectory at its first call and dropped when the trajectory ends; forks and resumed paths make theirs by
replaying the calls. What differs from TRL: the row is what `rows` gives for the task; the text that `reset` returns stands before the first
result, because the prompt is the agent's; and `get_reward` is asked after every call and noted under `meta["reward"]`, where the reward
`environment` finds it, because the object is gone when trajectories are scored.

Nothing of TRL is imported: the contract is names and signatures. The other direction is `to_trl.py`.
"""

import asyncio
import base64
import hashlib
import importlib
import inspect
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import model_validator

from spadework.core.errors import ConfigError, InputError, SpadeworkError, ToolError
from spadework.tools.function import function_schema
from spadework.tools.tool import Facts, Image, Observation, Tool, ToolContext, ToolPart, current_label, register

__all__ = ["TrlConfig", "mount_environment", "mount_function"]

_NO_TOOLS = ("reset", "get_reward")


@register("trl")
class TrlConfig(ToolPart):
    """Tool functions and environment classes that are written for TRL."""

    functions: tuple[str, ...] = ()
    """Each as `package.module:name`."""
    environment: str | None = None
    """A class, or a function without arguments that makes an environment, as `package.module:name`. Its `reset` gets no row."""

    @model_validator(mode="after")
    def _something(self) -> "TrlConfig":
        if not self.functions and self.environment is None:
            raise ValueError("name functions, an environment, or both")
        return self

    def build(self, context: ToolContext) -> Sequence[Tool]:
        """The functions in their order, then the methods of the environment."""
        mounted: list[Tool] = [mount_function(_load(path)) for path in self.functions]
        return [*mounted, *mount_environment(_load(self.environment))] if self.environment is not None else mounted


def mount_function(function: Callable[..., Any]) -> Tool:
    """A function that is written as a tool for TRL, as our tool.

    Args:
        function: typed, with a Google docstring. A plain one is called in a thread, because it may wait.

    Raises:
        InputError: it has no such signature or docstring.
    """

    async def call(**arguments: Any) -> Observation:
        return _observation(await _run(function, arguments))

    return _Mounted(function.__name__, function_schema(function), call, Facts(version=_version(function)))


def mount_environment(factory: Callable[[], Any], *, rows: Callable[[str], Mapping[str, Any]] | None = None) -> Sequence[Tool]:
    """The public methods of a TRL environment as our tools, one environment per trajectory.

    Args:
        factory: as TRL's `environment_factory`.
        rows: id of a task -> the columns that `reset` gets; none without it.

    Raises:
        InputError: the class has no `reset` or no other public method, or a method lacks a signature or docstring that a model could use.
    """
    environments = _Environments(factory, rows)
    kind = environments.kind
    if not callable(getattr(kind, "reset", None)):
        raise InputError(f"{kind.__name__} has no `reset`; TRL calls it before each rollout, so an environment needs one")
    # Listed on the class, as TRL does: on the object, properties would be computed.
    names = [name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_" and name not in _NO_TOOLS]
    if not names:
        raise InputError(f"{kind.__name__} has no public method but `reset`, so it offers no tool")
    facts = Facts(version=_version(kind), state=f"trl {kind.__module__}.{kind.__qualname__}", retry=False)
    return [
        _Mounted(name, function_schema(getattr(environments.probe, name)), partial(environments.call, name), facts, environments.forget)
        for name in names
    ]


class _Mounted:
    """A tool whose call stands elsewhere."""

    def __init__(
        self, name: str, schema: dict[str, Any], call: Callable[..., Any], facts: Facts, settle: Callable[[str], Any] | None = None
    ) -> None:
        self.name, self.schema, self.facts, self.settle = name, schema, facts, settle
        self._call = call

    async def __call__(self, *_: Any, **arguments: Any) -> Observation:
        observation: Observation = await self._call(**arguments)
        return observation


class _Environments:
    """The environments of all trajectories that are open."""

    def __init__(self, factory: Callable[[], Any], rows: Callable[[str], Mapping[str, Any]] | None) -> None:
        self.factory, self.rows = factory, rows
        self.probe = factory()
        self.kind = type(self.probe)
        self.open: dict[str, tuple[Any, Any]] = {}
        """Per trajectory the environment, and what its `reset` has said until it is shown."""

    def forget(self, label: str) -> None:
        self.open.pop(label, None)

    async def call(self, name: str, **arguments: Any) -> Observation:
        label = current_label()
        if label not in self.open:
            # Making and resetting may start a container; neither may hold up the other trajectories.
            self.open[label] = await asyncio.to_thread(self._make, label)
        environment, opening = self.open[label]
        observation = _observation(await _run(getattr(environment, name), arguments), opening)
        self.open[label] = environment, None
        if (get_reward := getattr(environment, "get_reward", None)) is not None:
            reward = float(await _run(get_reward, {}))
            observation = replace(observation, meta={**observation.meta, "reward": reward})
        return observation

    def _make(self, label: str) -> tuple[Any, Any]:
        environment = self.factory()
        row = self.rows(label.rpartition("/")[0]) if self.rows is not None else {}
        return environment, environment.reset(**row)


async def _run(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    try:
        if inspect.iscoroutinefunction(function):
            return await function(**arguments)
        return await asyncio.to_thread(function, **arguments)
    except (SpadeworkError, TimeoutError, ConnectionError):
        raise
    except Exception as error:
        # TRL shows the model whatever a tool raises, and tools are written with that in mind.
        raise ToolError(str(error) or type(error).__name__) from error


def _observation(result: Any, opening: Any = None) -> Observation:
    """What TRL would show, after what `reset` has said."""
    if isinstance(result, Observation):
        seen = result
    else:
        text, images = _blocks(result)
        seen = Observation(text, images=images)
    if opening is None:
        return seen
    text, images = _blocks(opening)
    return replace(seen, text=f"{text}\n{seen.text}", images=(*images, *seen.images))


def _blocks(value: Any) -> tuple[str, tuple[Image, ...]]:
    """The texts and pictures of a list of content blocks, or `str` of anything else."""
    if not (isinstance(value, list) and value and all(isinstance(block, dict) and "type" in block for block in value)):
        return str(value), ()
    texts = [str(block["text"]) for block in value if block["type"] == "text"]
    return "\n".join(texts), tuple(_image(block["image"]) for block in value if block["type"] == "image")


def _image(value: Any) -> Image:
    """A picture as a content block holds it: an address, bytes, or an object of Pillow."""
    if isinstance(value, bytes):
        return Image("image/png", value)
    if isinstance(value, str):
        if value.startswith("data:") and ";base64," in value:
            head, _, data = value.partition(";base64,")
            return Image(head.removeprefix("data:"), base64.b64decode(data))
        return Image("image/*", url=value)
    buffer = io.BytesIO()
    value.save(buffer, format="PNG")
    return Image("image/png", buffer.getvalue())


def _version(thing: Any) -> str:
    """Hash of the source, so that a tape does not answer for other code."""
    try:
        source = inspect.getsource(thing)
    except (OSError, TypeError):
        source = f"{thing.__module__}.{thing.__qualname__}"
    return hashlib.blake2b(source.encode(), digest_size=16).hexdigest()


def _load(path: str) -> Any:
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise ConfigError(f"trl: '{path}' is not of the form package.module:name")
    try:
        found = importlib.import_module(module)
        return getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"trl: '{path}' cannot be imported: {error}") from None
