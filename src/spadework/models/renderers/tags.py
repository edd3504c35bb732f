r"""Tags in one assistant message, as Search-R1 writes them (arXiv 2503.09516).

    <|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n
    <think> ...</think><search> ...</search>        sampled; sampling stops at the closing tag of an action
    <information> ...</information>                 appended by the harness; the policy goes on in the same message
    <think> ...</think><answer> ...</answer>        sampled; the turn is over at the closing tag, no <|im_end|> is written

Every tool with a single string argument has a tag of its name. Where the vocabulary has the tags as tokens, each is one token; elsewhere
they are plain text, and a tag that is written in a question or a page is disarmed there (`[/information]`) so that the policy is not
fooled either. The harness never is: `parse` reads sampled tokens only. One action per turn; `hermes.py` has several calls at once.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerFast

from spadework.core.errors import ConfigError, InputError
from spadework.core.messages import Message, ToolCall, Turn
from spadework.models.renderers.codec import Codec, Piece

__all__ = ["DEFAULT_TOOLS", "ERRORS", "TagsRenderer", "spaced"]

DEFAULT_TOOLS: tuple[dict[str, Any], ...] = tuple(
    {
        "name": name,
        "description": description,
        "parameters": {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]},
    }
    for name, argument, description in (
        ("search", "query", "finds pages for a query"),
        ("read", "title", "shows the page with this title"),
    )
)
"""Schemas of the tools that have a tag when none are named."""

ERRORS = {
    "missing": "no action: use {choices}",
    "unclosed": "{tag} is not closed",
    "unopened": "{tag} is closed but was not opened",
    "nested": "{inner} stands inside {tag}",
    "forged": "only the environment writes {tag}",
    "several": "more than one action",
    "order": "think stands after the action",
    "empty": "{tag} is empty",
}
"""What a malformed turn is told, tags by their names. Short, because a tiny vocabulary spells it out; train the tokenizer on these too."""

_INSTRUCTION = """\
Answer the question at the end. Reason between <think> and </think> first, and again whenever you get new information. \
You may use these tools, one at a time; what they return is shown to you between <information> and </information>:
{tools}
When you know the answer, write it between <answer> and </answer>, as briefly as possible and without an explanation.

