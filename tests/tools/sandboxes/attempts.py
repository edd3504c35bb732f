"""Ways out of the sandbox, as code that a model could write, each with what must become of it.

An attempt prints `refused NAME` with the name of the error, or `ESCAPED` if nothing stopped it; so an attempt that is itself broken fails
its test too. `expect` is a pattern for the whole text. Values in double braces are filled in by the test, which knows the host.
"""

# ruff: noqa: E501

from dataclasses import dataclass

PRELUDE = '''
import ctypes, errno, os, platform, signal, socket, struct, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"

def call(x86, arm, *arguments):
    """A raw system call."""
    number = x86 if X86 else arm
    found = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if found == -1:
        raise OSError(ctypes.get_errno(), "syscall")
    return found

def attempt(function, *arguments):
    try:
        function(*arguments)
    except OSError as problem:
        print("refused", errno.errorcode.get(problem.errno, type(problem).__name__))
    except Exception as problem:  # an attempt may be refused in any way, and each is reported by its name
        print("refused", type(problem).__name__)
    else:
        print("ESCAPED")

def limits(function, *arguments):
    """How often something could be done before it was refused."""
    count = 0
    try:
        while count < 100_000:
            function(*arguments)
            count += 1
    except (OSError, RuntimeError, MemoryError) as problem:
        print("refused", errno.errorcode.get(getattr(problem, "errno", None), type(problem).__name__), "after", count)
        return
    print("ESCAPED")
'''


@dataclass(frozen=True)
class Attempt:
    """One way out."""

    name: str
    code: str
    expect: str
    x86_only: bool = False


def _one(group: str, expect: str, **codes: str) -> list[Attempt]:
    return [Attempt(f"{group}-{name.replace('_', '-')}", code, expect) for name, code in codes.items()]


_SOCKETS = {
    "tcp4": "socket.create_connection(('127.0.0.1', {{tcp}}), 1)",
    "tcp6": "socket.socket(socket.AF_INET6).connect(('::1', {{tcp}}))",
    "udp4": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'{{secret}}', ('127.0.0.1', {{udp}}))",
    "udp6": "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'x', ('::1', {{udp}}))",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0))",
    "packet": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "raw": "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)",
    "crypto": "socket.socket(38, socket.SOCK_SEQPACKET)",
    "vsock": "socket.socket(40, socket.SOCK_STREAM).connect((2, 1024))",
    "can": "socket.socket(29, socket.SOCK_RAW, 1)",
    "bluetooth": "socket.socket(31, socket.SOCK_RAW, 1)",
    "xdp": "socket.socket(44, socket.SOCK_RAW)",
    "listen": "socket.create_server(('127.0.0.1', 0))",
    "pair": "socket.socketpair(socket.AF_INET)",
    "high_bits": "call(41, 198, socket.AF_INET | 1 << 32, socket.SOCK_STREAM, 0)",
}
NETWORK = [
    *(Attempt(f"network-{name.replace('_', '-')}", f"attempt(lambda: {code})", "refused EAFNOSUPPORT") for name, code in _SOCKETS.items()),
    Attempt("network-names", "attempt(socket.getaddrinfo, 'localhost.example', 80)", "refused (gaierror|EAI_\\w+|EAGAIN|E\\w+)"),
    Attempt("network-http", "import urllib.request\nattempt(urllib.request.urlopen, 'http://127.0.0.1:{{tcp}}/')", "refused URLError"),
    Attempt(
        "network-abstract-socket",
        "attempt(lambda: socket.socket(socket.AF_UNIX).connect('\\0{{abstract}}'))",
        "refused (ECONNREFUSED|EPERM)",
    ),
    Attempt("network-unix-socket-of-the-host", "attempt(lambda: socket.socket(socket.AF_UNIX).connect('{{unix}}'))", "refused ENOENT"),
    Attempt("network-x32-numbers", "attempt(call, 41 | 0x40000000, 0, socket.AF_INET, socket.SOCK_STREAM, 0)", "refused ENOSYS", True),
    Attempt(
        "network-32-bit-system-call",
        "import mmap\n"
        "page = mmap.mmap(-1, 4096, prot=7)\n"
        "page.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))  # mov eax, 20 (getpid); int 0x80; ret\n"
        "address = ctypes.addressof(ctypes.c_char.from_buffer(page))\n"
        "print('ESCAPED', ctypes.CFUNCTYPE(ctypes.c_int)(address)())",
        "The interpreter crashed \\(SIG(SYS|SEGV)\\)\\.",
        True,
    ),
]

