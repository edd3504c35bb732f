"""The exception tree. Who is spoken to decides the class.

    SpadeworkError
    |-- InputError     the user's input is wrong: one clear line, exit code 2
    |   `-- ConfigError    a recipe or an override is wrong
    |-- ToolError      text for the model: it called a tool wrongly and can do better
    `-- BrokenError    infrastructure failed (a dead server, a deadline): the trajectory becomes `broken`, never a zero reward

Anything else that escapes is a bug and keeps its traceback.
"""

__all__ = ["BrokenError", "ConfigError", "InputError", "SpadeworkError", "ToolError"]


class SpadeworkError(Exception):
    """Base of all errors that this package raises on purpose."""


class InputError(SpadeworkError):
    """The input is wrong. The message names the thing and the remedy in one line."""


class ConfigError(InputError):
    """A recipe, an override or a combination of knobs is wrong."""


class ToolError(SpadeworkError):
    """A tool refused a call. The message is shown to the model, which may act on it."""


class BrokenError(SpadeworkError):
    """Infrastructure failed. The trajectory is dropped from the loss and from the baseline, counted, and shown."""
