"""Handlers of Ctrl-C that come and go."""

import signal
from collections.abc import Iterator
from threading import Thread

import pytest

from spadework.core.interrupts import on_interrupt


@pytest.fixture(autouse=True)
def python_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_handler_holds_inside_and_the_one_before_comes_back() -> None:
    with pytest.raises(KeyboardInterrupt), on_interrupt(signal.SIG_IGN):
        signal.raise_signal(signal.SIGINT)  # nothing happens
        with on_interrupt(signal.SIG_DFL):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN, "what is ignored stays ignored"
        raise KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_threads_change_nothing() -> None:
    seen = []

    def look() -> None:
        with on_interrupt(signal.SIG_IGN):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
