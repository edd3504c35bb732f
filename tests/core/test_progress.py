"""Progress off the terminal: a line every ten seconds and a last one, nothing for what is quick."""

from io import StringIO

from spadework.core.progress import Progress, track


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_by_hand() -> None:
    clock, stream = Clock(), StringIO()
    with Progress("rl", total=20, done=4, stream=stream, clock=clock) as progress:
        for _ in range(13):
            clock.now += 2.5
            progress.advance(note="reward 0.5")
    # Lines at 10, 20 and 30 s and at the end, 32.5 s; 4 units per 10 s is 0.4 per second; at 10 s 12 units are left: 30 s.
    assert stream.getvalue().splitlines() == [
        "rl: 8/20 steps, 0.40 steps/s, 10 s, 30 s left, reward 0.5",
        "rl: 12/20 steps, 0.40 steps/s, 20 s, 20 s left, reward 0.5",
        "rl: 16/20 steps, 0.40 steps/s, 30 s, 10 s left, reward 0.5",
        "rl: 17/20 steps, 0.40 steps/s, 32 s, 8 s left, reward 0.5",
    ]


def test_what_is_quick_says_nothing() -> None:
    clock, stream = Clock(), StringIO()
    with Progress("index", stream=stream, clock=clock) as progress:
        clock.now += 1.9
        progress.advance(1000)
    assert stream.getvalue() == ""


def test_an_unknown_total_has_no_time_left() -> None:
    clock, stream = Clock(), StringIO()
    with Progress("index", unit="pages", stream=stream, clock=clock) as progress:
        clock.now += 4
        progress.advance(1000)
    assert stream.getvalue() == "index: 1000 pages, 250 pages/s, 4 s\n"


def test_track_gives_the_items() -> None:
    assert list(track((n for n in range(5)), "count")) == list(range(5))
    assert list(track(["a", "b"], "count")) == ["a", "b"]
