"""No way out of the sandbox: every attempt is refused, the host is as before, and the next call works."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spadework.tools.python import PythonTool
from spadework.tools.sandboxes.bubblewrap import Bubblewrap
from spadework.tools.sandboxes.unsandboxed import Unsandboxed
from spadework.tools.tool import Observation
from tests.tools.sandboxes.attempts import ATTEMPTS, PRELUDE, Attempt

ROOT = Path(__file__).resolve().parents[3]
SLEEP = f"{80_000 + os.getpid() % 10_000}.25"
"""Seconds that nothing else on this machine sleeps, so that a process that outlived its call is found by its command line."""

CLEAN = "import os, shutil\nfor name in os.listdir('/tmp'): (shutil.rmtree if os.path.isdir('/tmp/' + name) else os.remove)('/tmp/' + name)\n6 * 7"


class Host:
    """Secrets in several places, and servers that must hear nothing."""

    def __init__(self, folder: Path) -> None:
        self.secret = f"canary-{os.urandom(8).hex()}"
        self.canaries = {"tmp": folder}
        self.canaries |= {name: Path(path) for name, path in (("var_tmp", "/var/tmp"), ("shm", "/dev/shm"), ("repository", ROOT))}
        self.canaries["home"] = Path.home()
        for name, where in self.canaries.items():
            descriptor, path = tempfile.mkstemp(prefix=".canary-", dir=where)
            os.write(descriptor, self.secret.encode())
            os.close(descriptor)
            self.canaries[name] = Path(path)
        self.tcp, self.udp = socket.create_server(("127.0.0.1", 0)), socket.socket(type=socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.unix, self.abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self.unix.bind(str(folder / "socket"))
        self.abstract.bind(f"\0{self.secret}")
        self.servers = [self.tcp, self.unix, self.abstract]
        for server in self.servers:
            server.listen()
        for server in (*self.servers, self.udp):
            server.setblocking(False)
        self.victim = subprocess.Popen(["sleep", "1000"])

    def values(self) -> dict[str, str]:
        """What attempts may know of the host."""
        canaries = {f"canary_{name}": str(path) for name, path in self.canaries.items()}
        ports = {"tcp": str(self.tcp.getsockname()[1]), "udp": str(self.udp.getsockname()[1]), "unix": self.unix.getsockname()}
        pids = [pid for pid in (os.getpid(), os.getppid(), self.victim.pid) if pid > 100]
        names = {"secret": self.secret, "secret!r": repr(self.secret), "abstract": self.secret, "pids": repr(pids), "sleep": SLEEP}
        return {**canaries, **ports, **names, "home": str(Path.home()), "home_file": canaries["canary_home"], "repository": str(ROOT)}

    def check(self) -> None:
        """Nothing was changed, heard or left running."""
        for path in self.canaries.values():
            assert path.read_text() == self.secret, f"{path} was changed"
        for server in self.servers:
            with pytest.raises(BlockingIOError):
                server.accept()
        with pytest.raises(BlockingIOError):
            self.udp.recv(1)
        assert self.victim.poll() is None, "a process of the host was killed"
        assert SLEEP not in command_lines(), "a process outlived its call"

    def close(self) -> None:
        for path in self.canaries.values():
            path.unlink(missing_ok=True)
        for server in (*self.servers, self.udp):
            server.close()
        self.victim.kill()
        self.victim.wait()


def command_lines() -> str:
    """Of all processes on the host."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return "\n".join(found)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    found = Host(tmp_path_factory.mktemp("host"))
    os.environ["SPADEWORK_TEST_SECRET"] = found.secret
    yield found
    del os.environ["SPADEWORK_TEST_SECRET"]
    found.close()


def filled(code: str, host: Host) -> str:
    values = host.values()
    return PRELUDE + re.sub(r"\{\{([\w!]+)\}\}", lambda match: values[match[1]], code)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=[attempt.name for attempt in ATTEMPTS])
def test_an_attempt_fails_and_the_sandbox_works_on(attempt: Attempt, host: Host, run: Callable[[str], Observation]) -> None:
    if attempt.x86_only and os.uname().machine != "x86_64":
        pytest.skip("a way of the x86-64 architecture")
    found = run(filled(attempt.code, host))
    text = found.text.removesuffix("\nThe interpreter was restarted: all variables, imports and files in /tmp are lost.")
    assert "ESCAPED" not in text
    assert host.secret not in text
    assert re.fullmatch(attempt.expect, text.strip()), text
    host.check()
    after = run(CLEAN)
    if after.meta["lost"]:  # the attempt broke the interpreter in a way that shows at the next call, which said so
        after = run(CLEAN)
    assert after.text == "42"


def test_there_are_enough_attempts_and_their_names_differ() -> None:
    assert len({attempt.name for attempt in ATTEMPTS}) == len(ATTEMPTS) >= 60
