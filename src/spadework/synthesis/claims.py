"""What a model reads off the pages of a corpus, page by page, kept in a file.

A claim is what the model says that a page says: subject, relation, object, and the sentence that it copied. It is taken for nothing here;
which claims stand on their page is decided by `read_graph.py` whenever the file is used. A page is a line of the file as soon as it is
read, known by a hash of its title and text: an endpoint that dies loses nothing, a page that changes is read again, and one that is gone
is ignored. A page whose reply could not be used gets no line and is asked for again by the next call.

Not done: pages longer than 20,000 characters to their end; several readings of a page.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spadework.core.errors import BrokenError, InputError
from spadework.core.events import append_text, disk_errors, read_events
from spadework.core.progress import Progress
from spadework.corpus.document import Corpus, Document
from spadework.rewards.prompt import load_prompt
from spadework.synthesis.model import Model, NoReply

__all__ = ["Claim", "Reading", "page_key", "read_claims", "read_pages"]

_OBJECT = re.compile(r"\{[^{}]*\}")
_NOTHING = re.compile(r"^\W*none\W*$", re.IGNORECASE | re.MULTILINE)


class Claim(NamedTuple):
    """What a model says that a page says."""

    subject: str
    relation: str
    object: str
    sentence: str


class Reading(NamedTuple):
    """What became of the pages of a corpus."""

    pages: int
    """All of them."""
    read: int
    """Those in the file."""
    claims: int
    """On these."""
    malformed: int
    """Further lines of replies that were none."""
    unread: int
    """Pages without a usable reply."""
    reason: str
    """Why the first of these has none."""


def read_pages(corpus: Corpus, model: Model, out: Path, *, resume: bool = False) -> Reading:
    """Have a model read all pages of a corpus that are not in the file yet.

    Args:
        corpus: the pages.
        model: reads them.
        out: a `.jsonl` file.
        resume: go on with the file if there is one.

    Raises:
        InputError: the file is there and `resume` is off, or was read by another model or with another prompt; the disk is full; see
            `Model.ask`.
        BrokenError: the endpoint is dead. What was read before is in the file.
    """
    if out.exists() and not resume:
        raise InputError(f"{out} is there already; add --resume to go on with it, or name another --out")
    head = {"reader": model.endpoint.model, "prompt": load_prompt("statements").sha256}
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    if not out.exists():
        append_text(out, json.dumps(head) + "\n")
    old, rows = _rows(out)
    if other := next((key for key in head if old[key] != head[key]), ""):
        raise InputError(f"{out} was read with another {other}: {old[other]}; name another --out")
    pages = {page_key(document): document for document in corpus}
    missing = [document for key, document in pages.items() if key not in rows]
    reasons: list[str] = []
    with Progress("read", len(pages), done=len(pages) - len(missing), unit="pages") as progress:
        for start in range(0, len(missing), model.endpoint.concurrency):
            part = missing[start : start + model.endpoint.concurrency]
            try:
                replies = model.ask([_prompt(document) for document in part], _read)
            except BrokenError as error:
                known = model.known([_prompt(document) for document in part], _read)
                _write(out, ((document, known[prompt]) for document in part if (prompt := _prompt(document)) in known))
                raise BrokenError(f"{error}; {len(_rows(out)[1])} pages are in {out}, go on with --resume") from None
            _write(out, ((page, reply) for page, reply in zip(part, replies, strict=True) if not isinstance(reply, NoReply)))
            reasons += [reply.reason for reply in replies if isinstance(reply, NoReply)]
            progress.advance(len(part))
    found = [row for key, row in _rows(out)[1].items() if key in pages]
    claims, malformed = sum(len(claims) for claims, _ in found), sum(count for _, count in found)
    return Reading(len(pages), len(found), claims, malformed, len(reasons), next(iter(reasons), ""))


def read_claims(path: Path) -> Mapping[str, Sequence[Claim]]:
    """The claims in a file by `page_key`.

    Raises:
        InputError: there is no such file, or it is another one.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; write it with `spadework corpus read`")
    return {key: claims for key, (claims, _) in _rows(path)[1].items()}


def page_key(document: Document) -> str:
    """What a page is known by: its title and text."""
    return hashlib.sha256(json.dumps([document.title, document.text]).encode()).hexdigest()[:24]


def _rows(path: Path) -> tuple[dict[str, str], dict[str, tuple[list[Claim], int]]]:
    """The head of a file, and by page its claims and the number of malformed lines."""
    head, *rows = read_events(path) or [{}]
    try:
        old = {"reader": str(head["reader"]), "prompt": str(head["prompt"])}
        return old, {row["page"]: ([Claim(*claim) for claim in row["claims"]], row["malformed"]) for row in rows}
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a file of `spadework corpus read` ({type(error).__name__}: {error})") from None


def _write(out: Path, read: Iterable[tuple[Document, tuple[list[Claim], int]]]) -> None:
    for document, (claims, malformed) in read:
        row = {"page": page_key(document), "id": document.id, "claims": claims, "malformed": malformed}
        append_text(out, json.dumps(row, ensure_ascii=False) + "\n")


def _prompt(document: Document) -> str:
    return load_prompt("statements").fill(title=document.title, text=document.text)


def _read(reply: str) -> tuple[list[Claim], int]:
    """The claims of a reply, and how many objects in it are none.

    Raises:
        ValueError: there is no claim, and the reply does not say that there is none.
    """
    claims, malformed = [], 0
    for text in _OBJECT.findall(reply):
        try:
            values = json.loads(text)
            claim = Claim(*(values[name] for name in Claim._fields))
        except (ValueError, KeyError):
            malformed += 1
            continue
        if all(isinstance(value, str) and value.strip() for value in claim):
            claims.append(Claim(*(" ".join(value.split()) for value in claim)))
        else:
            malformed += 1
    if not claims and not _NOTHING.search(reply):
        raise ValueError(f"no statement in the reply '{' '.join(reply.split())[-80:]}'")
    return claims, malformed
