"""Data and recipes of the experiment on SailorFog's levels: is difficulty real, do hard tasks help, what does live curation gain.

    python scripts/levels.py /tmp/levels --start runs/demo/checkpoints/reading-000500
    spadework train /tmp/levels/sft.yaml --out runs/levels-sft
    spadework train /tmp/levels/easy.yaml --out runs/easy-0 rl.seed=0 model.path=runs/levels-sft/checkpoints/sft-000900
    spadework train /tmp/levels/mixed.yaml ...           the same with levels 1 to 3 in equal parts
    spadework train /tmp/levels/live.yaml ...            and with live curation

Tasks of 2 and of 3 pages by level, from the demo's worlds, in which every relation stands by its name, so that a tiny policy can copy it.
Training starts at the demo's reading checkpoint: its tokenizer and what it has learned of look-ups are taken over.
"""

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from spadework.core.errors import InputError
from spadework.corpus.worlds.generate import build_world
from spadework.corpus.worlds.world import WorldConfig
from spadework.synthesis.ledger import ledger_of
from spadework.synthesis.makers.maker import makers, tasks
from spadework.synthesis.statements import WorldGraph
from spadework.tasks.task import Task

HOPS = (2, 3)
TRAIN, TEST = 1500, 150
"""Most tasks of a level and a number of hops."""
RL: dict[str, Any] = {
    "steps": 40,
    "tasks_per_step": 24,
    "samples": 8,
    "hops": {2: 1.0, 3: 1.0},
    "rewards": {"em": {"weight": 1.0}, "economy": {"weight": 0.5, "cost": 0.2, "free": "hops"}},
    "learner": {"optimizer": {"name": "adamw", "lr": 5e-4, "warmup": 0.05, "decay": 0.3}},
}
SFT: dict[str, Any] = {
    "steps": 900,
    "batch_size": 16,
    "demonstrations": 6000,
    "hops": {2: 1.0, 3: 1.0},
    "expert": {"stop_early": 0.2, "wasted_search": 0.2, "namesake": 0.0, "name_only_query": 0.0, "read_first": 0.0},
    "learner": {"optimizer": {"qk_norm_lr": 0.03}},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write everything into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", required=True, help="a checkpoint of the demo's reading stage")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, list[list[Task]]] = {}
    with (options.folder / "pages.jsonl").open("w") as pages:
        for split, config, n in (
            ("train", WorldConfig(seed=1, pages=6000, split="train"), TRAIN),
            ("test", WorldConfig(seed=2, pages=2000, split="test"), TEST),
        ):
            world = build_world(config)
            pages.writelines(f"{page.model_dump_json()}\n" for page in world.documents())
            graph = WorldGraph(world)
            made[split] = [[task for hops in HOPS for task in islice(_named(graph, level, hops), n)] for level in (1, 2, 3)]
            print(split, {level: len(found) for level, found in enumerate(made[split], start=1)}, flush=True)
    easy, middle, _ = made["train"]
    fewest = min(len(level) for level in made["train"])
    _write(options.folder / "easy.jsonl", easy)
    _write(options.folder / "shown.jsonl", easy + middle)
    _write(options.folder / "mixed.jsonl", [task for level in made["train"] for task in level[:: len(level) // fewest][:fewest]])
    _write(options.folder / "test.jsonl", [task for level in made["test"] for task in level])
    for name, train, stages in (
        ("sft", "shown", {"sft": SFT}),
        ("easy", "easy", {"rl": RL}),
        ("mixed", "mixed", {"rl": RL}),
        ("live", "mixed", {"rl": RL | {"curation": {}}}),
    ):
        files = {key: str(options.folder / f"{file}.jsonl") for key, file in (("corpus", "pages"), ("train", train), ("test", "test"))}
        recipe = {
            "name": f"levels-{name}",
            "threads": 1,
            "data": {"type": "dataset", **files},
            "model": {"preset": None, "path": options.start},
            "tools": {"search": {"limit": 4}},
            "limits": {"max_turns": 10, "max_tokens": 1200},
            **stages,
            "eval": {"tasks_per_hop": 3 * TEST, "hops": list(HOPS), "unseen_hops": []},
        }
        (options.folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))


def _named(graph: WorldGraph, level: int, hops: int) -> Iterator[Task]:
    """Tasks whose question has the name of every relation that it rests on."""
    maker = makers.build("sailorfog", {"levels": [level], "hops": [hops, hops], "edges": [2, hops + 1]})
    try:
        for task in tasks(maker, graph, seed=0, n=20 * TRAIN):
            if all(re.search(rf"\b{re.escape(fact.relation)}\b", task.question) for fact in ledger_of(task).statements):
                yield task
    except InputError as error:
        print(error)


def _write(path: Path, chosen: Sequence[Task]) -> None:
    unique = {task.id: task for task in chosen}
    path.write_text("".join(json.dumps(task.model_dump(mode="json")) + "\n" for task in unique.values()))


if __name__ == "__main__":
    main()
