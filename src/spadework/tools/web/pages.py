"""The pages that each trajectory has visited.

A page stays as it was seen first, so its parts fit together and find searches what was shown.

Calls are counted as they take effect, because a fork wants the state as it was after the first so many of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from spadework.core.errors import ToolError
from spadework.tools.web.page import Page

__all__ = ["Pages"]


@dataclass(slots=True)
class _Seen:
    calls: int = 0
    pages: dict[str, tuple[int, Page]] = field(default_factory=dict)
    """By address, with the number of the call that fetched it. A page that was reached by a redirect has two addresses."""
    visits: list[tuple[int, Page]] = field(default_factory=list)
    """In order, repeats included."""


class Pages:
    """Visited pages by trajectory."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    @contextmanager
    def call(self, label: str) -> Iterator[None]:
        """Around a call. One whose transport failed is no call: it is made again."""
        seen = self._seen.setdefault(label, _Seen())
        try:
            yield
        except ToolError:
            seen.calls += 1
            raise
        seen.calls += 1

    def get(self, label: str, url: str) -> Page | None:
        """A page that was visited under this address."""
        found = self._seen[label].pages.get(url) if label in self._seen else None
        return found and found[1]

    def last(self, label: str) -> Page | None:
        """The page that was visited last."""
        seen = self._seen.get(label)
        return seen.visits[-1][1] if seen and seen.visits else None

    def visit(self, label: str, url: str, page: Page) -> None:
        """Note a visit."""
        seen = self._seen.setdefault(label, _Seen())
        seen.pages.setdefault(url, (seen.calls, page))
        seen.pages.setdefault(page.url, (seen.calls, page))
        seen.visits.append((seen.calls, page))

    def urls(self, label: str) -> list[str]:
        """Addresses of all visited pages, in order."""
        return list(dict.fromkeys(page.url for _, page in self._seen[label].visits)) if label in self._seen else []

    def forget(self, label: str) -> None:
        """The trajectory has ended."""
        self._seen.pop(label, None)

    def fork(self, old: str, new: str, calls: int) -> bool:
        """Copy what a trajectory had seen after its first calls; False if not all of them have come here."""
        seen = self._seen.get(old)
        if seen is None or seen.calls < calls:
            return False
        pages = {url: found for url, found in seen.pages.items() if found[0] < calls}
        self._seen[new] = _Seen(calls, pages, [found for found in seen.visits if found[0] < calls])
        return True
