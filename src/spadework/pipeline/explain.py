"""What a recipe will do in one RL step, formula by formula with its numbers, in the order of the step.

    rollout -> rewards -> selection -> credit -> loss -> optimiser

The formulas are those of the parts (`core/registry.py`), so nothing here knows an algorithm. Settings that are no part, such as budgets
and learning rates, are said in a sentence.
"""

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from spadework.core.registry import Part, shown
from spadework.pipeline.recipe import Recipe
from spadework.rewards.reward import GroupReward, RewardPart, SpanReward, TurnReward
from spadework.rewards.weight import Schedule
from spadework.training.optimizer import OptimizerConfig
from spadework.training.stages import RLStage

__all__ = ["STAGES", "Line", "describe", "explain", "render"]

STAGES = ("rollout", "rewards", "selection", "credit", "loss", "optimiser")
"""Of a step, in order."""

_LEGEND = (
    "R_i reward of trajectory i; mean, std over its group; z(x) = (x - mean) / (std + epsilon); T_i its turns; n searches; "
    "[x] 1 if x, else 0; valid: an answer, and every turn well formed; r = pi / pi_old, w = pi_old / mu of a token, mu the sampler; "
    "sg: no gradient; delta_t = r_t + gamma V_(t+1) - V_t"
)
_SCOPES = {TurnReward: "of every turn", SpanReward: "of tokens", GroupReward: "compared in the group"}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a step does."""

    stage: str
    part: str
    """Name of the part; empty for a setting that is none."""
    formula: str
    options: dict[str, str] = field(default_factory=dict)
    """Options that were given and do not stand in the formula."""
    source: str = ""
    file: str = ""
    """The module that computes it, below `spadework`."""
    depth: int = 0
    """How deep inside another part it stands."""


def explain(recipe: Recipe) -> list[Line]:
    """The lines of a recipe's RL step; none without RL."""
    if recipe.rl is None:
        return []
    return [*_rollout(recipe, recipe.rl), *_parts(recipe.rl), *_models(recipe.rl), *_optimiser(recipe.rl)]


def describe(part: Part, stage: str, name: str, **options: str) -> Iterator[Line]:
    """A part and the parts that stand inside it.

    Args:
        part: what is described.
        stage: where in the step it stands.
        name: how the recipe calls it.
        options: said before its own.
    """
    yield from _describe(part, stage, name, options, 0)


def _describe(part: Part, stage: str, name: str, options: Mapping[str, str], depth: int) -> Iterator[Line]:
    file = type(part).__module__.removeprefix("spadework.").replace(".", "/") + ".py"
    yield Line(stage, name, part.filled(), {**options, **part.unspoken()}, part.source, file, depth)
    for option, inner in part.parts().items():
        if shown(inner) == inner.filled():
            continue  # a number
        weight = {"weight": _weight(inner.weight)} if isinstance(inner, RewardPart) and inner.weight != 1.0 else {}
        place = inner.registered_as if option == inner.registered_as else f"{option}: {inner.registered_as}"
        yield from _describe(inner, stage, place, weight, depth + 1)


def _rollout(recipe: Recipe, stage: RLStage) -> Iterator[Line]:
    turn, limits = stage.sampling, recipe.limits
    drawn = "" if stage.resample == 1 else f", drawn again until selection leaves so many, at most {stage.resample} times"
    texts = [
        f"{stage.steps} steps of {stage.tasks_per_step} tasks * {stage.samples} trajectories{drawn}",
        f"a turn: temperature {turn.temperature:g}, top_p {turn.top_p:g}, top_k {turn.top_k or 'all'}, at most {turn.max_tokens} tokens",
        f"a trajectory: at most {limits.max_turns} turns, {limits.max_calls} calls, {limits.max_tokens} tokens in all",
    ]
    yield from (Line("rollout", "", text) for text in texts)
    [name] = stage.rollout
    yield from describe(stage.strategy(), "rollout", name)


def _parts(stage: RLStage) -> Iterator[Line]:
    parts = stage.parts()
    terms = parts.rubric.terms
    whole = [term for term in terms if not isinstance(term.reward, TurnReward | SpanReward)]
    total = " + ".join(term.name if term.weight == 1.0 else f"{_weight(term.weight)} {term.name}" for term in whole) or "0"
    yield Line("rewards", "R", total)
    for term in terms:
        said = {}
        if scope := next((words for base, words in _SCOPES.items() if isinstance(term.reward, base)), None):
            said["scope"] = scope
        if isinstance(term.reward, TurnReward | SpanReward):
            said["weight"] = _weight(term.weight)
        if isinstance(term.reward, Part):
            yield from describe(term.reward, "rewards", term.name, **said)
    for name, rule in parts.selection.rules:
        if isinstance(rule, Part):
            yield from describe(rule, "selection", name)
    yield from describe(parts.credit, "credit", parts.credit.registered_as)
    objective = parts.objective
    for name, part in ((objective.surrogate.registered_as, objective.surrogate), *objective.corrections.items(), *objective.terms.items()):
        yield from describe(part, "loss", name)


