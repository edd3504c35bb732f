"""A start with induction heads: the two-layer circuit that finds "what followed this the last time", written into a tiny model.

The first layer looks one and two tokens back and writes what stood there into two subspaces of its own. The second and third match what the
first has written at earlier positions against the token itself (half of their heads: against the last two tokens), so they attend to
what followed its last occurrence; the mimetic output matrices of `presets.py` then write that token. Previous-token heads use the fast
frequencies of the rotary embedding and the direction that all embeddings share; matching uses the slow ones, which hardly turn within
some hundred tokens.

On text the circuit otherwise forms late or not at all within minutes, because the statistics of words are learned first. Training
has to be gentle or it is washed out (docs/training.md has the figures). The circuit itself is that of Elhage et al. 2021 and Olsson
et al. 2022 (arXiv 2209.11895).
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

__all__ = ["start_with_induction"]

WRITTEN = 0.4
"""Share of a normalised token that the first layer writes of an earlier one."""
SHARPNESS = 3.0
"""Start of the norms of queries and keys in these layers."""
QUIET = 0.1
"""Factor on what the MLPs write, which is noise at the start."""


@torch.no_grad()
def start_with_induction(model: PreTrainedModel, *, seed: int) -> None:
    """Change the attention of the first three layers of a new Qwen3 model in place.

    Args:
        model: from `presets.new_model`.
        seed: of the random subspaces.
    """
    config = model.config
    size, width, heads, kv_heads = config.hidden_size, config.head_dim, config.num_attention_heads, config.num_key_value_heads
    random = torch.Generator().manual_seed(seed)
    shared = model.get_input_embeddings().weight.mean(0).cpu()
    shared = shared / shared.norm()
    own = torch.eye(size) - torch.outer(shared, shared)
    earlier = [_rotation(size, random) for _ in range(2)]
    """Where the first layer writes the token before, and the one before that."""
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.mul_(QUIET)
    first, *matching = [layer.self_attn for layer in model.model.layers[:3]]

    query, key = first.q_proj.weight.view(heads, width, size), first.k_proj.weight.view(kv_heads, width, size)
    value, output = first.v_proj.weight.view(kv_heads, width, size), first.o_proj.weight.view(size, heads, width)
    group = heads // kv_heads
    for kv_head in range(kv_heads):
        back = kv_head % 2
        sharing = group * len(range(back, kv_heads, 2))
        ask, show = _look_back(back + 1, width, float(config.rope_parameters["rope_theta"]))
        key[kv_head] = torch.outer(show, shared)
        read = _rotation(size, random)[:width]
        value[kv_head] = read @ own
        for head in range(kv_head * group, (kv_head + 1) * group):
            query[head] = torch.outer(ask, shared)
            output[:, head] = WRITTEN / sharing * (earlier[back] @ read.T)

    slow = range(width // 2 - 7 * width // 32, width // 2)
    places = [*slow, *(place + width // 2 for place in slow)]
    for attention in matching:
        query, key = attention.q_proj.weight.view(heads, width, size), attention.k_proj.weight.view(kv_heads, width, size)
        one, two = (torch.randn(len(places), size, generator=random) * size**-0.5 @ own for _ in range(2))
        for kv_head in range(kv_heads):
            longer = kv_head % 2
            key[kv_head] = 0
            key[kv_head, places] = one @ earlier[0].T + longer * (two @ earlier[1].T)
            mine = slice(kv_head * group, (kv_head + 1) * group)
            query[mine] = 0
            query[mine, places] = one + longer * (two @ earlier[0].T)
    for attention in (first, *matching):
        attention.q_norm.weight.fill_(SHARPNESS)
        attention.k_norm.weight.fill_(SHARPNESS)


def _look_back(offset: int, width: int, base: float) -> tuple[Tensor, Tensor]:
    """Query and key whose rotated product is largest when the key stands so many tokens before the query."""
    half = width // 2
    fast = torch.arange(3 * width // 32)
    angle = offset * base ** (-fast.float() / half)
    query, key = torch.zeros(width), torch.zeros(width)
    query[fast], query[fast + half], key[fast] = torch.cos(angle), -torch.sin(angle), 1.0
    return query, key


def _rotation(size: int, random: torch.Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, generator=random))[0]
