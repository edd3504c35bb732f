"""robots.txt, as RFC 9309 reads it: the group of our own name, else that of `*`; the longest rule that matches decides.

In a tie an allowing rule wins. `*` and `$` in rules are patterns. What the file says about crawl delays is not part of the standard: rates
are the gateway's (`per_host`). Not done here: fetching it (`fetch.py`).
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

__all__ = ["Robots"]

_MAX_CHARS = 500 * 1024
"""What a crawler has to read at least (RFC 9309, section 2.5); we read no more. Rules are also capped, because each is tried on a path."""
_MAX_RULES = 5_000


@dataclass(frozen=True, slots=True)
class Robots:
    """The rules of one site for one robot."""

    rules: tuple[tuple[bool, str], ...] = ()
    """Whether a rule allows, and its pattern, which is normalised as `_plain` does."""

    @classmethod
    def parse(cls, text: str, agent: str) -> "Robots":
        """Read a file. Lines that cannot be read are left out, as the standard asks.

        Args:
            text: of the file.
            agent: our product name; the part before a slash counts, in any case.
        """
        own = agent.partition("/")[0].strip().lower()
        groups: dict[str, list[tuple[bool, str]]] = {}
        names: list[str] = []
        opening = False
        for line in text[:_MAX_CHARS].lstrip("\ufeff").splitlines():
            key, colon, value = line.partition("#")[0].partition(":")
            key, value = key.strip().lower(), value.strip()
            if not colon:
                continue
            if key == "user-agent":
                names = [*names, value.lower()] if opening else [value.lower()]
                groups.setdefault(value.lower(), [])
                opening = True
            elif key in ("allow", "disallow"):
                opening = False
                for name in names if value else ():
                    groups[name].append((key == "allow", _plain(value)))
        return cls(tuple(groups.get(own, groups.get("*", []))[:_MAX_RULES]))

    def allows(self, url: str) -> bool:
        """Whether an address may be fetched."""
        parts = urlsplit(url)
        path = _plain(parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        best = max(((len(pattern), allowed) for allowed, pattern in self.rules if _matches(pattern, path)), default=(0, True))
        return best[1]


def _plain(path: str) -> str:
    """The same path in the same letters, however it was percent-encoded."""
    return quote(unquote(path), safe="/*$?=&%")


def _matches(pattern: str, path: str) -> bool:
    # Piece by piece: a regular expression with many `.*` can take exponentially long, and a site writes these patterns.
    anchored = pattern.endswith("$")
    first, *rest = re.split(r"\*+", pattern.removesuffix("$"))
    if not path.startswith(first):
        return False
    at = len(first)
    for number, piece in enumerate(rest):
        if anchored and number == len(rest) - 1:
            return len(path) - len(piece) >= at and path.endswith(piece)
        found = path.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return not anchored or at == len(path)
