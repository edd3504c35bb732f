"""Which learning curves a report shows, and under which metric names it looks for them (verl's names, see DESIGN section 8).

A metric that no event has is left out. Non-finite values are skipped and counted in the chart's note.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spadework.viewer.charts import Curve
from spadework.viewer.figures import finite

__all__ = ["learning_curves"]


@dataclass(frozen=True, slots=True)
class _Panel:
    stage: str
    names: tuple[str, ...]
    """The first of these that occurs is shown."""
    title: str
    unit: str
    domain: tuple[float | None, float | None] = (None, None)
    note: str = ""


_PANELS = (
    _Panel("reading", ("loss",), "Reading: loss", "nats per token", (0, None)),
    _Panel("sft", ("loss",), "Cold start: loss", "nats per token", (0, None)),
    _Panel("rl", ("reward/mean", "critic/rewards/mean"), "Reward", "mean per trajectory"),
    _Panel("rl", ("success", "success/mean"), "Success in training", "share of trajectories", (0, 1)),
    _Panel("rl", ("num_calls/mean", "num_turns/mean"), "Calls per question", "mean tool calls", (0, None)),
    _Panel("rl", ("actor/entropy",), "Entropy", "nats per sampled token", (0, None)),
    _Panel(
        "rl", ("groups/kept",), "Groups that teach", "share with reward variance", (0, 1), "A group with equal rewards gives no gradient."
    ),
    _Panel("rl", ("actor/grad_norm",), "Gradient norm", "before clipping", (0, None)),
    _Panel(
        "rl",
        ("rollout_corr/max_abs_diff",),
        "Mismatch",
        "largest difference in log-probability",
        (0, None),
        "Trainer against sampler on the same tokens, in nats; should stay near 0.",
    ),
    _Panel("rl", ("rollout_corr/kl",), "Mismatch", "KL divergence, nats", (0, None), "Trainer against sampler; should stay near 0."),
)


def _objectives(events: Sequence[Mapping[str, Any]]) -> list[_Panel]:
    """A panel for each reward of a run that has several; a run with one has its curve already."""
    names = sorted(
        {name for event in events for name in event if name.startswith("reward/") and name.endswith("/mean") and name != "reward/mean"}
    )
    if len(names) < 2:
        return []
    of = [name.removeprefix("reward/").removesuffix("/mean") for name in names]
    note = "One of several rewards, before its weight."
    return [_Panel("rl", (name,), f"Reward: {short}", "mean, unweighted", note=note) for name, short in zip(names, of, strict=True)]


def learning_curves(events: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """The curves of a run in reading order; stages and metrics that were not logged are left out."""
    curves = []
    for panel in (*_PANELS, *_objectives(events)):
        rows = [event for event in events if event.get("stage") == panel.stage]
        name = next((name for name in panel.names if any(finite(row.get(name)) is not None for row in rows)), None)
        if name is None:
            continue
        pairs = [(finite(row.get("step")), finite(row.get(name))) for row in rows if name in row]
        known = sorted((step, value) for step, value in pairs if step is not None and value is not None)
        if not known:
            continue
        lost = len(pairs) - len(known)
        note = " ".join(filter(None, (panel.note, f"{lost} values that are not finite are left out." if lost else "")))
        unit, domain = panel.unit, panel.domain
        if panel.domain == (0, 1) and max(value for _, value in known) > 1:
            unit, domain = unit.replace("share", "number"), (0, None)
        curves.append(Curve(panel.title, unit, panel.stage, [s for s, _ in known], [v for _, v in known], domain, note))
    return curves
