"""The start with induction heads: where the first layers look before anything is learned."""

import pytest
import torch

from spadework.models.induction import start_with_induction
from spadework.models.presets import new_model


@pytest.mark.parametrize("preset", ["tiny-1m", "tiny-3m"])
def test_the_first_layer_looks_one_and_two_tokens_back(preset: str) -> None:
    model = new_model(preset, 300, eos_token_id=2, pad_token_id=0, seed=0)
    start_with_induction(model, seed=0)
    model.set_attn_implementation("eager")
    tokens = torch.randint(3, 300, (1, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        looks = model(tokens, output_attentions=True).attentions[0][0]
    heads, kv_heads = model.config.num_attention_heads, model.config.num_key_value_heads
    for head in range(heads):
        back = 1 + head // (heads // kv_heads) % 2
        assert float(looks[head].diagonal(-back)[5:].min()) > 0.4, (preset, head)


def test_the_seed_decides() -> None:
    models = [new_model("tiny-1m", 300, eos_token_id=2, pad_token_id=0, seed=0) for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        start_with_induction(model, seed=seed)
    first, same, other = (model.model.layers[1].self_attn.q_proj.weight for model in models)
    assert torch.equal(first, same) and not torch.equal(first, other)
