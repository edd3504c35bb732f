"""Published scorers: every value in the tables was produced by the official scripts of the data sets."""

import random
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.rewards.matching import (
    Match,
    answer_match,
    contains,
    em,
    extract_answer,
    f1,
    gaia_match,
    joint,
    norm_squad,
    norm_trivia,
    set_prf,
)

WORKED = [
    # prediction, gold, Hotpot EM/F1, MuSiQue EM/F1, TriviaQA EM/F1, GAIA
    ("The Beatles", "Beatles", (1, 1), (1, 1), (1, 1), 0),
    ("yes, they are", "yes", (0, 0), (0, 0.5), (0, 0.5), 0),
    ("blue, red", "red, blue", (0, 1), (0, 1), (0, 1), 0),
    # bags: "of" twice in the prediction, P = 3/6 ("the" is deleted), R = 3/3
    ("Chief of Protocol of the United States", "Chief of Protocol", (0, 2 / 3), (0, 2 / 3), (0, 2 / 3), 0),
    ("1234", "1,234", (1, 1), (1, 1), (0, 0), 0),
    ("$1,234.50", "1234.5", (0, 0), (0, 0), (0, 0), 1),
    ("Beyonce", "Beyonc\u00e9", (0, 0), (0, 0), (0, 0), 0),
    ("O\u2019Brien", "O'Brien", (0, 0), (0, 0), (1, 1), 0),
    ("Jay-Z", "Jay Z", (0, 0), (0, 0), (1, 1), 1),
    ("", "the", (1, 0), (1, 1), (1, 0), 0),
    ("", "Paris", (0, 0), (0, 0), (0, 0), 0),
    # further traps
    ("17", "seventeen", (0, 0), (0, 0), (0, 0), 0),
    ("42 km", "42", (0, 2 / 3), (0, 2 / 3), (0, 2 / 3), 0),
    ("Vitamin A", "vitamin", (1, 1), (1, 1), (1, 1), 0),
    # double curly quotes are in neither list of marks
    ("\u201cParis\u201d", "Paris", (0, 0), (0, 0), (0, 0), 0),
    ("\u5317\u4eac", "\u5317\u4eac\u5e02", (0, 0), (0, 0), (0, 0), 0),
    # composed against combining accent: no Unicode normal form is applied
    ("Beyonc\u00e9", "Beyonce\u0301", (0, 0), (0, 0), (0, 0), 0),
]


@pytest.mark.parametrize(("prediction", "gold", "hotpot", "musique", "trivia", "gaia"), WORKED)
def test_worked_cases(
    prediction: str, gold: str, hotpot: tuple[float, float], musique: tuple[float, float], trivia: tuple[float, float], gaia: float
) -> None:
    assert (em(prediction, gold), f1(prediction, gold, variant="hotpot")) == pytest.approx(hotpot)
    assert (em(prediction, gold), f1(prediction, gold, variant="squad2")) == pytest.approx(musique)
    assert (em(prediction, gold, variant="trivia"), f1(prediction, gold, variant="trivia")) == pytest.approx(trivia)
    assert gaia_match(prediction, gold) == gaia


def test_the_best_of_several_golds_counts() -> None:
    golds = ["United States of America", "USA", "American"]
    assert em("USA", golds) == f1("USA", golds) == f1("USA", golds, variant="squad2") == 1
    assert em("USA", golds[0]) == f1("USA", golds[0]) == 0
    assert em("USA", []) == f1("USA", []) == contains("USA", []) == 0


def test_a_single_gold_is_not_a_list_of_letters() -> None:
    assert em("u", "usa") == 0 and contains("u", "usa") == 0 and f1("u", "usa") == 0


def test_joint_is_a_product_of_precision_and_recall_not_of_f1() -> None:
    support = set_prf({("A", 0), ("B", 1), ("C", 2)}, {("A", 0), ("B", 1)})
    assert (support.precision, support.recall, support.f1, support.em) == pytest.approx((2 / 3, 1, 0.8, 0))
    assert set_prf({0, 1, 2}, {0, 1}, variant="musique").f1 == pytest.approx(0.8)
    both = joint(Match(precision=0.5, recall=1.0, f1=2 / 3, em=0.0), support)
    # P = .5 * 2/3 = 1/3, R = 1, F1 = 2 (1/3) / (4/3) = .5
    assert (both.precision, both.recall, both.f1, both.em) == pytest.approx((1 / 3, 1, 0.5, 0))


def test_empty_sets_differ_by_variant() -> None:
    assert set_prf([], []) == Match(0, 0, 0, 1)
    assert set_prf([], [], variant="musique") == Match(1, 1, 1, 1)
    assert set_prf([], ["a"], variant="musique") == Match(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "squad", "trivia"),
    [
        ("A-Team", "ateam", "team"),
        ("U.S.", "us", "u s"),
        ("Jay-Z", "jayz", "jay z"),
        ("Vitamin A", "vitamin", "vitamin"),
        ("snake_case", "snakecase", "snake case"),
        ("  The  quick\tfox ", "quick fox", "quick fox"),
    ],
)
def test_normal_forms(text: str, squad: str, trivia: str) -> None:
    assert (norm_squad(text), norm_trivia(text)) == (squad, trivia)


def test_contains_is_generous_and_says_so() -> None:
    assert contains("It is Paris, I think.", "paris") == 1
    assert contains("I know", "no") == 1
    # "123450" holds "12345": containment calls a wrong number right
    assert contains("$1,234.50", "1234.5") == 1
    assert contains("anything", "the") == 0 and contains("", "the") == 1


