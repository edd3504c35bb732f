"""Carries out an agent's moves until it finishes or a budget ends: one task in, one trajectory out.

An attempt starts at the prompt, or goes on from any trajectory that runs: a fork, one that an earlier call left after some turns, one read
back from disk. Budgets count the whole path.

Nodes are appended as they happen: the prompt, each sampled turn, each set of tool results; tokens come from the engine and the renderer and
are never rendered again. Results that the model can no longer be shown, because the path would outgrow `max_tokens`, are not recorded
either, so a path never exceeds it. Infrastructure failures end the trajectory as `broken` and never raise; anything else that raises is a
bug. The policy sees the text of a result; pictures that came with it are kept beside the trajectories (`trajectories/images.py`).

Not done here: when to branch (`strategies/`); delegations and edited contexts, which need further moves, not another driver.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from spadework.agents.agent import Act, Agent, Finish
from spadework.core.config import Config
from spadework.core.errors import BrokenError
from spadework.core.messages import Message, ToolCall
from spadework.core.seeds import derive_seed
from spadework.engines.engine import Completion, Engine, Request, SamplingParams
from spadework.models.renderers.renderer import Renderer
from spadework.tasks.task import Task
from spadework.tools.gateway import Gateway
from spadework.tools.tool import Observation
from spadework.trajectories.images import keep_image
from spadework.trajectories.tree import Kind, Node, Status, Trajectory

__all__ = ["Limits", "run_trajectory"]


class Limits(Config):
    """Budgets of one trajectory. Running out of one ends it as `truncated`."""

    max_turns: int = Field(default=8, ge=1)
    """Turns of the policy."""
    max_calls: int = Field(default=16, ge=0)
    """Tool calls, malformed ones included."""
    max_tokens: int = Field(default=4096, ge=1)
    """Length of the path in tokens: prompt, turns and results. At most the model's window."""
    engine_timeout: float = Field(default=600.0, gt=0)
    """Seconds until a turn that the engine has not finished counts as broken."""


async def run_trajectory(
    task: Task,
    *,
    agent: Agent,
    engine: Engine,
    renderer: Renderer,
    gateway: Gateway,
    params: SamplingParams,
    limits: Limits,
    seed: int = 0,
    sample: int = 0,
    start: Trajectory | None = None,
    turns: int | None = None,
) -> Trajectory:
    """Run one attempt at a task.

    Args:
        task: the question.
        agent: decides the moves.
        engine: samples the turns.
        renderer: the chat template; its stops are added to those of `params`.
        gateway: the tools. The trajectory's label there and in the engine is `TASK_ID/SAMPLE`.
        params: how to sample; `max_tokens` holds per turn.
        limits: budgets of the trajectory.
        seed: seed of the rollout; each turn's is derived from it, the task, the sample and the number of the turn.
        sample: index within the group; `start` has its own.
        start: what to go on from, in place. One that has ended is left as it is.
        turns: stop before the policy's next turn after so many, with the trajectory still running; None runs it to its end.

    Returns:
        The trajectory with its status, answer and ledger; `ledger["tokens"]` counts sampled tokens.
    """
    trajectory = start or Trajectory(task_id=task.id, sample=sample)
    stops = {"stop": (*params.stop, *renderer.stop), "stop_token_ids": (*params.stop_token_ids, *renderer.stop_token_ids)}
    episode = _Episode(task, trajectory, agent, engine, renderer, gateway, params.model_copy(update=stops), limits, seed)
    gateway.open(episode.label, derive_seed(seed, task.id, trajectory.sample, "tools"))
    try:
        calls, shown = episode.past_calls()
        await gateway.restore(episode.label, calls, shown=shown)
        await episode.run(turns)
    except BrokenError as error:
        episode.end(Status.BROKEN, str(error))
    finally:
        episode.pay(gateway.settle(episode.label))
    trajectory.ledger["tokens"] = float(trajectory.num_sampled)
    return trajectory


