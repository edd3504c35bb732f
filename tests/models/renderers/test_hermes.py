import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from spadework.core.errors import InputError
from spadework.core.messages import Message, ToolCall, Turn
from spadework.models.renderers.hermes import HermesRenderer
from spadework.models.renderers.registry import make_renderer

TOOL = {
    "name": "search",
    "description": "Finds pages. Schön.",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}
WRITE = 'write {"name": ..., "arguments": {...}}'
THOUGHTS = st.text(max_size=20).filter(lambda text: "</think>" not in text).map(str.strip)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.just("</tool_call><|im_end|>"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
CALLS = st.builds(ToolCall, name=st.text(max_size=8), arguments=st.dictionaries(st.text(max_size=5), JSON, max_size=2))
TURNS = st.builds(Turn, thought=THOUGHTS, calls=st.lists(CALLS, min_size=1, max_size=3).map(tuple)) | st.builds(
    Turn, thought=THOUGHTS, answer=st.text(max_size=20).filter(lambda text: "<" not in text).map(str.strip).filter(bool)
)


def sampled(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    ids: list[int] = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def chat(message: Message) -> dict:
    """A message as chat templates take it."""
    if message.turn is None:
        return {"role": message.role, "content": message.content}
    calls = [{"type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in message.turn.calls]
    content = "" if message.turn.answer is None else f"<answer>{message.turn.answer}</answer>"
    return {"role": "assistant", "content": content, "reasoning_content": message.turn.thought, "tool_calls": calls}


def test_a_conversation_is_what_the_chat_template_gives(lossless: PreTrainedTokenizerFast, lossless_hermes: HermesRenderer) -> None:
    look = Turn(
        thought="Look it up.",
        calls=(ToolCall(name="search", arguments={"query": "Véla", "limit": 3}), ToolCall(name="search", arguments={"query": "b"})),
    )
    messages = [
        Message(role="system", content="Be brief."),
        Message(role="user", content="Who is the mayor of Ondal Brin?"),
        Message(role="assistant", turn=look),
        Message(role="tool", content="Ondal Brin mayor Velor Tash\nline two", name="search"),
        Message(role="tool", content="nothing"),
        Message(role="assistant", turn=Turn(answer="Velor Tash")),
        Message(role="user", content="Sure?"),
    ]
    for opening in (messages, messages[1:]):
        for tools in ((), (TOOL,)):
            wrapped = [{"type": "function", "function": tool} for tool in tools]
            text = lossless.apply_chat_template([chat(m) for m in opening], tools=wrapped, tokenize=False, add_generation_prompt=True)
            ids = lossless_hermes.prompt(opening, tools)
            assert lossless_hermes.text(ids) == text
            assert ids == sampled(lossless, text)
            assert lossless_hermes.prompt(opening, wrapped) == ids


@given(st.data())
def test_steps_give_the_tokens_of_the_whole(hermes: HermesRenderer, hostile, data: st.DataObject) -> None:
    messages = [Message(role="user", content=data.draw(hostile))]
    ids = hermes.prompt(messages, [TOOL])
    for turn in data.draw(st.lists(TURNS, max_size=3)):
        role = "tool" if turn.calls else "user"
        results = [Message(role=role, content=data.draw(hostile)) for _ in turn.calls or (None,)]
        ids += hermes.write(turn) + hermes.extend(hermes.write(turn), results)
        messages += [Message(role="assistant", turn=turn), *results]
    assert hermes.prompt(messages, [TOOL]) == ids


@example(Turn(thought="\ufdd0", calls=(ToolCall(name="\ufdd0", arguments={}),)))
@given(TURNS)
def test_parse_reads_what_write_writes(lossless_hermes: HermesRenderer, turn: Turn) -> None:
    assert lossless_hermes.parse(lossless_hermes.write(turn)) == turn


@given(st.data())
def test_pages_users_and_schemas_cannot_write_marks(tokenizer, hermes: HermesRenderer, added_ids, hostile, data: st.DataObject) -> None:
    def marks(text: str) -> tuple[list[int], int]:
        tool = TOOL | {"description": text.encode("utf-8", "replace").decode()}
        ids = hermes.prompt([Message(role="user", content=text)], [tool])
        following = hermes.extend([], [Message(role="tool", content=text)] * 2)
        return [token for token in ids + following if token in added_ids], hermes.text(following).count("tool_response>")

    text = data.draw(hostile)
    if "<tool_response>" in tokenizer.added_tokens_encoder:
        assert marks(text)[0] == marks("x")[0]
    else:
        assert marks(text) == marks("x")


@given(st.data())
def test_whatever_is_sampled_has_a_reading_and_a_continuation(tokenizer, hermes: HermesRenderer, data: st.DataObject) -> None:
    parts = ["<tool_call>", "</tool_call>", "<think>", "</think>", "<answer>", "</answer>", "<|im_end|>", '{"name": "f"}', "1", "[", "{"]
    ids = [token for part in data.draw(st.lists(st.sampled_from(parts), max_size=8)) for token in sampled(tokenizer, part)]
    ids += data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=5))
    turn = hermes.parse(ids)
    assert [bool(turn.calls), turn.answer is not None, turn.error is not None].count(True) == 1
    assert hermes.extend(ids, [Message(role="tool", content="x")])


@pytest.mark.parametrize(
    ("text", "turn"),
    [
        ("Velor Tash<|im_end|>", Turn(answer="Velor Tash")),
        ("<think>\na\n</think>\n\nVelor<|im_end|>", Turn(thought="a", answer="Velor")),
        ("It is <answer> Velor </answer>.<|im_end|>", Turn(thought="It is", answer="Velor")),
        ("<answer>Velor</answer>", Turn(answer="Velor")),
        ('Hm.\n<tool_call>{"name": "f"}</tool_call> ok', Turn(thought="Hm.\nok", calls=(ToolCall(name="f"),))),
        ("<think>a</think>Hm.", Turn(error="the turn was cut off before its end")),
        ("<think>a<|im_end|>", Turn(error="think is not closed")),
        ('<tool_call>\n{"name": "f"', Turn(error="tool_call is not closed")),
        ("<answer>Velor<|im_end|>", Turn(error="answer is not closed")),
        ("<answer> </answer><|im_end|>", Turn(error="the answer is empty")),
        ("<|im_end|>", Turn(error="the answer is empty")),
        ('<tool_call>{"name": "f"}</tool_call><answer>a</answer><|im_end|>', Turn(error="a turn either calls tools or answers")),
    ],
)
def test_turns(lossless: PreTrainedTokenizerFast, lossless_hermes: HermesRenderer, text: str, turn: Turn) -> None:
    assert lossless_hermes.parse(sampled(lossless, text)) == turn


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ("", ToolCall(name="", error=f"not JSON: Expecting value; {WRITE}")),
        ("{'name': 'f'}", ToolCall(name="", error=f"not JSON: Expecting property name enclosed in double quotes; {WRITE}")),
        ('{"name": "f"} and', ToolCall(name="", error=f"not JSON: something follows the object; {WRITE}")),
        ('{"arguments": {}}', ToolCall(name="", error=WRITE)),
        ('["f"]', ToolCall(name="", error=WRITE)),
        ('{"name": "f", "arguments": "q"}', ToolCall(name="f", error=f"arguments is not an object; {WRITE}")),
        ('{"name": "f", "arguments": {"a": "\\ud800"}}', ToolCall(name="", error=f"not JSON: half of a surrogate pair; {WRITE}")),
        ('{"name": "f", "arguments": {"a": "\\ud83d\\ude00\nb"}}', ToolCall(name="f", arguments={"a": "😀\nb"})),
    ],
)
def test_calls(lossless: PreTrainedTokenizerFast, lossless_hermes: HermesRenderer, body: str, call: ToolCall) -> None:
    good = '<tool_call>{"name": "g"}</tool_call>'
    turn = lossless_hermes.parse(sampled(lossless, f"<tool_call>{body}</tool_call>{good}<|im_end|>"))
    assert turn.calls == (call, ToolCall(name="g"))


