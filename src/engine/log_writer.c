/*
 * The log's own thread. Lines of all rings are gathered and written in large pieces; what the descriptor
 * refuses (a full disk, a reader that went away) is lost and counted, and the next lines are tried anew. When
 * writing works again, a line of its own tells how many are missing.
 */
#include "engine/log_writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

enum { RING_SIZE = 256 * 1024, GATHER_SIZE = 16 * 1024 };

/* A loss that goes on is told no more often. */
#define LOSS_DISTANCE (10 * CLOCK_SECOND)

struct log_writer {
    struct log_writer_setup setup;
    struct event_loop *loop;
    struct event_mailbox mailbox;
    atomic_int next; /* descriptor to take over, -1 for none */
    int descriptor;
    bool owns_descriptor;
    bool torn; /* the last thing written is the beginning of a line */
    atomic_bool ending;
    bool started;
    pthread_t thread;
    uint8_t *memory;
    uint64_t dropped_before; /* of the last ring */
    uint64_t unwritten;      /* lines lost on the way out */
    uint64_t dropped_by_all; /* of all rings, as far as it is in `untold` */
    uint64_t untold;         /* events lost since the log last told */
    uint64_t told_at;
    size_t gathered;
    char gather[GATHER_SIZE];
    struct log ring[]; /* and one more for the writer's own events */
};

size_t log_writer_memory(unsigned rings)
{
    return ((size_t)rings + 1) * RING_SIZE;
}

/* The old file goes here and nowhere else: no other thread knows when it is not being written to. */
static void take_over(struct log_writer *writer)
{
    int next = atomic_exchange(&writer->next, -1);
    if (next >= 0) {
        close(writer->descriptor);
        writer->descriptor = next;
        writer->owns_descriptor = true;
        writer->torn = false;
    }
}

/* How much of the bytes the descriptor took. */
static size_t write_some(const struct log_writer *writer, const char *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t count = write(writer->descriptor, bytes + done, size - done);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            break;
        }
        done += (size_t)count;
    }
    return done;
}

static unsigned count_lines(const char *bytes, size_t size)
{
    unsigned lines = 0;
    for (size_t i = 0; i < size; i++) {
        lines += bytes[i] == '\n';
    }
    return lines;
}

/* A line that was cut short is ended before the next one begins. */
static void write_gathered(struct log_writer *writer)
{
    take_over(writer);
    if (writer->torn && writer->gathered > 0 && write_some(writer, "\n", 1) == 1) {
        writer->torn = false;
    }
    size_t done = writer->torn ? 0 : write_some(writer, writer->gather, writer->gathered);
    writer->unwritten += count_lines(writer->gather + done, writer->gathered - done);
    if (done > 0) {
        writer->torn = writer->gather[done - 1] != '\n';
    }
    writer->gathered = 0;
}

/* The workers count what their rings lost, so that a log that is stuck cannot hide it; what is left is what
 * was lost on the way out, and the ring of the engine's main thread. */
static void count_drops(struct log_writer *writer)
{
    uint64_t dropped = log_dropped(&writer->ring[writer->setup.rings - 1]);
    uint64_t lost = writer->unwritten + dropped - writer->dropped_before;
    writer->unwritten = 0;
    writer->dropped_before = dropped;
    struct metrics *metrics = writer->setup.metrics;
    metrics_add(&metrics->worker[metrics->workers - 1].meter[METRICS_LOG_DROPPED], lost);
}

static void notice_loss(struct log_writer *writer)
{
    uint64_t dropped = 0;
    for (unsigned i = 0; i < writer->setup.rings; i++) {
        dropped += log_dropped(&writer->ring[i]);
    }
    writer->untold += writer->unwritten + dropped - writer->dropped_by_all;
    writer->dropped_by_all = dropped;
}

/* The line itself is nobody's event: when it cannot be written, it is tried again and not counted. */
static void tell_loss(struct log_writer *writer)
{
    struct log *log = &writer->ring[writer->setup.rings];
    if (!log_begin(log, LOG_WARNING, "log_lost")) {
        writer->untold = 0;
        return;
    }
    log_number(log, "count", (int64_t)writer->untold);
    log_text(log, "hint", "the log's target was full, gone or too slow: look at its disk or its reader");
    log_end(log, clock_wall());
    writer->gathered = log_take(log, writer->setup.format, writer->gather);
    write_gathered(writer);
    if (writer->unwritten == 0) {
        writer->untold = 0;
        writer->told_at = event_now(writer->loop);
    }
    writer->unwritten = 0;
}

/* Not while lines are still lost on the way out: a short one might slip in between longer ones that do not.
 */
static bool may_tell_loss(const struct log_writer *writer)
{
    bool told_lately = writer->told_at != 0 && event_now(writer->loop) - writer->told_at < LOSS_DISTANCE;
    return writer->untold > 0 && writer->unwritten == 0 && (!told_lately || atomic_load(&writer->ending));
}

