"""What the SFT stage imitates: trajectories of the scripted expert, or the best attempts of a policy.

Attempts of a policy are kept in the run (`trajectories/demonstrations.jsonl`), so a resumed run learns from the same ones and samples
nothing again. The expert's are made again, which takes seconds.
"""

from spadework.agents.expert import ExpertConfig, ExpertEngine
from spadework.core.errors import InputError
from spadework.core.progress import Progress
from spadework.core.run import Run
from spadework.core.seeds import derive_seed
from spadework.engines.engine import Engine, SamplingParams
from spadework.rollout.environment import Environment
from spadework.synthesis.demonstrations import best_of
from spadework.tasks.task import Task
from spadework.training.stages import RejectionSampling
from spadework.trajectories.store import Record, read_records, write_records
from spadework.trajectories.tree import Status, Trajectory

__all__ = ["expert_demonstrations", "sampled_demonstrations"]


async def expert_demonstrations(environment: Environment, tasks: list[Task], config: ExpertConfig, seed: int) -> list[Trajectory]:
    """The scripted expert through the real tools, once per task.

    Raises:
        InputError: it completed none.
    """
    expert = ExpertEngine(environment.renderer, tasks, config, seed=derive_seed(seed, "expert"))
    with Progress("demonstrations", len(tasks), unit="trajectories") as progress:
        groups = await environment.rollout(tasks, expert, SamplingParams(), progress=lambda _: progress.advance())
    kept = [trajectory for group in groups for trajectory in group if trajectory.status is Status.COMPLETED]
    if not kept:
        raise InputError("the expert completed no demonstration; raise limits.max_turns and limits.max_tokens")
    return kept


async def sampled_demonstrations(
    environment: Environment, tasks: list[Task], config: RejectionSampling, engine: Engine, run: Run, seed: int
) -> list[Trajectory]:
    """The best attempts of a policy at every task (`synthesis/demonstrations.py`).

    Args:
        environment: the tools and the agent of the training pages.
        tasks: what is attempted, `config.samples` times each.
        config: how often, and how many are kept.
        engine: has the policy's weights.
        run: keeps them, and in its manifest how many of what kind were sampled; what is there already is taken as it is.
        seed: of the run.

    Raises:
        InputError: no attempt was right and without a fault.
    """
    file = run.path / "trajectories" / "demonstrations.jsonl"
    if file.is_file():
        return [record.trajectory for record in read_records(file)]
    count = len(tasks) * config.samples
    with Progress("demonstrations", count, unit="trajectories") as progress:
        groups = await environment.rollout(
            tasks,
            engine,
            config.sampling,
            num_samples=config.samples,
            seed=derive_seed(seed, "rejection sampling"),
            progress=lambda _: progress.advance(),
        )
    by_id = {task.id: task for task in tasks}
    chosen = best_of(groups, by_id, keep=config.keep)
    rejected = {kind: number for kind, number in sorted(chosen.rejected.items()) if number}
    if not chosen.kept:
        raise InputError(
            f"sft.rejection: the policy gave no demonstration in {config.samples} attempts at each of {len(tasks)} tasks "
            f"({', '.join(f'{kind} {number}' for kind, number in rejected.items())}); take a better policy, easier tasks or more samples"
        )
    facts = {"tasks": len(tasks), "attempts": count, "kept": len(chosen.kept), "unsolved": len(chosen.unsolved), "rejected": rejected}
    run.note(demonstrations=facts)
    write_records(file, [Record(one, by_id[one.task_id].model_dump(mode="json")) for one in chosen.kept])
    return chosen.kept
