"""A system call filter for a child: a kernel that was started without IPv6."""
import ctypes
import errno
import platform
import socket
import struct

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER_MODE = 22, 38, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K
ALLOW, FAIL = 0x7fff0000, 0x00050000    # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16    # in struct seccomp_data
SOCKET_CALL = {"x86_64": 41, "aarch64": 198}
libc = ctypes.CDLL(None, use_errno=True)


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def step(code, then, otherwise, value):
    return struct.pack("HBBI", code, then, otherwise, value)


STEPS = ctypes.create_string_buffer(b"".join((
    step(LOAD, 0, 0, NUMBER_AT), step(EQUAL, 0, 3, SOCKET_CALL[platform.machine()]),
    step(LOAD, 0, 0, FIRST_ARGUMENT_AT), step(EQUAL, 0, 1, socket.AF_INET6),
    step(RETURN, 0, 0, FAIL | errno.EAFNOSUPPORT), step(RETURN, 0, 0, ALLOW))))


def take_ipv6_away():
    """In the child, before it becomes the program."""
    filters = Program(len(STEPS.raw) // 8, ctypes.addressof(STEPS))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, FILTER_MODE, ctypes.byref(filters)):
        raise OSError(ctypes.get_errno(), "prctl")
