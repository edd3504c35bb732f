"""Which backend runs the code: the strongest that works here, or what the configuration names. Never a silent way down."""

from typing import Literal

from spadework.tools.sandboxes.bubblewrap import Bubblewrap
from spadework.tools.sandboxes.sandbox import Backend
from spadework.tools.sandboxes.unsandboxed import Unsandboxed

__all__ = ["Choice", "choose"]

Choice = Literal["strongest", "bubblewrap", "none-i-know-what-i-am-doing"]


def choose(choice: Choice) -> Backend:
    """Make a backend.

    Args:
        choice: `strongest` is bubblewrap today, and refuses where that does not work.

    Raises:
        InputError: the backend does not work here; the message says what to install.
    """
    return Unsandboxed() if choice == "none-i-know-what-i-am-doing" else Bubblewrap()
