"""The program inside the sandbox: it confines itself further, then runs one piece of code after the other in one namespace.

Started as a file, by the Python of the sandbox, with the numbers of two descriptors: requests come in on the first, replies leave on
the second. A message is four bytes of length, big-endian, then JSON. What the code prints goes through descriptors 1 and 2, not through
replies.

The first request sets limits, user and Landlock; nothing untrusted has run before the answer. Everything after that is untrusted, this
process included: the code may rewrite any of it. So nothing here protects the host. That is done by the kernel from outside
(`bubblewrap.py`, `seccomp.py`) and by limits that can not be raised again; the supervisor (`session.py`) believes no reply.

Only the standard library is imported, and no part of Spadework, which does not exist inside.
"""

import binascii
import ctypes
import fcntl
import io
import json
import os
import resource
import signal
import sys

# Instead of ast, typing and others, and traceback only when there is one: they double the time that a cold start takes.
from _ast import Expr, Expression, PyCF_ONLY_AST

__all__ = ["confine", "main", "receive", "run", "send"]

_REQUESTS, _REPLIES, _OUTPUT = 3, 4, 5
_MIB = 1 << 20


def receive(descriptor: int) -> dict:
    """The next message.

    Raises:
        EOFError: the other side is gone.
    """
    return json.loads(_exactly(descriptor, int.from_bytes(_exactly(descriptor, 4), "big")))


