"""Compiled functions keep their machine code where they can, and work where they cannot."""

import subprocess
import sys
from pathlib import Path

CODE = """
from spadework.models.compiled import compiled

@compiled(fastmath=False)
def twice(x):
    return 2 * x

print(twice(21), type(twice._cache).__name__)
"""


def test_code_is_kept(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(CODE)
    for _ in range(2):
        assert _run(tmp_path, "module.py") == "42 FunctionCache"
    assert list((tmp_path / "__pycache__").glob("*.nbi"))


def test_without_a_folder_it_is_compiled_for_this_process(tmp_path: Path) -> None:
    # A source that is not a file has no folder of its own to keep the code in.
    assert _run(tmp_path, "-c", CODE) == "42 NullCache"


def _run(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
