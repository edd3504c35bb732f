"""LoRA adapters through PEFT: the one module that imports it (extra `lora`).

Adapters are put on all linear layers. `models/checkpoint.parameters` merges them for training and sampling; saving a checkpoint writes them
in PEFT's layout.
"""

import torch
from transformers import PreTrainedModel

from spadework.core.errors import InputError

__all__ = ["add_adapters"]


def add_adapters(model: PreTrainedModel, rank: int, *, seed: int) -> PreTrainedModel:
    """Freeze the model and put trainable adapters of a rank on its linear layers; alpha is twice the rank.

    Raises:
        InputError: PEFT is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError("LoRA needs the package peft; install it with: pip install 'spadework[lora]'") from None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"))
