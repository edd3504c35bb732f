"""Checkpoints are Hugging Face's, and a bad one is refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerFast

from spadework.core.errors import InputError
from spadework.models.checkpoint import load_model, load_tokenizer, parameters, save_checkpoint
from spadework.models.presets import new_model


@pytest.fixture(scope="module")
def model(trained: PreTrainedTokenizerFast) -> PreTrainedModel:
    return new_model("tiny-1m", len(trained), eos_token_id=2, pad_token_id=0, seed=3)


@pytest.fixture(scope="module")
def saved(model: PreTrainedModel, trained: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "deep" / "sft-000001"
    save_checkpoint(model, trained, folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


@torch.no_grad()
def test_transformers_reads_what_we_write(saved: Path, model: PreTrainedModel, trained: PreTrainedTokenizerFast) -> None:
    token_ids = torch.tensor([trained.encode("Who is the mayor of Ondal Brin?")])
    theirs = AutoModelForCausalLM.from_pretrained(saved, dtype=torch.float32)
    assert torch.equal(theirs(token_ids).logits, model(token_ids).logits)
    assert AutoTokenizer.from_pretrained(saved).encode("Velor Tash") == trained.encode("Velor Tash")


def test_we_read_what_we_write(saved: Path, model: PreTrainedModel, trained: PreTrainedTokenizerFast) -> None:
    again = load_model(saved)
    assert not again.training
    for (name, a), (other, b) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert name == other and b.dtype == torch.float32 and torch.equal(a, b)
    assert load_model(saved, dtype=torch.bfloat16).dtype == torch.bfloat16
    assert load_tokenizer(saved).get_vocab() == trained.get_vocab()


def test_parameters_are_the_models_own(model: PreTrainedModel) -> None:
    named = parameters(model)
    assert named["model.embed_tokens.weight"] is model.get_parameter("model.embed_tokens.weight")
    assert list(named) == [name for name, _ in model.named_parameters()]


def test_a_checkpoint_without_a_tokenizer(copy: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    with pytest.raises(InputError, match=r"copy: no tokenizer in this checkpoint; copy tokenizer\.json"):
        load_tokenizer(copy)


def drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_the_shape(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"intermediate_size": 300}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no model could be loaded: .*model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100), "no model could be loaded: "),
        (lambda folder: _cut(folder / "model.safetensors"), "no model could be loaded: "),
        (lambda folder: (folder / "config.json").write_text('{"a'), "no model could be loaded: .*not a valid JSON"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "nonsense"}'), "no model could be loaded: .*nonsense"),
        (drop_a_tensor, r"damaged checkpoint: 1 tensors .* first 'model\.layers\.1\.mlp\.up_proj\.weight'"),
        (change_the_shape, "damaged checkpoint: 12 tensors"),
    ],
    ids=["no-weights", "garbage", "cut-off", "config", "architecture", "missing-tensor", "other-shape"],
)
def test_a_damaged_checkpoint(copy: Path, damage: Callable[[Path], object], words: str) -> None:
    damage(copy)
    with pytest.raises(InputError, match=words) as caught:
        load_model(copy)
    assert str(copy) in str(caught.value) and "\n" not in str(caught.value)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


@pytest.mark.parametrize("text", ['{"a', '{"a": 1}'])
def test_a_damaged_tokenizer(copy: Path, text: str) -> None:
    (copy / "tokenizer.json").write_text(text)
    with pytest.raises(InputError, match="no tokenizer could be loaded"):
        load_tokenizer(copy)


def test_what_is_not_here_is_refused_without_asking_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.getaddrinfo", look_up)
    for load in (load_model, load_tokenizer):
        for name in (tmp_path / "nowhere", "nobody/nothing"):
            with pytest.raises(InputError, match=rf"{name}: no checkpoint could be loaded: it is neither a folder nor in the local cache"):
                load(name)


def test_no_progress_bars(copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(load_model(copy), load_tokenizer(copy), tmp_path / "again")
    assert capfd.readouterr() == ("", "")


def test_an_architecture_that_we_do_not_compute(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=1)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="'gpt2' is not supported"):
        load_model(tmp_path)
