r"""Tags in one assistant message, as Search-R1 writes them (arXiv 2503.09516).

    <|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n
    <think> ...</think><search> ...</search>        sampled; sampling stops at the closing tag of an action
    <information> ...</information>                 appended by the harness; the policy goes on in the same message
    <think> ...</think><answer> ...</answer>        sampled; the turn is over at the closing tag, no <|im_end|> is written

Every tool with a single string argument has a tag of its name. Where the vocabulary has the tags as tokens, each is one token; elsewhere
they are plain text, and a tag that is written in a question or a page is broken up there ("< /information>") so that the policy is not
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
        self._codec = Codec(tokenizer)
        self._start, self._end = self._codec.required("<|im_start|>"), self._codec.required("<|im_end|>")
        self._arguments = {_function(tool)["name"]: _single_argument(tool) for tool in tools}
        actions = [*self._arguments, "answer"]
        tags = ["think", *actions, "information"]
        self._tag = re.compile(rf"<(/?)({'|'.join(map(re.escape, tags))})>")
        self._pieces: dict[str, Piece] = {
            text: text if (token := self._codec.token(text)) is None else token for tag in tags for text in (f"<{tag}>", f"</{tag}>")
        }
        self._spelled = re.compile("|".join(re.escape(text) for text, piece in self._pieces.items() if text == piece) or r"(?!)")
        self._choices = " or ".join(actions)
        closings = [self._pieces[f"</{tag}>"] for tag in actions]
        self.stop: tuple[str, ...] = tuple(piece for piece in closings if isinstance(piece, str))
        padding = [tokenizer.pad_token_id] if tokenizer.pad_token_id is not None else []
        self._endings = frozenset([self._end, *padding])
        self.stop_token_ids: tuple[int, ...] = (*(piece for piece in closings if isinstance(piece, int)), *sorted(self._endings))
        self._instruction = self._codec.marks(_explain(tools) if instruction is None else instruction)
        self._opening: list[Piece] = [self._end, "\n", self._start, "assistant\n"]

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
        pieces: list[Piece] = []
        for index, message in enumerate(messages):
            if message.role in ("system", "user"):
                if index > first:
                    pieces += [self._end, "\n"]
                text = message.content if message.role == "system" else self._plain(message.content)
                instruction = self._instruction if index == first else []
                pieces += [self._start, f"{message.role}\n", *instruction, text]
                pieces += self._opening if index >= first else [self._end, "\n"]
            elif message.role == "tool":
                pieces += self._information(message.content)
            else:
                turn = message.turn
                pieces += self._turn(turn) if turn is not None and turn.error is None else [self._plain(message.content)]
        return self._codec.encode(pieces)

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
        writing = last not in self._endings
        pieces: list[Piece] = self._closing(turn_ids) if writing else []
        for message in messages:
            body = self._information(message.content) if message.role == "tool" else [self._plain(message.content)]
            if writing and message.role == "tool":
                pieces += body
                continue
            closing = [] if last == self._end and not writing else [self._end]
            pieces += [*closing, "\n", self._start, "user\n", *body, *self._opening]
            writing = True
        return self._codec.encode(pieces)

    def parse(self, token_ids: Sequence[int]) -> Turn:
        """What a sampled turn says: thoughts, then one action. A malformed turn has an `error` and no action."""
        count = len(token_ids)
        while count and token_ids[count - 1] in self._endings:
            count -= 1
        return self._read(self._codec.decode(token_ids[:count]))

    def text(self, token_ids: Sequence[int]) -> str:
        """The tokens as text, tags included. For reading only: it is never encoded again."""
        return self._codec.decode(token_ids)

    def write(self, turn: Turn) -> list[int]:
        """Tokens of a well-formed turn, its stop included. One space follows an opening tag, none stands before a closing one.

        Raises:
            InputError: the turn has no action, has several, or contains a tag in its text.
        """
        return self._codec.encode(self._turn(turn))

    def _plain(self, text: str) -> str:
        """Text of others, without tags where tags are text."""
        return self._spelled.sub(lambda match: "< " + match[0][1:], text)

    def _information(self, text: str) -> list[Piece]:
        return [self._pieces["<information>"], spaced(self._plain(text)), self._pieces["</information>"]]

    def _closing(self, turn_ids: Sequence[int]) -> list[Piece]:
        """The closing tag of the block that a turn ended in, if it ended in one."""
        tags = self._tag.findall(self._codec.decode(turn_ids))
        return [self._pieces[f"</{tags[-1][1]}>"]] if tags and not tags[-1][0] else []

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
        thought = turn.thought.strip()
        pieces: list[Piece] = [self._pieces["<think>"], " " + thought, self._pieces["</think>"]] if thought else []
        return [*pieces, self._pieces[f"<{tag}>"], " " + text.strip(), self._pieces[f"</{tag}>"]]

    def _read(self, text: str) -> Turn:
        thoughts: list[str] = []
        action: tuple[str, str] | None = None
        opened: str | None = None
        end = 0
        for match in self._tag.finditer(text):
            slash, tag = match.groups()
            block = text[end : match.start()].strip()
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
    """Text with one space at the start of every line, as information is written: a word is the same token there as inside a line."""
    return " " + text.strip().replace("\n", "\n ")


def _failed(kind: str, **names: str) -> Turn:
    return Turn(error=ERRORS[kind].format(**names))


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself, with or without OpenAI's wrapping."""
    function: Mapping[str, Any] = tool.get("function", tool)
    return function


def _single_argument(tool: Mapping[str, Any]) -> str:
    function = _function(tool)
    name, parameters = function["name"], function["parameters"]
    if not re.fullmatch(r"[A-Za-z]\w*", name) or name in ("think", "answer", "information"):
        raise ConfigError(f"tool '{name}' cannot have a tag of its name: rename it, or use the hermes renderer")
    candidates = parameters.get("required") or list(parameters["properties"])
    if len(candidates) != 1 or parameters["properties"][candidates[0]].get("type") != "string":
        raise ConfigError(f"tool '{name}' takes more than one string argument, which a tag cannot carry: use the hermes renderer")
    argument: str = candidates[0]
    return argument


def _explain(tools: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for tool in tools:
        name, description = _function(tool)["name"], _function(tool).get("description", "")
        lines.append(f"<{name}> {_single_argument(tool)}</{name}> {' '.join(description.split())}".strip())
    return _INSTRUCTION.format(tools="\n".join(lines))
