"""How many more tasks to draw until a batch is full: DAPO's dynamic sampling (arXiv 2503.14476, section 3.2) and early batch filling.

Pure arithmetic for the loop that owns the rollout: it draws, scores and selects, asks again, and cuts what is left over:

    kept, drawn = [], 0
    while more := next_draw(wanted, len(kept), drawn):
        groups = rollout(more); drawn += more; kept += select(groups)
    kept = kept[:wanted]
"""

import math

__all__ = ["next_draw"]


def next_draw(wanted: int, kept: int, drawn: int, *, limit: int = 10) -> int:
    """Number of tasks to draw next.

    The share that selection has kept so far says how many more are needed; a draw is never larger than the batch.

    Args:
        wanted: groups of a full batch.
        kept: groups that selection has left so far.
        drawn: tasks drawn so far, 0 at the start.
        limit: at most this many batches of tasks in all; DAPO's code gives up after 10.

    Returns:
        0 when the batch is full or the limit is reached.
    """
    missing = wanted - kept
    if missing <= 0:
        return 0
    needed = math.ceil(missing * drawn / kept) if kept else wanted
    return min(needed, wanted, max(0, limit * wanted - drawn))
