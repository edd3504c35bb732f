"""What code prints, within bounds: the beginning and the end of it are kept, the rest is counted."""

__all__ = ["Output", "shorten"]


class Output:
    """Keeps `keep` bytes from either end."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.total = 0
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        """Add bytes."""
        self.total += len(data)
        room = self.keep - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * self.keep:
            del self._tail[: -self.keep]

    def text(self) -> str:
        """All that is kept, with a line where something is missing."""
        tail = self._tail[-self.keep :]
        missing = self.total - len(self._head) - len(tail)
        if not missing:
            return (self._head + tail).decode("utf-8", "replace")
        return f"{self._head.decode('utf-8', 'replace')}\n[... {missing} bytes ...]\n{tail.decode('utf-8', 'replace')}"


def shorten(text: str, chars: int) -> str:
    """Leave out the middle of a text that is longer than `chars`, with a line that says so."""
    if len(text) <= chars:
        return text
    note = f"\n[output limit of {chars} characters: the middle is left out]\n"
    half = (chars - len(note)) // 2
    return text[:half] + note + text[-half:]
