"""Pictures that tools return, as files named by their contents, beside the trajectories that refer to them.

    trajectories/images/9f2c...e1.png

Equal pictures are one file, whoever returned them, so a file is written once and never changed. A trajectory holds the name, the type and
the size (`Node.meta`), never the bytes; without a folder it holds the bytes in base64, so that nothing is lost.
"""

import base64
import hashlib
import mimetypes
import os
from pathlib import Path
from typing import Any

from spadework.core.errors import InputError
from spadework.core.events import disk_errors

__all__ = ["image_bytes", "keep_image"]

_ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp", "image/svg+xml": ".svg"}


def keep_image(data: bytes, mime: str, folder: Path | None) -> dict[str, Any]:
    """Keep a picture, and describe it for a trajectory.

    Args:
        data: the file's bytes.
        mime: for example `image/png`.
        folder: where pictures stand; it is made when the first one comes. None keeps the bytes in the description.

    Returns:
        `mime`, `bytes` (their number), `sha256`, and `file` (the name in the folder) or `data` (base64).

    Raises:
        InputError: the disk is full or not writable.
    """
    digest = hashlib.sha256(data).hexdigest()
    facts: dict[str, Any] = {"mime": mime, "bytes": len(data), "sha256": digest}
    if folder is None:
        return {**facts, "data": base64.b64encode(data).decode()}
    path = folder / f"{digest}{_ENDINGS.get(mime) or mimetypes.guess_extension(mime) or '.bin'}"
    if not path.exists():
        with disk_errors(path):
            folder.mkdir(parents=True, exist_ok=True)
            # Two processes may write the same picture; whoever is last replaces it by the same bytes.
            partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
            partial.write_bytes(data)
            partial.replace(path)
    return {**facts, "file": path.name}


def image_bytes(facts: dict[str, Any], folder: Path | None = None) -> bytes:
    """The bytes of a picture that `keep_image` has described.

    Raises:
        InputError: the file is missing or has other contents, or the picture is known by its address only.
    """
    if "data" in facts:
        return base64.b64decode(facts["data"])
    if "file" not in facts or folder is None:
        raise InputError(
            f"this picture was not kept: {facts.get('url') or facts.get('file') or facts}; name the folder, or fetch its address"
        )
    path = folder / Path(facts["file"]).name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; pictures belong beside their trajectories") from None
    if hashlib.sha256(data).hexdigest() != facts["sha256"]:
        raise InputError(f"{path}: not the picture that was recorded; restore it from the run")
    return data
