"""The backend `none`: a bare process. The code can do whatever the user can do who runs Spadework.

Only for machines that are themselves thrown away after the run, and only where the configuration says `none-i-know-what-i-am-doing`.
Wall clock, output and the limits of one process hold; network, files, other processes and what outlives the session do not.
"""

import sys
import tempfile
from pathlib import Path

from spadework.tools.sandboxes.bubblewrap import ENVIRONMENT, package_folders
from spadework.tools.sandboxes.sandbox import Launch, Limits

__all__ = ["Unsandboxed"]


class Unsandboxed:
    """No isolation at all."""

    name = "none"
    isolation = ("none: the code that the model writes can read, change and send everything that you can",)

    def launch(self, limits: Limits) -> Launch:
        """The command for one interpreter."""
        folder = tempfile.gettempdir()
        return Launch(
            command=(sys.executable, "-I", "-S", "-B", "-X", "utf8", str(Path(__file__).with_name("interpreter.py"))),
            environment=ENVIRONMENT | {"HOME": folder, "TMPDIR": folder, "MPLCONFIGDIR": f"{folder}/.matplotlib"},
            paths=(*package_folders(), folder),
            confined=False,
            cwd=folder,
        )
