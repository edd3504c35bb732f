"""A trajectory is a forest of nodes, and each node holds only the tokens it adds.

`parent` says whose tokens a node extends; a second child of the same node is a branch. A context edit or a delegation starts another root
that is `derived_from` a node. A path runs from a root to a node, and a training sample is the concatenation of the tokens along one path,
so what the model saw is always reproducible: tokens are recorded when they are sampled and never re-tokenised (invariant 1).

The mask is written when a node is made and never inferred later: True only where the policy sampled the token (invariant 2), and not
where a renderer keeps what the policy wrote out of the loss (`renderers/self_search.py`).
Log-probabilities are those of the sampler, in nats, at the sampling temperature; entries of unsampled tokens are 0. Columns of numbers are
any sequences; long ones that differ from token to token are a `Column`, which numpy reads and writes without making a float per token.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from spadework.core.messages import Message

__all__ = ["Column", "Group", "Kind", "Node", "Status", "Trajectory", "TreeError"]

Kind = Literal["prompt", "generation", "observation"]


class TreeError(ValueError):
    """The forest would break an invariant: an unknown parent, unequal column lengths, a sampled token in an observation."""


class Status(StrEnum):
    """How a trajectory ended."""

    RUNNING = "running"
    COMPLETED = "completed"
    """The agent finished with an answer."""
    TRUNCATED = "truncated"
    """A token, turn or call budget ran out."""
    FAILED = "failed"
    """The policy did something from which the agent does not recover."""
    BROKEN = "broken"
    """Infrastructure failed: never a reward (invariant 4)."""


class Column(Sequence[float]):
    """Doubles, one per token, that numpy can read and write without making a number of each; equal to any sequence of the same numbers."""

    __slots__ = ("numbers",)

    def __init__(self, numbers: "Iterable[float] | memoryview") -> None:
        """Copies numbers; a view of float64 memory is kept as it is, so a column may be a part of a greater array."""
        self.numbers = numbers if isinstance(numbers, memoryview) else memoryview(array("d", numbers))

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        """The number of a token, or a column of some of them."""
        found = self.numbers[index]
        return Column(found) if isinstance(found, memoryview) else found

    def __iter__(self) -> Iterator[float]:
        """All numbers."""
        return iter(self.numbers)

    def __eq__(self, other: object) -> bool:
        """Whether a sequence has the same numbers."""
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # its numbers can change

    def __repr__(self) -> str:
        """As the list of its numbers."""
        return f"Column({list(self)})"

    def __reduce__(self) -> tuple[Any, ...]:
        """A view can not be copied or sent to another process; the numbers can."""
        return Column, (array("d", self.numbers),)


@dataclass(slots=True)
class Node:
    """The tokens that one step adds, with one entry per token in every column."""

    id: int
    kind: Kind
    token_ids: list[int]
    mask: list[bool]
    logprobs: Sequence[float]
    entropies: Sequence[float]
    parent: int | None = None
    derived_from: int | None = None
    role: str = "planner"
    version: int | None = None
    """Oldest policy version among the sampled tokens; None where nothing was sampled."""
    messages: tuple[Message, ...] = ()
    """What the tokens say: the prompt's messages, one parsed assistant turn, or the tool results."""
    advantages: Sequence[float] = field(default_factory=list)
    """Written by a credit rule, one per token, 0 on unsampled tokens; empty before."""
    rewards: dict[str, float] = field(default_factory=dict)
    """Of a generation: value of every turn-scope reward term by name."""
    reward: float = 0.0
    """Weighted sum of the turn-scope terms."""
    token_rewards: Sequence[float] = field(default_factory=list)
    """Weighted sum of the span-scope terms, one per token; empty if there is none."""
    values: Sequence[float] = field(default_factory=list)
    """A critic's estimate of the return before each token; empty if there is no critic."""
    returns: Sequence[float] = field(default_factory=list)
    """What the critic should have estimated, one per token, 0 on unsampled tokens; written by a credit rule with a critic."""
    shared_with: tuple[int, int] | None = None
    """Of a forked trajectory: sample and node id of the trajectory of its group that sampled this node. It names the first one, also
    where a fork was forked again, so that all copies of a node name the same (see `Trajectory.fork`)."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Per observation: `calls` = [{tool, status, seconds, documents}], with `truncated`, `meta` and `images` where there is something,
    `documents` = ids that were shown, `ledger` = what its calls spent; per generation: `finish`, and `entropy_jump` where a rollout has
    decided by it whether to branch (`rollout/branching.py`)."""

    num_sampled: int = field(init=False, repr=False, compare=False)
    """Number of tokens that the policy sampled; counted once, because the mask of a node never changes."""

    def __post_init__(self) -> None:
        """Count what is asked for in every step of every rule."""
        self.num_sampled = self.mask.count(True) if self.kind == "generation" else 0

    def set_advantage(self, value: float) -> None:
        """Give every sampled token of the node this advantage."""
        count = len(self.mask)
        # Almost every node is sampled as a whole or not at all, and repeating a value is fifty times as fast as asking per token.
        if self.num_sampled in (0, count):
            self.advantages = [value if self.num_sampled else 0.0] * count
        else:
            self.advantages = [value if each else 0.0 for each in self.mask]


