"""Prompts of judges: text files of this package, pinned by their hash, and the reading of replies.

A score means something only together with its prompt, so a changed file is an error until its hash here is changed as well. Values are
filled in as JSON strings: an answer cannot end its own quotation and add instructions. A verdict is the last match of an anchored pattern;
a reply without one is no verdict (ValueError), never a "no".
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from spadework.core.errors import InputError

__all__ = ["PINNED", "Prompt", "load_prompt", "read_answer", "read_question", "read_score", "read_thought", "read_verdict"]

PINNED = {
    "step": "7e7e7042a9d72a4b8e711bbd28033fe14d5fde80967011aa56e406725bab33dd",
    "reader": "83b8f852341db3972f75bb8feb997b548c251a31e92371f5871d3c1e3064580d",
    "pairwise": "0c8d1446313a6a0eec1b4fcf6419824e9479392ac3e9e31267958726ba1d5ee8",
    "correctness": "6a14cd197abc94b39a7f61528b1f8c644c8e3dc6b213ba684dfe3576910ff5c8",
    "completeness": "70cbf8fbb83404ce0fe6e96200b759b4974db1536a46e1957d44d17d58881f2c",
    "soundness": "8eb36abe73a9f5b108e72661ce9015cc419a7bae98259c86cfbc10f9be21f1d0",
    "thought": "b8c010155a7345028601273f3b8beeb3f73c4653ae25d82b429ac48efa04da74",
    "wording": "7de571f9f0bb05c000a159dbf8eb5c4c2356dd1b2a6bc19d777d82569b54d327",
    "statements": "a4cb897d11c262832b2e9137017eb0ba1ae110d35ef071d518e335ca1f641364",
    "closed_book": "53bd9716b4afdf6322aee3d57097a6ea404afc0d0f5225d32b72d89612605491",
    "alternative": "552449c4034f45fff6a3715134c701f46d96ead23b16d4e362c824ea84fa2105",
    "lasting": "a06ffc1c39f77214991690e4028a86f656d500a11aa662cfa465c6f890709b2a",
    "objective": "646d7e1c8bae02d5be38fb7fff910be66daba59706e8d3f59a839b49b55227a9",
}
"""SHA-256 of every prompt file."""
_LONGEST = 20_000
_FOLDER = Path(__file__).parent / "prompts"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template with `$name` places."""

    name: str
    text: str
    sha256: str

    def fill(self, **values: Any) -> str:
        """The prompt with its values as JSON; strings are cut at 20,000 characters.

        Raises:
            InputError: the template has a place for which there is no value.
        """
        shown = {key: value[:_LONGEST] if isinstance(value, str) else value for key, value in values.items()}
        try:
            return Template(self.text).substitute({key: json.dumps(value, ensure_ascii=False) for key, value in shown.items()})
        except (KeyError, ValueError) as error:
            known = ", ".join(f"${key}" for key in values)
            raise InputError(f"prompt {self.name}: cannot fill {error}; the places are {known}, and a dollar sign is $$") from None


def load_prompt(name: str) -> Prompt:
    """A prompt of this package by name, or a file by its path (anything that ends in `.txt`).

    Raises:
        InputError: there is none, or a prompt of this package is not the pinned one.
    """
    own = name.endswith(".txt")
    path = Path(name) if own else _FOLDER / f"{name}.txt"
    if not own and name not in PINNED:
        raise InputError(f"unknown prompt '{name}'; known: {', '.join(sorted(PINNED))}, or the path of a .txt file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"prompt {path}: cannot be read: {error}") from None
    digest = hashlib.sha256(text.encode()).hexdigest()
    if not own and digest != PINNED[name]:
        raise InputError(
            f"prompt {path}: its hash is {digest[:12]}, and {PINNED[name][:12]} is pinned; restore it, or give a copy as a path"
        )
    return Prompt(name, text, digest)


def read_verdict(reply: str, *options: str) -> str:
    """The last `Verdict: OPTION` line of a reply, in the spelling of the options.

    Raises:
        ValueError: there is none.
    """
    found = re.findall(rf"^\W*verdict\W+({'|'.join(map(re.escape, options))})\W*$", reply, re.IGNORECASE | re.MULTILINE)
    if not found:
        raise ValueError(f"no verdict in the reply '{_end(reply)}'")
    return next(option for option in options if option.lower() == found[-1].lower())


def read_score(reply: str) -> float:
    """The last `Score: x` line of a reply.

    Raises:
        ValueError: there is none, or it is not between 0 and 1.
    """
    found = re.findall(r"^\W*score\W+?(-?[0-9]*\.?[0-9]+)\W*$", reply, re.IGNORECASE | re.MULTILINE)
    if not found or not 0 <= float(found[-1]) <= 1:
        raise ValueError(f"no score between 0 and 1 in the reply '{_end(reply)}'")
    return float(found[-1])


def _read_line(reply: str, name: str) -> str:
    """What the last line `Name: ...` of a reply says.

    Raises:
        ValueError: there is none.
    """
    found: list[str] = re.findall(rf"^\W*{name}\W*?:[ \t*]*(\S.*)$", reply, re.IGNORECASE | re.MULTILINE)
    if not found:
        raise ValueError(f"no {name} in the reply '{_end(reply)}'")
    return found[-1].strip()


def read_answer(reply: str) -> str:
    """The last `Answer: ...` line of a reply.

    Raises:
        ValueError: there is none.
    """
    return _read_line(reply, "answer")


def read_thought(reply: str) -> str:
    """The last `Thought: ...` line of a reply.

    Raises:
        ValueError: there is none.
    """
    return _read_line(reply, "thought").strip("*")


def read_question(reply: str) -> str:
    """The last `Question: ...` line of a reply.

    Raises:
        ValueError: there is none.
    """
    return _read_line(reply, "question").strip("*")


def _end(reply: str) -> str:
    return " ".join(reply.split())[-80:]
