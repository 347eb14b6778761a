/* The loop, letters between threads, signals. */
#include "event_test.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "event/event.h"
#include "event/internal.h"

#include "cmocka.h"

static int open_loop(void **state)
{
    struct event_loop *loop;
    int failed = event_loop_open(&loop);
    *state = loop;
    return failed;
}

static int close_loop(void **state)
{
    event_loop_close(*state);
    return 0;
}

/* ---- readiness ---- */

struct end {
    struct event_watch watch;
    unsigned times, readiness;
    struct end *victim; /* taken out when this one is ready */
};

static void end_ready(struct event_watch *watch, unsigned readiness)
{
    struct end *end = container_of(watch, struct end, watch);
    end->times++;
    end->readiness = readiness;
    if (end->victim != NULL) {
        event_watch_remove(&end->victim->watch);
        memset(end->victim, 0xff, sizeof *end->victim); /* its owner has the memory back */
        end->victim = NULL;
    }
}

static void test_watch(void **state)
{
    struct event_loop *loop = *state;
    struct end end = {.watch.ready = end_ready};
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    event_watch_remove(&end.watch);
    assert_int_equal(event_watch_add(loop, &end.watch, pair[0], EVENT_READ), 0);
    event_loop_turn(loop, 0);
    assert_int_equal(end.times, 0);
    assert_int_equal(write(pair[1], "x", 1), 1);
    event_loop_turn(loop, UINT64_MAX);
    assert_int_equal(end.readiness, EVENT_READ);
    event_watch_change(&end.watch, EVENT_READ | EVENT_WRITE);
    event_loop_turn(loop, UINT64_MAX);
    assert_int_equal(end.readiness, EVENT_READ | EVENT_WRITE);
    event_watch_change(&end.watch, 0);
    event_loop_turn(loop, 0);
    assert_int_equal(end.times, 2);
    close(pair[1]);
    event_watch_change(&end.watch, EVENT_WRITE);
    event_loop_turn(loop, UINT64_MAX);
    assert_int_equal(end.readiness, EVENT_WRITE); /* a hang-up is what was asked for */
    event_watch_remove(&end.watch);
    event_watch_remove(&end.watch);
    event_loop_turn(loop, 0);
    assert_int_equal(end.times, 3);
    assert_int_equal(event_watch_add(loop, &end.watch, 1 << 20, EVENT_READ), ERROR_SYSTEM);
    assert_null(end.watch.loop);
    close(pair[0]);
}

/* A thread that sleeps in a loop of its own until the socket is ready, and takes nothing from it. */
struct sleeper {
    pthread_t thread;
    atomic_int id;
    struct event_loop *loop;
    struct event_mailbox mailbox;
    struct event_watch watch;
};

enum { SLEEPERS = 4 };

static struct sleeper sleepers[SLEEPERS];
static atomic_uint woken;

static void on_wake(struct event_watch *watch, unsigned readiness)
{
    (void)watch;
    assert_int_equal(readiness, EVENT_READ);
    atomic_fetch_add(&woken, 1);
}

static void on_call(struct event_mailbox *mailbox)
{
    (void)mailbox;
}

static void *sleep_once(void *argument)
{
    struct sleeper *sleeper = argument;
    atomic_store(&sleeper->id, gettid());
    event_loop_turn(sleeper->loop, UINT64_MAX);
    return NULL;
}

static void pause_for(long milliseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = milliseconds * (long)CLOCK_MILLISECOND}, NULL);
}

/* After it has told its id it sleeps nowhere but in its loop. */
static bool is_asleep(const struct sleeper *sleeper)
{
    char path[64], name[64], state = '?';
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", atomic_load(&sleeper->id));
    FILE *file = fopen(path, "re");
    bool known = file != NULL && fscanf(file, "%*d %63s %c", name, &state) == 2;
    if (file != NULL) {
        fclose(file);
    }
    return known && state == 'S';
}

