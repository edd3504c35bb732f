import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from spadework.core.errors import ConfigError, InputError
from spadework.core.messages import Message, ToolCall, Turn
from spadework.models.renderers.tags import ERRORS, TagsRenderer, spaced

TAG = re.compile(r"</?(think|search|read|answer|information)>")
WORDS = st.text(max_size=20).filter(lambda text: not TAG.search(text)).map(str.strip)
SEARCH = Turn(thought="Ondal Brin", calls=(ToolCall(name="search", arguments={"query": "Velor Tash"}),))


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    thought, text = draw(WORDS), draw(WORDS.filter(bool))
    tool, argument = draw(st.sampled_from([("search", "query"), ("read", "title"), ("", "")]))
    if not tool:
        return Turn(thought=thought, answer=text)
    return Turn(thought=thought, calls=(ToolCall(name=tool, arguments={argument: text}),))


def sampled(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Tokens of a turn in which the policy means the tags that it writes."""
    ids: list[int] = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def shown(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    text: str = tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=False)
    return text


def test_a_turn_token_by_token(trained: PreTrainedTokenizerFast) -> None:
    renderer = TagsRenderer(trained)
    tokens = trained.convert_ids_to_tokens(renderer.write(SEARCH))
    assert tokens == ["<think>", "ĠOndal", "ĠBrin", "</think>", "<search>", "ĠVelor", "ĠTash", "</search>"]
    assert trained.convert_ids_to_tokens(renderer.write(Turn(answer="Velor Tash"))) == ["<answer>", "ĠVelor", "ĠTash", "</answer>"]


def test_a_conversation_as_text(lossless: PreTrainedTokenizerFast, lossless_tags: TagsRenderer) -> None:
    messages = [Message(role="system", content="Be brief."), Message(role="user", content="Who?")]
    ids = lossless_tags.prompt(messages)
    ids += lossless_tags.write(SEARCH)
    ids += lossless_tags.extend(lossless_tags.write(SEARCH), [Message(role="tool", content="Velor Tash\nOndal Brin\n")])
    ids += lossless_tags.write(Turn(answer="Brin"))
    ids += lossless_tags.extend(lossless_tags.write(Turn(answer="Brin")), [Message(role="user", content="Sure?")])
    assert shown(lossless, ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n"
        "<think> Ondal Brin</think><search> Velor Tash</search>"
        "<information> Velor Tash\n Ondal Brin</information>"
        "<answer> Brin</answer><|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert lossless_tags.text(ids) == shown(lossless, ids)


def test_a_thought_by_itself(trained: PreTrainedTokenizerFast, qwen: PreTrainedTokenizerFast) -> None:
    line = "Ondal Brin mayor Velor Tash"
    whole, cue = (trained.convert_ids_to_tokens(TagsRenderer(trained).thought(text)) for text in (line, "Ondal Brin mayor"))
    assert whole[:4] == ["<think>", "ĠOndal", "ĠBrin", "Ġmayor"] and whole[-2:] == ["ĠTash", "</think>"]
    # The beginning of a line gives the beginning of its thought, up to the closing tag.
    assert cue[:-1] == whole[: len(cue) - 1]
    renderer = TagsRenderer(qwen)
    assert renderer.text(renderer.thought("a </search>")) == "<think> a [/search]</think>"


def test_names_are_single_tokens_wherever_they_stand_in_information(trained: PreTrainedTokenizerFast) -> None:
    renderer = TagsRenderer(trained)
    ids = renderer.extend(renderer.write(SEARCH), [Message(role="tool", content="Velor Tash\nVelor Brin")])
    tokens = trained.convert_ids_to_tokens(ids)
    assert tokens == ["<information>", "ĠVelor", "ĠTash", "Ċ", "ĠVelor", "ĠBrin", "</information>"]
    assert spaced("\na\n b ") == " a\n  b"


@given(st.data())
def test_steps_give_the_tokens_of_the_whole(tags: TagsRenderer, hostile, data: st.DataObject) -> None:
    messages = [Message(role="user", content=data.draw(hostile))]
    ids = tags.prompt(messages)
    for turn in data.draw(st.lists(turns(), max_size=3)):
        role = "tool" if turn.answer is None else "user"
        results = [Message(role=role, content=data.draw(hostile)) for _ in range(data.draw(st.integers(1, 2)) if role == "tool" else 1)]
        ids += tags.write(turn)
        ids += tags.extend(tags.write(turn), results)
        messages += [Message(role="assistant", turn=turn), *results]
    assert tags.prompt(messages) == ids


@given(turns())
def test_parse_reads_what_write_writes(lossless_tags: TagsRenderer, turn: Turn) -> None:
    assert lossless_tags.parse(lossless_tags.write(turn)) == turn


@given(st.data())
def test_pages_and_users_cannot_write_marks(tokenizer, tags: TagsRenderer, added_ids, hostile, data: st.DataObject) -> None:

    def marks(text: str) -> list[str]:
        """Every tag that can be read and every added token, where tags that are tokens count as such only."""
        ids = tags.prompt([Message(role="user", content=text)]) + tags.extend([], [Message(role="tool", content=text)])
        as_text = shown(tokenizer, [token for token in ids if token not in added_ids])
        spelled = [match[0] for match in TAG.finditer(as_text) if match[0] not in tokenizer.added_tokens_encoder]
        return [tokenizer.convert_ids_to_tokens(token) for token in ids if token in added_ids] + spelled

    assert marks(data.draw(hostile)) == marks("x")


@given(st.data())
def test_whatever_is_sampled_has_a_reading_and_a_continuation(tokenizer, tags: TagsRenderer, data: st.DataObject) -> None:
    marks = sampled(tokenizer, "<think></think><search></search><read></read><answer></answer><information></information>")
    token = st.integers(0, len(tokenizer) - 1) | st.sampled_from([*marks, *tags.stop_token_ids])
    ids = data.draw(st.lists(token, max_size=12))
    turn = tags.parse(ids)
    assert (turn.error is None) == (len(turn.calls) + (turn.answer is not None) == 1)
    assert tags.extend(ids, [Message(role="tool", content="x")])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no action: use search or read or answer"),
        ("Velor Tash", "no action: use search or read or answer"),
        ("<think> a</think>", "no action: use search or read or answer"),
        ("<think> a", "think is not closed"),
        ("<search> a", "search is not closed"),
        ("a</search>", "search is closed but was not opened"),
        ("<think> a<search> b</search>", "search stands inside think"),
        ("<think> a</search>", "search stands inside think"),
        ("<information> a</information>", "only the environment writes information"),
        ("<search> a</search><read> b</read>", "more than one action"),
        ("<search> a</search><think> b</think>", "think stands after the action"),
        ("<search> </search>", "search is empty"),
    ],
)
def test_malformed_turns(lossless: PreTrainedTokenizerFast, lossless_tags: TagsRenderer, text: str, error: str) -> None:
    ids = sampled(lossless, text)
    assert lossless_tags.parse(ids) == Turn(error=error)
    # Shown as information, after the closing tag that is missing.
    opened = {"think is not closed": "</think>", "search is not closed": "</search>"}.get(error, "")
    assert shown(lossless, lossless_tags.extend(ids, [])) == f"{opened}<information> {error}</information>"


def test_errors_have_no_tags() -> None:
    # A tag in an error would be spelled out where tags are tokens, and disarmed where they are not.
    assert not any("<" in text for text in ERRORS.values())


@pytest.mark.parametrize(
    ("text", "turn"),
    [
        ("<answer> 42</answer>", Turn(answer="42")),
        ("Well. <think>a\nb</think> So:<answer>42</answer><|im_end|>", Turn(thought="Well.\na\nb\nSo:", answer="42")),
        ("<think> a\n  b\n c\nd</think><answer>x</answer>", Turn(thought="a\n b\nc\nd", answer="x")),
        ("<read>Brin</read>\n", Turn(calls=(ToolCall(name="read", arguments={"title": "Brin"}),))),
        ("<think></think><answer>a < b > c</answer>", Turn(answer="a < b > c")),
    ],
)
def test_loose_turns_are_read(lossless: PreTrainedTokenizerFast, lossless_tags: TagsRenderer, text: str, turn: Turn) -> None:
    assert lossless_tags.parse(sampled(lossless, text)) == turn


def test_a_policy_that_ends_the_message_gets_a_new_one(lossless: PreTrainedTokenizerFast, lossless_tags: TagsRenderer) -> None:
    results = [Message(role="tool", content="a"), Message(role="tool", content="b")]
    following = "\n<|im_start|>user\n<information> a</information><|im_end|>\n<|im_start|>assistant\n<information> b</information>"
    assert shown(lossless, lossless_tags.extend(sampled(lossless, "Hm.<|im_end|>"), results)) == following
    assert shown(lossless, lossless_tags.extend(sampled(lossless, "Hm.<|endoftext|>"), results)) == "<|im_end|>" + following


def test_stops(trained: PreTrainedTokenizerFast, qwen: PreTrainedTokenizerFast) -> None:
    closings = ["</search>", "</read>", "</answer>"]
    assert TagsRenderer(trained).stop == ()
    assert {*trained.convert_ids_to_tokens(TagsRenderer(trained).stop_token_ids)} == {*closings, "<|im_end|>", "<|endoftext|>"}
    assert TagsRenderer(qwen).stop == tuple(closings)
    assert {*qwen.convert_ids_to_tokens(TagsRenderer(qwen).stop_token_ids)} == {"<|im_end|>", "<|endoftext|>"}


def test_the_instruction_explains_the_tags_with_their_tokens(trained: PreTrainedTokenizerFast) -> None:
    calculate = {"name": "calculate", "description": "Works out\n a sum.", "parameters": {"properties": {"sum": {"type": "string"}}}}
    renderer = TagsRenderer(trained, tools=[{"type": "function", "function": calculate}], instruction=None)
    ids = renderer.prompt([Message(role="user", content="1+1?")])
    assert "<calculate> sum</calculate> Works out a sum." in renderer.text(ids)
    assert renderer.text(ids).endswith("\n\nQuestion: 1+1?<|im_end|>\n<|im_start|>assistant\n")
    assert trained.convert_tokens_to_ids("<answer>") in ids
    assert renderer.stop == ("</calculate>",)
    # A tag that is not a token is text, and works beside those that are.
    turn = Turn(calls=(ToolCall(name="calculate", arguments={"sum": "1+1"}),))
    assert renderer.parse(renderer.write(turn)) == turn


@pytest.mark.parametrize(
    ("name", "properties", "required"),
    [
        ("f", {"a": {"type": "string"}, "b": {"type": "string"}}, []),
        ("f", {"a": {"type": "integer"}}, ["a"]),
        ("f", {}, []),
        ("answer", {"a": {"type": "string"}}, ["a"]),
        ("a b", {"a": {"type": "string"}}, ["a"]),
    ],
)
def test_tools_that_cannot_have_a_tag(trained: PreTrainedTokenizerFast, name: str, properties: dict, required: list[str]) -> None:
    with pytest.raises(ConfigError, match=f"tool '{name}'.*hermes"):
        TagsRenderer(trained, tools=[{"name": name, "parameters": {"properties": properties, "required": required}}])


def test_optional_arguments_are_left_alone(trained: PreTrainedTokenizerFast) -> None:
    properties = {"query": {"type": "string"}, "limit": {"type": "integer"}}
    tool = {"name": "search", "parameters": {"properties": properties, "required": ["query"]}}
    renderer = TagsRenderer(trained, tools=[tool])
    assert renderer.parse(renderer.write(SEARCH)) == SEARCH


def test_refusals(trained: PreTrainedTokenizerFast) -> None:
    renderer = TagsRenderer(trained)
    question = [Message(role="user", content="Who?")]
    with pytest.raises(ConfigError, match="tool 'python' has no tag"):
        renderer.prompt(question, [{"name": "python", "parameters": {}}])
    with pytest.raises(InputError, match="needs a user message"):
        renderer.prompt([Message(role="system", content="x")])
    with pytest.raises(InputError, match="extended by messages"):
        renderer.extend(renderer.write(SEARCH), [])
    both = SEARCH.model_copy(update={"answer": "x"})
    for turn in (Turn(error="x"), Turn(), both, Turn(answer=" "), Turn(answer="</answer>"), Turn(thought="<search>", answer="x")):
        with pytest.raises(InputError):
            renderer.write(turn)
    for call in (ToolCall(name="python", arguments={"code": "x"}), ToolCall(name="search", arguments={"query": 1}), ToolCall(name="read")):
        with pytest.raises(InputError, match="a tag can carry"):
            renderer.write(Turn(calls=(call,)))


def test_a_malformed_turn_in_the_opening_is_plain_text(trained: PreTrainedTokenizerFast) -> None:
    messages = [
        Message(role="user", content="Who?"),
        Message(role="assistant", content="<search> x", turn=Turn(error="search is not closed")),
    ]
    ids = TagsRenderer(trained).prompt(messages)
    assert trained.convert_tokens_to_ids("<search>") not in ids
    assert TagsRenderer(trained).text(ids).endswith("assistant\n<search> x")
