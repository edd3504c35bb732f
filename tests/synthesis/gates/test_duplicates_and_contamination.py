"""Tasks that are there twice, in this set or in an evaluation set: planted copies and paraphrases are found, other questions are not."""

import json
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.core.errors import ConfigError, InputError
from spadework.synthesis.curation.asked import name_words
from spadework.synthesis.curation.curate import curate
from spadework.synthesis.curation.minhash import MinHashIndex, shingles, signature
from spadework.synthesis.gates.contamination import read_benchmark
from spadework.synthesis.gates.gate import Ground, gates
from spadework.synthesis.gates.semantic_duplicates import SemanticDuplicates
from spadework.tasks.task import Task

CARRIERS = ("thinking of", "together with", "as regards", "and in connection to", "next to", "with a view on", "mindful of")


def task(question: str, *answers: str, key: str = "t", evidence: tuple[str, ...] = (), source: str = "") -> Task:
    return Task(id=key, question=question, answers=answers or ("Ada",), evidence=evidence, source=source)


def fates(name: str, tasks: list[Task], **options: object) -> list[str]:
    return [decision.fate for decision in curate(tasks, [gates.build(name, options)], Ground())]


def paraphrase(question: str, stream: Random) -> str:
    """Keeps the names, in another order, and no other word: runs of names between words of our own."""
    runs: list[list[str]] = []
    after = -2
    for place, word in enumerate(re.findall(r"[\w'\u2019.-]*\w", question)):
        if name_words(word):
            runs = [*runs[:-1], [*runs[-1], word]] if place == after + 1 else [*runs, [word]]
            after = place
    stream.shuffle(runs)
    return "please say it " + " ".join(f"{stream.choice(CARRIERS)} {' '.join(run)}" for run in runs)


def test_shingles_by_hand() -> None:
    assert shingles("Ab  cdEf") == {"ab cd", "b cde", " cdef"}
    assert shingles("ab") == {"ab"}


@given(st.text("ab c", min_size=30, max_size=60), st.text("ab c", min_size=30, max_size=60))
def test_a_signature_estimates_the_similarity(one: str, other: str) -> None:
    first, second = shingles(one), shingles(other)
    jaccard = len(first & second) / len(first | second)
    # Five standard errors of 128 entries: 5 * sqrt(0.25 / 128) = 0.22.
    assert abs(float((signature(one) == signature(other)).mean()) - jaccard) <= 0.22


def test_signatures_are_right_on_the_average_too() -> None:
    # Halves of one text shared: the entries must not all choose alike. 60 pairs, mean error below two standard errors of one.
    stream = Random(3)

    def words(count: int) -> str:
        return "".join(stream.choice("abcdefghij ") for _ in range(count))

    errors = []
    for share in range(60):
        same = words(share)
        one, other = same + words(60 - share), same + words(60 - share)
        first, second = shingles(one), shingles(other)
        errors.append(abs(float((signature(one) == signature(other)).mean()) - len(first & second) / len(first | second)))
    assert sum(errors) / 60 <= 0.05


def test_similar_texts_are_found_again() -> None:
    index = MinHashIndex()
    texts = [
        "Who is the mayor of the town by the sea?",
        "Which river reaches the sea at Kedun?",
        "who is the  mayor of the town by the sea?",
    ]
    for text in texts[:2]:
        index.add(signature(text))
    assert index.similar(signature(texts[2]), 0.99) == [(0, 1.0)]
    assert index.similar(signature("What is the height of a mountain"), 0.5) == []


def test_near_duplicates() -> None:
    tasks = [
        task("Who is the mayor of the old town of Kedun by the sea?", "Velor Tash", key="1"),
        task("Who is the mayor of the old town of Kedun, by the sea?", "Velor Tash", key="2"),
        task("Who is the mayor of the old town of Kedul by the sea?", "Somebody Else", key="3"),
    ]
    # The second is the first with a comma; the third has another name, so it is another question.
    assert fates("near-duplicates", tasks) == ["kept", "dropped", "kept"]


def test_the_same_answer_from_the_same_pages_is_a_duplicate() -> None:
    tasks = [
        task("Who governs Kedun?", "Velor Tash", key="1", evidence=("a", "b")),
        task("Kedun has a mayor; what is the name?", "velor tash", key="2", evidence=("b", "a")),
        task("How many towns?", "3", key="3", evidence=("a", "b")),
        task("What is the number of villages?", "3", key="4", evidence=("a", "b")),
        task("Is it so?", "yes", key="5", evidence=("a",)),
        task("Was it otherwise?", "yes", key="6", evidence=("a",)),
        task("Kedun has a mayor; who?", "Velor Tash", key="7", evidence=("b", "a"), source="another"),
    ]
    assert fates("near-duplicates", tasks) == ["kept", "dropped", "kept", "kept", "kept", "kept", "kept"]