/* Of loops that watch one socket, how many wake when something comes; at least so many are waited for. */
static unsigned count_woken(unsigned wanted, unsigned least)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    atomic_store(&woken, 0);
    for (unsigned i = 0; i < SLEEPERS; i++) {
        sleepers[i] = (struct sleeper){.watch.ready = on_wake};
        assert_int_equal(event_loop_open(&sleepers[i].loop), 0);
        assert_int_equal(event_mailbox_open(sleepers[i].loop, &sleepers[i].mailbox, on_call), 0);
        assert_int_equal(event_watch_add(sleepers[i].loop, &sleepers[i].watch, pair[0], wanted), 0);
        assert_int_equal(pthread_create(&sleepers[i].thread, NULL, sleep_once, &sleepers[i]), 0);
    }
    for (unsigned i = 0; i < SLEEPERS; i++) {
        while (!is_asleep(&sleepers[i])) {
            pause_for(1);
        }
    }
    assert_int_equal(write(pair[1], "x", 1), 1);
    while (atomic_load(&woken) < least) {
        pause_for(1);
    }
    pause_for(100);
    unsigned count = atomic_load(&woken);
    for (unsigned i = 0; i < SLEEPERS; i++) {
        event_mailbox_post(&sleepers[i].mailbox);
        pthread_join(sleepers[i].thread, NULL);
        event_watch_remove(&sleepers[i].watch);
        event_mailbox_close(&sleepers[i].mailbox);
        event_loop_close(sleepers[i].loop);
    }
    close(pair[0]);
    close(pair[1]);
    return count;
}

static void test_watch_exclusive(void **state)
{
    (void)state;
    assert_int_equal(count_woken(EVENT_READ, SLEEPERS), SLEEPERS);
    assert_int_equal(count_woken(EVENT_READ | EVENT_EXCLUSIVE, 1), 1);
}

/* A watch that wants nothing does not keep the loop awake when the peer hangs up. */
static void test_watch_quiet(void **state)
{
    struct event_loop *loop = *state;
    struct end end = {.watch.ready = end_ready};
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(event_watch_add(loop, &end.watch, pair[0], 0), 0);
    close(pair[1]);
    event_loop_turn(loop, 0);
    uint64_t before = clock_monotonic();
    event_loop_turn(loop, 20 * CLOCK_MILLISECOND);
    assert_true(clock_monotonic() - before >= 20 * CLOCK_MILLISECOND);
    assert_int_equal(end.times, 0);
    event_watch_change(&end.watch, EVENT_READ);
    event_loop_turn(loop, UINT64_MAX);
    assert_int_equal(end.readiness, EVENT_READ);
    event_watch_remove(&end.watch);
    close(pair[0]);
}

static void test_watch_removed_in_turn(void **state)
{
    struct event_loop *loop = *state;
    struct end ends[2] = {{.watch.ready = end_ready}, {.watch.ready = end_ready}};
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(write(pair[0], "x", 1) + write(pair[1], "x", 1), 2);
    for (int i = 0; i < 2; i++) {
        ends[i].victim = &ends[1 - i];
        assert_int_equal(event_watch_add(loop, &ends[i].watch, pair[i], EVENT_READ), 0);
    }
    event_loop_turn(loop, UINT64_MAX); /* both are ready, whichever comes first takes the other out */
    struct end *left = ends[0].times == 1 ? &ends[0] : &ends[1];
    assert_int_equal(left->times, 1);
    assert_int_equal(loop->fetched, 0);
    event_watch_remove(&left->watch);
    close(pair[0]);
    close(pair[1]);
}

/* ---- after-work ---- */

struct chore {
    struct event_after after;
    struct event_loop *loop;
    unsigned times;
    bool again;
    struct chore *victim, *friend;
};

static void chore_work(struct event_after *after)
{
    struct chore *chore = container_of(after, struct chore, after);
    chore->times++;
    if (chore->again) {
        event_after_add(chore->loop, after);
    }
    if (chore->victim != NULL) {
        event_after_remove(&chore->victim->after);
    }
    if (chore->friend != NULL) {
        event_after_add(chore->loop, &chore->friend->after);
    }
}

