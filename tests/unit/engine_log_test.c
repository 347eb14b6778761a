/* The log's thread: lines of several rings, readers that stop, disks that are full, files that are moved. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#include "engine/log_writer.h"

#include "engine_test.h"

/* ---- the log's thread ---- */

struct world {
    struct metrics *metrics;
    int metrics_descriptor;
    int pipe[2];
    struct log_writer *writer;
};

static bool refuse(void *unused)
{
    (void)unused;
    return false;
}

static void open_writer_that_enters(struct world *world, unsigned rings, enum log_format format,
                                    bool (*enter)(void *))
{
    assert_int_equal(pipe(world->pipe), 0);
    assert_int_equal(metrics_open(2, &world->metrics, &world->metrics_descriptor), 0);
    struct log_writer_setup setup = {.level = LOG_INFO,
                                     .format = format,
                                     .rings = rings,
                                     .descriptor = world->pipe[1],
                                     .metrics = world->metrics,
                                     .enter = enter};
    assert_int_equal(log_writer_open(&setup, &world->writer), 0);
}

static void open_writer(struct world *world, unsigned rings, enum log_format format)
{
    open_writer_that_enters(world, rings, format, NULL);
}

static void close_world(struct world *world)
{
    metrics_close(world->metrics, world->metrics_descriptor);
    close(world->pipe[0]);
    if (world->pipe[1] >= 0) {
        close(world->pipe[1]);
    }
}

static void write_event(struct log_writer *writer, unsigned ring, const char *event, unsigned number)
{
    struct log *log = log_writer_ring(writer, ring);
    if (log_begin(log, LOG_INFO, event)) {
        log_number(log, "number", number);
        log_text(log, "filling", "some words that make a line as long as lines of this program are");
        log_end(log, clock_wall());
        event_mailbox_post(log_writer_mailbox(writer));
    }
}

void lines_of_all_rings_come_out(void **state)
{
    (void)state;
    unsigned before = open_descriptors();
    struct world world;
    open_writer(&world, 3, LOG_FORMAT_TEXT);
    assert_int_equal(log_writer_start(world.writer), 0);
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned ring = 0; ring < 3; ring++) {
            write_event(world.writer, ring, ring == 0 ? "first" : "other", i);
        }
    }
    log_writer_close(world.writer, CLOCK_SECOND);
    read_pipe(world.pipe[0], 0, 0);
    assert_int_equal(count_of("\n"), 300);
    assert_int_equal(count_of("event=first"), 100);
    assert_int_equal(count_of("event=other"), 200);
    assert_int_equal(metrics_sum(world.metrics, METRICS_LOG_DROPPED), 0);
    close_world(&world);
    assert_int_equal(open_descriptors(), before);
}

/* What is told before there is a thread is not lost when there never is one: why it could not start. */
void a_writer_without_a_thread_writes_at_its_close(void **state)
{
    (void)state;
    struct world world;
    open_writer(&world, 1, LOG_FORMAT_JSON);
    write_event(world.writer, 0, "failed", 1);
    log_writer_close(world.writer, CLOCK_SECOND);
    read_pipe(world.pipe[0], 0, 0);
    assert_int_equal(count_of("\"event\":\"failed\""), 1);
    close_world(&world);
}

struct producer {
    struct log_writer *writer;
    unsigned ring, count;
};

/* A start that is refused has its words as well. */
void a_writer_that_may_not_go_on_writes_what_waits(void **state)
{
    (void)state;
    struct world world;
    open_writer_that_enters(&world, 1, LOG_FORMAT_TEXT, refuse);
    write_event(world.writer, 0, "line", 1);
    assert_int_equal(log_writer_start(world.writer), 0);
    assert_true(read_pipe(world.pipe[0], 0, 100) > 0);
    assert_int_equal(count_of("event=line"), 1);
    write_event(world.writer, 0, "line", 2);
    assert_int_equal(read_pipe(world.pipe[0], 0, 100), 0); /* its thread is gone */
    log_writer_close(world.writer, CLOCK_SECOND);
    close_world(&world);
}

static void *produce(void *argument)
{
    struct producer *producer = argument;
    for (unsigned i = 0; i < producer->count; i++) {
        write_event(producer->writer, producer->ring, "line", i);
    }
    return NULL;
}

/* What the lines so far say was lost. */
static uint64_t lost_told(void)
{
    static const char words[] = "event=log_lost count=";
    uint64_t lost = 0;
    for (const char *at = heard_text; (at = strstr(at, words)) != NULL; at += sizeof words - 1) {
        lost += strtoull(at + sizeof words - 1, NULL, 10);
    }
    return lost;
}

/* Nobody reads, and the producers come to their end all the same; what did not fit is counted, and what is
 * written later is whole.
 * Shows: O06 */