def test_semantic_duplicates_by_hand() -> None:
    gate = SemanticDuplicates(model="none")
    # Vectors of length 1: the second has cosine 0.96 with the first, the third 0.28.
    tasks = [task("Who leads Kedun?", key="1"), task("Kedun is led by whom?", key="2"), task("What is Kedun known for?", key="3")]
    tasks += [task("Who leads Ondal?", key="4")]

    class Vectors:
        name = "by hand"

        def queries(self, texts):
            import numpy as np

            return np.array([[1.0, 0.0], [0.96, 0.28], [0.28, 0.96], [1.0, 0.0]], dtype=np.float32)

        documents = queries

    gate.__dict__["_encoder"] = Vectors()
    assert [decision.fate for decision in curate(tasks, [gate], Ground())] == ["kept", "dropped", "kept", "kept"]


def test_name_words() -> None:
    assert name_words("Which city's mayor, Velor Tash's heir, met O'Neil in 1926?") == {"velor", "tash", "o'neil", "1926"}
    assert name_words("What is it?") == frozenset()
    assert name_words("Kedun\u2019s mayor") == {"kedun"}


@pytest.fixture
def asked_before(tmp_path: Path) -> Path:
    rows = [
        {"id": "1", "question": "Who was the director of the film Kudon Grekam?", "answers": ["Velor Tash"], "gold_ids": ["a", "b"]},
        {"id": "2", "question": "Are Kudon Grekam and Port Vale both films?", "answers": ["no"]},
        {"id": "3", "question": "what is the dwelling place of the dead called in this old language?", "answers": ["Hades"]},
    ]
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "set.jsonl"


@pytest.mark.parametrize(
    ("question", "answers", "fate"),
    [
        ("who was the director of the film kudon grekam", ("x",), "dropped"),  # eight words in a row
        ("Kudon Grekam had which director?", ("Velor Tash",), "dropped"),  # answer and names
        ("Kudon Grekam had which composer?", ("Ada Moon",), "kept"),
        ("Who is the mayor of Kedun?", ("Velor Tash",), "kept"),  # the answer only
        ("Between Port Vale and Kudon Grekam, which are books?", ("no",), "dropped"),  # all four names
        ("Is Port Vale a town?", ("no",), "kept"),
        ("in this old language, how is the place of the dead called?", ("hades",), "dropped"),  # names nothing; answer and words
        ("which god rules below the earth?", ("Hades",), "kept"),
    ],
)
def test_contamination_by_hand(asked_before: Path, question: str, answers: tuple[str, ...], fate: str) -> None:
    assert fates("contamination", [task(question, *answers)], against=[asked_before]) == [fate]


def test_the_same_evidence_is_contamination(asked_before: Path) -> None:
    same = task("Who made it?", "Velor Tash", evidence=("b", "a"))
    others = [same.model_copy(update={"source": "elsewhere"}), same.model_copy(update={"answers": ("Ada",)})]
    assert fates("contamination", [same], against=[asked_before]) == ["dropped"]
    assert [fates("contamination", [other], against=[asked_before]) for other in others] == [["kept"], ["kept"]]


def test_the_bars_on_hotpotqa(data_dir: Path) -> None:
    dev = data_dir / "hotpotqa_dev500/questions.jsonl"
    questions, stream = read_benchmark(dev), Random(0)
    copies = [one.model_copy(update={"question": one.question.upper(), "answers": ("someone else",)}) for one in questions]
    assert fates("contamination", copies, against=[dev]) == ["dropped"] * 500
    named = [one for one in questions if name_words(one.question)]
    rewritten = [one.model_copy(update={"question": paraphrase(one.question, stream), "evidence": ()}) for one in named]
    found = fates("contamination", rewritten, against=[dev]).count("dropped")
    assert len(named) == 497 == found  # the bar is 95 %
    others = [
        *read_benchmark(data_dir / "hotpotqa_train100/questions.jsonl"),
        *read_benchmark(data_dir / "musique_train100/questions.jsonl"),
    ]
    assert fates("contamination", others, against=[dev]).count("dropped") <= 0.01 * len(others)


def test_evaluation_sets_of_other_shapes(tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    path.write_text(json.dumps([{"Question": "Who?", "answer": ["Ada"]}, {"id": 7, "question": "What?", "answer": "x"}]))
    assert [(one.id, one.question, one.answers) for one in read_benchmark(path)] == [("0", "Who?", ("Ada",)), ("7", "What?", ("x",))]
    for text, message in (("{", "not JSON"), ("{}", "expected a list"), ('[{"question": "Who?"}]', "entry 0: no question with an answer")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_benchmark(path)
    with pytest.raises(InputError, match="no such file"):
        read_benchmark(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="'against' is missing"):
        gates.build("contamination")


def test_leakage(tmp_path: Path) -> None:
    path = tmp_path / "dev.jsonl"
    held_out = [task("Who?", key="1", source="world:abc", evidence=("w1",)), task("Where?", key="2", source="corpus-1", evidence=("a",))]
    path.write_text("".join(one.model_dump_json() + "\n" for one in held_out))
    tasks = [
        task("What?", source="world:abc", evidence=("w9",)),
        task("What?", source="world:abd", evidence=("w1",)),
        task("What?", source="corpus-1", evidence=("b", "a")),
        task("What?", source="corpus-1", evidence=("b",)),
        task("What?", source="corpus-2", evidence=("a",)),
    ]
    assert [fates("leakage", [one], against=[path])[0] for one in tasks] == ["dropped", "kept", "dropped", "kept", "kept"]
