"""From trajectories to packs: every token of a forest once, in segments that know their ancestors.

A sample is the tokens along one root-to-leaf path. Samples that share nodes (the prompt of a group, the trunk of a branch, the prefix of a
fork) become a tree of segments in which the shared tokens stand once; a chain without branches is one segment. A policy token is predicted
from the token before it on its own path, which may be the last token of its parent segment, so a pack carries the source index of every
target instead of rolling labels.

Every policy token of every node is a target once. Branches of one trajectory share a node, which has one advantage. A fork has copies of
its prefix (`Node.shared_with`), each with its own advantage; they stand in the pack once and are a target once per copy, each in its own
sequence. So any loss, with its counts and its gradient, is that of the unshared sequences, and only the work of the model is saved.

Every policy token of a step has a number, which it keeps however the step is packed: what is computed of it in one packing (the
log-probability under a frozen model, the estimate of a critic) is found again in another.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spadework.trajectories.tree import Group, Trajectory

__all__ = ["Pack", "Sample", "Segment", "group_samples", "make_packs", "make_sample", "step_samples"]

Key = tuple[object, ...]


class Segment(NamedTuple):
    """A run of tokens of a pack."""

    start: int
    length: int
    parent: int | None
    """Index of the segment whose tokens it continues."""


class _Span(NamedTuple):
    """What one node adds to a sample."""

    key: Key
    """Equal keys are the same tokens in the same place."""
    owner: Key
    """The node, which differs from that of a copy in the same place."""
    token_ids: Sequence[int]
    mask: Sequence[bool]
    observed: bool
    """Whether these are tokens of an observation node, which a loss may predict too."""
    columns: tuple[Sequence[float] | float, ...]
    """In the order of `_COLUMNS`: one value per token, or one for all."""
    number: int
    """Of its first policy token in the step."""


_COLUMNS = ("advantages", "sampler_logprobs", "entropies", "rewards", "values", "returns")


@dataclass(frozen=True, slots=True)
class Sample:
    """The tokens along one path, by node."""

    spans: tuple[_Span, ...]

    def __len__(self) -> int:
        """Number of tokens."""
        return sum(len(span.token_ids) for span in self.spans)


@dataclass(frozen=True, slots=True)
class Pack:
    """One micro-batch: N tokens of a forest, of which M are targets."""

    token_ids: npt.NDArray[np.int64]
    """[N]"""
    segments: list[Segment]
    targets: npt.NDArray[np.int64]
    """[M] index of each policy token; the same index several times where forks have copies of it."""
    sources: npt.NDArray[np.int64]
    """[M] index of the token from whose hidden state it is predicted."""
    numbers: npt.NDArray[np.int64]
    """[M] number of the policy token in the step (see `step_samples`)."""
    advantages: npt.NDArray[np.float32]
    """[M]"""
    sampler_logprobs: npt.NDArray[np.float32]
    """[M] nats."""
    entropies: npt.NDArray[np.float32]
    """[M] nats, as recorded by the sampler."""
    rewards: npt.NDArray[np.float32]
    """[M] reward of the trajectory."""
    values: npt.NDArray[np.float32]
    """[M] a critic's estimates; 0 if there is no critic."""
    returns: npt.NDArray[np.float32]
    """[M] what the critic should have estimated."""
    sequence_ids: npt.NDArray[np.int64]
    """[M] which sample a target belongs to, counted from 0 in this pack; a token of several branches belongs to the first."""
    num_sequences: int
    observations: npt.NDArray[np.int64]
    """[K] index of each token of an observation node, as often as a target would stand there."""
    observation_sources: npt.NDArray[np.int64]
    """[K] index of the token from whose hidden state it is predicted."""