void a_reader_that_stopped_stops_nobody_else(void **state)
{
    (void)state;
    enum { PRODUCERS = 2, COUNT = 5000 };
    struct world world;
    open_writer(&world, PRODUCERS, LOG_FORMAT_TEXT);
    assert_int_equal(log_writer_start(world.writer), 0);
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.writer = world.writer, .ring = i, .count = COUNT};
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        pthread_join(threads[i], NULL);
    }
    size_t size = read_pipe(world.pipe[0], 0, 200);
    uint64_t dropped = log_dropped(log_writer_ring(world.writer, 0)); /* a worker's own count */
    log_writer_close(world.writer, CLOCK_SECOND);
    read_pipe(world.pipe[0], size, 0);
    dropped += metrics_sum(world.metrics, METRICS_LOG_DROPPED);
    assert_true(dropped > 0);
    assert_int_equal(count_of("event=line") + dropped, PRODUCERS * COUNT);
    assert_int_equal(count_of("event=line") + count_of("event=log_lost"), count_of("\n"));
    assert_int_equal(lost_told(), dropped);
    close_world(&world);
}

/* Shows: O06 */
void lines_for_nobody_are_counted(void **state)
{
    (void)state;
    struct world world;
    open_writer(&world, 1, LOG_FORMAT_TEXT);
    close(world.pipe[0]);
    world.pipe[0] = open("/dev/null", O_RDONLY);
    for (unsigned i = 0; i < 10; i++) {
        write_event(world.writer, 0, "line", i);
    }
    log_writer_close(world.writer, CLOCK_SECOND);
    assert_int_equal(metrics_sum(world.metrics, METRICS_LOG_DROPPED), 10);
    close_world(&world);
}

/* A disk that is full in the middle of a line: the lines before it are not lost, and the next line that can
 * be written does not begin in the middle of it. Shows: O06 */
void a_line_that_was_cut_short_is_ended_first(void **state)
{
    (void)state;
    struct world world;
    open_writer(&world, 1, LOG_FORMAT_TEXT);
    assert_int_equal(fcntl(world.pipe[1], F_SETPIPE_SZ, 4096), 4096);
    assert_int_equal(fcntl(world.pipe[1], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(log_writer_start(world.writer), 0);
    for (unsigned i = 0; i < 100; i++) {
        write_event(world.writer, 0, "line", i);
    }
    struct log *ring = log_writer_ring(world.writer, 0);
    for (unsigned i = 0; i < 500 && log_waiting(ring); i++) {
        usleep(2000);
    }
    usleep(100000);
    size_t size = read_pipe(world.pipe[0], 0, 50);
    unsigned whole = count_of("\n");
    uint64_t dropped = metrics_sum(world.metrics, METRICS_LOG_DROPPED);
    assert_true(dropped > 0 && whole > 0);
    assert_int_equal(whole + dropped, 100);
    write_event(world.writer, 0, "again", 1);
    log_writer_close(world.writer, CLOCK_SECOND);
    read_pipe(world.pipe[0], size, 0);
    const char *again = strstr(heard_text, "event=again");
    assert_non_null(again);
    while (again > heard_text && again[-1] != '\n') {
        again--;
    }
    assert_null(memmem(again, strcspn(again, "\n"), "event=line", 10));
    assert_int_equal(count_of("event=log_lost"), 1);
    assert_int_equal(lost_told(), dropped);
    assert_true(strstr(heard_text, "event=log_lost") > again);
    close_world(&world);
}

/* In a process of its own, since the thread is left behind with its memory. */
static int give_up(void)
{
    struct world world;
    open_writer(&world, 1, LOG_FORMAT_TEXT);
    log_writer_start(world.writer);
    for (unsigned i = 0; i < 3000; i++) {
        write_event(world.writer, 0, "line", i);
    }
    uint64_t begin = clock_monotonic();
    log_writer_close(world.writer, 100 * CLOCK_MILLISECOND);
    uint64_t lasted = clock_monotonic() - begin;
    return lasted >= 90 * CLOCK_MILLISECOND && lasted < 20 * CLOCK_SECOND ? 0 : 1;
}

/* Shows: O06 */
void a_blocked_log_is_given_up_after_a_while(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(give_up());
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static unsigned lines_in(const char *path)
{
    int descriptor = open(path, O_RDONLY);
    ssize_t size = read(descriptor, heard_text, sizeof heard_text - 1);
    assert_true(size >= 0);
    heard_text[size] = '\0';
    close(descriptor);
    return count_of("\n");
}

static void wait_for_lines(const char *path, unsigned wanted)
{
    for (unsigned i = 0; i < 500 && lines_in(path) < wanted; i++) {
        usleep(2000);
    }
    assert_int_equal(lines_in(path), wanted);
}

/* A file that was moved away is let go, or its blocks would never be free. */
void a_redirected_log_keeps_no_old_file_open(void **state)
{
    (void)state;
    struct world world;
    open_writer(&world, 1, LOG_FORMAT_TEXT);
    assert_int_equal(log_writer_start(world.writer), 0);
    char path[] = "/tmp/dnseal-log-XXXXXX";
    close(mkstemp(path));
    unsigned before = open_descriptors();
    world.pipe[1] = -1; /* the writer closes it */
    for (unsigned i = 1; i <= 20; i++) {
        log_writer_redirect(world.writer, open(path, O_WRONLY | O_APPEND | O_CLOEXEC));
        write_event(world.writer, 0, "line", i);
        wait_for_lines(path, i);
    }
    assert_int_equal(open_descriptors(), before);
    log_writer_close(world.writer, CLOCK_SECOND);
    assert_in_range(open_descriptors(), before - 3, before);
    read_pipe(world.pipe[0], 0, 0);
    assert_int_equal(count_of("\n"), 0);
    unlink(path);
    close_world(&world);
}