def _optimiser(stage: RLStage) -> Iterator[Line]:
    config = stage.learner.optimizer
    updates = f"{stage.ppo_epochs * stage.mini_batches} updates a step ({stage.ppo_epochs} passes of {stage.mini_batches} mini-batches)"
    yield Line("optimiser", "", updates if stage.ppo_epochs * stage.mini_batches > 1 else "1 update a step, so that r is 1")
    yield Line("optimiser", config.name, _rates(config), file="training/optimizer.py")
    yield Line(
        "optimiser",
        "",
        f"gradients scaled to norm {config.max_grad_norm:g}, weight decay {config.weight_decay:g}, betas {shown(config.betas)}",
    )


def _models(stage: RLStage) -> Iterator[Line]:
    """What is trained or asked beside the policy."""
    if critic := stage.critic:
        clip = "none" if critic.clip is None else f"{critic.clip:g}"
        formula = f"mean of max((V - return)², (clip(V, V_old ± clip) - return)²) / 2, clip {clip}; {critic.optimizer.name}: "
        alone = f"; alone in the first {critic.warmup} steps" if critic.warmup else ""
        yield Line("loss", "critic", formula + _rates(critic.optimizer) + alone, {}, "PPO, arXiv 1707.06347", "training/critic.py")
    if stage.teacher:
        yield Line("loss", "teacher", stage.teacher, {}, "", "training/teacher.py")


def _rates(config: OptimizerConfig) -> str:
    muon = f", matrices {config.muon_lr:g}" if config.name == "muon" else ""
    rise = f", rising over the first {config.warmup:.0%} of the steps" if config.warmup else ""
    fall = f", falling to {config.final:g} of it over the last {config.decay:.0%}" if config.decay else ""
    return f"learning rate {config.lr:g}{muon}{rise}{fall}"


def _weight(weight: float | Schedule) -> str:
    if isinstance(weight, Schedule):
        return f"({weight.start:g} -> {weight.end:g} between {weight.begin:.0%} and {weight.until:.0%} of training)"
    return f"{weight:g}"


def render(recipe: Recipe, lines: Iterable[Line], width: int | None = None) -> str:
    """The lines for a terminal, between what the recipe reproduces and its notes.

    Args:
        recipe: whose lines they are.
        lines: from `explain`.
        width: columns; those of the terminal if not given.
    """
    width = min(width or shutil.get_terminal_size().columns, 140)
    lines = list(lines)
    scale = f", scale {recipe.scale}" if recipe.scale else ""
    source = f"{recipe.source.paper}{f', code {recipe.source.code}' if recipe.source.code else ''}" if recipe.source else ""
    out = [line for text in (f"{recipe.name}{scale}", recipe.description, source) for line in textwrap.wrap(text, width)]
    for stage in STAGES:
        found = [line for line in lines if line.stage == stage]
        column = max((2 * line.depth + len(line.part) for line in found), default=0)
        out += ["", stage.upper()] if found else []
        for line in found:
            out += _wrapped(line, min(column, 28), width)
    out += ["", *textwrap.wrap(_LEGEND, width)] if lines else ["", "no RL stage"]
    if recipe.notes:
        out += ["", "NOTES"]
        out += [text for note in recipe.notes for text in textwrap.wrap(note, width, initial_indent="- ", subsequent_indent="  ")]
    return "\n".join(out)


def _wrapped(line: Line, column: int, width: int) -> list[str]:
    start = column + 4 if line.part else 2
    name = f"  {'  ' * line.depth}{line.part}".ljust(start)
    options = "".join(f"; {key} {value}" for key, value in line.options.items())
    origin = ", ".join(filter(None, [line.source, line.file]))
    rest = " " * start
    # A name that is longer than its column pushes its own first line only.
    text = textwrap.wrap(f"{line.formula}{options}", width, initial_indent=name, subsequent_indent=rest)
    return text + (textwrap.wrap(f"({origin})", width, initial_indent=rest, subsequent_indent=f"{rest} ") if origin else [])