class _Episode:
    """A trajectory in the making."""

    def __init__(
        self,
        task: Task,
        trajectory: Trajectory,
        agent: Agent,
        engine: Engine,
        renderer: Renderer,
        gateway: Gateway,
        params: SamplingParams,
        limits: Limits,
        seed: int,
    ) -> None:
        self.trajectory = trajectory
        self.label = f"{task.id}/{trajectory.sample}"
        self.agent, self.engine, self.renderer, self.gateway = agent, engine, renderer, gateway
        self._loss_mask = getattr(renderer, "loss_mask", None)
        self.params, self.limits, self.seed = params, limits, seed
        if not trajectory.nodes:
            messages = tuple(agent.start(task, gateway.schemas))
            trajectory.add("prompt", renderer.prompt(messages, gateway.schemas), parent=None, role=agent.role, messages=messages)
        self.path = trajectory.path(trajectory.nodes[-1].id)
        self.token_ids = [token for node in self.path for token in node.token_ids]
        self.num_turns = sum(node.kind == "generation" for node in self.path)
        self.shown: tuple[Observation, ...] = ()
        self.num_calls = sum(len(node.meta["calls"]) for node in self.path if node.kind == "observation")

    def end(self, status: Status, error: str | None = None, answer: str | None = None) -> None:
        self.trajectory.status, self.trajectory.error, self.trajectory.answer = status, error, answer

    def past_calls(self) -> tuple[list[ToolCall], list[tuple[Observation, ...]]]:
        """The calls on the path so far, and per call what had been shown before it.

        They are what the agent, a function of the path, wanted after each turn that has its results.
        """
        calls: list[ToolCall] = []
        shown: list[tuple[Observation, ...]] = []
        for number, node in enumerate(self.path):
            if node.kind != "observation":
                continue
            move = self.agent.next(self.path[:number])
            wanted = move.calls if isinstance(move, Act) else ()
            calls += wanted
            shown += [self.shown] * len(wanted)
            self.shown += _shown(node)
        return calls, shown

    def pay(self, spent: dict[str, float]) -> dict[str, float]:
        """Add to the trajectory's ledger what has been spent since the last time."""
        for name, value in spent.items():
            self.trajectory.ledger[name] = self.trajectory.ledger.get(name, 0.0) + value
        return spent

    async def run(self, turns: int | None = None) -> None:
        last = None if turns is None else self.num_turns + turns
        while self.trajectory.status is Status.RUNNING:
            move = self.agent.next(self.path)
            if isinstance(move, Finish):
                self.end(Status.FAILED if move.answer is None else Status.COMPLETED, move.error, move.answer)
            elif isinstance(move, Act):
                await self._act(move.calls)
            elif self.num_turns == last:
                return
            else:
                await self._generate()

    async def _generate(self) -> None:
        room = self.limits.max_tokens - len(self.token_ids)
        if self.num_turns >= self.limits.max_turns:
            return self.end(Status.TRUNCATED, f"max_turns: {self.limits.max_turns} turns without an answer")
        if room <= 0:
            return self.end(Status.TRUNCATED, f"max_tokens: the path has {len(self.token_ids)} of {self.limits.max_tokens} tokens")
        params = self.params if self.params.max_tokens <= room else self.params.model_copy(update={"max_tokens": room})
        seed = derive_seed(self.seed, self.trajectory.task_id, self.trajectory.sample, self.num_turns)
        completion = await self._sample(Request(token_ids=list(self.token_ids), params=params, seed=seed, label=self.label))
        self.num_turns += 1
        turn = self.renderer.parse(completion.token_ids)
        self._add(
            "generation",
            completion.token_ids,
            (Message(role="assistant", content=self.renderer.text(completion.token_ids), turn=turn),),
            {"finish": completion.finish},
            completion,
        )
        full = completion.finish == "context" or len(self.token_ids) >= self.limits.max_tokens
        # An unfinished turn is the policy's mistake while there is room to correct it, and the end of the budget otherwise.
        if full and turn.answer is None:
            self.end(Status.TRUNCATED, f"max_tokens: {len(self.token_ids)} tokens without an answer")

    async def _sample(self, request: Request) -> Completion:
        try:
            async with asyncio.timeout(self.limits.engine_timeout):
                return await self.engine.generate(request)
        except TimeoutError as error:
            raise BrokenError(f"trajectory {self.label}: the engine gave no turn within {self.limits.engine_timeout:g} s") from error

    async def _act(self, calls: tuple[ToolCall, ...]) -> None:
        self.num_calls += len(calls)
        if self.num_calls > self.limits.max_calls:
            return self.end(Status.TRUNCATED, f"max_calls: {self.limits.max_calls} calls without an answer")
        observations = await self._call(calls)
        spent = self.pay(self.gateway.bill(self.label))
        messages = tuple(Message(role="tool", content=observation.text, name=observation.tool) for observation in observations)
        token_ids = self.renderer.extend(self.path[-1].token_ids, messages)
        if len(self.token_ids) + len(token_ids) >= self.limits.max_tokens:
            return self.end(Status.TRUNCATED, f"max_tokens: {len(token_ids)} tokens of results do not fit into {self.limits.max_tokens}")
        records = [_record(seen, self.gateway.images) for seen in observations]
        documents = list(dict.fromkeys(document for seen in observations for document in seen.documents))
        self._add("observation", token_ids, messages, {"calls": records, "documents": documents, "ledger": spent})
        self.shown += _shown(self.path[-1])

    async def _call(self, calls: tuple[ToolCall, ...]) -> list[Observation]:
        if len(calls) == 1:
            return [await self.gateway.call(calls[0], self.label, self.shown)]
        results = await asyncio.gather(*(self.gateway.call(call, self.label, self.shown) for call in calls), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if isinstance(result, Observation)]

    def _add(
        self,
        kind: Kind,
        token_ids: Sequence[int],
        messages: tuple[Message, ...],
        meta: dict[str, Any],
        completion: Completion | None = None,
    ) -> None:
        node = self.trajectory.add(
            kind,
            token_ids,
            parent=self.path[-1].id,
            logprobs=completion.logprobs if completion else None,
            entropies=completion.entropies if completion else None,
            mask=self._loss_mask(token_ids) if completion and self._loss_mask else None,
            role=self.agent.role,
            version=min(completion.versions, default=None) if completion else None,
            messages=messages,
            meta=meta,
        )
        self.path.append(node)
        self.token_ids = self.token_ids + list(token_ids)


def _shown(node: Node) -> tuple[Observation, ...]:
    """The observations of a node as the policy sees them."""
    return tuple(
        Observation(message.content, record["status"], record["tool"], tuple(record["documents"]))
        for message, record in zip(node.messages, node.meta["calls"], strict=True)
    )


def _record(seen: Observation, folder: Path | None) -> dict[str, Any]:
    """What a node keeps of a call beside its text; facts that are rare stand there only where they hold."""
    images = [keep_image(image.data, image.mime, folder) if image.data else {"mime": image.mime, "url": image.url} for image in seen.images]
    rare = {"truncated": seen.truncated, "meta": seen.meta, "images": images}
    return {"tool": seen.tool, "status": seen.status, "seconds": seen.seconds, "documents": list(seen.documents)} | {
        name: value for name, value in rare.items() if value
    }
