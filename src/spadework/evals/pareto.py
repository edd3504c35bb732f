"""Which results are worth having when several things count: those that no other one beats in everything (the Pareto frontier)."""

from collections.abc import Sequence

__all__ = ["dominated_by"]


def dominated_by(points: Sequence[Sequence[float]], larger_is_better: Sequence[bool]) -> list[int | None]:
    """For every point one that dominates it: at least as good in every objective and better in one. None on the frontier.

    Equal points do not dominate each other, so a tie keeps both. Means are compared as they stand; whether their intervals part is for the
    reader to see.

    Args:
        points: [points, objectives].
        larger_is_better: per objective.

    Returns:
        The index of the first point on the frontier that dominates it, or None.

    Raises:
        ValueError: a point with another number of objectives.
    """
    signs = [1 if larger else -1 for larger in larger_is_better]
    good = [[sign * value for sign, value in zip(signs, point, strict=True)] for point in points]

    def beats(a: Sequence[float], b: Sequence[float]) -> bool:
        return all(x >= y for x, y in zip(a, b, strict=True)) and a != b

    frontier = [i for i, point in enumerate(good) if not any(beats(other, point) for other in good)]
    return [next((i for i in frontier if beats(good[i], point)), None) for point in good]
