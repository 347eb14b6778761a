/* The monitor's own log lines: few, written where they arise, and never waited for. */
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

#include "monitor/internal.h"

enum { RING_SIZE = 4096 };

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
    log_init(&journal->log, level, ring, RING_SIZE);
    return 0;
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
    struct pollfd ready = {.fd = journal->descriptor, .events = POLLOUT};
    if (size > 0 && poll(&ready, 1, 0) == 1 && write(journal->descriptor, line, size) < 0) {
        /* A full disk or a closed pipe: the engine counts what the log loses, this line is not worth a stop.
         */
        return;
    }
}
