"""The page of the rewards: its table is complete and names the right files, and its examples run."""

import re
from pathlib import Path

import pytest

from spadework.rewards.reward import GroupReward, SpanReward, TurnReward, rewards

PAGE = Path(__file__).resolve().parents[2] / "docs/rewards.md"
ROWS = {
    name: (scope, file)
    for name, scope, file in re.findall(r"^\| `([\w-]+)`(?: \((\w+)[^)]*\))? \|.+\| `(\w+)` \|$", PAGE.read_text(), re.MULTILINE)
}
SCOPES = {"turn": TurnReward, "span": SpanReward, "group": GroupReward}
BUILT_IN = [name for name in rewards.names() if rewards.get(name).__module__.startswith("spadework.rewards.")]


def test_every_reward_is_in_the_table() -> None:
    assert set(ROWS) == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_table_knows_scope_and_file(name: str) -> None:
    part = rewards.get(name)
    scope = next((word for word, base in SCOPES.items() if issubclass(part, base)), "")
    assert ROWS[name] == (scope, part.__module__.rpartition(".")[2])


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_option_is_explained_or_speaks_for_itself(name: str) -> None:
    part = rewards.get(name)
    assert part.__doc__ and part.model_fields["weight"].description
    assert "/" not in name  # a slash separates a label


def test_the_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    promised, printed = [], ""
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if "@register" in block:
            continue  # it would stay on the shelf
        promised += [found.strip() for found in re.findall(r"print\(.*\)  # (.+)", block)]
        exec(block, {})
        printed += capsys.readouterr().out
    assert len(promised) == 3
    lines = printed.splitlines()
    assert lines[0] == promised[0] and lines[1] == "0.85" and promised[1].endswith("= 0.85") and lines[2] == promised[2]
