/*
 * The monitor's own log lines: few, written where they arise, and never waited for. The descriptor is shared
 * with others (the engine, whoever started the program), so it cannot be made non-blocking, and it cannot be
 * opened anew either where it is a socket or another user's. A write that blocks all the same is therefore
 * interrupted by a timer, which works with every kind of descriptor.
 */
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

#include "monitor/internal.h"

enum { RING_SIZE = 4096, PATIENCE_US = 10 * 1000 };

static void interrupt(int number)
{
    (void)number;
}

/* A call that blocks is to end with EINTR, so it must not be restarted. */
static void catch_alarm(void)
{
    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGALRM, &action, NULL);
}

/* The alarm repeats, so that one which comes before the write blocks is followed by another. */
static void set_alarm(suseconds_t microseconds)
{
    struct itimerval time = {.it_interval.tv_usec = microseconds, .it_value.tv_usec = microseconds};
    setitimer(ITIMER_REAL, &time, NULL);
}

/* A full disk, a closed pipe, a reader that stopped: the engine counts what the log loses, this line is not
 * worth a stop. Asking first saves the patience in the common case; between the answer and the write another
 * process may have filled the pipe, and a terminal may have room for a part of the line only. */
static void write_line(int descriptor, const char *line, size_t size)
{
    struct pollfd ready = {.fd = descriptor, .events = POLLOUT};
    if (poll(&ready, 1, 0) == 1) {
        set_alarm(PATIENCE_US);
        ssize_t written = write(descriptor, line, size);
        set_alarm(0);
        (void)written;
    }
}

int journal_open(struct journal *journal, enum log_level level, enum log_format format, int descriptor)
{
    void *ring;
    int error = memory_open(RING_SIZE, &ring);
    if (error != 0) {
        return error;
    }
    journal->ring = ring;
    journal->format = format;
    journal->descriptor = descriptor;
    catch_alarm();
    log_init(&journal->log, level, ring, RING_SIZE);
    return 0;
}

void journal_set(struct journal *journal, enum log_level level, enum log_format format)
{
    journal->log.level = level;
    journal->format = format;
}

void journal_close(struct journal *journal)
{
    memory_close(journal->ring, RING_SIZE);
    journal->ring = NULL;
}

void journal_end(struct journal *journal)
{
    log_end(&journal->log, clock_wall());
    char line[LOG_LINE_MAX];
    size_t size = log_take(&journal->log, journal->format, line);
    if (size > 0) {
        write_line(journal->descriptor, line, size);
    }
}

void journal_tell_trap(struct journal *journal, struct span letter)
{
    struct engine_trap trap;
    if (engine_trap_read(letter, &trap) == 0 && log_begin(&journal->log, LOG_ERROR, "sandbox")) {
        log_text(&journal->log, "call", trap.name);
        log_number(&journal->log, "number", trap.number);
        log_text(
            &journal->log, "hint",
            "the engine made a system call that it never needs, and was ended: somebody may have taken it "
            "over, or this is a defect; report it (SECURITY.md)");
        journal_end(journal);
    }
}