Question: """


class TagsRenderer:
    """Renders and parses tags.

    Args:
        tokenizer: needs `<|im_start|>` and `<|im_end|>`.
        tools: schemas of the tools; each needs one string argument, the only one or the only required one.
        instruction: stands before the question. Empty for a model that learns the tags by itself; None for a text that explains them.

    Raises:
        ConfigError: a tool cannot have a tag, or the vocabulary lacks the control tokens.
    """

    name = "tags"

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, *, tools: Sequence[Mapping[str, Any]] = DEFAULT_TOOLS, instruction: str | None = ""
    ) -> None:
        self._arguments = {_function(tool)["name"]: _single_argument(tool) for tool in tools}
        actions = [*self._arguments, "answer"]
        tags = ["think", *actions, "information"]
        self._codec = Codec(tokenizer, tags)
        self._tag = re.compile(rf"<(/?)({'|'.join(tags)})>")
        self._choices = " or ".join(actions)
        closings = [self._codec.mark(f"</{tag}>") for tag in actions]
        self.vocab_size = self._codec.vocab_size
        self.stop: tuple[str, ...] = tuple(piece for piece in closings if isinstance(piece, str))
        tokens = (piece for piece in closings if isinstance(piece, int))
        self.stop_token_ids: tuple[int, ...] = (*tokens, *sorted(self._codec.endings))
        self._instruction = self._codec.marks(_explain(tools) if instruction is None else instruction)

    def prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Tokens of the opening messages, up to where the policy starts to write.

        The instruction stands before the first user message. Assistant messages with a parsed `turn` are written as `write` does.

        Raises:
            ConfigError: a tool has no tag here.
            InputError: there is no user message.
        """
        for tool in tools:
            if (name := _function(tool)["name"]) not in self._arguments:
                raise ConfigError(f"tool '{name}' has no tag: give its schema to TagsRenderer(tools=...)")
        first = next((index for index, message in enumerate(messages) if message.role == "user"), None)
        if first is None:
            raise InputError("a prompt needs a user message")
        ids: list[int] = []
        for index, message in enumerate(messages):
            pieces: list[Piece]
            if message.role == "tool":
                pieces = self._information(message.content)
            elif message.role == "assistant":
                turn = message.turn
                pieces = self._turn(turn) if turn is not None and turn.error is None else [self._codec.foreign(message.content)]
            elif index < first:
                pieces = [self._codec.start, f"{message.role}\n{message.content}", self._codec.end, "\n"]
            elif index == first:
                pieces = [self._codec.start, "user\n", *self._instruction, self._codec.foreign(message.content), *self._opening()]
            else:
                pieces = [self._codec.end, "\n", *self._message(message)]
            ids += self._codec.encode(pieces)
        return ids

    def extend(self, turn_ids: Sequence[int], messages: Sequence[Message]) -> list[int]:
        """Tokens that follow a sampled turn: results as information, a user message as a new message.

        A tag that the policy left open is closed first. Without messages the error of a malformed turn is the information.
        A policy that ended the message instead of acting gets its information in a user message.

        Raises:
            InputError: no messages, and the turn is not malformed.
        """
        if not messages:
            if (error := self.parse(turn_ids).error) is None:
                raise InputError("a well-formed turn is extended by messages, and there are none")
            messages = [Message(role="tool", content=error)]
        last = turn_ids[-1] if turn_ids else None
        writing = last not in self._codec.endings
        ids = self._codec.encode(self._closing(turn_ids)) if writing else []
        for message in messages:
            if writing and message.role == "tool":
                ids += self._codec.encode(self._information(message.content))
                continue
            closing = [self._codec.end] if writing or last != self._codec.end else []
            ids += self._codec.encode([*closing, "\n", *self._message(message)])
            writing = True
        return ids

    def parse(self, token_ids: Sequence[int]) -> Turn:
        """What a sampled turn says: thoughts, then one action. A malformed turn has an `error` and no action."""
        return self._codec.restored(self._read(self._codec.said(self._codec.unended(token_ids))))

    def text(self, token_ids: Sequence[int]) -> str:
        """The tokens as text, tags included. For reading only: it is never encoded again."""
        return self._codec.decode(token_ids)

    def write(self, turn: Turn) -> list[int]:
        """Tokens of a well-formed turn, its stop included. Its texts are `spaced`.

        Raises:
            InputError: the turn has no action, has several, or contains a tag in its text.
        """
        return self._codec.encode(self._turn(turn))

    def thought(self, text: str) -> list[int]:
        """Tokens of a thought by itself, closed. Tags in it are disarmed, because it may quote a page."""
        return self._codec.encode(self._thought(self._codec.foreign(text)))

    def _thought(self, text: str) -> list[Piece]:
        return [self._codec.mark("<think>"), spaced(text), self._codec.mark("</think>")]

    def _message(self, message: Message) -> list[Piece]:
        """A message after the first user message that is not the policy's, and the opening of the next."""
        body = self._information(message.content) if message.role == "tool" else [self._codec.foreign(message.content)]
        role = "system" if message.role == "system" else "user"
        return [self._codec.start, f"{role}\n", *body, *self._opening()]

    def _opening(self) -> list[Piece]:
        return [self._codec.end, "\n", self._codec.start, "assistant\n"]

    def _information(self, text: str) -> list[Piece]:
        return [self._codec.mark("<information>"), spaced(self._codec.foreign(text)), self._codec.mark("</information>")]

    def _closing(self, turn_ids: Sequence[int]) -> list[Piece]:
        """The closing tag of the block that a turn ended in, if it ended in one."""
        tags = self._tag.findall(self._codec.said(turn_ids))
        return [self._codec.mark(f"</{tags[-1][1]}>")] if tags and not tags[-1][0] else []

    def _turn(self, turn: Turn) -> list[Piece]:
        if turn.error is not None or len(turn.calls) + (turn.answer is not None) != 1:
            raise InputError(f"a turn with tags has exactly one action: {turn!r}")
        if turn.answer is not None:
            tag, text = "answer", turn.answer
        else:
            (call,) = turn.calls
            tag, text = call.name, call.arguments.get(self._arguments.get(call.name, ""), "")
            if set(call.arguments) != {self._arguments.get(call.name)} or not isinstance(text, str):
                raise InputError(f"not a call that a tag can carry: {call!r}")
        if not text.strip() or self._tag.search(text) or self._tag.search(turn.thought):
            raise InputError(f"a turn with tags needs an action with a text, and no tag in its texts: {turn!r}")
        mark = self._codec.mark
        pieces = self._thought(turn.thought) if turn.thought.strip() else []
        return [*pieces, mark(f"<{tag}>"), spaced(text), mark(f"</{tag}>")]

    def _read(self, text: str) -> Turn:
        thoughts: list[str] = []
        action: tuple[str, str] | None = None
        opened: str | None = None
        end = 0
        for match in self._tag.finditer(text):
            slash, tag = match.groups()
            block = text[end : match.start()].strip().replace("\n ", "\n")
            end = match.end()
            if slash and opened != tag:
                return _failed("nested" if opened else "unopened", tag=opened or tag, inner=tag)
            if not slash and opened:
                return _failed("nested", tag=opened, inner=tag)
            if tag == "information":
                return _failed("forged", tag=tag)
            if action is not None:
                return _failed("order" if tag == "think" else "several")
            if slash and tag != "think":
                if not block:
                    return _failed("empty", tag=tag)
                action = (tag, block)
            elif block:
                thoughts.append(block)
            opened = None if slash else tag
        if opened:
            return _failed("unclosed", tag=opened)
        if action is None:
            return _failed("missing", choices=self._choices)
        thought = "\n".join(thoughts)
        if action[0] == "answer":
            return Turn(thought=thought, answer=action[1])
        return Turn(thought=thought, calls=(ToolCall(name=action[0], arguments={self._arguments[action[0]]: action[1]}),))


def spaced(text: str) -> str:
    """Text with one space at the start of every line, as tags enclose it: a word is the same token there as inside a line."""
    return " " + text.strip().replace("\n", "\n ")


def _failed(kind: str, **names: str) -> Turn:
    return Turn(error=ERRORS[kind].format(**names))


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself, with or without OpenAI's wrapping."""
    function: Mapping[str, Any] = tool.get("function", tool)
    return function


def _single_argument(tool: Mapping[str, Any]) -> str:
    function = _function(tool)
    name, parameters = function["name"], function.get("parameters", {})
    properties = parameters.get("properties", {})
    if not re.fullmatch(r"[A-Za-z]\w*", name) or name in ("think", "answer", "information"):
        raise ConfigError(f"tool '{name}' cannot have a tag of its name: rename it, or use the hermes renderer")
    candidates = parameters.get("required") or list(properties)
    if len(candidates) != 1 or properties[candidates[0]].get("type") != "string":
        raise ConfigError(f"tool '{name}' does not take exactly one string, and a tag carries nothing else: use the hermes renderer")
    argument: str = candidates[0]
    return argument


def _explain(tools: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for tool in tools:
        name, description = _function(tool)["name"], _function(tool).get("description", "")
        lines.append(f"<{name}> {_single_argument(tool)}</{name}> {' '.join(description.split())}".strip())
    return _INSTRUCTION.format(tools="\n".join(lines))
