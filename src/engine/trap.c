/*
 * The last word of an engine that made a call which nobody makes but who has taken it over: a letter to the
 * monitor, which logs it, and then the end. Everything here is allowed in a signal handler, and the letter is
 * written without waiting. The monitor reads it as a stranger's.
 */
#include "engine/trap.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#include "net/net.h"

#include "engine/engine.h"
#include "engine/filter.h"

/* linux/seccomp.h and asm/siginfo.h: the signal comes from a filter. */
enum { BY_FILTER = 1 };

enum { LETTER_SIZE = 1 + sizeof(int32_t) };

/* A signal handler bears no argument of ours. Of the process, which has one channel. */
static atomic_int trap_channel;

_Noreturn static void on_trap(int signal, siginfo_t *information, void *context)
{
    (void)signal;
    (void)context;
    if (information->si_code == BY_FILTER) {
        uint8_t letter[LETTER_SIZE] = {ENGINE_TRAPPED};
        int32_t number = information->si_syscall;
        memcpy(letter + 1, &number, sizeof number);
        (void)net_local_send(atomic_load(&trap_channel), span_of(letter, sizeof letter), -1);
    }
    abort();
}

void trap_open(int channel)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    atomic_store(&trap_channel, channel);
    sigemptyset(&action.sa_mask);
    sigaction(SIGSYS, &action, NULL);
}

int engine_trap_read(struct span letter, struct engine_trap *out)
{
    int32_t number;
    if (letter.size != LETTER_SIZE || letter.data[0] != ENGINE_TRAPPED) {
        return ERROR_MALFORMED;
    }
    memcpy(&number, letter.data + 1, sizeof number);
    *out = (struct engine_trap){.number = number, .name = filter_name_of(number)};
    return 0;
}