@pytest.mark.parametrize(
    ("prediction", "gold", "right"),
    [
        ("1,234", "1234", 1),
        ("17%", "17.0", 1),
        ("infinite", "inf", 1),  # as the original: what does not parse becomes +inf
        ("a,b", "a, B", 1),
        ("b, a", "a, b", 0),
        ("a", "a, b", 0),
        ("$5; x.", "5; x", 0),  # list texts keep their punctuation
        ("$5; x", "5, x", 1),
        ("sea gull", "seagull", 1),
        ("the Andy", "andy", 0),
    ],
)
def test_gaia(prediction: str, gold: str, right: float) -> None:
    assert gaia_match(prediction, gold) == right


def test_search_r1_needs_a_span_of_the_policys_own() -> None:
    prompt = "Answer like <answer> Beijing </answer>. Question: ..."
    assert extract_answer(prompt, spans_in_prompt=1) is None
    assert extract_answer(prompt + "<answer> x\ny </answer>", spans_in_prompt=1) == "x\ny"
    assert extract_answer("<answer>a</answer> no: <answer>b</answer>") == "b"
    assert extract_answer("<answer>unfinished") is None


WORDS = st.lists(st.sampled_from(["a", "the", "yes", "no", "red", "Blue", "x.", "1,0", "-"]), max_size=5).map(" ".join)


@given(WORDS, WORDS)
def test_em_implies_f1_except_for_what_is_empty(prediction: str, gold: str) -> None:
    for variant, norm in (("hotpot", norm_squad), ("squad2", norm_squad), ("trivia", norm_trivia)):
        if em(prediction, gold, variant="trivia" if variant == "trivia" else "squad"):
            expected = 1 if norm(gold) or variant == "squad2" else 0
            assert f1(prediction, gold, variant=variant) == expected  # type: ignore[arg-type]


@given(WORDS, WORDS)
def test_f1_is_symmetric_and_between_precision_and_recall(prediction: str, gold: str) -> None:
    match, mirrored = answer_match(prediction, gold), answer_match(gold, prediction)
    assert (match.precision, match.recall, match.f1) == (mirrored.recall, mirrored.precision, mirrored.f1)
    assert min(match.precision, match.recall) - 1e-12 <= match.f1 <= max(match.precision, match.recall) + 1e-12


def plain_words(text: str, marks: str, into: str) -> list[str]:
    """A second implementation of both normal forms, written character by character."""
    kept = "".join(into if character in marks else character for character in text.lower())
    # An article goes where letters, digits and underscores end: around a hyphen or a curly quote that stayed, too.
    runs = re.findall(r"\w+|\W+", kept)
    return "".join(" " if run in ("a", "an", "the") else run for run in runs).split()


def plain_f1(said: list[str], want: list[str]) -> float:
    left = list(want)
    shared = 0
    for word in said:
        if word in left:
            left.remove(word)
            shared += 1
    return 2 * shared / (len(said) + len(want)) if shared else 0.0


def plain_scores(prediction: str, gold: str) -> list[float]:
    """EM and F1 of HotpotQA, MuSiQue and TriviaQA."""
    said, want = (plain_words(text, string.punctuation, "") for text in (prediction, gold))
    same = float(said == want)
    closed = {"yes", "no", "noanswer"}
    hotpot = 0.0 if not same and closed & {" ".join(said), " ".join(want)} else plain_f1(said, want)
    musique = plain_f1(said, want) if said and want else same
    spaced = string.punctuation + "\u2018\u2019\u00b4`"
    said, want = (plain_words(text, spaced, " ") for text in (prediction, gold))
    return [same, hotpot, same, musique, float(said == want), plain_f1(said, want)]


def perturbed(rng: random.Random, gold: str) -> str:
    """The gold with one to three small changes, of the kinds that decide between the rules."""
    text = gold
    for _ in range(rng.randint(1, 3)):
        words = text.split() or [""]
        place = rng.randrange(len(words))
        kind = rng.randrange(9)
        if kind == 0:
            words.insert(place, rng.choice(["the", "a", "An", "yes", "no", "of", "and"]))
        elif kind == 1:
            words.pop(place)
        elif kind == 2:
            words[place] = words[place].swapcase()
        elif kind == 3:
            words[place] += rng.choice(string.punctuation + "\u2019\u201d\u2013")
        elif kind == 4:
            rng.shuffle(words)
        elif kind == 5:
            words[place] = words[place].replace("e", "\u00e9", 1)
        elif kind == 6:
            words.append(words[place])
        elif kind == 7 and place + 1 < len(words):
            words[place : place + 2] = [rng.choice("-_,'").join(words[place : place + 2])]
        else:
            return rng.choice(["", "yes", "no", "noanswer", "the", "Yes, " + text])
        text = rng.choice([" ", "  ", "\t"]).join(words)
    return text


def test_500_perturbed_answers_against_a_second_implementation() -> None:
    golds = [
        *("Velor Tash", "the Chief of Protocol", "1,234.5 km", "yes", "no", "O'Brien", "Jay-Z and the A-Team", "a", "Saint-\u00c9tienne"),
        *("Vitamin A", "U.S. Route 66", "red, blue and green", "the The", "snake_case name", "24 May 1819", "\u5317\u4eac"),
    ]
    rng = random.Random(0)
    seen = set()
    for _ in range(500):
        gold = rng.choice(golds)
        prediction = perturbed(rng, gold)
        found = [
            em(prediction, gold),
            f1(prediction, gold),
            em(prediction, gold),
            f1(prediction, gold, variant="squad2"),
            em(prediction, gold, variant="trivia"),
            f1(prediction, gold, variant="trivia"),
        ]
        assert found == pytest.approx(plain_scores(prediction, gold)), (prediction, gold)
        seen.add((found[0] == found[4], found[1] == found[3], found[3] == found[5], found[0] == 1, 0 < found[1] < 1))
    assert len(seen) >= 10  # the perturbations do reach the cases in which the rules differ
