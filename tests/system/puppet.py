"""Lets another process make a system call, as one that was taken over might. For x86-64."""
import ctypes
import os

PTRACE_SINGLESTEP, PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_ATTACH, PTRACE_DETACH = 9, 12, 13, 16, 17
# struct user_regs_struct
NAMES = ["r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
         "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"]
SYSCALL_SIZE = 2
WALL = 0x40000000


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in NAMES]


libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, pid, data=None):
    if libc.ptrace(request, pid, None, data) == -1:
        raise OSError(ctypes.get_errno(), "ptrace")


def stop(thread):
    """The registers of the thread, which sleeps in a call and is held from here on."""
    ptrace(PTRACE_ATTACH, thread)
    os.waitpid(thread, WALL)
    registers = Registers()
    ptrace(PTRACE_GETREGS, thread, ctypes.byref(registers))
    return registers


def begin_call(thread, number):
    """The next thing that a stopped thread does is this call, without arguments."""
    registers = Registers()
    ptrace(PTRACE_GETREGS, thread, ctypes.byref(registers))
    registers.rip -= SYSCALL_SIZE
    registers.rax, registers.orig_rax = number, 2 ** 64 - 1
    registers.rdi = registers.rsi = registers.rdx = 0
    ptrace(PTRACE_SETREGS, thread, ctypes.byref(registers))


def make_call(thread, number):
    """The thread makes the call in the place of the one that it sleeps in, and goes on with what came of it."""
    stop(thread)
    begin_call(thread, number)
    ptrace(PTRACE_DETACH, thread)


def result_of_call(thread, number):
    """The thread makes the call between two others: what came of it."""
    before, after = stop(thread), Registers()
    begin_call(thread, number)
    ptrace(PTRACE_SINGLESTEP, thread)
    os.waitpid(thread, WALL)
    ptrace(PTRACE_GETREGS, thread, ctypes.byref(after))
    ptrace(PTRACE_SETREGS, thread, ctypes.byref(before))
    ptrace(PTRACE_DETACH, thread)
    return ctypes.c_longlong(after.rax).value
