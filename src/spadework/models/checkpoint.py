"""Ordinary Hugging Face checkpoints: a folder with config.json, safetensors and a tokenizer, readable by transformers and vLLM as it is.

One that is named must be in the local cache of Hugging Face; nothing is downloaded here.
`parameters` gives the tensors that are multiplied, by their Hugging Face names; LoRA adapters (PEFT) are merged into their matrices on the
way, differentiably, so the rest of the package never meets an adapter.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from spadework.core.errors import InputError
from spadework.models.decoder import check_supported

__all__ = ["WRAPPER", "load_model", "load_tokenizer", "parameters", "save_checkpoint"]

WRAPPER = "base_model.model."
"""What PEFT puts before every name of the model that it wraps."""

# A run has its own progress lines; bars for files that take milliseconds would run through them.
disable_progress_bar()


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint.

    Raises:
        InputError: the folder has none.
    """
    folder = _folder(path)
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise InputError(
            f"{folder}: no tokenizer in this checkpoint; copy tokenizer.json and tokenizer_config.json of the base model there"
        )
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: no tokenizer could be loaded: {_first_line(error)}") from None


def load_model(path: str | Path, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The model of a checkpoint.

    Raises:
        InputError: there is no checkpoint, it is damaged, or its architecture is not supported.
    """
    folder = _folder(path)
    try:
        # Left to itself, transformers fills what is missing with random numbers and goes on.
        model, found = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{path}: no model could be loaded: {_first_line(error)}") from None
    check_supported(model.config)
    if wrong := sorted({*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])}):
        raise InputError(
            f"{path}: damaged checkpoint: {len(wrong)} tensors are missing or have another shape than config.json says, first '{wrong[0]}'"
        )
    return model.eval()


def _folder(path: str | Path) -> Path:
    """Where a checkpoint lies. transformers asks the network for a name even if told not to, and retries for half a minute without one."""
    if Path(path).is_dir():
        return Path(path)
    try:
        return Path(snapshot_download(str(path), local_files_only=True))
    except (OSError, ValueError):
        raise InputError(
            f"{path}: no checkpoint could be loaded: it is neither a folder nor in the local cache; fetch it with 'hf download NAME'"
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def save_checkpoint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write model and tokenizer into a folder, which any tool that reads Hugging Face checkpoints can load."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def parameters(model: nn.Module) -> Mapping[str, Tensor]:
    """The effective parameters by Hugging Face name, with LoRA adapters merged, differentiably."""
    # A saved adapter that transformers has loaded has no wrapper.
    prefix = WRAPPER if any(name.startswith(WRAPPER) for name, _ in model.named_parameters()) else ""
    named = {name.removeprefix(prefix): tensor for name, tensor in model.named_parameters()}
    merged = {name: tensor for name, tensor in named.items() if ".lora_" not in name and ".base_layer." not in name}
    for name, tensor in named.items():
        if ".base_layer." not in name:
            continue
        module: Any = model.get_submodule(prefix + name.rsplit(".base_layer.", 1)[0])
        if name.endswith(".weight"):
            for adapter in module.active_adapters:
                tensor = tensor + module.scaling[adapter] * (module.lora_B[adapter].weight @ module.lora_A[adapter].weight)
        merged[name.replace(".base_layer.", ".")] = tensor
    return merged
