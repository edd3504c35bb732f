"""TRL's own trainer calls our tools: one step of GRPO whose completions ask for them."""

import warnings
from pathlib import Path
from typing import Any

import pytest

from spadework.models.tokenizer import train_tokenizer
from spadework.tools.calculator import CalculatorConfig
from spadework.tools.gateway import Gateway
from spadework.tools.memory import MemoryConfig
from spadework.tools.to_trl import trl_environment
from spadework.tools.tool import ToolContext

CALL = '<tool_call>\n{{"name": "{name}", "arguments": {{"{key}": "{value}"}}}}\n</tool_call>'


def test_grpo_trainer_rolls_out_with_our_tools(tmp_path: Path) -> None:
    """The only thing that is scripted is what the model would have sampled; TRL renders, parses, calls, and trains."""
    trl = pytest.importorskip("trl", reason="TRL is not installed; it comes with the extra `bench`")
    datasets = pytest.importorskip("datasets", reason="datasets is not installed; it comes with the extra `bench`")
    from transformers import Qwen3Config, Qwen3ForCausalLM

    template = Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja"
    if not template.is_file():
        pytest.skip("this version of TRL keeps its chat templates elsewhere")
    tokenizer = train_tokenizer(["What is 2 + 3? <tool_call>{}</tool_call>"] * 2, vocab_size=500)
    tokenizer.chat_template = template.read_text()
    size = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": 16,
    }
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), max_position_embeddings=8192, **size, **ends))
    gateway = Gateway([*CalculatorConfig().build(ToolContext()), *MemoryConfig().build(ToolContext())])
    scored: list[Any] = []

    def reward(environments: list[Any], **_: Any) -> list[float]:
        scored.extend((each.label, [seen.text for seen in each.shown], each.broken) for each in environments)
        return [float(len(each.shown)) for each in environments]

    turns = [
        [CALL.format(name="calculator", key="expression", value=f"2 + {number}") for number in (3, 4)],
        [CALL.format(name="memory_write", key="text", value="five"), "It is done."],
        ["It is done."],
    ]

    def sample(prompt_ids: list[Any], *_: Any, **options: Any) -> tuple[list[list[int]], list[list[float]]]:
        said = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in turns.pop(0)]
        assert len(said) == len(prompt_ids)
        return said, [[0.0] * len(ids) for ids in said]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = trl.GRPOConfig(
            output_dir=str(tmp_path),
            num_generations=2,
            per_device_train_batch_size=2,
            max_completion_length=600,
            max_steps=1,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = trl.GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=args,
            train_dataset=datasets.Dataset.from_list([{"prompt": [{"role": "user", "content": "What is 2 + 3?"}], "id": "sum"}]),
            processing_class=tokenizer,
            environment_factory=trl_environment(gateway),
        )
        trainer._generate_single_turn = sample
        trainer.train()
    assert turns == []
    assert scored == [("sum/0", ["5", "Kept. The memory has 4 of 4000 characters."], None), ("sum/1", ["6"], None)]
    assert gateway.settle("sum/0")["calls/memory_write"] == 1
