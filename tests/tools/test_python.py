"""The tool `python`: values, errors and limits as a model sees them; state per trajectory; hundreds of calls that leave nothing behind."""

import asyncio
import contextlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spadework.core.errors import BrokenError, InputError, ToolError
from spadework.core.messages import ToolCall
from spadework.tools.gateway import Gateway
from spadework.tools.python import PythonConfig, PythonTool
from spadework.tools.sandboxes import session
from spadework.tools.sandboxes.bubblewrap import Bubblewrap
from spadework.tools.sandboxes.sandbox import Launch, Limits
from spadework.tools.tool import LABEL, Observation, ToolContext, tools

LOST = "\nThe interpreter was restarted: all variables, imports and files in /tmp are lost."
Run = Callable[[str], Observation]


@pytest.fixture(scope="module")
def tool(backend: Bubblewrap) -> Iterator[PythonTool]:
    made = PythonTool(backend, PythonConfig(limits=Limits(seconds=30, memory_mb=1024, output_chars=400), warm=1))
    yield made
    asyncio.run(made.close())


@pytest.fixture(scope="module")
def run(tool: PythonTool) -> Run:
    return lambda code: asyncio.run(tool(code=code))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("1 + 1", "2"),
        ("print('a')\n'b'", "a\n'b'"),
        ("x = 3", "[no output]"),
        ("None", "[no output]"),
        ("import sys\nprint('out')\nprint('err', file=sys.stderr)", "out\nerr"),
        ("import os, subprocess\nos.system('echo one')\nprint('two')", "one\ntwo"),
        ("for n in range(2): print(n)", "0\n1"),
        ("import numpy as np\nnp.arange(4).sum()", "np.int64(6)"),
        ("print('ä', chr(0xD800))", "ä \\ud800"),
        ("import os\nos.write(1, b'\\xff')\nNone", "\ufffd"),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nimport pickle\npickle.loads(pickle.dumps(P(3)))", "P(x=3)"),
    ],
)
def test_output_comes_before_the_value_of_the_last_expression(run: Run, code: str, text: str) -> None:
    found = run(code)
    assert (found.text, found.status) == (text, "ok")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "def f():\n    return 1 / 0\nprint('before')\nf()",
            'before\nTraceback (most recent call last):\n  File "<call N>", line 4, in <module>\n    f()\n'
            '  File "<call N>", line 2, in f\n    return 1 / 0\n           ~~^~~\nZeroDivisionError: division by zero',
        ),
        ("x = (", "SyntaxError: '(' was never closed"),
        ("import torch_of_tomorrow", "ModuleNotFoundError: No module named 'torch_of_tomorrow'"),
        ("raise SystemExit('done')", "SystemExit: done"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("x = '\ud800'", "UnicodeEncodeError"),
    ],
)
def test_an_exception_is_an_error_of_the_policy_with_a_short_traceback(run: Run, code: str, text: str) -> None:
    found = run(code)
    assert found.status == "error" and not found.meta["lost"]
    for number in range(60):
        found = Observation(found.text.replace(f"<call {number}>", "<call N>"))
    assert text in found.text and "interpreter.py" not in found.text


def test_variables_and_files_are_kept_until_the_interpreter_is_lost(run: Run) -> None:
    assert run("y = 5; open('/tmp/note', 'w').write('a')").text == "1"
    assert run("y, open('/tmp/note').read()").text == "(5, 'a')"
    crash = run("import os\nos.abort()")
    assert (crash.text, crash.status, crash.meta["lost"]) == ("The interpreter crashed (SIGABRT)." + LOST, "error", True)
    assert run("y").text.endswith("NameError: name 'y' is not defined")


def test_long_output_says_that_its_middle_is_missing(run: Run) -> None:
    found = run("print('a' * 1000 + 'z')")
    assert len(found.text) <= 400 and found.text.startswith("aaa") and found.text.endswith("aaz")
    assert "\n[output limit of 400 characters: the middle is left out]\n" in found.text
    assert found.status == "ok"


def limited(backend: Bubblewrap, code: str, **limits: float) -> Observation:
    async def once() -> Observation:
        tool = PythonTool(backend, PythonConfig(limits=Limits.model_validate(limits), warm=0))
        try:
            return await tool(code=code)
        finally:
            await tool.close()

    return asyncio.run(once())


