"""A tiny model with grouped queries and perturbed norms, and what it should sample, worked out with transformers alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config

from spadework.engines.engine import Completion, Request
from spadework.engines.sampling import uniforms
from spadework.models.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    texts = ["Ondal Brin mayor: Velor Tash. Who is the mayor of Ondal Brin? The river of Brin Marrow is the Tash, in the north."]
    return train_tokenizer(texts * 3, vocab_size=400)


def make_model(vocab_size: int, seed: int) -> PreTrainedModel:
    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=64,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            # Logits with a spread of about 2: neither flat nor certain.
            parameter.copy_(1 + 0.2 * noise if parameter.dim() == 1 else noise * 2 * parameter.shape[1] ** -0.5)
    return model


@pytest.fixture(scope="session")
def model(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    return make_model(len(tokenizer), seed=0)


@pytest.fixture(scope="session")
def other_model(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    return make_model(len(tokenizer), seed=1)


@dataclass
class Naive:
    """Sampling without cache, batch, renderer or any code of ours but the uniform numbers."""

    model: PreTrainedModel

    @torch.no_grad()
    def distribution(self, token_ids: list[int], temperature: float) -> np.ndarray:
        logits = self.model(torch.tensor([token_ids])).logits[0, -1].double() / (temperature or 1.0)
        return logits.softmax(-1).numpy()

    def generate(self, request: Request) -> Completion:
        params, done = request.params, Completion([], [], [], "length")
        for index in range(params.max_tokens):
            p = self.distribution(request.token_ids + done.token_ids, params.temperature)
            kept = p.copy()
            for rank, token in enumerate(order := np.argsort(-p, kind="stable")):
                before = p[order[:rank]].sum()
                if rank and ((params.top_k and rank >= params.top_k) or (params.top_p < 1 and before >= params.top_p)):
                    kept[token] = 0.0
            number = uniforms(np.array([request.seed], np.uint64), np.array([index], np.uint64))[0]
            token = int(p.argmax()) if params.temperature == 0 else int((kept.cumsum() > number * kept.sum()).argmax())
            done.token_ids.append(token)
            done.logprobs.append(float(np.log(p[token])))
            done.entropies.append(float(-(p * np.log(p)).sum()))
        return done

    @torch.no_grad()
    def score(self, prompt: list[int], token_ids: list[int]) -> tuple[np.ndarray, list[int]]:
        """Log-probabilities at temperature 1 of given tokens, and the best token in the place of each, by one forward pass."""
        logprobs = self.model(torch.tensor([prompt + token_ids])).logits[0].double().log_softmax(-1)[len(prompt) - 1 : -1]
        return logprobs[torch.arange(len(token_ids)), token_ids].numpy(), logprobs.argmax(-1).tolist()


@pytest.fixture(scope="session")
def naive(model: PreTrainedModel) -> Callable[..., Completion]:
    return Naive(model)


@pytest.fixture(scope="session")
def naive_of() -> type[Naive]:
    return Naive
