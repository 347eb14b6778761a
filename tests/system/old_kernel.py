#!/usr/bin/python3
"""Runs a program under a kernel that lacks something: system calls that answer an error, or nothing at all.

Usage: old_kernel.py CALL=ERRNO... -- PROGRAM [ARGUMENT]..."""
import ctypes
import errno
import os
import platform
import struct
import sys

NUMBERS = {"x86_64": {"seccomp": 317, "landlock_create_ruleset": 444},
           "aarch64": {"seccomp": 277, "landlock_create_ruleset": 444}}
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_NUMBER, JUMP_IF_EQUAL, RETURN = (0x20, 0, 0, 0), 0x15, 0x06
ALLOW, ERROR = 0x7fff0000, 0x00050000


def forbid(calls):
    """Each call of the mapping answers its errno; with 0 it says that it was done."""
    code = [LOAD_NUMBER]
    for name, number in calls.items():
        code += [(JUMP_IF_EQUAL, 0, 1, NUMBERS[platform.machine()][name]), (RETURN, 0, 0, ERROR | number)]
    code.append((RETURN, 0, 0, ALLOW))
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(program, len(program))
    argument = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, argument, 0, 0):
        raise OSError(ctypes.get_errno(), "no filter can be set")


def main():
    at = sys.argv.index("--")
    words = dict(word.split("=") for word in sys.argv[1:at])
    forbid({name: getattr(errno, word, 0) for name, word in words.items()})
    os.execvp(sys.argv[at + 1], sys.argv[at + 1:])


if __name__ == "__main__":
    main()
