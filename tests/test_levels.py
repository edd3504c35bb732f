from collections import Counter
from pathlib import Path

import levels
import pytest

from spadework.pipeline.recipe import load_recipe
from spadework.tasks.dataset import read_tasks


def test_data_and_recipes_of_the_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "TRAIN", 4)
    monkeypatch.setattr(levels, "TEST", 2)
    levels.main([str(tmp_path), "--start", "somewhere"])
    names = ("easy", "shown", "mixed", "test")
    made = {name: Counter(task.meta["level"] for task in read_tasks(tmp_path / f"{name}.jsonl")) for name in names}
    assert made == {"easy": {1: 8}, "shown": {1: 8, 2: 8}, "mixed": {1: 8, 2: 8, 3: 8}, "test": {1: 4, 2: 4, 3: 4}}
    recipes = {name: load_recipe(str(tmp_path / f"{name}.yaml")) for name in ("sft", "easy", "mixed", "live")}
    assert recipes["sft"].sft is not None and recipes["sft"].rl is None
    same, live = recipes["mixed"].rl, recipes["live"].rl
    assert same is not None and live is not None and same.curation is None and same == live.model_copy(update={"curation": None})
