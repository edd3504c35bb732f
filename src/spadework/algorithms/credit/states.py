"""The state in which a turn was taken, as a key that equal states share.

It is `meta["state"]` of the turn where an environment sets it, any JSON value; and else the tokens before the turn along its path, which
only turns after a common prefix share.
"""

import json

from spadework.trajectories.tree import Trajectory

__all__ = ["Places", "turn_states"]

Places = dict[tuple[int, tuple[int, ...]], int]
"""A number for each path of a group, by the number of the path that it extends and the tokens that it adds."""


def turn_states(trajectory: Trajectory, places: Places) -> list[str | int]:
    """A key per policy turn.

    Args:
        trajectory: a member of the group.
        places: shared by the members of the group; grows.
    """
    path: dict[int | None, int] = {None: -1}
    states: list[str | int] = []
    for node in trajectory.nodes:
        if node.kind == "generation":
            states.append(json.dumps(node.meta["state"], sort_keys=True) if "state" in node.meta else path[node.parent])
        path[node.id] = places.setdefault((path[node.parent], tuple(node.token_ids)), len(places))
    return states
