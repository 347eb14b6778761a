/*
 * What a sanitizer needs beyond the lists of calls.c: it looks for leaks at the end, in a process of its own
 * that stops the threads of this one, and reads the program's own file to name the places. Built in the
 * place of calls_plain.c where the compiler was told to instrument the program.
 */
#include <fcntl.h>

#include "engine/calls.h"

enum { EVERYBODY = CALLS_WORKER | CALLS_LOG | CALLS_MAIN | CALLS_DIAL };

#define CALL(name, threads, what)  \
    {                              \
        name, threads, NULL, what, \
        {                          \
            {                      \
                0                  \
            }                      \
        }                          \
    }

static const struct calls_rule rules[] = {
    CALL("open", EVERYBODY, "memory maps, symbols"),
    CALL("openat", EVERYBODY, "memory maps, symbols"),
    CALL("stat", EVERYBODY, "symbols"),
    CALL("fstat", EVERYBODY, "symbols"),
    CALL("newfstatat", EVERYBODY, "symbols"),
    CALL("lseek", EVERYBODY, "symbols"),
    CALL("pread64", EVERYBODY, "symbols"),
    CALL("readlink", EVERYBODY, "the name of the program"),
    CALL("readlinkat", EVERYBODY, "the name of the program"),
    CALL("getdents64", EVERYBODY, "the list of threads"),
    CALL("getdents", EVERYBODY, "the list of threads"),
    CALL("ioctl", EVERYBODY, "colours"),
    CALL("fcntl", EVERYBODY, "standard error"),
    CALL("mmap", EVERYBODY, "shadow memory, symbols"),
    CALL("mprotect", EVERYBODY, "shadow memory"),
    CALL("madvise", EVERYBODY, "shadow memory"),
    CALL("rseq", EVERYBODY, "a thread of the sanitizer's own begins"),
    CALL("set_robust_list", EVERYBODY, "a thread of the sanitizer's own begins"),
    CALL("sched_yield", EVERYBODY, "locks of the sanitizer"),
    CALL("nanosleep", EVERYBODY, "waits for other threads"),
    CALL("clock_nanosleep", EVERYBODY, "waits for other threads"),
    CALL("sched_getaffinity", EVERYBODY, "the number of processors"),
    CALL("sysinfo", EVERYBODY, "the size of memory"),
    CALL("getrlimit", EVERYBODY, "the size of a stack"),
    CALL("prlimit64", EVERYBODY, "the size of a stack"),
    CALL("sigaltstack", EVERYBODY, "the stack of a report"),
    CALL("rt_sigaction", EVERYBODY, "reports"),
    CALL("rt_sigreturn", EVERYBODY, "reports"),
    CALL("prctl", EVERYBODY, "lets its own process stop this one"),
    CALL("clone", EVERYBODY, "the process that looks for leaks"),
    CALL("ptrace", EVERYBODY, "the process that looks for leaks"),
    CALL("wait4", EVERYBODY, "the process that looks for leaks"),
    CALL("getppid", EVERYBODY, "the process that looks for leaks"),
    CALL("kill", EVERYBODY, "the process that looks for leaks"),
    CALL("tgkill", EVERYBODY, "the process that looks for leaks"),
};

struct calls_list engine_tools_calls(void)
{
    return (struct calls_list){rules, sizeof rules / sizeof rules[0]};
}

int engine_tools_open_files(void)
{
    return open("/", O_PATH | O_CLOEXEC);
}

bool engine_tools_read_files(void)
{
    return true;
}
