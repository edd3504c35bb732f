"""No way out of the sandbox: every attempt is refused, the host is as before, and the next call works."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tools.sandboxes.attempts import ATTEMPTS, PRELUDE, Attempt
from tests.tools.sandboxes.conftest import Run

ROOT = Path(__file__).resolve().parents[3]
SLEEP = f"{80_000 + os.getpid() % 10_000}.25"
"""Seconds that nothing else on this machine sleeps, so that a process that outlived its call is found by its command line."""

CLEAN = """
import os, shutil
for entry in os.scandir('/tmp'):
    (shutil.rmtree if entry.is_dir(follow_symlinks=False) else os.remove)(entry.path)
6 * 7
"""


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
        self.victim = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1000)"])

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
    if sys.platform != "linux":
        pytest.skip("the sandbox needs Linux")
    found = Host(tmp_path_factory.mktemp("host"))
    os.environ["SPADEWORK_TEST_SECRET"] = found.secret
    yield found
    del os.environ["SPADEWORK_TEST_SECRET"]
    found.close()


def filled(code: str, host: Host) -> str:
    values = host.values()
    return PRELUDE + re.sub(r"\{\{([\w!]+)\}\}", lambda match: values[match[1]], code)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=[attempt.name for attempt in ATTEMPTS])
def test_an_attempt_fails_and_the_sandbox_works_on(attempt: Attempt, host: Host, run: Run, run_for_a_second: Run) -> None:
    if attempt.x86_only and os.uname().machine != "x86_64":
        pytest.skip("a way of the x86-64 architecture")
    if "time limit" in attempt.expect:
        run = run_for_a_second
    found = run(filled(attempt.code, host))
    text = found.text.removesuffix("\nThe interpreter was restarted: all variables, imports and files in /tmp are lost.")
    assert "ESCAPED" not in text
    assert host.secret not in text
    assert re.fullmatch(attempt.expect, text.strip()), f"{text[:300]} ... {text[-300:]}"
    host.check()
    after = run(CLEAN)
    if after.meta["lost"]:  # the attempt broke the interpreter in a way that shows at the next call, which said so
        after = run(CLEAN)
    assert after.text == "42"


def test_there_are_enough_attempts_and_their_names_differ() -> None:
    assert len({attempt.name for attempt in ATTEMPTS}) == len(ATTEMPTS) >= 60


@pytest.mark.parametrize(
    "name", ["network-tcp4", "network-unix-socket-of-the-host", "read-canary-in-var-tmp", "process-ptrace-me", "kernel-memory-file"]
)
def test_an_attempt_succeeds_where_there_is_no_sandbox(name: str, host: Host, tmp_path: Path) -> None:
    """The attempts are real ones: in a bare process they go through."""
    [attempt] = [attempt for attempt in ATTEMPTS if attempt.name == name]
    outcome = subprocess.run([sys.executable, "-c", filled(attempt.code, host)], capture_output=True, text=True, cwd=tmp_path, timeout=30)
    assert "ESCAPED" in outcome.stdout, outcome.stdout + outcome.stderr
    for server in host.servers:  # forget what this test did
        try:
            server.accept()[0].close()
        except BlockingIOError:
            continue
