"""Sequences of the reading stage: what they show, and which tokens they teach."""

import re
from random import Random

import pytest

from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.models.renderers.tags import ERRORS, TagsRenderer
from spadework.models.tokenizer import train_tokenizer
from spadework.training.reading import ReadingPhase, make_reading_sample
from spadework.training.stages import SFTStage

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


def test_what_follows_a_relation_in_a_question_is_read_there() -> None:
    objects = {"mayor": "Velor Tash", "spouse": "Mira Sool", "river": "Lo Pek", "twin": "Dun Kal"}
    facts = {relation: f"Ondal Brin {relation} {found}" for relation, found in objects.items()}
    pages = [Document(id=relation, title="Ondal Brin", text=fact) for relation, fact in facts.items()]
    tokenizer = train_tokenizer([*facts.values(), *ERRORS.values(), "What is Which one Name 's"] * 3, vocab_size=500)
    renderer, phase = TagsRenderer(tokenizer), ReadingPhase(follow=1.0)
    numbers = set()
    for seed in range(40):
        try:
            (span,) = make_reading_sample(pages, renderer, phase, Random(seed)).spans
        except InputError as error:  # a question wants more relations than the pages have
            assert "lines of 4 to 40 words about different relations" in str(error)
            continue
        text = renderer.text(span.token_ids)
        asked = text.partition("Ondal Brin's ")[2].partition("<|im_end|>")[0]
        relations, sign = asked[:-1].split(" "), asked[-1]
        numbers.add(len(relations))
        taught = []
        for relation in re.findall(r"<search> Ondal Brin (\w+)</search>", text):
            after = relations[relations.index(relation) + 1 :][:1]
            ending = f" {after[0]} {objects[relation]} {after[0]}" if after else sign
            assert f"<think> {facts[relation]} {relation}{ending}</think>" in text
            taught.append(f"{ending}</think>")
        assert sorted(relations) == sorted(re.findall(r"<think> Ondal Brin (\w+)", text))
        assert renderer.text([token for token, mask in zip(span.token_ids, span.mask, strict=True) if mask]) == "".join(taught)
    assert numbers == {1, 2, 3, 4}


def test_only_lines_can_follow_a_question() -> None:
    with pytest.raises(ValueError, match="follow has no effect with form 'blanks'"):
        ReadingPhase(form="blanks", follow=0.5)


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


def test_replay_leaves_room_for_demonstrations() -> None:
    assert SFTStage(replay=ReadingPhase(share=0.2)).replay is not None
    with pytest.raises(ValueError, match="a share of 1 leaves no demonstrations; give less than 1"):
        SFTStage(replay=ReadingPhase())