_FOREIGN_FILES = {
    "environment_of_pid_1": "/proc/1/environ",
    "own_memory": "/proc/self/mem",
    "kernel_memory": "/proc/kcore",
    "root_of_pid_1": "/proc/1/root/etc/shadow",
    "descriptors_of_pid_1": "/proc/1/fd/0",
    "mounts": "/proc/self/mountinfo",
    "shadow": "/etc/shadow",
    "host_names": "/etc/hosts",
    "machine_id": "/etc/machine-id",
    "service_account": "/var/run/secrets/kubernetes.io/serviceaccount/token",
    "container_socket": "/var/run/docker.sock",
    "logs": "/var/log/syslog",
    "home": "{{home_file}}",
    "ssh_key": "{{home}}/.ssh/id_ed25519",
    "repository": "{{repository}}/pyproject.toml",
    "canary_in_tmp": "{{canary_tmp}}",
    "canary_in_var_tmp": "{{canary_var_tmp}}",
    "canary_in_shm": "{{canary_shm}}",
    "canary_in_the_repository": "{{canary_repository}}",
    "canary_by_dots": "/tmp/../../../..{{canary_var_tmp}}",
    "memory_device": "/dev/mem",
    "kernel_log": "/dev/kmsg",
    "terminal": "/dev/tty",
    "disk": "/dev/vda",
    "virtual_machines": "/dev/kvm",
    "fuse": "/dev/fuse",
    "terminals": "/dev/pts/0",
    "efi": "/sys/firmware/efi",
}
_FOREIGN_WRITES = {
    "sysrq": "/proc/sysrq-trigger",
    "core_pattern": "/proc/sys/kernel/core_pattern",
    "cgroups": "/sys/fs/cgroup/cgroup.procs",
    "usr": "/usr/escaped",
    "root": "/escaped",
    "etc": "/etc/escaped",
    "passwd": "/etc/passwd",
    "dev": "/dev/escaped",
    "opt": "/opt/escaped",
    "interpreter": "/opt/interpreter.py",
    "packages": "/opt/packages0/numpy/__init__.py",
    "canary": "{{canary_tmp}}",
}
FILES = [
    *(
        Attempt(f"read-{name.replace('_', '-')}", f"attempt(lambda: print(open({path!r}, 'rb').read()))", "refused (ENOENT|EACCES)")
        for name, path in _FOREIGN_FILES.items()
    ),
    *(
        Attempt(f"write-{name.replace('_', '-')}", f"attempt(lambda: open({path!r}, 'a').write('x'))", "refused (ENOENT|EACCES|EROFS|EPERM)")
        for name, path in _FOREIGN_WRITES.items()
    ),
    Attempt("read-passwd-is-made-up", "print(open('/etc/passwd').read())", "agent:x:\\d+:\\d+::/tmp:/usr/bin/sh"),
    Attempt("read-environment", "print({{secret!r}} in repr(os.environ), sorted(os.environ)[:1])", "False \\['HOME'\\]"),
    Attempt(
        "read-canaries-anywhere",
        "tops = [name for name in os.listdir('/') if name not in ('usr', 'opt') and not os.path.islink('/' + name)]\n"
        "print([name for top in tops for _, _, names in os.walk('/' + top, followlinks=False) for name in names if 'canary' in name])",
        "\\[\\]",
    ),
    Attempt("read-top-folders", "print(sorted(set(os.listdir('/')) - {'bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'}))",
            "\\['dev', 'etc', 'opt', 'tmp', 'usr'\\]"),
    Attempt("write-mode-of-a-program", "attempt(os.chmod, '/usr/bin/env', 0o777)", "refused (EPERM|EROFS)"),
    Attempt("write-owner", "attempt(os.chown, '/tmp', 0, 0)", "refused (EPERM|EINVAL)"),
    Attempt("write-rename-etc", "attempt(os.rename, '/etc', '/tmp/etc')", "refused (EXDEV|EROFS|EACCES|EPERM)"),
    Attempt("link-symbolic", "os.symlink('{{canary_var_tmp}}', '/tmp/a')\nattempt(lambda: print(open('/tmp/a').read()))", "refused ENOENT"),
    Attempt("link-to-root-folder", "os.symlink('/proc/1/root', '/tmp/b')\nattempt(os.listdir, '/tmp/b')", "refused ENOENT"),
    Attempt("link-hard", "attempt(os.link, '/usr/bin/env', '/tmp/env')", "refused (EXDEV|EACCES|EPERM)"),
    Attempt("link-hard-from-etc", "attempt(os.link, '/etc/passwd', '/tmp/passwd')", "refused (EXDEV|EACCES|EPERM)"),
]  # fmt: skip

