"""The filter of system calls: its numbers against libseccomp's, and what it answers, by carrying it out."""

import ctypes
import errno
import struct

import pytest

from spadework.core.errors import InputError
from spadework.tools.sandboxes.seccomp import DENIED, MACHINES, program

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def carry_out(code: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Interpret the four instructions that the program uses on a `struct seccomp_data`."""
    data = struct.pack(
        "<IIQ6Q", number, architecture, 0, *(argument & (1 << 64) - 1 for argument in (*arguments, *[0] * (6 - len(arguments))))
    )
    instructions = list(struct.iter_unpack("=HBBI", code))
    position, accumulator = 0, 0
    while True:
        operation, if_true, if_false, operand = instructions[position]
        position += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, operand)[0]
        elif operation == 0x06:
            return operand
        else:
            holds = {0x15: accumulator == operand, 0x25: accumulator > operand, 0x45: bool(accumulator & operand)}[operation]
            position += if_true if holds else if_false


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_those_of_libseccomp(machine: str) -> None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp is not installed (Debian: apt-get install libseccomp2)")
    column = list(MACHINES).index(machine)
    for name, numbers in DENIED.items():
        found = library.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(MACHINES[machine]), name.encode())
        assert numbers[column] == max(found, -1), name  # what a machine does not have is negative there


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_denied_is_answered_with_an_error_and_the_rest_passes(machine: str) -> None:
    code, architecture, column = program(machine), MACHINES[machine], list(MACHINES).index(machine)
    for name, numbers in DENIED.items():
        if numbers[column] >= 0:
            expected = errno.ENOSYS if name == "memfd_create" else errno.EPERM
            assert carry_out(code, architecture, numbers[column]) == ERRNO | expected, name
    denied = {numbers[column] for numbers in DENIED.values()} | {435}
    ruled = {(56, 220)[column], (16, 29)[column], (41, 198)[column], (53, 199)[column]}
    for number in range(457):
        if number not in denied | ruled:
            assert carry_out(code, architecture, number) == ALLOW, number
    for number in (457, 999, 41 | 0x40000000, 0xFFFFFFFF):
        assert carry_out(code, architecture, number) == ERRNO | errno.ENOSYS
    assert carry_out(code, architecture ^ 0x80000000, 0) == KILL


def test_arguments_decide_where_a_call_has_good_and_bad_uses() -> None:
    code, architecture = program("x86_64"), MACHINES["x86_64"]
    clone, ioctl, socket = 56, 16, 41
    assert carry_out(code, architecture, clone, 0x3D0F00) == ALLOW  # what pthread_create passes
    for bit in (7, 17, 25, 26, 27, 28, 29, 30):
        assert carry_out(code, architecture, clone, 1 << bit | 17) == ERRNO | errno.EPERM
    assert carry_out(code, architecture, ioctl, 0, 0x5401) == ALLOW  # TCGETS, which isatty asks
    assert carry_out(code, architecture, ioctl, 0, 0x5412 | 1 << 32) == ERRNO | errno.EPERM
    assert carry_out(code, architecture, socket, 1) == ALLOW
    for family in (0, 2, 10, 16, 17, 38, 40, 2 | 1 << 32):
        assert carry_out(code, architecture, socket, family) == ERRNO | errno.EAFNOSUPPORT


def test_a_machine_without_a_table_is_refused() -> None:
    with pytest.raises(InputError, match="riscv64; it knows x86_64, aarch64"):
        program("riscv64")
