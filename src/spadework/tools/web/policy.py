"""Which domains may be visited: lists of a user's own, and the lists that come with the package.

An entry is a domain, which stands for its subdomains too (`example.org`), or a domain with the beginning of a path (`example.org/data`);
a path ends where a segment ends. Case, percent-encoding, doubled slashes and dot segments do not help to get around an entry.

The list `benchmarks` holds the places where questions and answers of the usual benchmarks stand in the clear, so that an agent that is
trained or evaluated on them cannot look its answers up. It names where data sets are published; copies elsewhere need entries of their own.
"""

import posixpath
from collections.abc import Iterable, Sequence
from urllib.parse import unquote, urlsplit

from spadework.core.errors import ConfigError, ToolError
from spadework.tools.web.address import Target

__all__ = ["BLOCK_LISTS", "Domains"]

BLOCK_LISTS: dict[str, tuple[str, ...]] = {
    "benchmarks": (
        # Whole hubs of data sets, because every benchmark has dozens of copies there under other names.
        "huggingface.co/datasets",
        "huggingface.co/api/datasets",
        "hf.co/datasets",
        "hf-mirror.com/datasets",
        "datasets-server.huggingface.co",
        "kaggle.com/datasets",
        "modelscope.cn/datasets",
        "paperswithcode.com/dataset",
        # Repositories and sites of single benchmarks.
        "github.com/openai/simple-evals",
        "raw.githubusercontent.com/openai/simple-evals",
        "openaipublic.blob.core.windows.net/simple-evals",
        "github.com/palin2018/browsecomp-zh",
        "raw.githubusercontent.com/palin2018/browsecomp-zh",
        "github.com/texttron/browsecomp-plus",
        "raw.githubusercontent.com/texttron/browsecomp-plus",
        "github.com/centerforaisafety/hle",
        "raw.githubusercontent.com/centerforaisafety/hle",
        "lastexam.ai",
        "github.com/xbench-ai",
        "raw.githubusercontent.com/xbench-ai",
        "hotpotqa.github.io",
        "curtis.ml.cmu.edu/datasets",
        "github.com/stonybrooknlp/musique",
        "github.com/alab-nii/2wikimultihop",
        "github.com/ofirpress/self-ask",
        "github.com/alextmallen/adaptive-retrieval",
        "ai.google.com/research/naturalquestions",
        "nlp.cs.washington.edu/triviaqa",
    ),
}
"""By name, the lists that `block_lists` takes."""


class Domains:
    """What may be visited."""

    def __init__(self, allow: Sequence[str] = (), block: Sequence[str] = (), block_lists: Sequence[str] = ()) -> None:
        """Read the lists.

        Args:
            allow: only these; empty for all that is not blocked.
            block: not these, even where `allow` has them.
            block_lists: names of `BLOCK_LISTS`.

        Raises:
            ConfigError: an entry has no domain, or there is no list of that name.
        """
        for name in block_lists:
            if name not in BLOCK_LISTS:
                raise ConfigError(f"block_lists: there is no list '{name}'; there are {', '.join(BLOCK_LISTS)}")
        self._allow = [_entry(text, "allow") for text in allow]
        self._block = [_entry(text, "block") for text in (*block, *(entry for name in block_lists for entry in BLOCK_LISTS[name]))]

    def check(self, target: Target) -> None:
        """Refuse what is not to be visited.

        Raises:
            ToolError: it is blocked, or not among what is allowed.
        """
        place = (target.host, _path(urlsplit(target.url).path))
        if _covered(place, self._block):
            raise ToolError(f"'{target.url}' is on a block list. Use another source.")
        if self._allow and not _covered(place, self._allow):
            raise ToolError(f"'{target.host}' is not among the web sites that may be visited. Use another source.")


def _entry(text: str, source: str) -> tuple[str, str]:
    host, _, path = text.strip().lower().removeprefix("https://").removeprefix("http://").partition("/")
    if not host or "." not in host:
        raise ConfigError(f"{source}: '{text}' is not a domain such as example.org, with or without the beginning of a path")
    return host, _path(path)


def _path(path: str) -> str:
    """A path as it is compared; `/` for all of a domain."""
    return posixpath.normpath("/" + unquote(path).lower().strip("/"))


def _covered(place: tuple[str, str], entries: Iterable[tuple[str, str]]) -> bool:
    host, path = place
    return any(
        (host == domain or host.endswith(f".{domain}")) and (start == "/" or path == start or path.startswith(f"{start}/"))
        for domain, start in entries
    )
