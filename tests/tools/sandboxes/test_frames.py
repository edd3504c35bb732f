"""Bytes from an interpreter that nobody trusts become a reply or a `FrameError`, and nothing else."""

import base64
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spadework.tools.sandboxes.frames import FrameError, FrameReader, encode, read_reply
from spadework.tools.sandboxes.output import Output, shorten

PNG = b"\x89PNG\r\n\x1a\nabc"


def reply(**changes: object) -> bytes:
    return json.dumps({"id": "n", "value": None, "error": None, "images": [], **changes}).encode()


def test_a_reply_is_read() -> None:
    assert read_reply(reply(value="a", images=[base64.b64encode(PNG).decode()]), "n", images=1) == ("a", None, (PNG,))
    assert read_reply(reply(error="\ud800"), "n", images=0) == (None, "?", ())


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a": NaN}', b"1.5", b"9" * 5000, 
        reply(id="m"), reply(id=None), reply(value=1), reply(error=[]),
        reply(images=None), reply(images=["a", "a"]), reply(images=[1]), reply(images=["a"]), reply(images=["////"]), reply(images=["ä"]),
    ],
)  # fmt: skip
def test_what_is_no_reply_is_refused(body: bytes) -> None:
    with pytest.raises(FrameError):
        read_reply(body, "n", images=1)


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_reply_or_refused(body: bytes) -> None:
    with pytest.raises(FrameError):
        read_reply(body, "n", images=1)


@settings(max_examples=40)
@given(st.text(max_size=50), st.lists(st.integers(1, 20), min_size=1, max_size=10))
def test_a_frame_survives_being_cut_anywhere(text: str, sizes: list[int]) -> None:
    data, reader = encode({"id": text}), FrameReader()
    found, position, turn = None, 0, 0
    while position < len(data):
        assert found is None
        size = sizes[turn % len(sizes)]
        found = reader.feed(data[position : position + size])
        position, turn = position + size, turn + 1
    assert found is not None and json.loads(found) == {"id": text} and not reader.buffer


def test_one_frame_at_a_time_and_of_bounded_length() -> None:
    with pytest.raises(FrameError, match="after the end"):
        FrameReader().feed(encode({}) + b"\0")
    with pytest.raises(FrameError, match="4294967295 bytes"):
        FrameReader().feed(struct.pack(">I", 0xFFFFFFFF))


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(1, 40))
def test_output_keeps_both_ends(parts: list[bytes], keep: int) -> None:
    output, whole = Output(keep), b"".join(parts)
    for part in parts:
        output.add(part)
    assert output.total == len(whole)
    if len(whole) <= 2 * keep:
        assert output.text() == whole.decode("utf-8", "replace")
    else:
        head, tail = (part.decode("utf-8", "replace") for part in (whole[:keep], whole[-keep:]))
        assert output.text() == f"{head}\n[... {len(whole) - 2 * keep} bytes ...]\n{tail}"


@settings(max_examples=40)
@given(st.text(max_size=400), st.integers(100, 300))
def test_a_shortened_text_is_within_its_length(text: str, chars: int) -> None:
    short = shorten(text, chars)
    assert len(short) <= chars and (short == text) == (len(text) <= chars)
