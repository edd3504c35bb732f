"""The backend `bubblewrap`: namespaces for users, network, processes, IPC, host name and cgroups, and a file system made from nothing.

Inside there are /usr and its links, the interpreter at /opt/python, folders with NumPy and its kin at /opt/packages*, five device nodes, a
made-up /etc/passwd and a /tmp of limited size. Nothing else of the host has a path: no /home, /root, /proc, /sys, /var. All but /tmp is
read-only. There is no /proc, not even an own one: nothing that models write needs it, and it is a large surface.

Who runs inside decides what a limit is worth. The kernel's superuser outside is exempt from RLIMIT_NPROC, and owns /proc/sys. So if
Spadework runs as root, bubblewrap makes no user namespace, keeps the two capabilities that changing the user needs, and the interpreter
becomes a user of its own (a random number from a range that no system hands out) before it reads any code; then no capability is left. If
Spadework runs as another user, a user namespace does the same, and the kernel (5.14 or newer) counts processes per namespace.
"""

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from spadework.core.errors import InputError
from spadework.tools.sandboxes import seccomp
from spadework.tools.sandboxes.sandbox import Launch, Limits

__all__ = ["ENVIRONMENT", "PACKAGES", "Bubblewrap", "package_folders"]

PACKAGES = ("numpy", "pandas", "matplotlib")
"""What the code may import beside the standard library, as far as it is installed."""

_FIRST_UID, _UIDS = 0x70000000, 0x0F000000
_NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
_INSTALL = "install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap; Arch: pacman -S bubblewrap)"
_ELSEWHERE = "it needs Linux; run Spadework in a Linux virtual machine or container"
_FONTS = b"<fontconfig><dir>/usr/share/fonts</dir><cachedir>/tmp/.fontconfig</cachedir></fontconfig>"
"""Without this file the program that matplotlib asks for fonts complains on standard error."""
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": "/tmp/.matplotlib",
    # A second thread of a small matrix product makes it slower, and every thread counts as a process.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",  # each arena of a thread takes 64 MiB of the address space, which is limited
}
"""All that the code sees of an environment."""


class Bubblewrap:
    """Isolation by bubblewrap, seccomp, limits, and Landlock where the kernel has it."""

    name = "bubblewrap"

    def __init__(self) -> None:
        """Find bubblewrap and see that it works here.

        Raises:
            InputError: it is missing, or the system does not let it make namespaces; says what to do.
        """
        if sys.platform != "linux":
            raise InputError(f"the Python sandbox does not work on {sys.platform}: {_ELSEWHERE}")
        found = shutil.which("bwrap")
        if found is None:
            raise InputError(f"the Python sandbox needs bubblewrap: {_INSTALL}")
        self.program = found
        self.root = os.geteuid() == 0
        self.filter = seccomp.program()
        self.isolation = ("namespaces", "read-only system", "seccomp", "limits")
        test = [found, *self._privileges(), *_NAMESPACES, *_system(), "--", "/usr/bin/true"]
        outcome = subprocess.run(test, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
        if outcome.returncode:
            reason = " ".join(outcome.stderr.split())[:300]
            raise InputError(
                f"bubblewrap can not make a sandbox here ({reason}); allow user namespaces for it, or run as root outside a container"
            )

    def launch(self, limits: Limits) -> Launch:
        """The command for one interpreter."""
        uid = _FIRST_UID + secrets.randbelow(_UIDS) if self.root else 1000
        python, mounts = _python()
        options = [*self._privileges(), *_NAMESPACES, "--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv"]
        if not self.root:
            options += ["--uid", str(uid), "--gid", str(uid)]
        for key, value in ENVIRONMENT.items():
            options += ["--setenv", key, value]
        options += [
            "--perms",
            "0755",
            "--dir",
            "/opt",
            *_system(),
            *mounts,
            "--ro-bind",
            str(Path(__file__).with_name("interpreter.py")),
            "/opt/interpreter.py",
        ]
        options += ["--tmpfs", "/dev", "--symlink", "/tmp", "/dev/shm"]
        for node in ("null", "zero", "full", "random", "urandom"):
            options += ["--dev-bind", f"/dev/{node}", f"/dev/{node}"]
        options += ["--perms", "1777", "--size", str(limits.scratch_mb << 20), "--tmpfs", "/tmp", "--chdir", "/tmp"]
        options += ["--remount-ro", "/dev", "--remount-ro", "/"]
        users = f"agent:x:{uid}:{uid}::/tmp:/usr/bin/sh\n".encode()
        # Options in a descriptor, so that the command line, which the sandbox might come to see, holds no path of the host.
        return Launch(
            argv=(self.program,),
            command=(python, "-I", "-S", "-B", "-X", "utf8", "/opt/interpreter.py"),
            inputs=(
                (("--seccomp",), self.filter, ()),
                (("--perms", "0755", "--dir", "/etc", "--perms", "0444", "--ro-bind-data"), users, ("/etc/passwd",)),
                (("--perms", "0444", "--ro-bind-data"), f"agent:x:{uid}:\n".encode(), ("/etc/group",)),
                (("--perms", "0755", "--dir", "/etc/fonts", "--perms", "0444", "--ro-bind-data"), _FONTS, ("/etc/fonts/fonts.conf",)),
                (("--args",), b"".join(option.encode() + b"\0" for option in options), ()),
            ),
            paths=(*(f"/opt/packages{number}" for number in range(len(package_folders()))), "/tmp"),
            uid=uid if self.root else 0,
        )

    def _privileges(self) -> tuple[str, ...]:
        return ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID") if self.root else ("--unshare-user",)


def _system() -> list[str]:
    """/usr, and what the system has beside it: links on a merged system, folders on an older one."""
    options = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            options += ["--ro-bind", str(path), str(path)]
    # On Debian the libraries of the system's NumPy are links into this folder, which holds nothing but links.
    return [*options, "--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]


def _python() -> tuple[str, list[str]]:
    """The interpreter's path inside, and the mounts that bring it there."""
    prefix = Path(sys.base_prefix).resolve()
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    mounts = []
    for number, folder in enumerate(package_folders()):
        mounts += ["--ro-bind", folder, f"/opt/packages{number}"]
    if prefix.is_relative_to("/usr"):
        return str(prefix / "bin" / name), mounts
    return f"/opt/python/bin/{name}", [*mounts, "--ro-bind", str(prefix), "/opt/python", "--setenv", "LD_LIBRARY_PATH", "/opt/python/lib"]


def package_folders() -> list[str]:
    """The folders of the host that hold the packages."""
    found = {}
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found[str(Path(spec.origin).resolve().parents[1])] = name
    return list(found)
