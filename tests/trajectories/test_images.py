"""A picture is one file by its contents, and what is not that file is refused."""

from pathlib import Path

import pytest

from spadework.core.errors import InputError
from spadework.trajectories.images import image_bytes, keep_image


def test_equal_pictures_are_one_file(tmp_path: Path) -> None:
    first, again, other = (keep_image(data, "image/jpeg", tmp_path / "images") for data in (b"one", b"one", b"two"))
    assert first == again != other
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == sorted([first["file"], other["file"]])
    assert first["file"] == f"{first['sha256']}.jpg"
    assert image_bytes(other, tmp_path / "images") == b"two"


def test_types_without_an_ending_of_their_own(tmp_path: Path) -> None:
    assert keep_image(b"x", "image/unheard-of", tmp_path)["file"].endswith(".bin")


def test_what_is_not_the_picture_is_refused(tmp_path: Path) -> None:
    facts = keep_image(b"one", "image/png", tmp_path)
    (tmp_path / facts["file"]).write_bytes(b"changed")
    with pytest.raises(InputError, match="not the picture that was recorded"):
        image_bytes(facts, tmp_path)
    (tmp_path / facts["file"]).unlink()
    with pytest.raises(InputError, match="No such file"):
        image_bytes(facts, tmp_path)
    with pytest.raises(InputError, match=r"was not kept: https://a\.example/b\.png"):
        image_bytes({"mime": "image/png", "url": "https://a.example/b.png"}, tmp_path)
    # A name in a trajectory of a stranger does not lead out of the folder.
    with pytest.raises(InputError, match="No such file"):
        image_bytes({**facts, "file": "../../etc/passwd"}, tmp_path)
