"""`spadework ask`: put a question to a trained agent."""

import asyncio
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spadework.cli.frame import AsJson, OtherCorpus, RunFolder, StageOption, print_result

if TYPE_CHECKING:
    from spadework.cli.trained import Trained
    from spadework.trajectories.tree import Trajectory

__all__ = ["answer", "ask"]

_numbers = itertools.count()


def ask(
    run: RunFolder,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In the words of the tasks that it learned from.")],
    stage: StageOption = None,
    corpus: OtherCorpus = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question, and show the trail: what the agent thought, did and was shown, and the pages behind it.

    Ends with exit code 1 if the agent gives no answer.

    Example: spadework ask runs/demo "What is Ondal Brin's mayor?"
    """
    result = asyncio.run(_answer(question, run, stage, corpus))
    lines = [step if step.startswith("  ") else f"\n{step}" for step in result["trail"]]
    lines += ["", "pages shown:", *(f"  [{page['id']}] {page['title']}" for page in result["pages"])] if result["pages"] else []
    lines += ["", result["answer"] or f"no answer: {result['error']}"]
    print_result(result, as_json, "\n".join(lines))
    if result["answer"] is None:
        raise typer.Exit(1)


async def _answer(question: str, run: Path, stage: str | None, corpus: Path | None) -> dict[str, Any]:
    from spadework.cli.trained import load_trained

    return await answer(question, await load_trained(run, stage=stage, corpus=corpus))


async def answer(question: str, trained: "Trained") -> dict[str, Any]:
    """Put one question to an agent; several may be under way at once.

    Returns:
        `answer` (None if it gave none, and then `error` says why), `status`, the `trail` line by line, the `pages` shown, and the `ledger`.
    """
    from spadework.engines.engine import SamplingParams
    from spadework.tasks.task import Task

    # Nothing scores this task, so its gold answer is never read. Its id names its account at the gateway.
    task = Task(id=f"ask-{next(_numbers)}", question=question, answers=("unknown",))
    params = SamplingParams(temperature=0.0, max_tokens=trained.recipe.eval.max_tokens)
    [group] = await trained.environment.rollout([task], trained.engine, params)
    [trajectory] = group
    titles = {key: document.title for key in _shown(trajectory) if (document := trained.environment.corpus.get(key))}
    return {
        "answer": trajectory.answer,
        "status": trajectory.status.value,
        "error": trajectory.error,
        "trail": _trail(trajectory),
        "pages": [{"id": key, "title": title} for key, title in titles.items()],
        "ledger": trajectory.ledger,
    }


def _shown(trajectory: "Trajectory") -> list[str]:
    """Ids of the documents on the path, in the order in which they were shown."""
    return list(dict.fromkeys(key for node in trajectory.nodes for key in node.meta.get("documents", ())))


def _trail(trajectory: "Trajectory") -> list[str]:
    """One line per thought and action, and the results indented below it."""
    lines = []
    for message in (message for node in trajectory.nodes for message in node.messages):
        if message.role == "tool":
            lines += [f"    {line.strip()}" for line in message.content.splitlines()]
        elif message.turn is not None:
            turn = message.turn
            lines += [f"think: {turn.thought}"] if turn.thought else []
            lines += [f"{call.name}: {', '.join(map(str, call.arguments.values()))}" for call in turn.calls if call.error is None]
            lines += [f"malformed: {turn.error}"] if turn.error else []
    return lines