static void test_after(void **state)
{
    struct event_loop *loop = *state;
    struct chore chores[4];
    for (size_t i = 0; i < 4; i++) {
        chores[i] = (struct chore){.loop = loop};
        event_after_init(&chores[i].after, chore_work);
    }
    chores[0].again = true;
    chores[0].victim = &chores[2];
    chores[0].friend = &chores[3];
    event_after_add(loop, &chores[0].after);
    event_after_add(loop, &chores[1].after);
    event_after_add(loop, &chores[1].after);
    event_after_add(loop, &chores[2].after);
    event_loop_turn(loop, UINT64_MAX);
    assert_int_equal(chores[0].times, 1);
    assert_int_equal(chores[1].times, 1); /* once, however often it was asked for */
    assert_int_equal(chores[2].times, 0);
    assert_int_equal(chores[3].times, 0); /* added during the phase: the next turn's */
    event_loop_turn(loop, UINT64_MAX);    /* which does not sleep */
    assert_int_equal(chores[0].times, 2);
    assert_int_equal(chores[3].times, 1);
    event_after_remove(&chores[0].after);
    event_after_remove(&chores[3].after);
}

/* ---- letters, signals, run ---- */

enum { LETTERS = 20000 };

struct inbox {
    struct event_mailbox mailbox;
    struct event_loop *loop;
    unsigned written[2], read[2]; /* each written by one thread before it posts */
    atomic_uint published[2];
    unsigned opened;
};

static void inbox_opened(struct event_mailbox *mailbox)
{
    struct inbox *inbox = container_of(mailbox, struct inbox, mailbox);
    inbox->opened++;
    for (int i = 0; i < 2; i++) {
        inbox->read[i] = atomic_load_explicit(&inbox->published[i], memory_order_relaxed);
    }
    if (inbox->read[0] == LETTERS && inbox->read[1] == LETTERS) {
        event_loop_stop(inbox->loop);
    }
}

struct writer {
    struct inbox *inbox;
    int number;
};

static void *write_letters(void *argument)
{
    struct writer *writer = argument;
    for (unsigned i = 1; i <= LETTERS; i++) {
        atomic_store_explicit(&writer->inbox->published[writer->number], i, memory_order_relaxed);
        event_mailbox_post(&writer->inbox->mailbox);
    }
    return NULL;
}

static void test_mailbox_threads(void **state)
{
    struct event_loop *loop = *state;
    struct inbox inbox = {.loop = loop};
    struct writer writers[2] = {{&inbox, 0}, {&inbox, 1}};
    pthread_t threads[2];
    assert_int_equal(event_mailbox_open(loop, &inbox.mailbox, inbox_opened), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_letters, &writers[i]), 0);
    }
    event_loop_run(loop); /* hangs when a last post is lost */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_in_range(inbox.opened, 1, 2 * LETTERS);
    event_mailbox_close(&inbox.mailbox);
    event_mailbox_close(&inbox.mailbox);
}

static void *write_plain(void *argument)
{
    struct inbox *inbox = argument;
    inbox->written[0] = 7; /* plain memory: the post alone must make it visible */
    event_mailbox_post(&inbox->mailbox);
    return NULL;
}

static void plain_opened(struct event_mailbox *mailbox)
{
    struct inbox *inbox = container_of(mailbox, struct inbox, mailbox);
    inbox->read[0] = inbox->written[0];
    inbox->opened++;
}

static void test_mailbox_orders_memory(void **state)
{
    struct inbox inbox = {0};
    pthread_t thread;
    assert_int_equal(event_mailbox_open(*state, &inbox.mailbox, plain_opened), 0);
    assert_int_equal(pthread_create(&thread, NULL, write_plain, &inbox), 0);
    event_loop_turn(*state, UINT64_MAX);
    assert_int_equal(inbox.read[0], 7);
    pthread_join(thread, NULL);
    event_mailbox_post(&inbox.mailbox);
    event_mailbox_post(&inbox.mailbox);
    event_loop_turn(*state, UINT64_MAX);
    event_loop_turn(*state, 0);
    assert_int_equal(inbox.opened, 2); /* two posts, one call */
    event_mailbox_close(&inbox.mailbox);
}

