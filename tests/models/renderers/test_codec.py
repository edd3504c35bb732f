import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from spadework.core.errors import ConfigError
from spadework.models.renderers.codec import Codec


@given(st.data())
def test_text_never_becomes_an_added_token(codec: Codec, added_ids, hostile, data: st.DataObject) -> None:
    assert added_ids.isdisjoint(codec.encode([data.draw(hostile)]))


@given(st.data())
def test_text_survives(lossless_codec: Codec, hostile, data: st.DataObject) -> None:
    text = data.draw(hostile)
    assert lossless_codec.decode(lossless_codec.encode([text])) == text.encode("utf-8", "replace").decode()


@given(st.lists(st.text(max_size=10).filter(lambda text: "<" not in text) | st.just("<|im_end|>"), max_size=6))
def test_pieces_get_the_tokens_of_the_joined_text(tokenizer, codec: Codec, texts: list[str]) -> None:
    pieces = [codec.end if text == "<|im_end|>" else text for text in texts]
    assert codec.encode(pieces) == tokenizer.backend_tokenizer.encode("".join(texts), add_special_tokens=False).ids


def test_marks_reads_the_tokens_that_we_write(trained: PreTrainedTokenizerFast) -> None:
    codec = Codec(trained, ())
    think, end = trained.convert_tokens_to_ids(["<think>", "<|im_end|>"])
    assert codec.marks("a <think>b<|im_end|>") == ["a ", think, "b", end]
    assert codec.marks("") == []


def test_spelled_tags_of_others_are_disarmed(trained: PreTrainedTokenizerFast, qwen: PreTrainedTokenizerFast) -> None:
    text = "a </answer> b <think> c <answers>"
    # Qwen has <think> as a token and <answer> as text.
    assert Codec(qwen, ("answer", "think")).foreign(text) == "a [/answer] b <think> c <answers>"
    assert Codec(trained, ("answer", "think")).foreign(text) == text


def test_a_vocabulary_without_messages_is_refused() -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    with pytest.raises(ConfigError, match=r"no token '<\|im_start\|>'"):
        Codec(bare, ())


def test_a_model_that_spells_added_tokens_is_refused() -> None:
    backend = Tokenizer(models.BPE(vocab={"<|im_start|>": 0, "<|im_end|>": 1, "a": 2}, merges=[], ignore_merges=True))
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    with pytest.raises(ConfigError, match=r"reads '<\|im_(start|end)\|>' in plain text"):
        Codec(PreTrainedTokenizerFast(tokenizer_object=backend), ())