@dataclass(slots=True)
class Trajectory:
    """One attempt at a task."""

    task_id: str
    sample: int = 0
    """Index within the group."""
    nodes: list[Node] = field(default_factory=list)
    status: Status = Status.RUNNING
    answer: str | None = None
    error: str | None = None
    """Why it is truncated, failed or broken."""
    rewards: dict[str, float] = field(default_factory=dict)
    """Value of every reward term by name."""
    weights: dict[str, float] = field(default_factory=dict)
    """Weight of every one of these terms when it was scored: a schedule moves it. Empty before."""
    reward: float = 0.0
    """Weighted sum of the terms."""
    ledger: dict[str, float] = field(default_factory=dict)
    """What was spent: `calls`, `calls/TOOL`, `errors`, `seconds`, `tokens`. A fork's counts what it shares, as if it had been alone."""
    meta: dict[str, Any] = field(default_factory=dict)
    """`train` = False: counted in the baseline of its group, not trained on."""

    def add(
        self,
        kind: Kind,
        token_ids: Sequence[int],
        *,
        parent: int | None,
        logprobs: Sequence[float] | None = None,
        entropies: Sequence[float] | None = None,
        mask: Sequence[bool] | None = None,
        derived_from: int | None = None,
        role: str = "planner",
        version: int | None = None,
        messages: Sequence[Message] = (),
        meta: dict[str, Any] | None = None,
    ) -> Node:
        """Append a node. A generation's tokens are sampled, all others are not.

        Args:
            kind: `generation` for what the policy sampled.
            token_ids: the tokens this node adds.
            parent: id of the node whose tokens it extends; None for a root.
            logprobs: sampler log-probabilities in nats, one per token; required for a generation.
            entropies: entropies in nats, one per token; zeros if not known.
            derived_from: id of the node that a new root was made from.
            mask: where a generation carries loss; everywhere if not given.
            role: who sampled it.
            version: oldest policy version among the tokens.
            messages: what the tokens say.
            meta: free-form facts (see `Node.meta`).

        Raises:
            TreeError: the parent is unknown, or a column's length is not that of the tokens.
        """
        sampled = kind == "generation"
        if parent is not None and not 0 <= parent < len(self.nodes):
            raise TreeError(f"trajectory {self.task_id}/{self.sample}: parent {parent} does not exist")
        if sampled and logprobs is None:
            raise TreeError(f"trajectory {self.task_id}/{self.sample}: a generation needs its log-probabilities")
        if not sampled and logprobs is not None:
            raise TreeError(f"trajectory {self.task_id}/{self.sample}: {kind} tokens were not sampled")
        count = len(token_ids)
        for name, column in (("logprobs", logprobs), ("entropies", entropies), ("mask", mask)):
            if column is not None and len(column) != count:
                raise TreeError(f"trajectory {self.task_id}/{self.sample}: {len(column)} {name} for {count} tokens")
        node = Node(
            id=len(self.nodes),
            kind=kind,
            token_ids=list(token_ids),
            mask=list(mask) if mask is not None else [sampled] * count,
            logprobs=Column(logprobs) if logprobs is not None else [0.0] * count,
            entropies=Column(entropies) if entropies is not None else [0.0] * count,
            parent=parent,
            derived_from=derived_from,
            role=role,
            version=version,
            messages=tuple(messages),
            meta=dict(meta or {}),
        )
        self.nodes.append(node)
        return node

    def path(self, node_id: int) -> list[Node]:
        """The nodes from the root to a node, root first."""
        chain = []
        current: int | None = node_id
        while current is not None:
            chain.append(self.nodes[current])
            current = self.nodes[current].parent
        return chain[::-1]

    def roots(self) -> list[int]:
        """Per node the id of the root of its path."""
        found: list[int] = []
        for node in self.nodes:
            found.append(node.id if node.parent is None else found[node.parent])
        return found

    def token_ids(self, node_id: int) -> list[int]:
        """The tokens along the path to a node: what the model is shown."""
        return [token for node in self.path(node_id) for token in node.token_ids]

    def leaves(self) -> list[Node]:
        """Nodes without children, in the order in which they were made."""
        parents = {node.parent for node in self.nodes}
        return [node for node in self.nodes if node.id not in parents]

    def generations(self) -> Iterator[Node]:
        """Nodes that the policy sampled."""
        return (node for node in self.nodes if node.kind == "generation")

    @property
    def num_turns(self) -> int:
        """Number of policy turns."""
        return sum(1 for _ in self.generations())

    @property
    def num_sampled(self) -> int:
        """Number of tokens that the policy sampled."""
        return sum(node.num_sampled for node in self.nodes)

    def documents(self) -> set[str]:
        """Ids of all documents that were shown to the agent."""
        return {document for node in self.nodes for document in node.meta.get("documents", ())}

    @property
    def trained(self) -> bool:
        """Whether its tokens are trained on: infrastructure did not break it, and no selection rule has kept it for the baseline only."""
        return self.status is not Status.BROKEN and self.meta.get("train") is not False

    def fork(self, at: int, sample: int) -> "Trajectory":
        """Another attempt that goes on from a node: running, with copies of all nodes up to it under the same ids.

        Its ledger starts with what these nodes spent, so that a reward that counts calls or tokens judges it as it would an attempt that
        had come the same way alone. What a rollout spent in all counts them once (`rollout/forest.py`).

        Args:
            at: id of the last node that both have in common.
            sample: index of the new trajectory within the group.
        """
        if not 0 <= at < len(self.nodes):
            raise TreeError(f"trajectory {self.task_id}/{self.sample}: no node {at} to fork at")
        nodes = [
            replace(
                node,
                shared_with=self.origin(node),
                rewards={},
                reward=0.0,
                token_rewards=[],
                advantages=[],
                returns=[],
                meta=dict(node.meta),
            )
            for node in self.nodes[: at + 1]
        ]
        ledger = {"tokens": float(sum(node.num_sampled for node in nodes))}
        for node in nodes:
            for name, value in node.meta.get("ledger", {}).items():
                ledger[name] = ledger.get(name, 0.0) + value
        return Trajectory(self.task_id, sample, nodes, ledger=ledger, meta=dict(self.meta))

    def origin(self, node: Node) -> tuple[int, int]:
        """Sample and node id of the trajectory that sampled one of these nodes: equal for all copies of a node."""
        return node.shared_with or (self.sample, node.id)

    def set_advantage(self, value: float) -> None:
        """Give every sampled token this advantage."""
        for node in self.nodes:
            node.set_advantage(value)


@dataclass(slots=True)
class Group:
    """Trajectories that are compared with each other; declared by its key, never by order of arrival."""

    key: str
    """Task id, fork point and role."""
    trajectories: list[Trajectory]
    meta: dict[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Trajectory]:
        """Its trajectories."""
        return iter(self.trajectories)

    def __len__(self) -> int:
        """Number of trajectories."""
        return len(self.trajectories)