_MOUNTS = {
    "proc": "call(165, 40, b'proc', b'/tmp', b'proc', 0, None)",
    "bind": "call(165, 40, b'/usr', b'/tmp', None, 4096, None)",
    "remount": "call(165, 40, None, b'/usr', None, 32 | 4096, None)",
    "unmount": "call(166, 39, b'/usr', 2)",
    "pivot_root": "call(155, 41, b'/tmp', b'/tmp')",
    "chroot": "os.chroot('/tmp')",
    "fsopen": "call(430, 430, b'tmpfs', 0)",
    "open_tree": "call(428, 428, -100, b'/usr', 1)",
    "move_mount": "call(429, 429, -100, b'/usr', -100, b'/tmp', 0)",
    "mount_setattr": "call(442, 442, -100, b'/usr', 0, None, 0)",
    "unshare_user": "call(272, 97, 0x10000000)",
    "unshare_mount": "call(272, 97, 0x00020000)",
    "unshare_net": "call(272, 97, 0x40000000)",
    "clone_user": "call(56, 220, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)",
    "clone_high_bits": "call(56, 220, 1 << 40 | 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)",
    "setns": "call(308, 268, os.open('/usr', os.O_RDONLY), 0)",
}
_OTHERS = {
    "ptrace_pid_1": "call(101, 117, 16, 1, 0, 0)",
    "ptrace_me": "call(101, 117, 0, 0, 0, 0)",
    "read_memory": "call(310, 270, 1, None, 0, None, 0, 0)",
    "write_memory": "call(311, 271, 1, None, 0, None, 0, 0)",
    "pidfd_open": "call(434, 434, 1, 0)",
    "pidfd_getfd": "call(438, 438, 3, 0, 0)",
    "pidfd_signal": "call(424, 424, 3, 9, None, 0)",
    "kcmp": "call(312, 272, 1, 2, 0, 0, 0)",
    "madvise": "call(440, 440, 3, None, 0, 21, 0)",
}
_KERNEL = {
    "keyctl": "call(250, 219, 0, -3, 0)",
    "add_key": "call(248, 217, b'user', b'a', b'b', 1, -3)",
    "request_key": "call(249, 218, b'user', b'a', None, -3)",
    "bpf": "call(321, 280, 0, None, 0)",
    "perf": "call(298, 241, None, 0, -1, -1, 0)",
    "io_uring": "call(425, 425, 8, None)",
    "userfaultfd": "call(323, 282, 1)",
    "personality": "call(135, 92, 0x0040000)",
    "init_module": "call(175, 105, None, 0, b'')",
    "finit_module": "call(313, 273, 0, b'', 0)",
    "delete_module": "call(176, 106, b'a', 0)",
    "kexec": "call(246, 104, 0, 0, None, 0)",
    "kexec_file": "call(320, 294, 0, 0, 0, None, 0)",
    "reboot": "call(169, 142, 0xfee1dead, 672274793, 0, None)",
    "syslog": "call(103, 116, 3, None, 0)",
    "swapon": "call(167, 224, b'/tmp/a', 0)",
    "acct": "call(163, 89, b'/tmp/a')",
    "file_handle": "call(303, 264, -100, b'/usr', None, None, 0)",
    "open_by_handle": "call(304, 265, 0, None, 0)",
    "fanotify": "call(300, 262, 0, 0)",
    "quotactl": "call(179, 60, 0, None, 0, None)",
    "vmsplice": "call(278, 75, 0, None, 0, 0)",
    "seccomp": "call(317, 277, 1, 0, None)",
    "host_name": "socket.sethostname('a')",
    "set_time": "time.clock_settime(time.CLOCK_REALTIME, 0)",
    "set_time_of_day": "call(164, 170, None, None)",
    "adjust_time": "call(159, 171, None)",
    "secret_memory": "call(447, 447, 0)",
    "system_v_memory": "call(29, 194, 0, 1 << 30, 0o1600)",
    "message_queue": "call(240, 180, b'a', 0o102, 0o600, None)",
    "kernel_aio": "call(206, 0, 65536, None)",
    "inotify": "call(294, 26, 0)",
    "attributes": "os.setxattr('/tmp', b'user.a', b'b' * 1000)",
    "terminal_input": "call(16, 29, 0, 0x5412, b'x')",
    "terminal_input_high_bits": "call(16, 29, 0, 1 << 32 | 0x5412, b'x')",
    "terminal_selection": "call(16, 29, 0, 0x541C, b'x')",
    "character_device": "os.mknod('/tmp/mem', 0o020666, os.makedev(1, 1))",
    "block_device": "os.mknod('/tmp/disk', 0o060666, os.makedev(8, 0))",
    "become_a_group": "os.setgroups([0])",
    "priority": "os.nice(-5)",
}
KERNEL = [
    *(Attempt(f"mount-{name.replace('_', '-')}", f"attempt(lambda: {code})", "refused EPERM") for name, code in _MOUNTS.items()),
    *(Attempt(f"process-{name.replace('_', '-')}", f"attempt(lambda: {code})", "refused EPERM") for name, code in _OTHERS.items()),
    *(Attempt(f"kernel-{name.replace('_', '-')}", f"attempt(lambda: {code})", "refused (EPERM|EACCES)") for name, code in _KERNEL.items()),
    Attempt("kernel-become-root", "attempt(os.setuid, 0)", "refused (EPERM|EINVAL)"),  # EINVAL: there is no such user in the namespace
    Attempt("kernel-port-access", "attempt(call, 172, 0, 3)", "refused EPERM", True),
    Attempt("kernel-segment-table", "attempt(call, 154, 0, 0, None, 0)", "refused EPERM", True),
    Attempt("mount-clone3", "attempt(call, 435, 435, None, 0)", "refused ENOSYS"),
    Attempt("kernel-memory-file", "attempt(lambda: os.memfd_create('a'))", "refused ENOSYS"),
    Attempt("kernel-calls-of-the-future", "for number in (457, 460, 470, 999): attempt(call, number, number)", "(refused ENOSYS\n?){4}"),
    Attempt(
        "kernel-capabilities",
        "head, data = struct.pack('Ii', 0x20080522, 0), ctypes.create_string_buffer(24)\n"
        "libc.capget(head, data)\nprint(set(data.raw))\n"
        "print(libc.prctl(39, 0, 0, 0, 0))  # PR_GET_NO_NEW_PRIVS",
        "\\{0\\}\n1",
    ),
    Attempt("kernel-new-privileges", "print(libc.prctl(38, 0, 0, 0, 0), os.strerror(ctypes.get_errno()))", "-1 Invalid argument"),
    Attempt("kernel-raise-a-limit", "import resource\nattempt(resource.setrlimit, resource.RLIMIT_AS, (-1, -1))", "refused (ValueError|EPERM)"),
    Attempt(
        "process-kill-host",
        "found = set()\n"
        "for pid in {{pids}}:\n"
        "    try: os.kill(pid, 9); found.add('ESCAPED')\n"
        "    except OSError as problem: found.add(errno.errorcode[problem.errno])\n"
        "print(found)",
        "\\{'ESRCH'\\}",
    ),
    Attempt("process-kill-pid-1", "try: os.kill(1, 9); print('sent')\nexcept PermissionError: print('sent')", "sent"),
    Attempt("process-kill-all", "try: os.kill(-1, 9)\nexcept OSError: pass\nprint('sent')", "sent"),
    Attempt("process-kill-self", "os.kill(os.getpid(), 9)", "The interpreter crashed \\(SIGKILL\\)\\."),
    Attempt("setuid-su", "print(subprocess.run(['su', '-c', 'id -u'], capture_output=True, stdin=-3).returncode != 0)", "True|.*FileNotFoundError.*"),
    Attempt("setuid-sudo", "print(subprocess.run('sudo -n id -u', shell=True, capture_output=True).returncode != 0)", "True"),
    Attempt(
        "setuid-own-program",
        "import shutil\nshutil.copy('/usr/bin/id', '/tmp/id'); os.chmod('/tmp/id', 0o6777)\n"
        "print(subprocess.run(['/tmp/id', '-u'], capture_output=True, text=True).stdout.strip() != '0')",
        "True",
    ),
    Attempt(
        "descriptors-inherited",
        "found = []\n"
        "for number in range(1024):\n"
        "    try: os.fstat(number); found.append(number)\n"
        "    except OSError: pass\n"
        "print(found)",
        "\\[0, 1, 2, 3, 4, 5\\]",
    ),
    Attempt("descriptors-of-programs", "print(subprocess.run(['sh', '-c', 'for n in 3 4 5 6 7 8 9; do (: >&$n) 2>&- && echo $n; done; true'],"
            " capture_output=True, text=True, close_fds=False).stdout)", "\\[no output\\]"),
    Attempt("descriptors-terminal", "print([os.isatty(number) for number in range(3)])", "\\[False, False, False\\]"),
]  # fmt: skip

