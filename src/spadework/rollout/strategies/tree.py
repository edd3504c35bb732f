"""Tree-GRPO's tree search (arXiv 2509.21240): trees that grow at random nodes, a node being a step of the agent.

1. M trajectories are sampled from the root; each is the first path of a tree.
2. L times, N nodes of every tree are chosen at random, and from each a new path is sampled to its end.

That makes M (1 + N L) trajectories. A node is a thought, an action and its result; what can be chosen is the question and every result that
the policy went on from, in any path of the tree, but no last step. Nodes are chosen without replacement, and all of them again where a tree
has fewer than N. The trees are the groups of the within-tree advantage (`algorithms/credit/tree_grpo.py`), which it recognises by the
copies of a first node.

M follows from `rl.samples`. N = 2 and L = 1 are a choice: an expansion costs half a path on average, so they give 3 trajectories for the
price of 2, about the 1.5 times that the paper reports for a given budget. Not done here: budgets in tokens or calls.
"""

from typing import ClassVar

from pydantic import Field

from spadework.core.errors import ConfigError
from spadework.core.seeds import rng
from spadework.rollout.strategy import Drive, Strategy, fresh, register
from spadework.tasks.task import Task
from spadework.trajectories.tree import Trajectory

__all__ = ["Tree"]


@register("tree", formula="{rounds} times a new path from each of {nodes} random nodes of every tree", source="Tree-GRPO, arXiv 2509.21240")
class Tree(Strategy):
    """Trees of rl.samples / (1 + nodes * rounds) roots."""

    forks: ClassVar[bool] = True

    nodes: int = Field(default=2, gt=0)
    """N: nodes of a tree that are expanded in a round."""
    rounds: int = Field(default=1, gt=0)
    """L: rounds of expansion."""

    def check(self, num_samples: int) -> None:
        """Refuse a number of samples that is not a number of whole trees (see `Strategy`)."""
        size = 1 + self.nodes * self.rounds
        if num_samples % size:
            nearest = " or ".join(str(count) for count in (num_samples // size * size, (num_samples // size + 1) * size) if count)
            raise ConfigError(
                f"rl.rollout: tree: {num_samples} samples are no whole number of trees of 1 + nodes * rounds = {size} paths; "
                f"set rl.samples to {nearest}, or change nodes or rounds"
            )

    async def sample(self, task: Task, num_samples: int, drive: Drive, *, seed: int, vocab_size: int) -> list[Trajectory]:
        """Make the group of a task (see `Strategy`)."""
        trajectories = fresh(task, range(num_samples // (1 + self.nodes * self.rounds)))
        trees = [[trajectory] for trajectory in trajectories]
        await drive(trajectories)
        for turn in range(self.rounds):
            new: list[Trajectory] = []
            for number, tree in enumerate(trees):
                points = [(trajectory, node) for trajectory in tree for node in _inner(trajectory)]
                chosen = rng(seed, "expand", task.id, number, turn).sample(points, len(points))
                for index in range(self.nodes):
                    trajectory, node = chosen[index % len(chosen)]
                    new.append(trajectory.fork(node, sample=len(trajectories) + len(new)))
                    tree.append(new[-1])
            await drive(new)
            trajectories += new
        return trajectories


def _inner(trajectory: Trajectory) -> list[int]:
    """Ids of the nodes that a path can go on from and that no other trajectory has: of a root its prompt, and results with a turn after."""
    followed = {turn.parent for turn in trajectory.generations()}
    return [
        node.id
        for node in trajectory.nodes
        if node.shared_with is None and (node.kind == "prompt" or (node.kind == "observation" and node.id in followed))
    ]
