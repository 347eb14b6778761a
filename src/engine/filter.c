/*
 * Hands the kernel the programs that it runs before a system call. They lie in the program as constants; all
 * that is not known when it is built is the number of the process. Called by sandbox.c, and by trap.c for
 * names.
 *
 * For calls that a filter allows without conditions it is not run: the kernel (5.11 and newer) finds that out
 * once.
 */
#include "engine/filter.h"

#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

#include "engine/filters.h"

struct program {
    const struct sock_filter *instructions;
    unsigned short count;
};

#define PROGRAM(name)                        \
    {                                        \
        name, sizeof(name) / sizeof(name)[0] \
    }

static const struct program common = PROGRAM(filter_common);

static const struct program own[] = {
    [CALLS_WORKER] = PROGRAM(filter_worker),
    [CALLS_LOG] = PROGRAM(filter_log),
    [CALLS_MAIN] = PROGRAM(filter_main),
    [CALLS_DIAL] = PROGRAM(filter_dial),
};

/* With the number of this process where it belongs. */
static void write_program(const struct program *program, struct sock_filter out[FILTER_LONGEST])
{
    assert(program->count <= FILTER_LONGEST);
    memcpy(out, program->instructions, program->count * sizeof *out);
    for (size_t i = 0; i < program->count; i++) {
        bool is_comparison = out[i].code == (BPF_JMP | BPF_JEQ | BPF_K);
        if (is_comparison && out[i].k == CALLS_OWN_PROCESS) {
            out[i].k = (uint32_t)getpid();
        }
    }
}

/* It stands in no list and does no harm. */
static bool holds(void)
{
    return syscall(SYS_getsid, 0) < 0 && errno == ENOSYS;
}

/* Old kernels would make the processor guess less in every process with a filter, which slows all of it down;
 * that protects from code of others in the same process, and there is none here. */
static int take(const struct program *program, unsigned flags)
{
    struct sock_filter instructions[FILTER_LONGEST];
    const struct sock_fprog written = {.len = program->count, .filter = instructions};
    write_program(program, instructions);
    long taken =
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &written);
    if (taken != 0) {
        bool is_built_without = taken < 0 && errno == EINVAL;
        int error = taken < 0 ? error_from_errno(errno) : ERROR_SYSTEM;
        return is_built_without ? ERROR_UNSUPPORTED : error;
    }
    return holds() ? 0 : ERROR_UNSUPPORTED;
}

int filter_take_common(void)
{
    return take(&common, SECCOMP_FILTER_FLAG_TSYNC);
}

int filter_take_own(enum calls_thread thread)
{
    return take(&own[thread], 0);
}

const char *filter_name_of(int number)
{
    for (size_t i = 0; i < sizeof filter_traps / sizeof filter_traps[0]; i++) {
        if (filter_traps[i].number == number) {
            return filter_traps[i].name;
        }
    }
    return "";
}