def make_sample(token_ids: Sequence[int], mask: Sequence[bool]) -> Sample:
    """A sample of plain tokens, for supervised stages; its advantages are 1 where the mask is True."""
    key = (id(token_ids),)
    return Sample((_Span(key, key, token_ids, mask, False, (1.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0),))


def _trajectory_samples(trajectory: Trajectory, number: int, numbers: dict[int, int], first: int) -> Iterable[Sample]:
    spans = {}
    for node in trajectory.nodes:
        owner: Key = (number, node.id)
        sample, origin = node.shared_with or (trajectory.sample, node.id)
        key: Key = owner if node.shared_with is None else (numbers.get(sample, ("absent", sample)), origin)
        spans[node.id] = _Span(
            (*node.token_ids,) if node.parent is None else key,
            owner,
            node.token_ids,
            node.mask,
            node.kind == "observation",
            (node.advantages or 0.0, node.logprobs, node.entropies, float(trajectory.reward), node.values or 0.0, node.returns or 0.0),
            first,
        )
        first += node.num_sampled
    for leaf in trajectory.leaves():
        path = trajectory.path(leaf.id)
        while path and path[-1].kind != "generation":
            path.pop()
        if path:
            yield Sample(tuple(spans[node.id] for node in path))


def group_samples(group: Group, first: int = 0) -> list[Sample]:
    """The samples of a group's trajectories that are trained on: one per leaf, cut after its last policy turn.

    Roots with the same tokens are the same node, and so are a node and its copies in forks.

    Args:
        group: with advantages, or without to compute something else of its tokens.
        first: number of its first policy token; the others follow by trajectory and node.
    """
    numbers = {trajectory.sample: number for number, trajectory in enumerate(group)}
    samples: list[Sample] = []
    for number, trajectory in enumerate(group):
        if trajectory.trained:
            samples.extend(_trajectory_samples(trajectory, number, numbers, first))
            first += trajectory.num_sampled
    return samples


def step_samples(groups: Iterable[Group]) -> list[list[Sample]]:
    """The samples of every group of a step. Policy tokens are numbered from 0 over all trajectories that are trained on."""
    families, first = [], 0
    for group in groups:
        families.append(group_samples(group, first))
        first += sum(trajectory.num_sampled for trajectory in group if trajectory.trained)
    return families


def make_packs(families: Sequence[Sequence[Sample]], max_tokens: int) -> list[Pack]:
    """Pack families of samples; only samples of one family share tokens, and a family is split only when it exceeds the budget alone.

    Args:
        families: samples that may share nodes (a group), or single samples.
        max_tokens: budget of a pack. One sample that is longer gets a pack of its own.
    """
    ordered = sorted((family for family in families if family), key=lambda family: max(len(sample) for sample in family))
    packs: list[Pack] = []
    batch: list[list[Sample]] = []
    used = 0
    for family in ordered:
        for part in _split(family, max_tokens):
            cost = _num_tokens(part)
            if batch and used + cost > max_tokens:
                packs.append(_pack(batch))
                batch, used = [], 0
            batch.append(part)
            used += cost
    if batch:
        packs.append(_pack(batch))
    return packs


def _num_tokens(family: Sequence[Sample]) -> int:
    """Tokens of a family when shared nodes stand once."""
    return sum({span.key: len(span.token_ids) for sample in family for span in sample.spans}.values())


def _split(family: Sequence[Sample], max_tokens: int) -> list[list[Sample]]:
    if _num_tokens(family) <= max_tokens:
        return [list(family)]
    parts: list[list[Sample]] = []
    for sample in family:
        if parts and _num_tokens([*parts[-1], sample]) <= max_tokens:
            parts[-1].append(sample)
        else:
            parts.append([sample])
    trained: set[Key] = set()
    for number, part in enumerate(parts):
        # What an earlier part trains is only read here: a node is trained once, however the family is split.
        parts[number] = [
            Sample(
                tuple(
                    span._replace(mask=[False] * len(span.mask), observed=False) if span.owner in trained else span for span in sample.spans
                )
            )
            for sample in part
        ]
        trained.update(span.owner for sample in part for span in sample.spans)
    return parts


class _Builder:
    """Lays out the segments of a pack."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.tokens: list[int] = []
        self.targets: list[int] = []
        self.sources: list[int] = []
        self.numbers: list[int] = []
        self.sequence_ids: list[int] = []
        self.observed: list[int] = []
        self.observed_sources: list[int] = []
        self.columns: tuple[list[float], ...] = tuple([] for _ in _COLUMNS)
        self.sequences = 0

    def family(self, family: Sequence[Sample]) -> None:
        """Lay out samples that may share nodes. Samples with different roots are different trees."""
        roots: dict[Key, list[tuple[int, Sample]]] = {}
        for sequence, sample in enumerate(family, start=self.sequences):
            roots.setdefault(sample.spans[0].key, []).append((sequence, sample))
        self.sequences += len(family)
        for members in roots.values():
            self._tree(members, 0, None)

    def _tree(self, members: Sequence[tuple[int, Sample]], depth: int, parent: int | None) -> None:
        """Lay out what the samples have from a depth on, under a parent segment."""
        shared = depth
        while all(len(s.spans) > shared for _, s in members) and len({s.spans[shared].key for _, s in members}) == 1:
            shared += 1
        if shared > depth:
            parent = self._segment(members, depth, shared, parent)
        branches: dict[Key, list[tuple[int, Sample]]] = {}
        for sequence, sample in members:
            if len(sample.spans) > shared:
                branches.setdefault(sample.spans[shared].key, []).append((sequence, sample))
        for branch in branches.values():
            self._tree(branch, shared, parent)

    def _segment(self, members: Sequence[tuple[int, Sample]], first: int, last: int, parent: int | None) -> int:
        start = len(self.tokens)
        before = -1 if parent is None else self.segments[parent].start + self.segments[parent].length - 1
        for depth in range(first, last):
            source = before if len(self.tokens) == start else len(self.tokens) - 1
            owners: dict[Key, tuple[int, _Span]] = {}
            for sequence, sample in members:
                owners.setdefault(sample.spans[depth].owner, (sequence, sample.spans[depth]))
            for sequence, span in owners.values():
                self._targets(span, sequence, source)
            self.tokens.extend(members[0][1].spans[depth].token_ids)
        self.segments.append(Segment(start, len(self.tokens) - start, parent))
        return len(self.segments) - 1

    def _targets(self, span: _Span, sequence: int, source: int) -> None:
        """Add the policy tokens, or those of an observation, of a node that is about to be laid out after the token `source`."""
        mask = span.mask
        start, stop = len(self.tokens), len(self.tokens) + len(mask)
        if span.observed and mask and source >= 0:
            self.observed.extend(range(start, stop))
            self.observed_sources.extend((source, *range(start, stop - 1)))
        number = span.number
        if source < 0 and mask:
            # The first token of a root is predicted from nothing and can not be a target.
            number += mask[0]
            mask = [False, *mask[1:]]
        if not any(mask):
            return
        count = mask.count(True)
        self.targets.extend(compress(range(start, stop), mask))
        self.sources.extend(compress((source, *range(start, stop - 1)), mask))
        self.numbers.extend(range(number, number + count))
        for column, values in zip(self.columns, span.columns, strict=True):
            if isinstance(values, float):
                column.extend([values] * count)
            else:
                column.extend(values if count == len(mask) else compress(values, mask))
        self.sequence_ids.extend([sequence] * count)


def _pack(families: Sequence[Sequence[Sample]]) -> Pack:
    builder = _Builder()
    for family in families:
        builder.family(family)
    return Pack(
        token_ids=np.array(builder.tokens, dtype=np.int64),
        segments=builder.segments,
        targets=np.array(builder.targets, dtype=np.int64),
        sources=np.array(builder.sources, dtype=np.int64),
        numbers=np.array(builder.numbers, dtype=np.int64),
        sequence_ids=np.array(builder.sequence_ids, dtype=np.int64),
        num_sequences=builder.sequences,
        observations=np.array(builder.observed, dtype=np.int64),
        observation_sources=np.array(builder.observed_sources, dtype=np.int64),
        **{name: np.array(column, dtype=np.float32) for name, column in zip(_COLUMNS, builder.columns, strict=True)},
    )
