"""Trajectories as the driver makes them, in one line each."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from spadework.core.messages import Message, ToolCall, Turn
from spadework.rewards.reward import GroupReward, RewardTerm, TurnReward, rewards
from spadework.tasks.task import Task
from spadework.trajectories.tree import Status, Trajectory

TASK = Task(id="t", question="Who is mayor of Dun?", answers=("Velor Tash", "V. Tash"), evidence=("d1", "d2"), hops=2)


@dataclass
class Step:
    """A turn of the policy and the results that follow it."""

    turn: Turn | None
    results: tuple[tuple[str, tuple[str, ...], str], ...] = ()
    written: str = ""


def search(query: str, text: str = "", documents: tuple[str, ...] = (), *, status: str = "ok", tool: str = "search") -> Step:
    return Step(Turn(calls=(ToolCall(name=tool, arguments={"query": query}),)), ((text, documents, status),))


def both(*steps: Step) -> Step:
    """Several calls in one turn."""
    return Step(Turn(calls=tuple(c for s in steps if s.turn for c in s.turn.calls)), tuple(r for s in steps for r in s.results))


def bad() -> Step:
    return Step(Turn(error="neither a call nor an answer"))


def think(written: str) -> Step:
    """A turn whose text matters; it calls nothing the reward looks at."""
    return Step(Turn(calls=(ToolCall(name="note", arguments={}),)), written=written)


def episode(*steps: Step, answer: str | None = None, written: str = "", task: Task = TASK, sample: int = 0, tokens: int = 1) -> Trajectory:
    """Run steps, then answer (unless None). Each generation has `tokens` tokens."""
    trajectory = Trajectory(task.id, sample=sample, status=Status.COMPLETED if answer is not None else Status.TRUNCATED, answer=answer)
    trajectory.add("prompt", [1, 2], parent=None)
    used: Counter[str] = Counter()
    last = [*steps, Step(Turn(answer=answer or "-"), written=written)] if answer is not None else list(steps)
    for step in last:
        messages = () if step.turn is None else (Message(role="assistant", turn=step.turn, content=step.written),)
        parent = len(trajectory.nodes) - 1
        trajectory.add("generation", [7] * tokens, parent=parent, logprobs=[-0.1] * tokens, messages=messages)
        if step.results and step.turn is not None:
            names = [call.name for call in step.turn.calls]
            used.update(f"calls/{name}" for name in names)
            used.update(calls=len(names), errors=sum(status == "error" for _, _, status in step.results))
            records = [
                {"tool": name, "status": status, "seconds": 0.0, "documents": list(documents)}
                for name, (_, documents, status) in zip(names, step.results, strict=False)
            ]
            documents = list(dict.fromkeys(document for _, shown, _ in step.results for document in shown))
            told = tuple(Message(role="tool", content=text, name=name) for name, (text, _, _) in zip(names, step.results, strict=False))
            trajectory.add("observation", [3], parent=parent + 1, messages=told, meta={"calls": records, "documents": documents})
    trajectory.ledger = {"calls": 0.0, "errors": 0.0, "seconds": 0.0, **{k: float(v) for k, v in used.items()}}
    trajectory.ledger["tokens"] = float(trajectory.num_sampled)
    return trajectory


def searched(count: int, answer: str | None) -> Trajectory:
    """So many different searches, then the answer."""
    return episode(*(search(f"query {index}") for index in range(count)), answer=answer)


def value(name: str, trajectory: Trajectory, task: Task = TASK, **options: Any) -> float:
    reward = rewards.build(name, options)
    assert isinstance(reward, RewardTerm)
    return reward(task, trajectory)


def per_turn(name: str, trajectory: Trajectory, task: Task = TASK, **options: Any) -> list[float]:
    reward = rewards.build(name, options)
    assert isinstance(reward, TurnReward)
    return reward(task, trajectory)


def in_group(name: str, trajectories: list[Trajectory], task: Task = TASK, **options: Any) -> list[float]:
    reward = rewards.build(name, options)
    assert isinstance(reward, GroupReward)
    return reward(task, trajectories)


def with_meta(**meta: Any) -> Task:
    return TASK.model_copy(update={"meta": meta})
