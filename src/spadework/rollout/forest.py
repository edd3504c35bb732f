"""What a rollout shared and what it spent: forks hold copies of what others sampled, and here every node counts once."""

from collections.abc import Sequence

from spadework.trajectories.tree import Group

__all__ = ["forest_metrics"]


def forest_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """What was really spent, and what forks saved, broken trajectories included.

    Returns:
        `rollout/tokens` and `rollout/calls`: sampled tokens and tool calls, each once. `rollout/forked`: share of trajectories that are
        forks. `rollout/shared_tokens`: sampled tokens that forks did not have to sample. `rollout/entropy_jump`: mean over the results
        at which was decided by it whether to branch (`rollout/branching.py`); absent where there were none.
    """
    trajectories = [trajectory for group in groups for trajectory in group]
    own = [node for trajectory in trajectories for node in trajectory.nodes if node.shared_with is None]
    copies = [node for trajectory in trajectories for node in trajectory.nodes if node.shared_with is not None]
    metrics = {
        "rollout/tokens": float(sum(node.num_sampled for node in own)),
        "rollout/calls": sum(trajectory.ledger.get("calls", 0.0) for trajectory in trajectories)
        - sum(node.meta.get("ledger", {}).get("calls", 0.0) for node in copies),
        "rollout/forked": sum(bool(t.nodes) and t.nodes[0].shared_with is not None for t in trajectories) / max(1, len(trajectories)),
        "rollout/shared_tokens": float(sum(node.num_sampled for node in copies)),
    }
    jumps = [node.meta["entropy_jump"] for node in own if "entropy_jump" in node.meta]
    return metrics | ({"rollout/entropy_jump": sum(jumps) / len(jumps)} if jumps else {})