def _exactly(descriptor: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = os.read(descriptor, size - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def send(descriptor: int, message: dict) -> None:
    """Write a message."""
    body = json.dumps(message).encode()
    data = memoryview(len(body).to_bytes(4, "big") + body)
    while data:
        data = data[os.write(descriptor, data) :]


def confine(setup: dict) -> int:
    """Take limits, a user without rights and Landlock rules, for good.

    Returns:
        The version of Landlock in force; 0 where the kernel has none or the supervisor asked for none.
    """
    limits = {
        resource.RLIMIT_AS: setup["memory_mb"] * _MIB,
        resource.RLIMIT_FSIZE: setup["scratch_mb"] * _MIB,
        resource.RLIMIT_NOFILE: setup["open_files"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: 256,
    }
    if setup["confined"]:  # counted per user, who outside of a sandbox has other processes too
        limits[resource.RLIMIT_NPROC] = setup["processes"]
    for kind, most in limits.items():
        resource.setrlimit(kind, (most, most))
    if uid := setup["uid"]:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        # What bubblewrap left as inheritable. It could not be used, since no program inside gains rights by being started.
        ctypes.CDLL(None).capset((0x20080522).to_bytes(4, sys.byteorder) + bytes(4), bytes(24))
    return _landlock() if setup["confined"] else 0


_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ = 0b1101
"""EXECUTE, READ_FILE, READ_DIR."""
_NEWER = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Rights on files by version of Landlock."""
_NODES = 1 << 6 | 1 << 11
"""MAKE_CHAR, MAKE_BLOCK."""


def _landlock() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return 0
    every = (1 << _NEWER.get(version, 16)) - 1
    # bind and connect of TCP from version 4; abstract sockets and signals to the outside from version 6.
    attributes = b"".join(part.to_bytes(8, sys.byteorder) for part in (every, 3 if version >= 4 else 0, 3 if version >= 6 else 0))
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(_CREATE_RULESET, attributes, size, 0)
    rules = {"/": _READ, "/dev": _READ | 0b10 | (1 << 14 if version >= 3 else 0), "/tmp": every & ~_NODES}
    for path, rights in rules.items():
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if libc.syscall(_ADD_RULE, ruleset, 1, rights.to_bytes(8, sys.byteorder) + folder.to_bytes(4, sys.byteorder), 0):
            raise OSError(ctypes.get_errno(), "landlock_add_rule")
        os.close(folder)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    if libc.syscall(_RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    os.close(ruleset)
    return int(version)


_SOURCES: dict = {}
"""Past code, in the form of the cache of `linecache`, so that tracebacks show its lines."""


def run(code: str, name: str, namespace: dict, chars: int) -> dict:
    """Run code; a last statement that is an expression gives the value.

    Args:
        code: Python source.
        name: stands in tracebacks as the file's name.
        namespace: globals of the code, changed by it.
        chars: longest value and traceback.

    Returns:
        `value` (repr or None) and `error` (traceback or None).
    """
    _SOURCES[name] = (len(code), None, code.splitlines(keepends=True), name)
    value = error = None
    try:
        body = compile(code, name, "exec", flags=int(PyCF_ONLY_AST))
        last = body.body.pop() if body.body and isinstance(body.body[-1], Expr) else None
        exec(compile(body, name, "exec"), namespace)
        if last is not None:
            found = eval(compile(Expression(last.value), name, "eval"), namespace)
            if found is not None:
                namespace["_"] = found
                value = _cut(repr(found), chars)
    except SystemExit as stop:
        error = None if stop.code in (None, 0) else f"SystemExit: {stop.code}"
    except MemoryError:
        error = "MemoryError: the memory limit was reached"
    except BaseException as problem:  # whatever untrusted code raises is its result
        error = _traceback(problem, chars)
    return {"value": value, "error": error}


def _traceback(problem: BaseException, chars: int) -> str:
    import linecache
    import traceback

    linecache.cache.update(_SOURCES)
    here = problem.__traceback__
    while here is not None and here.tb_frame.f_code.co_filename == __file__:
        here = here.tb_next
    lines = traceback.format_exception(type(problem), problem, here, limit=-6)
    return _cut("".join(lines).rstrip(), chars)


def _cut(text: str, chars: int) -> str:
    text = str(text)
    return text if len(text) <= chars else f"{text[: chars // 2]}\n[... {len(text) - chars} characters ...]\n{text[-chars // 2 :]}"


def _figures(most: int) -> list[str]:
    """Open figures of matplotlib as PNG in base64; they are closed, as a notebook does."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return []
    found = []
    for number in pyplot.get_fignums()[:most]:
        buffer = io.BytesIO()
        pyplot.figure(number).savefig(buffer, format="png", dpi=80)
        found.append(binascii.b2a_base64(buffer.getvalue(), newline=False).decode())
    pyplot.close("all")
    return found


def _streams() -> None:
    """Fresh output streams, whatever the code before did to them."""
    for descriptor in (1, 2):
        os.dup2(_OUTPUT, descriptor)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            io.FileIO(descriptor, "w", closefd=False), "utf-8", "backslashreplace", "\n", line_buffering=True, write_through=True
        )
        for descriptor in (1, 2)
    )


def _sweep() -> None:
    """End what the code has started. Only as the second process of a process namespace, where -1 means that namespace and no more."""
    if os.getpid() == 2 and os.getppid() == 1:
        try:
            os.kill(-1, signal.SIGKILL)
            while True:
                os.waitpid(-1, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def _answer(request: dict, setup: dict, namespace: dict, number: int) -> dict:
    for name in request.get("preload", ()):
        try:
            __import__(name)
        except ImportError:
            continue
    _streams()
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + 0.999) + setup["cpu_seconds"]
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    reply = run(request["code"], f"<call {number}>", namespace, setup["output_chars"])
    images = []
    try:
        images = _figures(setup["images"])
    except Exception as problem:  # figures are the code's own objects, and so are streams
        reply["error"] = reply["error"] or f"{type(problem).__name__}: {problem}"
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # the code may have put anything in its place
            continue
    return {**reply, "images": images}


def main() -> None:
    """Serve requests until the other side is gone."""
    # First to numbers above those they end up with, so that none is overwritten before it is moved.
    moved = [fcntl.fcntl(source, fcntl.F_DUPFD, _OUTPUT + 1) for source in (int(sys.argv[1]), int(sys.argv[2]), 1)]
    for source, target in zip(moved, (_REQUESTS, _REPLIES, _OUTPUT), strict=True):
        os.dup2(source, target, False)
    os.closerange(_OUTPUT + 1, os.sysconf("SC_OPEN_MAX"))
    setup = receive(_REQUESTS)
    sys.path += [path for path in setup["paths"] if path not in sys.path]
    landlock = confine(setup)
    module = type(sys)("__main__")
    sys.modules["__main__"] = module
    sys.argv = [""]
    me, number = os.getpid(), 0
    send(_REPLIES, {"id": setup["id"], "landlock": landlock})
    while True:
        try:
            request = receive(_REQUESTS)
        except (EOFError, OSError):  # the other side has gone, or the code has closed the channel
            return
        number += 1
        reply = _answer(request, setup, module.__dict__, number)
        if os.getpid() != me:  # a child that the code forked and that came back
            os._exit(0)
        if setup["confined"]:
            _sweep()
        send(_REPLIES, {"id": request["id"], **reply})


if __name__ == "__main__":
    main()
