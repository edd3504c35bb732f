"""`spadework eval`: how good a trained agent, or a search index, is."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spadework.cli.frame import (
    AsJson,
    CorpusFolder,
    DefaultRun,
    OtherCorpus,
    RerankModel,
    RunFolder,
    SearchMode,
    Stage,
    StageOption,
    command_group,
    print_result,
)

if TYPE_CHECKING:
    from spadework.evals.metrics import ReportCard

__all__ = ["app", "compare", "retrieval", "run"]

app = command_group("Evaluate. `spadework eval RUN` is short for `spadework eval run RUN`.", cls=DefaultRun)


def _card(folder: Path, stage: str) -> "ReportCard":
    """The card of a run's attempts at the held-out tasks after a stage."""
    from spadework.core.run import Run
    from spadework.evals.metrics import report_card
    from spadework.tasks.task import Task
    from spadework.trajectories.store import read_records

    records = list(read_records(Run.open(folder).path / "trajectories" / f"eval-{stage}.jsonl"))
    tasks = {record.trajectory.task_id: Task.model_validate(record.task) for record in records}
    return report_card(list(tasks.values()), (record.trajectory for record in records))


@app.command()
def run(
    folder: RunFolder,
    stage: StageOption = None,
    tasks: Annotated[Path | None, typer.Option("--tasks", metavar="FILE", help="Other tasks than the run's.", show_default=False)] = None,
    corpus: OtherCorpus = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 takes the likeliest token.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Attempt held-out tasks with the agent of a run, and report success, evidence and cost with intervals.

    Example: spadework eval runs/demo --stage sft
    """
    card = asyncio.run(_evaluate(folder, stage, tasks, corpus, temperature))
    lines = [f"{name:<24}{figure}" for name, figure in card.rows()]
    print_result(card.model_dump(mode="json", exclude={"questions"}), as_json, "\n".join(lines))


async def _evaluate(folder: Path, stage: Stage | None, tasks: Path | None, corpus: Path | None, temperature: float) -> "ReportCard":
    from spadework.cli.trained import load_trained
    from spadework.core.errors import InputError
    from spadework.pipeline.chain import evaluate
    from spadework.tasks.dataset import read_tasks

    if corpus is not None and tasks is None:
        raise InputError("--corpus needs --tasks FILE: the run's own tasks are about its own pages")
    trained = await load_trained(folder, stage=stage, corpus=corpus)
    questions = trained.tasks if tasks is None else read_tasks(tasks)
    card, _ = await evaluate(trained.recipe, trained.environment, trained.engine, questions, temperature=temperature, description="eval")
    return card


@app.command()
def compare(
    first: RunFolder,
    second: Annotated[Path, typer.Argument(metavar="RUN", help="The run to compare it with.")],
    stage: Annotated[Stage, typer.Option("--stage", help="Policy of the first run: after this stage.")] = "rl",
    against: Annotated[Stage | None, typer.Option("--against", help="Stage of the second run, if another.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two runs task by task, first minus second, with paired intervals. Both must have been evaluated on the same tasks.

    Example: spadework eval compare runs/demo runs/demo --stage rl --against sft
    """
    from spadework.evals.metrics import compare as paired

    result = paired(_card(first, stage), _card(second, against or stage))
    lines = [f"{name:<24}{difference}" for name, difference in result.differences.items()]
    print_result(result.model_dump(mode="json"), as_json, "\n".join(lines))


@app.command()
def retrieval(
    corpus: CorpusFolder,
    questions: Annotated[Path, typer.Option("--questions", metavar="FILE", help="Rows of id, question and gold_ids, as jsonl.")],
    mode: SearchMode = "bm25",
    rerank: RerankModel = None,
    as_json: AsJson = False,
) -> None:
    """Measure how often search finds the evidence of questions.

    Example: spadework eval retrieval --corpus runs/corpus --questions questions.jsonl --json
    """
    from spadework.corpus.ranking import rank_corpus
    from spadework.corpus.store import open_corpus
    from spadework.evals.retrieval import read_questions, retrieval_report

    report = retrieval_report(rank_corpus(open_corpus(corpus), mode, reranker=rerank), read_questions(questions))
    print_result(report, as_json, "\n".join(f"{name:<12}{value:.4g}" for name, value in report.items()))
