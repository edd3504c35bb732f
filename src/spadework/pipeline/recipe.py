"""A recipe: one YAML file that says what a run does, validated before anything starts.

    data      where pages and tasks come from: a generated world, documents of a user, or questions and pages of a user
    model     a tiny preset with random weights, or a Hugging Face checkpoint
    reading, sft, rl    the stages; one that is absent is skipped
    eval      the held-out evaluation after each stage

Class defaults are those of the demo. `corpus=PATH` is short for data of type `corpus`. Recipes of published systems have scales, which
`pipeline/scales.py` merges before anything is checked.
"""

import importlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from spadework.agents.planner import PlannerConfig
from spadework.core.config import Config, apply_overrides, load_yaml
from spadework.core.errors import ConfigError
from spadework.corpus.worlds.world import WorldConfig
from spadework.pipeline.scales import at_scale, find_recipes
from spadework.rollout.driver import Limits
from spadework.synthesis.graph import CHAIN_PHRASINGS
from spadework.synthesis.spans import Lead
from spadework.tools.config import ToolsConfig
from spadework.training.stages import ReadingStage, RLStage, SFTStage

__all__ = ["CorpusData", "DatasetData", "EvalConfig", "ModelConfig", "Recipe", "Source", "WorldData", "load_recipe"]


class WorldData(Config):
    """Two generated worlds: one to learn in, one that is never seen before the evaluation."""

    type: Literal["world"] = "world"
    train: WorldConfig = WorldConfig(seed=1, pages=6000, split="train")
    test: WorldConfig = WorldConfig(seed=2, pages=2000, split="test")
    phrasings: int = Field(default=3, ge=1, le=CHAIN_PHRASINGS)
    """Ways of asking. With one, a policy learns at which place of the question a relation stands, and fails on longer chains."""

    @model_validator(mode="after")
    def _splits_differ(self) -> "WorldData":
        if self.train.split == self.test.split:
            raise ValueError(f"train and test worlds are both of split '{self.train.split}'; names would be shared")
        return self


class CorpusData(Config):
    """A user's documents. Tasks are made by span look-up; training and evaluation use different pages."""

    type: Literal["corpus"] = "corpus"
    path: Path
    """A corpus folder, a jsonl file, or a folder of documents."""
    lead: Lead | None = None
    """Fewest and most words before a blank, for questions that a tiny policy can copy from (one hop only)."""


class DatasetData(Config):
    """Questions of a user over pages of a user, for example a released training set and the corpus that it is about."""

    type: Literal["dataset"] = "dataset"
    corpus: Path
    """A corpus folder, a jsonl file, or a folder of documents. A large one should be a folder of `spadework corpus build`."""
    train: Path
    """Questions to learn from: jsonl, or parquet of verl or Search-R1 (`tasks/dataset.py`). A row without a number of hops has 1, or as
    many as it names evidence pages."""
    test: Path
    """Questions that are seen in the evaluation only."""
    origin: str = ""
    """Where the files can be had; said when one is missing."""


class Source(Config):
    """What a recipe reproduces."""

    paper: str
    """An arXiv id, or where else it was published."""
    code: str = ""
    """repository@commit, where the code was read."""


class ModelConfig(Config):
    """The policy at the start."""

    preset: str | None = "tiny-1m"
    """Random weights of this shape, with a tokenizer trained on the spot."""
    path: str | None = None
    """A Hugging Face checkpoint instead: a folder, or a name that is in the local cache."""
    vocab_size: int = 1600
    """Size of the trained tokenizer, beside the lexicon's words; only with a preset."""
    induction: bool = False
    """Start with induction heads (`models/induction.py`); only with a preset."""
    renderer: Literal["tags", "hermes", "self-search"] = "tags"
    lora_rank: int = Field(default=0, ge=0)
    """Train LoRA adapters of this rank instead of all weights; 0 for all. Only with a checkpoint."""

    @model_validator(mode="after")
    def _one_origin(self) -> "ModelConfig":
        if (self.preset is None) == (self.path is None):
            raise ValueError("give either preset or path (with preset: null)")
        if self.induction and self.path is not None:
            raise ValueError("induction changes random weights only; leave it out, or give a preset")
        if self.lora_rank and self.path is None:
            raise ValueError("lora_rank needs a checkpoint: random weights cannot be learned through adapters")
        return self


