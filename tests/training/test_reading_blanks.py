"""Sequences of the reading form `blanks`: what they show, and which tokens they teach."""

from random import Random

import pytest

from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.models.renderers.tags import ERRORS, TagsRenderer
from spadework.models.tokenizer import train_tokenizer
from spadework.training.reading import ReadingPhase, make_reading_sample

SENTENCE = "the old bridge of Ondal Brin was built by Velor Tash in a very long winter."
PAGES = [Document(id="a", title="Bridge", text=SENTENCE)]


def test_a_blank_is_searched_for_and_answered_up_to_the_name() -> None:
    tokenizer = train_tokenizer([SENTENCE, *ERRORS.values(), "Fill in the blank: ____"] * 3, vocab_size=500)
    renderer = TagsRenderer(tokenizer)
    seen = set()
    for seed in range(20):
        (span,) = make_reading_sample(PAGES, renderer, ReadingPhase(form="blanks", lead=(2, 9)), Random(seed)).spans
        text = renderer.text(span.token_ids)
        name = "Velor Tash" if "by ____" in text else "Ondal Brin"
        lead = SENTENCE.partition(f" {name}")[0]
        question = f"Fill in the blank: {SENTENCE.replace(name, '____')}"
        information = f"<information> Bridge: {SENTENCE}</information>"
        assert text.partition(question)[2].partition("assistant\n")[2] == (
            f"<search> {lead}</search>{information}<answer> {lead} {name}</answer>"
        )
        taught = renderer.text([token for token, mask in zip(span.token_ids, span.mask, strict=True) if mask])
        copies = taught != f"<search> {lead}</search><answer> {lead} {name}</answer>"
        # What copying predicts of the results is taught too; the name, which the question hides, is not.
        assert not copies or ("very long winter" in taught.partition("</search>")[2] and taught.count(name) == 1)
        seen.add((name, copies))
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("lines", "Short.", "no line of 4 to 40 words in 10000 draws"),
        ("blanks", "Short.", "no sentence of 4 to 40 words in 10000 draws"),
        ("blanks", "nobody here has a name that a blank could stand for.", "no sentence with a name after 2 to 9 words in 10000 draws"),
    ],
)
def test_pages_without_anything_to_read_are_an_error(form: str, text: str, message: str) -> None:
    renderer = TagsRenderer(train_tokenizer([SENTENCE, *ERRORS.values()], vocab_size=500))
    with pytest.raises(InputError, match=message):
        make_reading_sample([Document(id="a", title="A", text=text)], renderer, ReadingPhase(form=form), Random(0))
