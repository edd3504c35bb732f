import re
from pathlib import Path

import pytest

from spadework.core.errors import InputError
from spadework.corpus.document import Document
from spadework.corpus.ingest import read_documents
from spadework.corpus.store import MemoryCorpus
from spadework.rewards.matching import em
from spadework.synthesis.spans import Lead, make_spans, page_split, span_tasks
from spadework.tasks.task import Task
from spadework.tasks.validate import validate


def ids(split: str, count: int) -> list[str]:
    """Page ids that fall into a split."""
    names = (f"p{number}" for number in range(1000))
    return [name for name in names if page_split(name) == split][:count]


A, B, C = ids("train", 3)
FILM = "The Quiet Harbour is a drama about lonely lighthouse keepers directed by Mara Velt and shown at many festivals."
PAGES = [
    Document(id=A, title="The Quiet Harbour", text=FILM),
    Document(id=B, title="Mara Velt", text="Mara Velt (born 1950) studied painting and sculpture for many years in Ostrava."),
    # A page that answers "studied painting and sculpture" better than Mara Velt's own: the clause alone must not lead there.
    *(Document(id=f"noise{number}", title=f"Painter {number}", text="Painting and sculpture for many years.") for number in range(8)),
]


def test_one_hop_by_hand() -> None:
    tasks = [task for task in span_tasks(MemoryCorpus(PAGES), seed=0, split="train", hops=1) if task.evidence == (A,)]
    (task,) = tasks  # a sentence is asked about once
    assert task.question == "Fill in the blank: " + FILM.replace("Mara Velt", "____")
    assert (task.answers, task.hops, task.kind) == (("Mara Velt",), 1, "span")
    (step,) = task.meta["steps"]
    assert step["document"] == "The Quiet Harbour"
    assert step["quote"] == "The Quiet Harbour is a drama about lonely lighthouse keepers directed by Mara Velt"
    assert 3 <= len(step["query"].split()) <= 6 and step["query"] in task.question


def test_two_hops_by_hand() -> None:
    (task,) = span_tasks(MemoryCorpus(PAGES), seed=0, split="train", hops=2)
    # Longer clauses keep more words; all of these are on the noise pages too.
    assert task.question == (
        f"First find the missing name: {FILM.replace('Mara Velt', '____')} "
        "Then fill in the blank about that entity: that entity ... painting and sculpture for many years in ____"
    )
    assert task.answers == ("Ostrava",)
    assert task.evidence == (A, B)
    first, second = task.meta["steps"]
    assert first["query"] in task.question
    assert second == {"query": "Mara Velt many years in", "quote": second["quote"], "document": "Mara Velt"}
    assert second["quote"].endswith("for many years in Ostrava")


@pytest.mark.parametrize(
    "change",
    [
        lambda page: page.model_copy(update={"text": page.text + " She lives in Ostrava."}) if page.id == A else page,  # A tells the answer
        lambda page: page.model_copy(update={"id": ids("dev", 1)[0]}) if page.id == B else page,  # the second page is of another split
        lambda page: page.model_copy(update={"text": "Short."}) if page.id.startswith("noise") else page,  # the clause alone finds page B
    ],
)
def test_shortcuts_and_leaks_are_refused(change) -> None:
    assert list(span_tasks(MemoryCorpus([change(page) for page in PAGES]), seed=0, split="train", hops=2)) == []


@pytest.mark.parametrize(
    ("bad", "good"),  # what makes the first one bad is the only difference
    [
        (
            "In January the keepers repaired every single lamp on the coast.",
            "In Ostrava the keepers repaired every single lamp on the coast.",
        ),
        (
            "Mara is a drama about lonely keepers shown at many festivals.",
            "Here, Mara is a drama about lonely keepers shown at many festivals.",
        ),
        ("The drama about lonely keepers is called Quiet Harbour by all.", "The drama about lonely keepers is called Silent Bay by all."),
        (
            "The drama about lonely keepers was shown by a Venezuelan there.",
            "The drama about lonely keepers was shown by the Venezuelan there.",
        ),
        (
            "It was the Venezuelan crew that filmed the lonely lighthouse keepers at night.",
            "It was the Venezuelan that filmed the lonely lighthouse keepers at night.",
        ),
        (
            "Mara Velt and her sister, Velt, filmed lonely keepers at night.",
            "Mara Velt and her sister, Sonja, filmed lonely keepers at night.",
        ),
        ("The lonely keepers of Ostrava.", "The lonely keepers of Ostrava, who filmed every lamp on the coast."),
    ],
    ids=["month", "first word", "own title", "after an article", "before a noun", "told by the rest", "too short"],
)
def test_what_is_no_question(bad: str, good: str) -> None:
    def questions(sentence: str) -> list[str]:
        page = Document(id=A, title="The Quiet Harbour", text=sentence)
        return [task.question for task in span_tasks(MemoryCorpus([page, *PAGES[2:]]), seed=0, split="train", hops=1)]

    assert questions(bad) == []
    assert len(questions(good)) == 1


def test_markdown_links_name_their_page() -> None:
    text = FILM.replace("Mara Velt", '[Mara Velt](mara.md "painter")').replace("lonely", "**lonely**")
    corpus = MemoryCorpus([PAGES[0].model_copy(update={"text": text}), *PAGES[1:]])
    (task,) = (task for task in span_tasks(corpus, seed=0, split="train", hops=1) if task.evidence == (A,))
    assert task.question == "Fill in the blank: " + FILM.replace("Mara Velt", "____")
    assert task.answers == ("Mara Velt",)
    assert task.meta["steps"][0]["quote"] in text  # verbatim, markup included


