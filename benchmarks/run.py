"""All benchmarks in one command: `python -m benchmarks.run`. Prints a table and writes `benchmarks/results.json`.

On a GPU: `python -m benchmarks.run --device cuda --preset qwen3-0.6b`, with random weights in bfloat16. Both sides use the same number of
threads. Not here: other machines' numbers; a ratio holds for the machine it was measured on.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

# Threads that spin while they wait make everything ten times slower on a busy machine. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from benchmarks import async_rollout, credit_cost, gateway, grpo_step, loss_cost, parity, sampling, sandbox
from benchmarks.models import CUTS
from benchmarks.table import Row, show, write

__all__ = ["main", "measure"]

RESULTS = Path(__file__).parent / "results.json"


def measure(device: str, preset: str | None, runs: int, layers: int | None = None, quick: bool = False) -> list[Row]:
    """All rows.

    Args:
        device: cpu or cuda.
        preset: one model for all rows; by default each row's own.
        runs: measured pairs of each row.
        layers: cut the models to this many layers.
        quick: a tenth of the work, to see that everything runs.
    """
    dtype = "float32" if device == "cpu" else "bfloat16"
    load = sampling.Workload(tasks=2, samples=2, sampled=(4, 6)) if quick else None
    size = grpo_step.Step(tasks=2, samples=4, prompt=16, completion=8) if quick else None
    found = [
        sampling.row(name, runs=runs, device=device, dtype=dtype, layers=layers, load=load)
        for name in ([preset] if preset else ["tiny-1m", "tiny-10m"])
    ]
    found.append(grpo_step.row(preset or "h256", runs=runs, device=device, dtype=dtype, layers=layers, size=size))
    found += gateway.rows(runs, 2560 if quick else 25_600)
    found += sandbox.rows(30 if quick else 200)
    waits = async_rollout.Load(in_flight=8, batches=2, turns=2, latency=0.01) if quick else None
    found += async_rollout.rows(runs=runs, load=waits, device=device)
    if device == "cpu":  # what these rows measure runs on the host in any case, or is measured beside a step on it
        found += credit_cost.rows(runs, quick=quick) + loss_cost.rows(preset or "h256", runs, layers=layers, quick=quick)
    return found + parity.rows(preset or "tiny-1m", device=device, dtype=dtype, layers=layers, load=load)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Speed side by side with other libraries.")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--preset", choices=CUTS, help="one model for all rows")
    parser.add_argument("--layers", type=int, help="cut the models to this many layers")
    parser.add_argument("--threads", type=int, default=1, help="of both sides; models this small gain nothing from a second one")
    parser.add_argument("--runs", type=int, default=3, help="measured pairs of each row")
    parser.add_argument("--quick", action="store_true", help="little work, to see that everything runs; the ratios mean nothing")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    machine = torch.cuda.get_device_name() if options.device == "cuda" else f"{options.threads} CPU threads"
    found = measure(options.device, options.preset, options.runs, options.layers, options.quick)
    write(found, options.out)
    show(found, f"Speed beside other libraries, {machine}")
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