_TIME = "The time limit of 1 s was reached\\."
BOMBS = [
    Attempt("bomb-fork", "limits(lambda: os.fork() or time.sleep(60))", "refused EAGAIN after \\d{1,2}"),
    Attempt("bomb-fork-recursive", "while True:\n    try: os.fork()\n    except OSError: pass", f"({_TIME}|.*)"),
    Attempt(
        "bomb-threads",
        "import threading\nlimits(lambda: threading.Thread(target=time.sleep, args=(0.2,), daemon=True).start())\n"
        "for thread in threading.enumerate()[1:]: thread.join()",
        "refused RuntimeError after \\d{1,2}",
    ),
    Attempt("bomb-memory", "kept = []\ntry:\n    while True: kept.append(bytearray(1 << 24))\nfinally: kept.clear()", "MemoryError: the memory limit was reached"),
    Attempt(
        "bomb-memory-of-many-processes",
        "for _ in range(8):\n    if not os.fork():\n        kept = b'a' * (80 << 20)\n        time.sleep(60)\ntime.sleep(60)",
        "The memory limit of 512 MiB for all processes together was reached\\.",
    ),
    Attempt("bomb-memory-mapped", "import mmap\nkept = []\nlimits(lambda: kept.append(mmap.mmap(-1, 1 << 24)))\nkept.clear()", "refused ENOMEM after \\d{1,2}"),
    Attempt("bomb-large-integer", "x = 10 ** 10 ** 9", f"({_TIME}|MemoryError: the memory limit was reached)"),
    Attempt("bomb-disk", "file = open('/tmp/large', 'wb', 0)\nlimits(file.write, bytes(1 << 16))", "refused (ENOSPC|EFBIG) after \\d{2,3}"),
    Attempt(
        "bomb-disk-many-files",
        "for n in range(99):\n    try: open(f'/tmp/part{n}', 'wb').write(bytes(1 << 20))\n"
        "    except OSError as problem: print('refused', errno.errorcode[problem.errno], n); break",
        "refused ENOSPC \\d",
    ),
    Attempt("bomb-disk-shared-memory", "file = open('/dev/shm/large', 'wb', 0)\nlimits(file.write, bytes(1 << 16))",
            "refused (ENOSPC|EFBIG) after \\d{1,3}"),
    Attempt("bomb-disk-hole", "attempt(lambda: os.truncate(os.open('/tmp/hole', os.O_RDWR | os.O_CREAT), 1 << 40))", "refused EFBIG"),
    Attempt(
        "bomb-inodes",
        "for n in range(100_000): os.close(os.open(f'/tmp/{n}', os.O_CREAT))",
        "The limit of 500 files in /tmp was reached\\.",
    ),
    Attempt("bomb-descriptors", "kept = []\nlimits(lambda: kept.append(open('/dev/null')))\nkept.clear()", "refused EMFILE after \\d{2,3}"),
    Attempt("bomb-output", "while True: os.write(1, b'a' * 65536)", "(?s)a+.*The code printed more than 16 MiB\\."),
    Attempt("bomb-output-of-a-program", "subprocess.run(['yes'])", "(?s)(y\n)+.*The code printed more than 16 MiB\\."),
    Attempt("bomb-value", "'a' * 50_000_000", "(?s)'a+.*left out\\].*"),
    Attempt("bomb-traceback", "raise ValueError('a' * 10_000_000)", "(?s)Traceback.*left out\\]a*.*"),
    Attempt("bomb-stack", "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): f()\nf()",
            f"(?s)({_TIME}|The interpreter crashed \\(SIGSEGV\\)\\.|.*RecursionError.*|MemoryError.*)"),
    Attempt("bomb-segfault", "ctypes.string_at(0)", "The interpreter crashed \\(SIGSEGV\\)\\."),
    Attempt("bomb-nesting", "eval('(' * 100_000 + ')' * 100_000)", "(?s)(MemoryError.*|.*(SyntaxError|RecursionError).*|The interpreter crashed.*)"),
    Attempt("time-loop", "while True: pass", _TIME),
    Attempt("time-sleep", "time.sleep(60)", _TIME),
    Attempt("time-in-c", "import re\nre.match('(a+)+$', 'a' * 40 + 'b')", _TIME),
    Attempt("time-signals-ignored", "for n in (2, 3, 15, 24): signal.signal(n, signal.SIG_IGN)\nwhile True: pass", _TIME),
    Attempt("time-exceptions-caught", "while True:\n    try:\n        while True: pass\n    except BaseException: pass", _TIME),
    Attempt("time-stopped", "os.kill(os.getpid(), signal.SIGSTOP)", _TIME),
    Attempt("time-clock-replaced", "time.time = time.monotonic = time.perf_counter = lambda: 0\nwhile True: pass", _TIME),
    Attempt("time-input", "attempt(input)", "refused EOFError"),
    Attempt("time-program", "subprocess.run(['sleep', '{{sleep}}'])", _TIME),
]  # fmt: skip