def test_asking_for_too_much_or_for_nonsense() -> None:
    corpus = MemoryCorpus(PAGES)
    with pytest.raises(InputError, match="gives 1 2-hop span tasks for split 'train', 5 are wanted"):
        make_spans(corpus, seed=0, counts={2: 5}, split="train")
    with pytest.raises(InputError, match="1 or 2 hops, not 3"):
        make_spans(corpus, seed=0, counts={3: 1}, split="train")
    with pytest.raises(InputError, match="split 'all' is not one of train, dev, test"):
        make_spans(corpus, seed=0, counts={1: 1}, split="all")  # type: ignore[arg-type]


def test_page_splits_have_their_shares() -> None:
    splits = [page_split(f"page {number}") for number in range(5000)]
    assert splits.count("train") / 5000 == pytest.approx(0.6, abs=0.03)
    assert splits.count("dev") / 5000 == pytest.approx(0.2, abs=0.03)


@pytest.fixture(scope="module")
def hotpot(data_dir: Path) -> MemoryCorpus:
    return MemoryCorpus(read_documents(data_dir / "hotpotqa_dev500" / "corpus.jsonl"))


def check(task: Task, corpus: MemoryCorpus) -> None:
    assert validate(task, corpus, em) == []
    *_, last = task.meta["steps"]
    for key, step in zip(task.evidence, task.meta["steps"], strict=True):
        page = corpus.get(key)
        assert page is not None and step["document"] == page.title
        assert step["quote"] in page.text and len(step["quote"].split()) <= 32
        assert key in [hit.id for hit in corpus.search(step["query"])]
    assert task.answers[0] in last["quote"]
    assert not re.search(rf"(?<!\w){re.escape(task.answers[0])}(?!\w)", task.question, flags=re.IGNORECASE)
    assert task.meta["steps"][0]["query"] in task.question
    if task.hops == 2:
        assert task.evidence[1] not in [hit.id for hit in corpus.search(task.question)]


def test_tasks_of_a_real_corpus(hotpot: MemoryCorpus) -> None:
    pages: dict[str, set[str]] = {}
    for split, counts in (("train", {1: 40, 2: 10}), ("dev", {1: 20, 2: 4}), ("test", {1: 20, 2: 4})):
        tasks = make_spans(hotpot, seed=1, counts=counts, split=split)  # type: ignore[arg-type]
        assert [task.hops for task in tasks] == [1] * counts[1] + [2] * counts[2]
        assert len({task.id for task in tasks}) == len(tasks)
        for task in tasks:
            check(task, hotpot)
        pages[split] = {key for task in tasks for key in task.evidence}
    assert not pages["train"] & (pages["dev"] | pages["test"])
    assert not pages["dev"] & pages["test"]


def test_the_seed_decides(hotpot: MemoryCorpus) -> None:
    first, again, other = (make_spans(hotpot, seed=seed, counts={1: 10}, split="dev") for seed in (0, 0, 1))
    assert first == again != other


def test_a_question_with_a_lead_by_hand() -> None:
    corpus = MemoryCorpus(PAGES)
    tasks = [t for t in span_tasks(corpus, seed=0, split="train", hops=1, lead=Lead(10, 12)) if t.evidence == (A,)]
    (task,) = tasks
    before = "The Quiet Harbour is a drama about lonely lighthouse keepers directed by"  # twelve words
    assert task.question == "Fill in the blank: " + FILM.replace("Mara Velt", "____")
    assert task.answers == ("Mara Velt", f"{before} Mara Velt")
    assert task.meta["steps"] == [{"query": before, "quote": f"{before} Mara Velt", "document": "The Quiet Harbour"}]
    assert all(t.evidence != (A,) for t in span_tasks(corpus, seed=0, split="train", hops=1, lead=Lead(3, 11)))
    with pytest.raises(InputError, match="have 1 hop, not 2"):
        span_tasks(corpus, seed=0, split="train", hops=2, lead=Lead(3, 9))


@pytest.mark.parametrize(
    "text",
    [
        "is an 14 Mara Part 135 carrier on the grounds of the old airport of the northern coast",
        "was sung by Mara Velt/Sand in the old town of the northern coast every night for many years",
        'was heard in "Mara Velt is a Butterfly" and in other old songs of the northern coast',
        "was led by the keepers Mara Velt and Cy Sand in the old town of the northern coast",
        "was the Calvary-St. Mara Velt church in the old town of the northern coast for many years",
    ],
)
def test_a_piece_of_a_longer_name_is_no_blank(text: str) -> None:
    page = Document(id=A, title="The Quiet Harbour", text=f"The quiet harbour {text}.")
    made = span_tasks(MemoryCorpus([page, *PAGES[2:]]), seed=0, split="train", hops=1)
    assert [task.answers for task in made] == []


def test_a_whole_name_is_one() -> None:
    text = 'The quiet harbour was heard in "Mara Velt" and in other old songs of the northern coast.'
    made = span_tasks(MemoryCorpus([Document(id=A, title="The Quiet Harbour", text=text), *PAGES[2:]]), seed=0, split="train", hops=1)
    assert [task.answers for task in made] == [("Mara Velt",)]
