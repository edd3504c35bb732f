"""Rules that compare a short answer with gold answers. Every function names the published rule it follows.

"SQuAD F1" is at least five functions in the literature, so a variant is always explicit:

- `hotpot`: HotpotQA and 2WikiMultihopQA. If either side is exactly yes, no or noanswer and they differ, F1 is 0; both empty: 0.
- `squad2`: SQuAD 2.0 and MuSiQue. No yes/no rule; both sides empty: 1.
- `trivia`: TriviaQA. Punctuation becomes a space instead of nothing; both sides empty: 0.

Exact match is equality after normalisation and nothing else; `contains` is looser and is never called EM. All scores are in [0, 1] and the
best over several golds counts. No Unicode normal form is applied and no language is segmented into words, as in the originals.
"""

import re
import string
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

__all__ = [
    "Match",
    "answer_match",
    "contains",
    "em",
    "extract_answer",
    "f1",
    "gaia_match",
    "joint",
    "norm_squad",
    "norm_trivia",
    "set_prf",
]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_DELETED = str.maketrans("", "", string.punctuation)
_SPACED = str.maketrans({mark: " " for mark in string.punctuation + "\u2018\u2019\u00b4`"})
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


@lru_cache(maxsize=1024)  # the rewards of a rubric, and the members of a group, compare the same few texts
def norm_squad(text: str) -> str:
    """SQuAD's normal form: lower case, ASCII punctuation deleted, then articles, then white space collapsed.

    The order matters: `A-Team` becomes `ateam` because the hyphen goes before the article is looked for.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_DELETED)).split())


def norm_trivia(text: str) -> str:
    """TriviaQA's normal form: as `norm_squad`, but punctuation and four quotation marks become a space (mandarjoshi90/triviaqa)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_SPACED)).split())


def em(prediction: str, golds: str | Iterable[str], *, variant: Literal["squad", "trivia"] = "squad") -> float:
    """1 if the prediction equals any gold after normalisation, else 0.

    `squad` is the rule of SQuAD, HotpotQA, 2WikiMultihopQA, MuSiQue and Search-R1.
    """
    norm = norm_squad if variant == "squad" else norm_trivia
    said = norm(prediction)
    return float(any(said == norm(gold) for gold in _several(golds)))


def f1(prediction: str, golds: str | Iterable[str], *, variant: Literal["hotpot", "squad2", "trivia"] = "hotpot") -> float:
    """Best token-overlap F1 over the golds, by one of the three published rules (see the module)."""
    return max((answer_match(prediction, gold, variant=variant).f1 for gold in _several(golds)), default=0.0)


def contains(prediction: str, golds: str | Iterable[str]) -> float:
    """1 if any gold is a substring of the prediction, both in SQuAD's normal form. Not exact match; never report it as such.

    This is Search-R1's `subem`. It is generous: `no` is found inside `know`. One deviation: a gold that is empty after normalisation
    (`the`) is found only in an empty prediction, where the original finds it everywhere.
    """
    said = norm_squad(prediction)
    return float(any(gold in said if gold else not said for gold in map(norm_squad, _several(golds))))


@dataclass(frozen=True, slots=True)
class Match:
    """Precision, recall, F1 and exact match of one comparison."""

    precision: float
    recall: float
    f1: float
    em: float


def answer_match(prediction: str, gold: str, *, variant: Literal["hotpot", "squad2", "trivia"] = "hotpot") -> Match:
    """Precision, recall, F1 and EM of the bags of words of a prediction and one gold."""
    norm = norm_trivia if variant == "trivia" else norm_squad
    said, want = norm(prediction), norm(gold)
    exact = float(said == want)
    if variant == "squad2" and not (said and want):
        return Match(exact, exact, exact, exact)
    if variant == "hotpot" and said != want and {said, want} & {"yes", "no", "noanswer"}:
        return Match(0.0, 0.0, 0.0, 0.0)
    said_words, want_words = said.split(), want.split()
    overlap = (Counter(said_words) & Counter(want_words)).total()
    return _prf(overlap, len(said_words), len(want_words), exact)


def set_prf(predicted: Iterable[Hashable], gold: Iterable[Hashable], *, variant: Literal["hotpot", "musique"] = "hotpot") -> Match:
    """Compare two sets, for example supporting facts as (title, sentence) pairs.

    Both empty: EM is 1 in either variant; precision, recall and F1 are 0 in `hotpot` and 1 in `musique`.
    """
    said, want = set(predicted), set(gold)
    exact = float(said == want)
    if variant == "musique" and not said and not want:
        return Match(1.0, 1.0, 1.0, 1.0)
    return _prf(len(said & want), len(said), len(want), exact)


def joint(answer: Match, support: Match) -> Match:
    """HotpotQA's joint score: products of precisions, recalls and EMs, and the F1 of those; not the product of two F1s."""
    precision, recall = answer.precision * support.precision, answer.recall * support.recall
    return Match(precision, recall, _harmonic(precision, recall), answer.em * support.em)


def gaia_match(prediction: str, gold: str) -> float:
    """GAIA's quasi-exact match, chosen by the type of the gold: a number, a list, or text.

    A number is compared as a float after `$`, `%` and `,` are removed from the prediction. A list (the gold has `,` or `;`) is compared in
    order, its texts without white space but with punctuation. Text is compared without white space and punctuation; articles are kept.
    """
    if _as_float(gold) is not None:
        return float(_gaia_number(prediction) == _as_float(gold))
    if any(mark in gold for mark in ",;"):
        said, want = re.split("[,;]", prediction), re.split("[,;]", gold)
        return float(len(said) == len(want) and all(map(_gaia_element, said, want)))
    return float(_squeezed(prediction).translate(_DELETED) == _squeezed(gold).translate(_DELETED))


def extract_answer(text: str, *, spans_in_prompt: int = 0) -> str | None:
    """Search-R1's rule: the last `<answer>...</answer>` span, stripped; None if there is no span of the policy's own.

    Args:
        text: what is searched.
        spans_in_prompt: example spans that the text holds because it includes the prompt. Search-R1 scores the full text, whose prompt
            has one, so it requires two spans; for a completion alone leave 0.
    """
    spans: list[str] = _ANSWER.findall(text)
    return spans[-1].strip() if len(spans) > spans_in_prompt else None


def _several(golds: str | Iterable[str]) -> Iterable[str]:
    return (golds,) if isinstance(golds, str) else golds


def _harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _prf(overlap: int, num_said: int, num_want: int, exact: float) -> Match:
    precision = overlap / num_said if num_said else 0.0
    recall = overlap / num_want if num_want else 0.0
    return Match(precision, recall, _harmonic(precision, recall), exact)


def _as_float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _gaia_number(text: str) -> float:
    value = _as_float(text.translate(str.maketrans("", "", "$%,")))
    return float("inf") if value is None else value


def _gaia_element(said: str, want: str) -> bool:
    number = _as_float(want)
    return _gaia_number(said) == number if number is not None else _squeezed(said) == _squeezed(want)


def _squeezed(text: str) -> str:
    return "".join(text.split()).lower()