def test_every_limit_has_its_own_text(backend: Bubblewrap) -> None:
    wall = limited(backend, "print('began', flush=True)\nwhile True: pass", seconds=0.5)
    assert wall.text == "began\nThe time limit of 0.5 s was reached." + LOST
    # The kernel counts from when the interpreter started, rounded up, so two seconds at most.
    cpu = limited(backend, "while True: pass", seconds=120, cpu_seconds=1)
    assert cpu.text == "The processor-time limit of 1 s was reached." + LOST
    memory = limited(backend, "x = bytearray(1 << 30)", memory_mb=512, seconds=30)
    assert memory.text == "MemoryError: the memory limit was reached" and not memory.meta["lost"]
    fork = (
        "import os, time\nfor _ in range(4):\n    if not os.fork():\n        x = b'a' * (160 << 20)\n        time.sleep(60)\ntime.sleep(60)"
    )
    assert (
        limited(backend, fork, memory_mb=512, seconds=60).text
        == "The memory limit of 512 MiB for all processes together was reached." + LOST
    )
    files = limited(backend, "for n in range(900): open(f'/tmp/{n}', 'w').close()\n1", files=100, seconds=30)
    assert files.text.endswith("The limit of 100 files in /tmp was reached." + LOST)


def test_a_fork_shares_memory_and_that_counts_once(backend: Bubblewrap) -> None:
    code = (
        "import os, time\nx = b'a' * (200 << 20)\nfor _ in range(3):\n    if not os.fork():\n        time.sleep(9)\ntime.sleep(0.3)\nlen(x)"
    )
    assert limited(backend, code, memory_mb=512, seconds=30).text == str(200 << 20)


def test_without_state_every_call_starts_anew(backend: Bubblewrap) -> None:
    async def calls() -> list[str]:
        tool = PythonTool(backend, PythonConfig(state="none", warm=1))
        try:
            return [
                (await tool(code=code)).text
                for code in ("x = 1; open('/tmp/a', 'w').write('b')", "'x' in globals()", "import os\nos.listdir()")
            ]
        finally:
            await tool.close()

    assert asyncio.run(calls()) == ["1", "False", "[]"]


def test_a_trajectory_has_an_interpreter_of_its_own_until_it_is_settled(backend: Bubblewrap) -> None:
    async def calls() -> tuple[list[str], int]:
        tool = PythonTool(backend, PythonConfig(warm=0))
        gateway = Gateway([tool])
        texts = []
        try:
            for label, code in [("a/0", "x = 'a'"), ("b/0", "x = 'b'"), ("a/0", "x"), ("b/0", "x")]:
                texts.append((await gateway.call(ToolCall(name="python", arguments={"code": code}), label)).text)
            gateway.settle("a/0")
            return texts, len(tool._sessions)
        finally:
            await gateway.close()

    assert asyncio.run(calls()) == (["[no output]", "[no output]", "'a'", "'b'"], 1)


def test_more_trajectories_than_interpreters_break_with_the_remedy(backend: Bubblewrap) -> None:
    async def calls() -> None:
        tool = PythonTool(backend, PythonConfig(warm=0, sessions=1))
        try:
            for label in ("a/0", "b/0"):
                LABEL.set(label)
                await tool(code="1")
        finally:
            await tool.close()

    with pytest.raises(BrokenError, match="raise 'sessions'"):
        asyncio.run(calls())


