import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spadework.tools.web.robots import Robots

SITE = "https://example.org"


def allows(text: str, path: str, agent: str = "spadework/1.0") -> bool:
    return Robots.parse(text, agent).allows(SITE + path)


@pytest.mark.parametrize(
    ("rules", "path", "expected"),
    [
        ("Disallow: /", "/x", False),
        ("Disallow:", "/x", True),
        ("", "/x", True),
        ("Disallow: /private", "/private/x", False),
        ("Disallow: /private", "/privateer", False),
        ("Disallow: /private/", "/private", True),
        # The longest rule decides, whatever the order; the allowing one in a tie (RFC 9309, section 2.2.2).
        ("Disallow: /\nAllow: /open", "/open/x", True),
        ("Allow: /open\nDisallow: /", "/closed", False),
        ("Disallow: /page\nAllow: /page", "/page", True),
        ("Disallow: /*.pdf$", "/a/b.pdf", False),
        ("Disallow: /*.pdf$", "/a/b.pdf?x", True),
        ("Disallow: /a*b*c", "/a1b2c3", False),
        ("Disallow: /a*b*c", "/a1c2b3", True),
        ("Disallow: *x", "/yx", False),
        ("Disallow: /x$", "/x", False),
        ("Disallow: /x$", "/xy", True),
        ("Disallow: /a*a$", "/a", True),
        ("Disallow: /?q=", "/?q=1", False),
        ("Disallow: /%7Ejoe/", "/~joe/x", False),
        ("Disallow: /ä", "/%C3%A4b", False),
        ("DISALLOW : /x # why", "/x", False),
        ("nonsense\nDisallow: /x", "/x", False),
    ],
)
def test_rules(rules: str, path: str, expected: bool) -> None:
    assert allows(f"User-agent: *\n{rules}\n", path) is expected


def test_our_own_group_comes_before_everybodys() -> None:
    text = "User-agent: other\nUser-agent: Spadework\nDisallow: /x\n\nUser-agent: *\nDisallow: /\n"
    assert allows(text, "/y") and not allows(text, "/x")
    assert not allows(text, "/y", agent="another")


def test_two_groups_of_one_name_are_one() -> None:
    text = "User-agent: *\nDisallow: /x\nUser-agent: *\nDisallow: /y\n"
    assert not allows(text, "/x") and not allows(text, "/y") and allows(text, "/z")


@given(st.text(), st.text(max_size=20))
def test_any_file_can_be_read(text: str, path: str) -> None:
    Robots.parse(text, "spadework").allows(f"{SITE}/{path}")


def test_a_pattern_can_not_take_long() -> None:
    start = time.process_time()
    allows("User-agent: *\n" + ("Disallow: /" + "a*" * 500 + "b$\n") * 50, "/" + "a" * 2000)
    assert time.process_time() - start < 2.0
