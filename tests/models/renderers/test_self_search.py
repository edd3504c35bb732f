"""Self-search: one turn with queries and their answers, of which only the answers stay out of the loss."""

import pytest
from transformers import PreTrainedTokenizerFast

from spadework.core.errors import InputError
from spadework.core.messages import Message, Turn
from spadework.models.renderers.self_search import SelfSearchRenderer

ATTEMPT = (
    "<think> Ondal Brin</think><search> Velor Tash</search><information> Ondal Brin\n Velor</information>"
    "<search> Tash</search><information> Tash</information><answer> Velor Tash</answer>"
)


def tokens(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    ids: list[int] = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def test_sampling_stops_at_the_answer_only(trained: PreTrainedTokenizerFast, qwen: PreTrainedTokenizerFast) -> None:
    assert SelfSearchRenderer(trained).stop == ()
    known = SelfSearchRenderer(trained).stop_token_ids
    assert trained.convert_tokens_to_ids("</answer>") in known and trained.convert_tokens_to_ids("</search>") not in known
    assert SelfSearchRenderer(qwen).stop == ("</answer>",)


def test_an_attempt_is_one_turn(lossless: PreTrainedTokenizerFast) -> None:
    turn = SelfSearchRenderer(lossless).parse(tokens(lossless, ATTEMPT))
    assert turn.answer == "Velor Tash" and turn.error is None and not turn.calls
    assert turn.thought == ATTEMPT.partition("<answer>")[0]


def test_only_written_information_is_out_of_the_loss(lossless: PreTrainedTokenizerFast) -> None:
    renderer = SelfSearchRenderer(lossless)
    ids = tokens(lossless, ATTEMPT)
    mask = renderer.loss_mask(ids)
    assert len(mask) == len(ids)
    left_out = renderer.text([token for token, kept in zip(ids, mask, strict=True) if not kept])
    kept = renderer.text([token for token, keeps in zip(ids, mask, strict=True) if keeps])
    assert left_out == " Ondal Brin\n Velor Tash"
    assert kept == ATTEMPT.replace(" Ondal Brin\n Velor</information>", "</information>").replace(
        "<information> Tash</information>", "<information></information>"
    )


def test_masks_at_the_edges(trained: PreTrainedTokenizerFast) -> None:
    renderer = SelfSearchRenderer(trained)
    assert renderer.loss_mask([]) == []
    assert all(renderer.loss_mask(tokens(trained, "<think> Ondal</think><answer> Brin</answer>")))
    unfinished = tokens(trained, "<search> Tash</search><information> Ondal Brin")
    assert renderer.loss_mask(unfinished) == [True] * 4 + [False] * 2
    assert renderer.loss_mask(tokens(trained, "</information> Ondal")) == [True] * 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<information> Ondal</information><answer> Brin</answer>", "information stands without a query"),
        ("<search> Tash</search><think> Ondal</think><information> Brin</information>", "information stands without a query"),
        ("<search> Tash</search>", "no action: use answer"),
        ("<search> Tash<information> Brin</information>", "information stands inside search"),
        ("<search> Tash</search><information> Brin", "information is not closed"),
        ("<search></search>", "search is empty"),
        ("</answer>", "answer is closed but was not opened"),
    ],
)
def test_malformed_attempts(trained: PreTrainedTokenizerFast, text: str, says: str) -> None:
    turn = SelfSearchRenderer(trained).parse(tokens(trained, text))
    assert turn.answer is None and turn.error == says


def test_what_explains_it_and_what_it_cannot_do(qwen: PreTrainedTokenizerFast, trained: PreTrainedTokenizerFast) -> None:
    renderer = SelfSearchRenderer(qwen, instruction=None)
    prompt = renderer.text(renderer.prompt([Message(role="user", content="Who?")]))
    assert "from what you know" in prompt and prompt.endswith("Question: Who?<|im_end|>\n<|im_start|>assistant\n")
    with pytest.raises(InputError, match="cannot write demonstrations"):
        SelfSearchRenderer(trained).write(Turn(answer="Brin"))
