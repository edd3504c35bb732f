"""Messages from an interpreter that nobody trusts: read within bounds, and as data only.

Four bytes of length, big-endian, then JSON. A frame that is too long, is not JSON, nests too deeply, or is not exactly a reply to the open
request is a `FrameError`, after which the sandbox is thrown away. Nothing is ever unpickled. A forged reply in the right form can not be
told from a real one, and need not be: whoever can forge it has computed in the sandbox and could have printed the same.
"""

import base64
import binascii
import json
import struct
from collections.abc import Callable
from typing import Any

__all__ = ["FrameError", "FrameReader", "encode", "read_reply"]

_MOST_BYTES = 32 << 20
_PNG = b"\x89PNG\r\n\x1a\n"


class FrameError(Exception):
    """The other side does not keep to the protocol."""


class FrameReader:
    """Cuts bytes into frames."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """Add bytes.

        Returns:
            The body of a frame once it is complete.

        Raises:
            FrameError: the length is out of bounds, or bytes follow the frame: there is one reply per request.
        """
        self.buffer += data
        if len(self.buffer) < 4:
            return None
        size = struct.unpack_from(">I", self.buffer)[0]
        if size > _MOST_BYTES:
            raise FrameError(f"a message of {size} bytes")
        if len(self.buffer) < 4 + size:
            return None
        if len(self.buffer) > 4 + size:
            raise FrameError("bytes after the end of a message")
        body = bytes(self.buffer[4:])
        self.buffer.clear()
        return body


def encode(message: dict[str, Any]) -> bytes:
    """A frame."""
    body = json.dumps(message).encode()
    return struct.pack(">I", len(body)) + body


def read_reply(body: bytes, nonce: str, *, images: int) -> tuple[str | None, str | None, tuple[bytes, ...]]:
    """Value, error and figures of a reply.

    Args:
        body: JSON as it came.
        nonce: the open request's.
        images: most figures.

    Raises:
        FrameError: anything is not as it should be.
    """
    message = _parse(body)
    if not isinstance(message, dict) or message.get("id") != nonce:
        raise FrameError("a message that is no reply to the open request")
    value, error, figures = message.get("value"), message.get("error"), message.get("images")
    if not isinstance(value, str | None) or not isinstance(error, str | None):
        raise FrameError("a reply with values of the wrong type")
    if not isinstance(figures, list) or len(figures) > images or not all(isinstance(figure, str) for figure in figures):
        raise FrameError("a reply with too many figures, or with figures of the wrong type")
    try:
        pictures = tuple(base64.b64decode(figure, validate=True) for figure in figures)
    except (binascii.Error, ValueError):
        raise FrameError("a figure that is not in base64") from None
    if not all(picture.startswith(_PNG) for picture in pictures):
        raise FrameError("a figure that is not PNG")
    return _text(value), _text(error), pictures


def _parse(body: bytes) -> Any:
    def refuse(_: str) -> Any:
        raise FrameError("a number that no reply has")

    number: Callable[[str], Any] = refuse
    try:
        # Replies of calls hold text only, and the version of Landlock; a number of a million digits would cost seconds.
        return json.loads(
            body, parse_int=lambda text: int(text) if len(text) < 4 else refuse(text), parse_float=number, parse_constant=number
        )
    except (ValueError, RecursionError):
        raise FrameError("a message that is not JSON") from None


def _text(text: str | None) -> str | None:
    """Without lone surrogates, which JSON can carry and UTF-8 can not."""
    return text and text.encode("utf-8", "replace").decode()