_SEND = "def frame(body): return struct.pack('>I', len(body)) + body\n"
_CAUGHT = "The interpreter sent .*|.*no reply to the open request.*|.*not JSON.*|.*PNG.*|.*base64.*|.*too many figures.*|.*wrong type.*|.*number that no reply.*"
_OPEN_ID = (
    "import json\nframe_of = sys._getframe()\nwhile 'request' not in frame_of.f_locals: frame_of = frame_of.f_back\n"
    "nonce = frame_of.f_locals['request']['id']\n"
)
PROTOCOL = [
    Attempt("protocol-forged-reply", _SEND + 'os.write(4, frame(b\'{"id": "x", "value": "a"}\'))', _CAUGHT),
    Attempt("protocol-pickle", _SEND + "import pickle\nos.write(4, frame(pickle.dumps(os.system)))", _CAUGHT),
    Attempt(
        "protocol-huge-length",
        "os.write(4, struct.pack('>I', 0xFFFFFFFF))\ntime.sleep(60)",
        "The interpreter sent a message of 4294967295 bytes\\.",
    ),
    Attempt("protocol-part-of-a-frame", "os.write(4, struct.pack('>I', 1000) + b'{')\ntime.sleep(60)", _TIME),
    Attempt("protocol-nesting", _SEND + "os.write(4, frame(b'[' * 60_000))\ntime.sleep(60)", "a message that is not JSON"),
    Attempt("protocol-huge-integer", _SEND + "os.write(4, frame(b'{\"id\": ' + b'9' * 60_000 + b'}'))\ntime.sleep(60)", _CAUGHT),
    Attempt("protocol-not-a-number", _SEND + "os.write(4, frame(b'{\"id\": NaN}'))\ntime.sleep(60)", _CAUGHT),
    Attempt(
        "protocol-two-replies",
        _SEND
        + _OPEN_ID
        + "reply = frame(json.dumps({'id': nonce, 'value': 'a', 'error': None, 'images': []}).encode())\nos.write(4, reply + reply)",
        "The interpreter sent bytes after the end of a message\\.",
    ),
    Attempt(
        "protocol-wrong-types",
        _SEND
        + _OPEN_ID
        + "os.write(4, frame(json.dumps({'id': nonce, 'value': {'a': 1}, 'error': None, 'images': []}).encode()))\ntime.sleep(60)",
        "a reply with values of the wrong type",
    ),
    Attempt(
        "protocol-figure-that-is-none",
        _SEND
        + _OPEN_ID
        + "os.write(4, frame(json.dumps({'id': nonce, 'value': None, 'error': None, 'images': ['PHN2Zz4=']}).encode()))\ntime.sleep(60)",
        "a figure that is not PNG",
    ),
    Attempt(
        "protocol-too-many-figures",
        _SEND
        + _OPEN_ID
        + "os.write(4, frame(json.dumps({'id': nonce, 'value': None, 'error': None, 'images': ['a'] * 99}).encode()))\ntime.sleep(60)",
        "a reply with too many figures.*",
    ),
    Attempt("protocol-flood", "while True: os.write(4, b'\\0' * 65536)", _CAUGHT),
    Attempt("protocol-replies-closed", "os.close(4)", "(?s).*The interpreter (ended with status 1|crashed \\(SIGKILL\\))\\."),
    Attempt("protocol-requests-closed", "os.close(3)", "\\[no output\\]"),
    Attempt("protocol-output-closed", "sys.stdout.close(); os.close(1); os.close(2)", "\\[no output\\]"),
    Attempt("protocol-output-replaced", "sys.stdout = sys.stderr = None", "\\[no output\\]"),
    Attempt("protocol-exit", "raise SystemExit(3)", "SystemExit: 3"),
    Attempt("protocol-hard-exit", "os._exit(0)", "The interpreter ended with status 0\\."),
]

_DAEMON = "if not os.fork():\n    os.setsid()\n    if not os.fork():\n        os.execvp('sleep', ['sleep', '{{sleep}}'])\n    os._exit(0)\nos.wait()\n"
OUTLIVING = [
    Attempt("outlive-program", "subprocess.Popen(['sleep', '{{sleep}}'])\nprint('started')", "started"),
    Attempt("outlive-daemon", _DAEMON + "print('started')", "started"),
    Attempt("outlive-many", "for _ in range(8): subprocess.Popen(['sleep', '{{sleep}}'])\nprint('started')", "started"),
    Attempt("outlive-forked-interpreter", "if not os.fork(): time.sleep(0.01)\nprint('twice at most')", "(twice at most\n?){1,2}"),
    Attempt(
        "outlive-sweep-replaced",
        "import builtins\n" + _DAEMON + "os.kill = os.waitpid = lambda *_: None\nos.getppid = lambda: 0\nprint('started')",
        "(?s)started.*The code left processes behind that could not be ended\\.",
    ),
]

ATTEMPTS: list[Attempt] = [*NETWORK, *FILES, *KERNEL, *BOMBS, *PROTOCOL, *OUTLIVING]