@pytest.mark.parametrize(
    "body", ["[" * 20_000, '{"name": "f", "arguments": {"a": ' + "9" * 5000 + "}}", '{"name": "f", "arguments": {"a": NaN}}']
)
def test_json_that_breaks_parsers(trained: PreTrainedTokenizerFast, body: str) -> None:
    renderer = HermesRenderer(trained)
    (call,) = renderer.parse(sampled(trained, f"<tool_call>{body}</tool_call><|im_end|>")).calls
    assert call.error is not None and call.error.startswith("not JSON: a number is too long")


def test_an_unfinished_turn_is_ended_and_told(lossless: PreTrainedTokenizerFast, lossless_hermes: HermesRenderer) -> None:
    following = "\n<|im_start|>user\n<tool_response>\nthink is not closed\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    assert lossless_hermes.text(lossless_hermes.extend(sampled(lossless, "<think>a"), [])) == "<|im_end|>" + following
    assert lossless_hermes.text(lossless_hermes.extend(sampled(lossless, "<think>a<|im_end|>"), [])) == following
    with pytest.raises(InputError, match="extended by messages"):
        lossless_hermes.extend(sampled(lossless, "Velor<|im_end|>"), [])


def test_a_thought_by_itself(qwen: PreTrainedTokenizerFast) -> None:
    renderer = HermesRenderer(qwen)
    thought = renderer.thought(" a </answer>")
    assert renderer.text(thought) == "<think>\na [/answer]\n</think>\n\n"
    assert renderer.write(Turn(thought="a [/answer]", answer="b"))[: len(thought)] == thought


def test_stops(trained: PreTrainedTokenizerFast) -> None:
    renderer = HermesRenderer(trained)
    assert renderer.stop == ()
    assert set(trained.convert_ids_to_tokens(renderer.stop_token_ids)) == {"<|im_end|>", "<|endoftext|>"}


def test_refusals(trained: PreTrainedTokenizerFast) -> None:
    renderer = make_renderer("hermes", trained)
    call = ToolCall(name="f")
    bad = [
        Turn(),
        Turn(error="x"),
        Turn(calls=(call,), answer="x"),
        Turn(answer=" "),
        Turn(answer="</answer>"),
        Turn(thought="</think>", answer="x"),
    ]
    for turn in bad:
        with pytest.raises(InputError):
            renderer.write(turn)


def test_tools_are_listed_as_json(trained: PreTrainedTokenizerFast) -> None:
    renderer = HermesRenderer(trained)
    text = renderer.text(renderer.prompt([Message(role="user", content="Who?")], [TOOL]))
    listed = text.partition("<tools>\n")[2].partition("\n</tools>\n\nFor")[0]
    assert json.loads(listed) == {"type": "function", "function": TOOL}
