"""Arms of an experiment: several training runs each, with paired seeds, judged on the same questions.

The unit is the seed. A seed sets task draws and sampling of every arm alike, so arms are compared by their differences within a seed, with
Student's t over seeds: does the difference survive another draw of the training? A bootstrap over seeds and questions at once stands
beside it: does it survive other questions too? The verdict follows the t test over seeds at 5 %, after Holm's
correction if there are several arms.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from spadework.core.errors import InputError
from spadework.evals.metrics import Question
from spadework.evals.statistics import Difference, Estimate, crossed_bootstrap, holm, mean_interval, paired_difference, t_quantile

__all__ = ["FIGURES", "Effect", "arm_effects", "arm_figures"]

FIGURES = ("success", "calls", "calls_per_solved", "tokens", "evidence_recall")
Results = Mapping[int, Sequence[Question]]
"""What the runs of one arm did: questions by seed."""


class Effect(BaseModel):
    """What an arm does that the baseline does not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    differences: dict[str, Difference]
    """Arm minus baseline by figure, paired by seed; n is the number of seeds. A figure that some run does not have is left out."""
    crossed: Difference
    """Success, with seeds and questions both resampled."""
    p: float
    """Of success, over seeds, after Holm's correction for the number of arms that are compared with the baseline."""
    detectable: float | None
    """The difference in success that this number of seeds would show four times in five, at the spread that was seen; None without."""
    verdict: Literal["above", "below", "none"]


def arm_figures(results: Results) -> dict[str, Estimate | None]:
    """Mean over seeds of every figure, with Student's t; None for a figure that a run does not have (nothing solved, no evidence named)."""
    columns = _columns(results)
    return {
        name: None if None in column else mean_interval([value or 0.0 for value in column], amounts=True)
        for name, column in columns.items()
    }


def arm_effects(arms: Mapping[str, Results], baseline: str) -> dict[str, Effect]:
    """Compare every other arm with the baseline.

    Args:
        arms: results by the name of the arm.
        baseline: one of these names.

    Returns:
        Effects by the name of the arm.

    Raises:
        InputError: fewer than two seeds, other seeds than the baseline's, or other questions.
    """
    others = [name for name in arms if name != baseline]
    for name in others:
        _check(name, arms[name], arms[baseline])
    differences = {name: _differences(arms[name], arms[baseline]) for name in others}
    adjusted = holm([differences[name]["success"].p for name in others])
    effects = {}
    for name, p in zip(others, adjusted, strict=True):
        success = differences[name]["success"]
        verdict: Literal["above", "below", "none"] = "none" if p >= 0.05 else "above" if success.mean > 0 else "below"
        crossed = crossed_bootstrap(_by_question(arms[name], arms[baseline]), seed=0)
        effects[name] = Effect(differences=differences[name], crossed=crossed, p=p, detectable=_detectable(success), verdict=verdict)
    return effects


def _figures(questions: Sequence[Question]) -> dict[str, float | None]:
    scored = [question for question in questions if question.scored]
    recalls = [question.evidence_recall for question in questions if question.evidence_recall is not None]
    solved = math.fsum(question.success for question in scored)

    def mean(values: Sequence[float]) -> float | None:
        return math.fsum(values) / len(values) if values else None

    return {
        "success": mean([question.success for question in questions]),
        "calls": mean([question.calls for question in scored]),
        "calls_per_solved": math.fsum(question.calls for question in scored) / solved if solved else None,
        "tokens": mean([question.tokens for question in scored]),
        "evidence_recall": mean(recalls),
    }


def _columns(results: Results) -> dict[str, list[float | None]]:
    rows = [_figures(results[seed]) for seed in sorted(results)]
    return {name: [row[name] for row in rows] for name in FIGURES}


def _differences(arm: Results, baseline: Results) -> dict[str, Difference]:
    first, second = _columns(arm), _columns(baseline)
    known = {name: (first[name], second[name]) for name in FIGURES if None not in first[name] and None not in second[name]}
    return {name: paired_difference([x or 0.0 for x in a], [y or 0.0 for y in b]) for name, (a, b) in known.items()}


def _by_question(arm: Results, baseline: Results) -> list[list[float]]:
    """Differences in success: [seeds, questions]."""
    rows = []
    for seed in sorted(arm):
        before = {question.id: question.success for question in baseline[seed]}
        rows.append([question.success - before[question.id] for question in sorted(arm[seed], key=lambda q: q.id)])
    return rows


def _detectable(difference: Difference) -> float | None:
    """(t(0.975) + t(0.8)) standard errors: the usual approximation of the effect that a paired t test has 80 % power for."""
    half = difference.high - difference.mean
    if half <= 0:
        return None
    degrees = difference.n - 1
    quantile = t_quantile(0.975, degrees)
    return (quantile + t_quantile(0.8, degrees)) * half / quantile


def _check(name: str, arm: Results, baseline: Results) -> None:
    if arm.keys() != baseline.keys():
        raise InputError(f"arm '{name}' has other seeds than the baseline: {sorted(arm)} and {sorted(baseline)}")
    if len(arm) < 2:
        raise InputError("a comparison of arms needs at least two seeds, because the spread between seeds is what it measures")
    for seed in arm:
        if {question.id for question in arm[seed]} != {question.id for question in baseline[seed]}:
            raise InputError(f"arm '{name}', seed {seed}: judged on other questions than the baseline")
