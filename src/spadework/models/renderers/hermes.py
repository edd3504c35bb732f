r"""ChatML with Hermes tool calls, as Qwen2.5 and Qwen3 write them.

    <|im_start|>system\n{system}# Tools ... {schemas} ...<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n
    <think>\n...\n</think>\n\n<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call><|im_end|>            sampled
    \n<|im_start|>user\n<tool_response>\n...\n</tool_response><|im_end|>\n<|im_start|>assistant\n              appended

Several calls in one turn are carried out together and answered in one message. An answer is what stands between `<answer>` and `</answer>`;
without those tags it is the whole text of a finished turn that calls no tool, as chat models end. Every `<think>` block is kept. Qwen3's
own template drops those before the last user message, which changes a prefix; while one question is followed by calls, the two agree.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from transformers import PreTrainedTokenizerFast

from spadework.core.errors import InputError
from spadework.core.messages import Message, ToolCall, Turn
from spadework.models.renderers.codec import Codec, Piece

__all__ = ["HermesRenderer"]

_TOOLS_HEAD = """\
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>"""
_TOOLS_TAIL = """
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""
# Both texts are those of Qwen's chat template: the released models are trained on them.

_CALL = re.compile(r"<tool_call>\s*")
_CALL_END = re.compile(r"\s*</tool_call>\s*")
_FORM = 'write {"name": ..., "arguments": {...}}'


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_JSON = json.JSONDecoder(strict=False, parse_constant=_refuse)


