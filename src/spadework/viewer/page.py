"""The frame of every page: one self-contained HTML file with its style and its one script, and nothing to fetch.

A content security policy names the hash of that script, so nothing else in the file can run, whatever text a run brings in.
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from string import Template

from spadework.viewer.markup import Html, el, join

__all__ = ["Part", "page"]

Part = tuple[str, str, Html]
"""Anchor, label in the navigation, and body of a section."""


def page(title: str, hero: Html, parts: Sequence[Part]) -> str:
    """The whole page as text."""
    script = _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    links = [el("a", label, href=f"#{anchor}") for anchor, label, _ in parts]
    return Template(_asset("report.html")).substitute(
        title=el("title", title),
        digest=digest,
        style=_asset("report.css"),
        script=script,
        first=parts[0][0],
        links=join(links),
        hero=hero,
        body=join(body for _, _, body in parts),
    )


def _asset(name: str) -> str:
    return resources.files("spadework.viewer").joinpath("assets", name).read_text(encoding="utf-8")