@pytest.mark.parametrize(("code", "message"), [(" \n", "The code is empty"), ("#" * 200_001, "200001 characters")])
def test_code_that_can_not_be_meant_is_refused(run: Run, code: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        run(code)


def test_figures_come_back_as_png(backend: Bubblewrap) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed (pip install 'spadework[python-tool]')")
    found = limited(backend, "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()\nplt.figure(); plt.plot([3])\nNone", seconds=60)
    assert found.text == "[2 figures]" and found.status == "ok"
    assert [(image.mime, image.data[:4]) for image in found.images] == [("image/png", b"\x89PNG")] * 2


def test_a_cancelled_call_ends_its_interpreter(backend: Bubblewrap) -> None:
    async def cancelled() -> tuple[float, int]:
        tool = PythonTool(backend, PythonConfig(warm=0))
        try:
            await tool(code="x = 1")
            start = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await tool(code="import time\ntime.sleep(50)")
            return time.monotonic() - start, len(tool._sessions)
        finally:
            await tool.close()

    before = census()
    seconds, sessions = asyncio.run(cancelled())
    assert seconds < 5 and sessions == 0
    assert census() == before


def census() -> tuple[int, set[int]]:
    """Open files of this process, and the processes below it, those included that nobody has waited for."""
    below = [os.getpid()]
    for pid in below:
        for task in Path(f"/proc/{pid}/task").iterdir():
            below += [int(child) for child in (task / "children").read_text().split()]
    return len(os.listdir("/proc/self/fd")), set(below[1:])


def test_a_start_that_is_cancelled_at_any_moment_leaves_nothing_behind(backend: Bubblewrap, monkeypatch: pytest.MonkeyPatch) -> None:
    groups, popen = set(), session._popen

    def spy(launch: Launch, given: list[int]) -> subprocess.Popen[bytes]:
        process = popen(launch, given)
        groups.add(process.pid)
        return process

    monkeypatch.setattr(session, "_popen", spy)

    async def cancelled(seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await (await session.Session.start(backend.launch(Limits()), Limits())).close()

    before = census()
    for number in range(60):
        asyncio.run(cancelled(number / 1000))
    assert len(groups) == 60 and census() == before
    # A process that lost its parent is a child of the first process of the machine; its group still tells whose it was.
    end = time.monotonic() + 5
    while (left := [entry.name for entry in Path("/proc").glob("[0-9]*") if group_of(entry) in groups]) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left


def group_of(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rsplit(")", 1)[1].split()[2])
    except OSError:
        return -1


MIXED = [
    "1 + 1",
    "1 / 0",
    "import os\nos._exit(3)",
    "import subprocess\nsubprocess.Popen(['sleep', '99'])\n2",
    "print('a' * 100_000)",
    "while True: pass",
    "import os\nfor _ in range(3): os.fork()\n3",
    "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n4",
    "open('/tmp/a', 'wb').write(bytes(1 << 20))",
    "import os\nos.close(4)",
]


def test_five_hundred_mixed_calls_at_once_leave_nothing_behind(backend: Bubblewrap) -> None:
    limits = Limits(seconds=0.4, output_chars=400, processes=16)

    async def calls() -> list[Observation | BaseException]:
        made = [PythonTool(backend, PythonConfig(state=state, limits=limits, warm=2, concurrency=6)) for state in ("trajectory", "none")]

        async def one(number: int) -> Observation:
            LABEL.set(f"t/{number % 40}")
            work = asyncio.ensure_future(made[number % 5 == 0](code=MIXED[number * 7 % len(MIXED)]))
            if number % 31 == 0:
                asyncio.get_running_loop().call_later(0.3, work.cancel)
            return await work

        try:
            return await asyncio.gather(*(one(number) for number in range(500)), return_exceptions=True)
        finally:
            for tool in made:
                await tool.close()

    before = census()
    found = asyncio.run(calls())
    assert census() == before
    cancelled = [result for result in found if isinstance(result, asyncio.CancelledError)]
    results = [result for result in found if isinstance(result, Observation)]
    assert len(cancelled) + len(results) == 500, [
        result for result in found if not isinstance(result, asyncio.CancelledError | Observation)
    ]
    assert len(results) >= 483  # one in 31 is cancelled, some of them after they have ended
    assert {"2", "4", "1048576"} <= {result.text for result in results}


@pytest.mark.parametrize("state", ["trajectory", "none"])
def test_an_event_loop_that_ends_at_once_leaves_nothing_behind(backend: Bubblewrap, state: str) -> None:
    before = census()
    tool = PythonTool(backend, PythonConfig.model_validate({"state": state, "warm": 2}))
    for _ in range(5):
        assert asyncio.run(tool(code="1")).text == "1"
    asyncio.run(tool.close())
    assert census() == before


def test_interpreters_outlive_an_event_loop(backend: Bubblewrap) -> None:
    tool = PythonTool(backend, PythonConfig(warm=1, concurrency=1))
    assert asyncio.run(tool(code="x = 7")).text == "[no output]"
    assert asyncio.run(tool(code="x")).text == "7"
    asyncio.run(tool.close())


def test_without_bubblewrap_the_tool_refuses_and_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for choice in ("strongest", "bubblewrap"):
        with pytest.raises(InputError, match=r"apt-get install bubblewrap.*dnf install bubblewrap"):
            tools.build("python", {"sandbox": choice}).build(ToolContext())
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(InputError, match="does not work on darwin: it needs Linux"):
        tools.build("python").build(ToolContext())


def test_no_sandbox_only_in_so_many_words_and_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="none-i-know-what-i-am-doing"):
        tools.build("python", {"sandbox": "none"})
    [made] = tools.build("python", {"sandbox": "none-i-know-what-i-am-doing", "warm": 0, "limits": {"seconds": 1}}).build(ToolContext())
    assert "runs without a sandbox" in capsys.readouterr().err

    async def calls() -> list[Observation]:
        try:
            return [await made(code=code) for code in ("import os\nos.getppid()", "import time\ntime.sleep(9)")]
        finally:
            await made.close()  # type: ignore[attr-defined]

    first, second = asyncio.run(calls())
    assert first.text == str(os.getpid()) and first.meta["sandbox"] == "none" and "can read, change and send" in first.meta["warning"]
    assert second.text == "The time limit of 1 s was reached." + LOST
