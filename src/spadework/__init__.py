"""Spadework trains agents that do deep research: plan, search, read, compute and cite over many turns.

The chain: corpus -> tasks -> SFT cold start -> RL -> evaluation -> a served researcher. Folders are layers (docs/README.md); import the
module that defines a name, for example `from spadework.trajectories.tree import Trajectory`.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