class EvalConfig(Config):
    """The held-out evaluation."""

    tasks_per_hop: int = Field(default=150, gt=0)
    hops: tuple[int, ...] | None = (1, 2, 3, 4)
    """null: all that the questions of a data set have."""
    unseen_hops: tuple[int, ...] = (4,)
    """Reported apart: no stage trains on them."""
    max_tokens: int = Field(default=48, gt=0)
    """Of a turn."""


class Recipe(Config):
    """Everything that a run does."""

    name: str
    description: str = ""
    source: Source | None = None
    notes: tuple[str, ...] = ()
    """What departs from the paper and why; which numbers are not published and what was taken."""
    scale: str | None = None
    """Which of its scales this is; set when a recipe with scales is read."""
    seed: int = 0
    threads: int | None = Field(default=None, gt=0)
    """Threads of a process; all cores if not given."""
    device: Literal["cpu", "cuda"] = "cpu"
    data: Annotated[WorldData | CorpusData | DatasetData, Field(discriminator="type")] = WorldData()
    model: ModelConfig = ModelConfig()
    tools: ToolsConfig = ToolsConfig()
    planner: PlannerConfig = PlannerConfig()
    limits: Limits = Limits(max_turns=10, max_tokens=800)
    kv_cache_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """See `LocalEngineConfig`."""
    reading: ReadingStage | None = None
    sft: SFTStage | None = None
    rl: RLStage | None = None
    eval: EvalConfig = EvalConfig()
    imports: tuple[str, ...] = ()
    """Modules to import first: they register rewards and rules of your own under the names that the recipe uses."""

    @model_validator(mode="before")
    @classmethod
    def _import(cls, values: Any) -> Any:
        for module in values.get("imports", ()) if isinstance(values, dict) else ():
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as error:
                raise ConfigError(f"imports: {error}; install the package, or put its folder on PYTHONPATH") from None
        return values

    @model_validator(mode="after")
    def _hops_exist(self) -> "Recipe":
        if isinstance(self.data, DatasetData):
            return self
        most = (1 if self.data.lead else 2) if isinstance(self.data, CorpusData) else 4
        stages = {"sft": self.sft, "rl": self.rl, "eval": self.eval}
        for name, hops in ((name, stage.hops) for name, stage in stages.items() if stage):
            if hops is None:
                raise ValueError(
                    f"{name}.hops: null takes what a data set has; name them for data of type '{self.data.type}' (1 to {most})"
                )
            if wrong := [number for number in hops if not 1 <= number <= most]:
                raise ValueError(f"{name}.hops: {wrong[0]} hops cannot be made from data of type '{self.data.type}' (1 to {most})")
        return self


def load_recipe(name_or_path: str, overrides: list[str] | None = None, scale: str = "tiny") -> Recipe:
    """Read a recipe at a scale and apply overrides such as `rl.steps=20`.

    Args:
        name_or_path: a recipe of the package, or a YAML file.
        overrides: `a.b=c`, applied last.
        scale: for recipes with scales; one without is taken as it stands, and has no other than `tiny`.

    Raises:
        ConfigError: there is no such recipe or scale, or a key or value is wrong.
    """
    path = find_recipes().get(name_or_path) or Path(name_or_path)
    if not path.is_file():
        raise ConfigError(f"no recipe '{name_or_path}'; recipes: {', '.join(sorted(find_recipes()))}; or give the path of a YAML file")
    overrides = list(overrides or [])
    corpus = [override.partition("=")[2] for override in overrides if override.startswith("corpus=")]
    values = at_scale(load_yaml(path), path, scale)
    if corpus:
        variant = load_yaml(_corpus_variant(path))
        values |= variant | {"data": {**variant.get("data", {}), "type": "corpus"}}
        overrides = [f"data.path={corpus[-1]}", *(o for o in overrides if not o.startswith("corpus="))]
    return Recipe.parse(apply_overrides(values, overrides), source=str(path))


def _corpus_variant(path: Path) -> Path:
    """`demo.yaml` has `demo-corpus.yaml` beside it, which says what changes on real documents."""
    variant = path.with_name(f"{path.stem}-corpus.yaml")
    if not variant.is_file():
        raise ConfigError(
            f"recipe '{path.stem}' has no variant for documents ({variant.name}); set data and the stages in a recipe of your own"
        )
    return variant