/* One event of each ring in turn, so that a loud worker does not silence the others. */
static bool take_round(struct log_writer *writer)
{
    bool any = false;
    for (unsigned i = 0; i < writer->setup.rings; i++) {
        if (GATHER_SIZE - writer->gathered < LOG_LINE_MAX) {
            write_gathered(writer);
        }
        size_t size = log_take(&writer->ring[i], writer->setup.format, writer->gather + writer->gathered);
        writer->gathered += size;
        any = any || size > 0;
    }
    return any;
}

static void on_letter(struct event_mailbox *mailbox)
{
    struct log_writer *writer = container_of(mailbox, struct log_writer, mailbox);
    while (take_round(writer)) {}
    write_gathered(writer);
    notice_loss(writer);
    bool tell = may_tell_loss(writer);
    count_drops(writer);
    if (tell) {
        tell_loss(writer);
    }
}

static void *run(void *argument)
{
    struct log_writer *writer = argument;
    const struct log_writer_setup *setup = &writer->setup;
    bool goes_on = setup->enter == NULL || setup->enter(setup->sandbox);
    while (goes_on && !atomic_load(&writer->ending)) {
        event_loop_turn(writer->loop, UINT64_MAX);
    }
    on_letter(&writer->mailbox);
    return NULL;
}

static int open_loop(struct log_writer *writer)
{
    int error = event_loop_open(&writer->loop);
    if (error == 0) {
        error = event_mailbox_open(writer->loop, &writer->mailbox, on_letter);
        if (error != 0) {
            event_loop_close(writer->loop);
        }
    }
    return error;
}

static int open_rings(struct log_writer *writer)
{
    void *memory;
    int error = memory_open(log_writer_memory(writer->setup.rings), &memory);
    if (error != 0) {
        return error;
    }
    writer->memory = memory;
    for (unsigned i = 0; i <= writer->setup.rings; i++) {
        log_init(&writer->ring[i], writer->setup.level, writer->memory + (size_t)i * RING_SIZE, RING_SIZE);
    }
    return 0;
}

static void free_writer(struct log_writer *writer)
{
    take_over(writer);
    if (writer->owns_descriptor) {
        close(writer->descriptor);
    }
    event_mailbox_close(&writer->mailbox);
    event_loop_close(writer->loop);
    memory_close(writer->memory, log_writer_memory(writer->setup.rings));
    free(writer);
}

int log_writer_open(const struct log_writer_setup *setup, struct log_writer **out)
{
    size_t size = sizeof(struct log_writer) + (setup->rings + 1) * sizeof(struct log);
    struct log_writer *writer = aligned_alloc(64, (size + 63) / 64 * 64);
    if (writer == NULL) {
        return ERROR_MEMORY;
    }
    *writer = (struct log_writer){.setup = *setup, .descriptor = setup->descriptor};
    atomic_init(&writer->next, -1);
    int error = open_rings(writer);
    if (error == 0) {
        error = open_loop(writer);
        if (error != 0) {
            memory_close(writer->memory, log_writer_memory(writer->setup.rings));
        }
    }
    if (error != 0) {
        free(writer);
        return error;
    }
    *out = writer;
    return 0;
}

int log_writer_start(struct log_writer *writer)
{
    if (pthread_create(&writer->thread, NULL, run, writer) != 0) {
        return ERROR_SYSTEM;
    }
    writer->started = true;
    return 0;
}

struct log *log_writer_ring(struct log_writer *writer, unsigned ring)
{
    return &writer->ring[ring];
}

struct event_mailbox *log_writer_mailbox(struct log_writer *writer)
{
    return &writer->mailbox;
}

void log_writer_redirect(struct log_writer *writer, int descriptor)
{
    int passed_over = atomic_exchange(&writer->next, descriptor);
    if (passed_over >= 0) {
        close(passed_over);
    }
    event_mailbox_post(&writer->mailbox);
}

/* Whether the thread ended in time. By the clock that never jumps: pthread_timedjoin_np goes by the time of
 * day, and the other one that there is, thread sanitizers do not know. */
static bool join_thread(pthread_t thread, uint64_t patience)
{
    const struct timespec pause = {.tv_nsec = (long)CLOCK_MILLISECOND};
    uint64_t end = clock_monotonic() + patience;
    while (pthread_tryjoin_np(thread, NULL) != 0) {
        if (clock_monotonic() >= end) {
            return false;
        }
        nanosleep(&pause, NULL);
    }
    return true;
}

void log_writer_close(struct log_writer *writer, uint64_t patience)
{
    if (!writer->started) {
        on_letter(&writer->mailbox);
        free_writer(writer);
        return;
    }
    atomic_store(&writer->ending, true);
    event_mailbox_post(&writer->mailbox);
    if (join_thread(writer->thread, patience)) {
        free_writer(writer);
    }
}
