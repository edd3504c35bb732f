"""All benchmarks in one command: `python -m benchmarks.run`. Prints a table and writes `benchmarks/results.json`.

On a GPU: `python -m benchmarks.run --device cuda --preset qwen3-0.6b`, with random weights in bfloat16. Both sides use the same number of
threads. Not here: other machines' numbers; a ratio holds for the machine it was measured on.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

# Threads that spin while they wait make everything ten times slower on a busy machine. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from benchmarks import async_rollout, credit_cost, gateway, grpo_step, loss_cost, parity, sampling, sandbox, synthesis
from benchmarks.models import CUTS
from benchmarks.table import Row, read, show, write

__all__ = ["main", "plan"]

Measurement: TypeAlias = Callable[[], list[Row]]
RESULTS = Path(__file__).parent / "results.json"


def plan(device: str, preset: str | None, runs: int, layers: int | None = None, quick: bool = False) -> dict[str, Measurement]:
    """How to measure the rows, by family.

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
    waits = async_rollout.Load(in_flight=8, batches=2, turns=2, latency=0.01) if quick else None
    presets = [preset] if preset else ["tiny-1m", "tiny-10m"]
    shape: dict[str, Any] = {"device": device, "dtype": dtype, "layers": layers}
    found: dict[str, Measurement] = {
        "sampling": lambda: [sampling.row(name, runs=runs, load=load, **shape) for name in presets],
        "grpo_step": lambda: grpo_step.rows(preset or "h256", runs=runs, size=size, **shape),
        "gateway": lambda: gateway.rows(runs, 2560 if quick else 25_600),
        "sandbox": lambda: sandbox.rows(30 if quick else 200),
        "async_rollout": lambda: async_rollout.rows(runs=runs, load=waits, device=device),
        "parity": lambda: parity.rows(preset or "tiny-1m", load=load, **shape),
    }
    if device == "cpu":  # what these rows measure runs on the host in any case, or is measured beside a step on it
        found["credit_cost"] = lambda: credit_cost.rows(runs, quick=quick)
        found["synthesis"] = lambda: synthesis.rows(20, 1_000) if quick else synthesis.rows()
        found["loss_cost"] = lambda: loss_cost.rows(preset or "h256", runs, layers=layers, quick=quick)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Speed side by side with other libraries.")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--preset", choices=CUTS, help="one model for all rows")
    parser.add_argument("--layers", type=int, help="cut the models to this many layers")
    parser.add_argument("--threads", type=int, default=1, help="of both sides; grpo_step is also measured with one per core")
    parser.add_argument("--runs", type=int, default=3, help="measured pairs of each row")
    parser.add_argument("--quick", action="store_true", help="little work, to see that everything runs; the ratios mean nothing")
    parser.add_argument("--only", nargs="+", metavar="FAMILY", help="families to measure anew; the other rows of the file stay")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    families = plan(options.device, options.preset, options.runs, options.layers, options.quick)
    if unknown := set(options.only or ()) - set(families):
        parser.error(f"unknown family {', '.join(sorted(unknown))}; there are: {', '.join(families)}")
    torch.set_num_threads(options.threads)
    machine = torch.cuda.get_device_name() if options.device == "cuda" else f"{options.threads} CPU threads"
    found = read(options.out) if options.only else {}
    for number, family in enumerate(chosen := options.only or list(families), start=1):
        print(f"measuring {family}, {number} of {len(chosen)}", file=sys.stderr, flush=True)
        found[family] = families[family]()
        write(found, options.out)  # after each, so that what is measured is kept
    show([row for rows in found.values() for row in rows], f"Speed beside other libraries, {machine}")
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