class HermesRenderer:
    """Renders and parses ChatML with tool calls in JSON.

    Args:
        tokenizer: needs `<|im_start|>` and `<|im_end|>`. Tags are tokens where it has them, and text elsewhere.

    Raises:
        ConfigError: the vocabulary lacks the control tokens.
    """

    name = "hermes"

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._codec = Codec(tokenizer, ("think", "tool_call", "tool_response", "answer"))
        self.vocab_size = self._codec.vocab_size
        self.stop: tuple[str, ...] = ()
        self.stop_token_ids: tuple[int, ...] = tuple(sorted(self._codec.endings))

    def prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Tokens of the opening messages, up to where the policy starts to write. The tools are listed in the system message."""
        system = messages[0].content if messages and messages[0].role == "system" else ""
        pieces: list[Piece] = []
        if tools:
            schemas = [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]
            listed = "".join("\n" + json.dumps(schema, ensure_ascii=False) for schema in schemas)
            heading = f"{system}\n\n" if system else ""
            marks = self._codec.marks
            pieces += [self._codec.start, "system\n" + heading, *marks(_TOOLS_HEAD), listed, *marks(_TOOLS_TAIL), self._codec.end, "\n"]
        elif system:
            pieces += [self._codec.start, "system\n" + system, self._codec.end, "\n"]
        ids = self._codec.encode(pieces)
        for pieces in self._messages(messages[1:] if system else messages):
            ids += self._codec.encode(pieces)
        return ids + self._codec.encode([self._codec.start, "assistant\n"])

    def extend(self, turn_ids: Sequence[int], messages: Sequence[Message]) -> list[int]:
        """Tokens that follow a sampled turn: its end if the policy did not write it, the results, the next opening.

        Without messages the error of a malformed turn is the result.

        Raises:
            InputError: no messages, and the turn is not malformed.
        """
        if not messages:
            if (error := self.parse(turn_ids).error) is None:
                raise InputError("a well-formed turn is extended by messages, and there are none")
            messages = [Message(role="tool", content=error)]
        closing = [] if turn_ids and turn_ids[-1] == self._codec.end else [self._codec.end]
        body = [piece for pieces in self._messages(messages) for piece in pieces]
        return self._codec.encode([*closing, "\n", *body, self._codec.start, "assistant\n"])

    def parse(self, token_ids: Sequence[int]) -> Turn:
        """What a sampled turn says. A call whose JSON cannot be read is a call with an `error`; an unfinished turn has an `error`."""
        body = self._codec.unended(token_ids)
        return self._codec.restored(self._read(self._codec.said(body).strip(), ended=len(body) < len(token_ids)))

    def write(self, turn: Turn) -> list[int]:
        """Tokens of a well-formed turn, `<|im_end|>` included.

        Raises:
            InputError: the turn has neither calls nor an answer, has both, or a tag in a text would end that text early.
        """
        return self._codec.encode([*self._turn(turn), self._codec.end])

    def text(self, token_ids: Sequence[int]) -> str:
        """The tokens as text, markup included. For reading only: it is never encoded again."""
        return self._codec.decode(token_ids)

    def thought(self, text: str) -> list[int]:
        """Tokens of a thought by itself, closed. Tags in it are disarmed, because it may quote a page."""
        return self._codec.encode(self._thought(self._codec.foreign(text)))

    def _read(self, text: str, *, ended: bool) -> Turn:
        thoughts: list[str] = []
        if text.startswith("<think>"):
            thought, closed, text = text.removeprefix("<think>").partition("</think>")
            if not closed:
                return Turn(error="think is not closed")
            thoughts.append(thought.strip())
        calls, said, unclosed = _calls(text)
        if unclosed:
            return Turn(error="tool_call is not closed")
        answer = _answer(said)
        if calls:
            if answer is not None:
                return Turn(error="a turn either calls tools or answers")
            return Turn(thought="\n".join(filter(None, [*thoughts, said])), calls=tuple(calls))
        if answer is None:
            if "<answer>" in said:
                return Turn(error="answer is not closed")
            if not ended:
                return Turn(error="the turn was cut off before its end")
            thought, answer = "", said
        else:
            thought = said.partition("<answer>")[0].strip()
        if not answer:
            return Turn(error="the answer is empty")
        return Turn(thought="\n".join(filter(None, [*thoughts, thought])), answer=answer)

    def _thought(self, text: str) -> list[Piece]:
        return [self._codec.mark("<think>"), f"\n{text.strip()}\n", self._codec.mark("</think>"), "\n\n"]

    def _messages(self, messages: Sequence[Message]) -> list[list[Piece]]:
        """Pieces of whole messages; neighbouring tool results share one."""
        start, end, mark = self._codec.start, self._codec.end, self._codec.mark
        rendered: list[list[Piece]] = []
        for role, run in groupby(messages, key=lambda message: message.role):
            if role == "tool":
                results: list[Piece] = []
                for message in run:
                    text = f"\n{self._codec.foreign(message.content)}\n"
                    results += ["\n", mark("<tool_response>"), text, mark("</tool_response>")]
                rendered.append([start, "user", *results, end, "\n"])
                continue
            for message in run:
                body: list[Piece] = [message.content if role == "system" else self._codec.foreign(message.content)]
                if message.turn is not None and message.turn.error is None:
                    body = self._turn(message.turn)
                rendered.append([start, f"{role}\n", *body, end, "\n"])
        return rendered

    def _turn(self, turn: Turn) -> list[Piece]:
        mark = self._codec.mark
        if turn.error is not None or bool(turn.calls) == (turn.answer is not None) or "</think>" in turn.thought:
            raise InputError(f"a turn either calls tools or answers, and its thought does not end early: {turn!r}")
        pieces = self._thought(turn.thought) if turn.thought.strip() else []
        if turn.answer is not None:
            answer = turn.answer.strip()
            if not answer or re.search(r"</?(answer|tool_call|think)>", answer):
                raise InputError(f"an answer has a text without tags: {turn!r}")
            return [*pieces, mark("<answer>"), answer, mark("</answer>")]
        for number, call in enumerate(turn.calls):
            body = json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
            pieces += ["\n"] if number else []
            pieces += [mark("<tool_call>"), f"\n{body}\n", mark("</tool_call>")]
        return pieces


def _calls(text: str) -> tuple[list[ToolCall], str, bool]:
    """The calls in a text, what else it says, and whether a call is unfinished."""
    calls: list[ToolCall] = []
    said = ""
    end = 0
    while match := _CALL.search(text, end):
        said += text[end : match.start()]
        # A string of the arguments may contain the closing tag, so the JSON is read before the tag is looked for.
        value, stop, problem = _value(text, match.end())
        if (closing := _CALL_END.match(text, stop)) is None:
            if (closing := _CALL_END.search(text, match.end())) is None:
                return calls, said, True
            problem = problem or "not JSON: something follows the object"
        calls.append(_call(value) if problem is None else ToolCall(name="", error=f"{problem}; {_FORM}"))
        end = closing.end()
    return calls, (said + text[end:]).strip(), False


def _value(text: str, start: int) -> tuple[Any, int, str | None]:
    """The JSON value that begins at a place, where it ends, and what is wrong with it."""
    try:
        value, stop = _JSON.raw_decode(text, start)
        # An escape such as \ud800 is half a character, which no encoder takes.
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None, start, "not JSON: half of a surrogate pair"
    except json.JSONDecodeError as error:
        return None, start, f"not JSON: {error.msg}"
    except (ValueError, RecursionError):
        return None, start, "not JSON: a number is too long or not finite, or the nesting too deep"
    return value, stop, None


def _call(value: Any) -> ToolCall:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return ToolCall(name="", error=_FORM)
    if not isinstance(arguments := value.get("arguments", {}), dict):
        return ToolCall(name=value["name"], error=f"arguments is not an object; {_FORM}")
    return ToolCall(name=value["name"], arguments=arguments)


def _answer(text: str) -> str | None:
    match = re.search(r"<answer>(.*?)</answer>", text, re.DOTALL)
    return match[1].strip() if match else None