static unsigned letters_before;

static void count_opened(struct event_mailbox *mailbox)
{
    (void)mailbox;
    letters_before++;
}

static void expect_letters(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    (void)watch;
    assert_int_equal(letters_before, 1);
    letters_before++;
}

static void test_letters_come_first(void **state)
{
    struct event_loop *loop = *state;
    struct event_mailbox mailbox;
    struct event_watch watch = {.ready = expect_letters};
    int pair[2];
    letters_before = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(write(pair[1], "x", 1), 1);
    assert_int_equal(event_watch_add(loop, &watch, pair[0], EVENT_READ), 0);
    assert_int_equal(event_mailbox_open(loop, &mailbox, count_opened), 0);
    event_mailbox_post(&mailbox); /* after the other was ready */
    event_loop_turn(loop, UINT64_MAX);
    assert_int_equal(letters_before, 2);
    event_mailbox_close(&mailbox);
    event_watch_remove(&watch);
    close(pair[0]);
    close(pair[1]);
}

static int arrived_numbers[4];
static unsigned arrived_count;

static void signal_arrived(struct event_signals *signals, int number)
{
    arrived_numbers[arrived_count++] = number;
    if (number == SIGUSR2) {
        event_loop_stop(signals->watch.loop);
        event_signals_close(signals);
    }
}

static void test_signals(void **state)
{
    struct event_loop *loop = *state;
    struct event_signals signals;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    arrived_count = 0;
    assert_int_equal(event_signals_open(loop, &signals, &set, signal_arrived), 0);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR2);
    event_loop_run(loop);
    assert_int_equal(arrived_count, 2);
    assert_int_equal(arrived_numbers[0], SIGUSR1);
    assert_int_equal(arrived_numbers[1], SIGUSR2);
    event_signals_close(&signals);
}

/* A signal that interrupts the sleep is no error, and the loop sleeps without a heartbeat. */
static void interrupted(int number)
{
    (void)number;
}

static void test_sleep(void **state)
{
    struct event_loop *loop = *state;
    struct sigaction action = {.sa_handler = interrupted};
    sigaction(SIGALRM, &action, NULL);
    alarm(1);
    uint64_t before = clock_monotonic();
    event_loop_turn(loop, UINT64_MAX); /* nothing is watched: only the signal ends it */
    assert_true(event_now(loop) - before >= 900 * CLOCK_MILLISECOND);
    before = clock_monotonic();
    event_loop_turn(loop, 3 * CLOCK_MILLISECOND + 1);
    assert_true(event_now(loop) - before > 3 * CLOCK_MILLISECOND);
}

static void test_no_descriptors(void **state)
{
    (void)state;
    struct rlimit old, none;
    struct event_loop *loop = NULL;
    getrlimit(RLIMIT_NOFILE, &old);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    int failed = event_loop_open(&loop);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(failed, ERROR_DESCRIPTORS);
    assert_null(loop);
}

#define LOOP_TEST(test) cmocka_unit_test_setup_teardown(test, open_loop, close_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(event_test_timer_fires),
        LOOP_TEST(event_test_timer_moved_and_cleared),
        LOOP_TEST(event_test_timer_in_callbacks),
        LOOP_TEST(event_test_timer_far),
        LOOP_TEST(event_test_timer_model),
        LOOP_TEST(event_test_timer_order),
        LOOP_TEST(test_watch),
        cmocka_unit_test(test_watch_exclusive),
        LOOP_TEST(test_watch_quiet),
        LOOP_TEST(test_watch_removed_in_turn),
        LOOP_TEST(test_after),
        LOOP_TEST(test_mailbox_threads),
        LOOP_TEST(test_mailbox_orders_memory),
        LOOP_TEST(test_letters_come_first),
        LOOP_TEST(test_signals),
        LOOP_TEST(test_sleep),
        cmocka_unit_test(test_no_descriptors),
    };
    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
