"""Every vocabulary in turn, and texts that try to be more than text."""

import pytest
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from spadework.models.renderers.codec import Codec
from spadework.models.renderers.hermes import HermesRenderer
from spadework.models.renderers.tags import TagsRenderer
from spadework.models.tokenizer import CONTROL_TOKENS, TAG_TOKENS


@pytest.fixture(scope="session", params=["trained", "qwen", "tiny"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    found: PreTrainedTokenizerFast = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session", params=["trained", "qwen"])
def lossless(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    """The vocabularies that can spell every text."""
    found: PreTrainedTokenizerFast = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def added_ids(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    return frozenset(tokenizer.added_tokens_decoder)


# One of each per vocabulary: building one copies the vocabulary, which takes a second for Qwen's.
@pytest.fixture(scope="session")
def codec(tokenizer: PreTrainedTokenizerFast) -> Codec:
    return Codec(tokenizer, ())


@pytest.fixture(scope="session")
def tags(tokenizer: PreTrainedTokenizerFast) -> TagsRenderer:
    return TagsRenderer(tokenizer)


@pytest.fixture(scope="session")
def hermes(tokenizer: PreTrainedTokenizerFast) -> HermesRenderer:
    return HermesRenderer(tokenizer)


@pytest.fixture(scope="session")
def lossless_codec(lossless: PreTrainedTokenizerFast) -> Codec:
    return Codec(lossless, ())


@pytest.fixture(scope="session")
def lossless_tags(lossless: PreTrainedTokenizerFast) -> TagsRenderer:
    return TagsRenderer(lossless)


@pytest.fixture(scope="session")
def lossless_hermes(lossless: PreTrainedTokenizerFast) -> HermesRenderer:
    return HermesRenderer(lossless)


PARTS = [
    *CONTROL_TOKENS,
    *TAG_TOKENS,
    "<|end_of_text|>",
    "[PAD]",
    "\n",
    " ",
    "<",
    ">",
    "</",
    "Velor",
    " Tash",
    '{"name": "search"}',
    "é",
    "\ud800",
]


@pytest.fixture(scope="session")
def hostile() -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=8).map("".join)
