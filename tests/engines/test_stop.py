"""Stop strings over vocabularies that split characters and drop spaces."""

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from spadework.core.errors import InputError
from spadework.engines.stop import StopRule


def first_end(rule: StopRule, ids: list[int]) -> int | None:
    """Number of tokens at which a sample ends, asked as the engine asks."""
    for count in range(1, len(ids) + 1):
        if rule.may_end[ids[count - 1]] and rule.ends(np.array(ids[:count])):
            return count
    return None


def test_the_table_is_small_and_sufficient(tokenizer: PreTrainedTokenizerFast) -> None:
    rule = StopRule(tokenizer, ("</search>",), ())
    assert 0 < rule.may_end.sum() < 0.5 * len(tokenizer)
    ids = tokenizer.encode("Ondal</search> Brin")
    end = first_end(rule, ids)
    assert end is not None and "</search>" in tokenizer.decode(ids[:end]) and "</search>" not in tokenizer.decode(ids[: end - 1])


@pytest.mark.parametrize("stop", ["é", "。", "naïve 。", "🙂"])
def test_a_stop_string_may_end_within_a_character_of_several_bytes(tokenizer: PreTrainedTokenizerFast, stop: str) -> None:
    ids = tokenizer.encode(f"Who{stop}Brin")
    assert len(tokenizer.encode(stop)) > 1
    end = first_end(StopRule(tokenizer, (stop,), ()), ids)
    assert end is not None and tokenizer.decode(ids[:end]) == f"Who{stop}"


def test_a_stop_string_may_end_with_a_space_that_the_decoder_drops() -> None:
    vocabulary = {"▁Ondal": 0, "▁Brin": 1, ":": 2}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=":"))
    backend.decoder = decoders.Metaspace()
    rule = StopRule(PreTrainedTokenizerFast(tokenizer_object=backend), (": ",), ())
    assert first_end(rule, [0, 2, 1, 1]) == 3


def test_stop_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    rule = StopRule(tokenizer, (), (7,))
    assert rule.may_end.nonzero()[0].tolist() == [7]
    assert first_end(rule, [5, 6, 7, 8]) == 3
    assert first_end(StopRule(tokenizer, (), ()), [5, 6, 7]) is None


def test_the_earliest_of_several_ends_the_sample(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer.encode("mayor of Ondal Brin")
    rule = StopRule(tokenizer, ("Brin", "of"), ())
    end = first_end(rule, ids)
    assert end is not None and tokenizer.decode(ids[:end]).endswith("of")


def test_an_empty_stop_string_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match="empty stop string"):
        StopRule(tokenizer, ("x", ""), ())
