"""The system calls that a sandboxed process may not make, as a BPF program for seccomp.

A list of what is refused, not of what is allowed: Python, NumPy and pandas with their threads need about two hundred calls that change from
one C library to the next, and a filter that breaks them is switched off by its users. Two things make up for it. Every call with a number
above the last one that was looked at does not exist (ENOSYS), so a new kernel brings nothing in; and each call below stands here with its
reason. The classes follow the kernel surfaces that container runtimes close. A foreign architecture (32 bit, x32) is killed or refused.

Refused calls return an error and do not kill, so that a library that only asks can go on: EPERM, or ENOSYS where the C library has another
way (`clone3`, whose flags a filter can not read, becomes `clone`, whose flags it can).

Not here: arguments behind pointers (BPF sees registers only), and the Landlock rules of `interpreter.py`.
"""

import errno
import platform
import struct
from collections.abc import Iterator

from spadework.core.errors import InputError

__all__ = ["DENIED", "MACHINES", "program"]

_ARM64, _X86_64 = "aarch64", "x86_64"
MACHINES = {_X86_64: 0xC000003E, _ARM64: 0xC00000B7}
"""AUDIT_ARCH of the machines that the tables are for."""
_LAST_KNOWN = 456
"""`futex_requeue` (Linux 6.7), on both machines."""

# Per reason: name -> (number on x86_64, number on aarch64); -1 where a machine has no such call. A test compares them with libseccomp's.
_OTHER_PROCESSES = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
}  # fmt: skip
_MOUNTS_AND_NAMESPACES = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "sethostname": (170, 161), "setdomainname": (171, 162),
}  # fmt: skip
# Large and young parts of the kernel, where most escapes of the last years began, and calls for administrators.
_KERNEL = {
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "vmsplice": (278, 75),
    "seccomp": (317, 277), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "create_module": (174, -1),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "syslog": (103, 116), "acct": (163, 89),
    "swapon": (167, 224), "swapoff": (168, 225), "iopl": (172, -1), "ioperm": (173, -1), "modify_ldt": (154, -1), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "nfsservctl": (180, 42), "lookup_dcookie": (212, 18), "vhangup": (153, 58), "personality": (135, 92),
    "uselib": (134, -1), "ustat": (136, -1), "sysfs": (139, -1), "_sysctl": (156, -1),
}  # fmt: skip
_FILES_BY_HANDLE = {
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
}  # fmt: skip
_CLOCKS = {"settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266)}
# Memory and kernel objects that no limit of the process counts: RLIMIT_AS sees mappings only, and some limits are the whole machine's.
_UNCOUNTED = {
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195),
    "semget": (64, 190), "semctl": (66, 191), "semop": (65, 193), "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_timedsend": (242, 182),
    "mq_timedreceive": (243, 183), "mq_notify": (244, 184), "mq_getsetattr": (245, 185), "remap_file_pages": (216, 234),
    "io_setup": (206, 0), "io_submit": (209, 2), "io_getevents": (208, 4), "io_pgetevents": (333, 292), "io_destroy": (207, 1),
    "io_cancel": (210, 3), "inotify_init": (253, -1), "inotify_init1": (294, 26), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
}  # fmt: skip
_MEMORY_PLACEMENT = {
    "mbind": (237, 235), "set_mempolicy": (238, 237), "move_pages": (279, 239), "migrate_pages": (256, 238),
    "set_mempolicy_home_node": (450, 450),
}  # fmt: skip

DENIED: dict[str, tuple[int, int]] = {
    **_OTHER_PROCESSES,
    **_MOUNTS_AND_NAMESPACES,
    **_KERNEL,
    **_FILES_BY_HANDLE,
    **_CLOCKS,
    **_UNCOUNTED,
    **_MEMORY_PLACEMENT,
}
"""Calls that always fail: name -> numbers on x86_64 and aarch64."""

_CLONE, _CLONE3, _IOCTL, _SOCKET, _SOCKETPAIR = (56, 220), (435, 435), (16, 29), (41, 198), (53, 199)
# CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_NEW_NAMESPACES = 0x00000080 | 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_AF_UNIX = 1
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_SET, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def program(machine: str | None = None) -> bytes:
    """The filter as an array of `struct sock_filter`, as `bwrap --seccomp` takes it.

    Args:
        machine: x86_64 or aarch64; by default this one.

    Raises:
        InputError: there is no table for the machine.
    """
    machine = machine or {"arm64": _ARM64, "AMD64": _X86_64}.get(platform.machine(), platform.machine())
    if machine not in MACHINES:
        raise InputError(f"the Python sandbox has no table of system calls for a machine of type {machine}; it knows {', '.join(MACHINES)}")
    column = list(MACHINES).index(machine)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in _instructions(MACHINES[machine], column))


def _instructions(architecture: int, column: int) -> Iterator[tuple[int, int, int, int]]:
    """(code, jump if true, jump if false, operand). Both machines are little-endian, so an argument's low word stands first."""
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _JUMP_EQUAL, 1, 0, architecture
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    yield _JUMP_GREATER, 0, 1, _LAST_KNOWN
    yield _RETURN, 0, 0, _ERRNO | errno.ENOSYS
    refusals = {numbers[column]: errno.EPERM for numbers in DENIED.values() if numbers[column] >= 0}
    refusals[DENIED["memfd_create"][column]] = refusals[_CLONE3[column]] = errno.ENOSYS
    for number, error in refusals.items():
        yield _JUMP_EQUAL, 0, 1, number
        yield _RETURN, 0, 0, _ERRNO | error
    yield _JUMP_EQUAL, 0, 4, _CLONE[column]
    yield _LOAD, 0, 0, _FIRST_ARGUMENT
    yield _JUMP_SET, 0, 1, _NEW_NAMESPACES
    yield _RETURN, 0, 0, _ERRNO | errno.EPERM
    yield _RETURN, 0, 0, _ALLOW
    for numbers in (_SOCKET, _SOCKETPAIR):
        yield _JUMP_EQUAL, 0, 4, numbers[column]
        yield _LOAD, 0, 0, _FIRST_ARGUMENT
        yield _JUMP_EQUAL, 1, 0, _AF_UNIX
        yield _RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT
        yield _RETURN, 0, 0, _ALLOW
    yield _JUMP_EQUAL, 0, 5, _IOCTL[column]
    yield _LOAD, 0, 0, _SECOND_ARGUMENT
    yield _JUMP_EQUAL, 1, 0, _TIOCSTI
    yield _JUMP_EQUAL, 0, 1, _TIOCLINUX
    yield _RETURN, 0, 0, _ERRNO | errno.EPERM
    yield _RETURN, 0, 0, _ALLOW
    yield _RETURN, 0, 0, _ALLOW
