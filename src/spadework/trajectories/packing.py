"""From trajectories to packs: every token of a forest once, in segments that know their ancestors.

A sample is the tokens along one root-to-leaf path. Samples that share nodes (the prompt of a group, the trunk of a branch) become a tree of
segments in which the shared tokens stand once; a chain without branches is one segment. A policy token is predicted from the token before
it on its own path, which may be the last token of its parent segment, so a pack carries the source index of every target instead of rolling
labels.

A shared policy token is trained once, with the advantage that the credit rule wrote on its node. Not done here: weights by the number of
branches through a node.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spadework.trajectories.tree import Group, Status, Trajectory

__all__ = ["Pack", "Sample", "Segment", "group_samples", "make_packs", "make_sample"]

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
    token_ids: Sequence[int]
    mask: Sequence[bool]
    advantages: Sequence[float]
    logprobs: Sequence[float]
    entropies: Sequence[float]


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
    """[M] index of each policy token."""
    sources: npt.NDArray[np.int64]
    """[M] index of the token from whose hidden state it is predicted."""
    advantages: npt.NDArray[np.float32]
    """[M]"""
    sampler_logprobs: npt.NDArray[np.float32]
    """[M] nats."""
    entropies: npt.NDArray[np.float32]
    """[M] nats, as recorded by the sampler."""
    sequence_ids: npt.NDArray[np.int64]
    """[M] which sample a target belongs to, counted from 0 in this pack; a shared token belongs to the first."""
    num_sequences: int


def make_sample(token_ids: Sequence[int], mask: Sequence[bool]) -> Sample:
    """A sample of plain tokens, for supervised stages; its advantages are 1 where the mask is True."""
    zeros = [0.0] * len(mask)
    return Sample((_Span((id(token_ids),), token_ids, mask, [float(m) for m in mask], zeros, zeros),))


def _trajectory_samples(trajectory: Trajectory, name: int) -> Iterable[Sample]:
    for leaf in trajectory.leaves():
        path = trajectory.path(leaf.id)
        while path and path[-1].kind != "generation":
            path.pop()
        spans = []
        for node in path:
            key: Key = (*node.token_ids,) if node.parent is None else (name, node.id)
            spans.append(_Span(key, node.token_ids, node.mask, node.advantages or [0.0] * len(node.mask), node.logprobs, node.entropies))
        if spans:
            yield Sample(tuple(spans))


def group_samples(group: Group) -> list[Sample]:
    """The samples of a group's unbroken trajectories: one per leaf, cut after its last policy turn.

    Roots with the same tokens are the same node.
    """
    members = enumerate(trajectory for trajectory in group if trajectory.status is not Status.BROKEN)
    return [sample for number, trajectory in members for sample in _trajectory_samples(trajectory, number)]


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
    return sum({prefix: len(span.token_ids) for sample in family for prefix, span in _places(sample)}.values())


def _places(sample: Sample) -> Iterator[tuple[Key, _Span]]:
    """The spans with what says where in the tree they stand."""
    prefix: Key = ()
    for span in sample.spans:
        prefix = (prefix, span.key)
        yield prefix, span


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
        # What an earlier part trains is only read here: a shared token is trained once, however the family is split.
        parts[number] = [
            Sample(tuple(span._replace(mask=[False] * len(span.mask)) if place in trained else span for place, span in _places(sample)))
            for sample in part
        ]
        trained.update(place for sample in part for place, _ in _places(sample))
    return parts


class _Builder:
    """Lays out the segments of a pack."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.tokens: list[int] = []
        self.targets: list[int] = []
        self.sources: list[int] = []
        self.advantages: list[float] = []
        self.logprobs: list[float] = []
        self.entropies: list[float] = []
        self.sequence_ids: list[int] = []
        self.sequences = 0

    def add(self, samples: Sequence[Sample], depth: int, parent: int | None) -> None:
        """Lay out what the samples have from a depth on, under a parent segment."""
        shared = depth
        while all(len(s.spans) > shared for s in samples) and len({s.spans[shared].key for s in samples}) == 1:
            shared += 1
        if shared > depth:
            parent = self._segment(samples[0], depth, shared, parent)
        if len(samples) == 1:
            self.sequences += 1
            return
        branches: dict[Key | None, list[Sample]] = {}
        for sample in samples:
            branches.setdefault(sample.spans[shared].key if len(sample.spans) > shared else None, []).append(sample)
        for key, members in branches.items():
            if key is None:
                self.sequences += len(members)
            else:
                self.add(members, shared, parent)

    def _segment(self, sample: Sample, first: int, last: int, parent: int | None) -> int:
        start = len(self.tokens)
        before = -1 if parent is None else self.segments[parent].start + self.segments[parent].length - 1
        for span in sample.spans[first:last]:
            offset = len(self.tokens)
            self.tokens.extend(span.token_ids)
            for index, sampled in enumerate(span.mask):
                # The first token of a root is predicted from nothing and can not be a target.
                position = offset + index
                source = position - 1 if position > start else before
                if sampled and source >= 0:
                    self.targets.append(position)
                    self.sources.append(source)
                    self.advantages.append(span.advantages[index])
                    self.logprobs.append(span.logprobs[index])
                    self.entropies.append(span.entropies[index])
                    self.sequence_ids.append(self.sequences)
        self.segments.append(Segment(start, len(self.tokens) - start, parent))
        return len(self.segments) - 1


def _pack(families: Sequence[Sequence[Sample]]) -> Pack:
    builder = _Builder()
    for family in families:
        _add_family(builder, family)
    return Pack(
        token_ids=np.array(builder.tokens, dtype=np.int64),
        segments=builder.segments,
        targets=np.array(builder.targets, dtype=np.int64),
        sources=np.array(builder.sources, dtype=np.int64),
        advantages=np.array(builder.advantages, dtype=np.float32),
        sampler_logprobs=np.array(builder.logprobs, dtype=np.float32),
        entropies=np.array(builder.entropies, dtype=np.float32),
        sequence_ids=np.array(builder.sequence_ids, dtype=np.int64),
        num_sequences=builder.sequences,
    )


def _add_family(builder: _Builder, family: Sequence[Sample]) -> None:
    """Samples with different roots are different trees."""
    roots: dict[Key, list[Sample]] = {}
    for sample in family:
        roots.setdefault(sample.spans[0].key, []).append(sample)
    for members in roots.values():
        builder.add(members, 0, None)
