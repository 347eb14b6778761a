/*
 * What the client does in each story. The rows that they show stand above the functions, where
 * tools/traceability looks for them; the name of the function is the story's and the test's.
 */
#include "run.h"

/* OpenSSL keeps some memory for as long as a process lives, and loses of it what it could not use: what is
 * lost is not looked at here.
 *
 * Shows: O05, G3 */
static void cold_start(struct run *run)
{
    client_ask(run, FAR_PLAIN, 1);
    client_await(run);
}

/* The engine comes up and ends; everything from its first call on may fail. A start that cannot be must say
 * why.
 *
 * Shows: O05, G3 */
static void start_and_stop(struct run *run)
{
    (void)run;
}

/* Shows: O05, G3 */
static void start_and_serve(struct run *run)
{
    client_ask(run, FAR_PLAIN, 1);
    client_connect(run, 0);
    client_ask_over(run, 0, FAR_PLAIN, 1);
    client_await(run);
}

/* Shows: O05, G3 */
static void datagrams_one_by_one(struct run *run)
{
    for (unsigned i = 0; i < 20; i++) {
        client_ask(run, FAR_PLAIN, 1);
        client_await(run);
    }
}

/* More than a batch holds.
 *
 * Shows: O05, G3 */
static void datagrams_in_bursts(struct run *run)
{
    for (unsigned i = 0; i < 2; i++) {
        client_ask(run, FAR_PLAIN, 100);
        client_await(run);
    }
}

/* Shows: O05, G3 */
static void pipelined(struct run *run)
{
    for (int i = 0; i < 3; i++) {
        client_connect(run, i);
        client_ask_over(run, i, FAR_PLAIN, 60);
    }
    client_ask(run, FAR_PLAIN, 20);
    client_await(run);
}

/* Cut in a datagram, then whole.
 *
 * Shows: O05, G3 */
static void large_answers(struct run *run)
{
    client_ask(run, FAR_LARGE, 3);
    client_await(run);
    client_connect(run, 0);
    client_ask_over(run, 0, FAR_LARGE, 10);
    client_await(run);
    client_ask_over(run, 0, FAR_HUGE, 3);
    client_await(run);
}

/* Shows: O05, G3 */
static void server_closes(struct run *run)
{
    for (unsigned i = 0; i < 4; i++) {
        client_ask(run, FAR_PLAIN, 10);
        client_await(run);
        client_ask(run, FAR_CLOSE, 1);
        client_await(run);
    }
}

/* Shows: O05, G3 */
static void server_resets(struct run *run)
{
    for (unsigned i = 0; i < 4; i++) {
        client_ask(run, FAR_PLAIN, 10);
        client_await(run);
        client_ask(run, FAR_RESET, 1);
        client_await(run);
    }
}

/* The first server refuses, and is looked at again while the second serves.
 *
 * Shows: O05, G3 */
static void second_server(struct run *run)
{
    for (unsigned i = 0; i < 5; i++) {
        client_ask(run, FAR_PLAIN, 10);
        client_await(run);
    }
}

/* The first one is somebody else.
 *
 * Shows: O05, G3 */
static void failed_handshake(struct run *run)
{
    for (unsigned i = 0; i < 5; i++) {
        client_ask(run, FAR_PLAIN, 10);
        client_await(run);
    }
}

/* Shows: O05, G3 */
static void second_opinion(struct run *run)
{
    client_ask(run, FAR_FAIL, 20);
    client_await(run);
    client_ask(run, FAR_PLAIN, 20);
    client_await(run);
}

/* The first one says nothing to some of them, for a whole attempt.
 *
 * Shows: O05, G3 */
static void silent_server(struct run *run)
{
    client_ask(run, FAR_PLAIN, 5);
    client_ask(run, FAR_MUTE, 5);
    client_await(run);
}

/* A second link opens when a hundred questions are out on the first.
 *
 * Shows: O05, G3 */
static void links_grow(struct run *run)
{
    client_ask(run, FAR_PLAIN, 1);
    client_await(run);
    client_ask(run, FAR_SLOW, 150);
    client_await(run);
    client_ask(run, FAR_PLAIN, 20);
    client_await(run);
}

/* A link is replaced before the server's idle limit.
 *
 * Shows: O05, G3 */
static void link_refreshed(struct run *run)
{
    client_ask(run, FAR_PLAIN, 5);
    client_await(run);
    client_idle(run, 1300);
    client_ask(run, FAR_PLAIN, 5);
    client_await(run);
}

/* Shows: O05, G3 */
static void clients_leave(struct run *run)
{
    for (unsigned i = 0; i < 3; i++) {
        client_connect(run, 0);
        client_connect(run, 1);
        client_connect(run, 2);
        client_ask_over(run, 0, FAR_SLOW, 10);
        client_ask_over(run, 1, FAR_PLAIN, 10);
        client_ask_over(run, 2, FAR_PLAIN, 10);
        client_half_close(run, 2);
        client_leave(run, 0, false);
        client_leave(run, 1, true);
        client_await(run);
        client_leave(run, 2, false);
    }
}

/* Shows: O05, G3 */
static void drained(struct run *run)
{
    client_connect(run, 0);
    client_ask_over(run, 0, FAR_PLAIN, 5);
    client_await(run);
    client_ask(run, FAR_SLOW, 20);
    client_ask_over(run, 0, FAR_SLOW, 20);
    client_await_pending(run, 40);
    run_drain(run);
    client_await(run);
}

/* Shows: O05, G3 */
static void everything_logged(struct run *run)
{
    client_ask(run, FAR_PLAIN, 40);
    client_await(run);
    client_ask(run, FAR_CLOSE, 1);
    client_await(run);
    client_ask(run, FAR_PLAIN, 40);
    client_await(run);
}

/* A socket for each question.
 *
 * Shows: O05, G3, M7 */
static void clear_text(struct run *run)
{
    for (unsigned i = 0; i < 3; i++) {
        client_ask(run, FAR_PLAIN, 20);
        client_await(run);
    }
}

/* What fits no datagram comes over TCP.
 *
 * Shows: O05, G3, M7 */
static void clear_text_truncated(struct run *run)
{
    client_connect(run, 0);
    for (unsigned i = 0; i < 3; i++) {
        client_ask(run, FAR_PLAIN, 2);
        client_ask_over(run, 0, FAR_LARGE, 5);
        client_await(run);
    }
}

/* The first questions wait for the server's address, and it is looked up again when the server cannot be
 * reached.
 *
 * Shows: O05, G3, pain 30 */
static void server_by_name(struct run *run)
{
    client_ask(run, FAR_PLAIN, 5);
    client_await(run);
    client_ask(run, FAR_CLOSE, 1);
    client_await(run);
    client_ask(run, FAR_PLAIN, 5);
    client_await(run);
}

#define STORY(function) .name = #function, .play = function

const struct story stories[] = {
    {STORY(cold_start), .servers = {FAR_GOOD}, .server_count = 1, .cold = true, .from_start = true},
    {STORY(start_and_stop), .servers = {FAR_GOOD}, .server_count = 1, .from_start = true},
    {STORY(start_and_serve), .servers = {FAR_GOOD, FAR_MOODY}, .server_count = 2, .from_start = true},
    {STORY(datagrams_one_by_one), .servers = {FAR_GOOD}, .server_count = 1},
    {STORY(datagrams_in_bursts), .servers = {FAR_GOOD}, .server_count = 1},
    {STORY(pipelined), .servers = {FAR_GOOD}, .server_count = 1},
    {STORY(large_answers), .servers = {FAR_GOOD}, .server_count = 1},
    {STORY(server_closes), .servers = {FAR_GOOD, FAR_MOODY}, .server_count = 2},
    {STORY(server_resets), .servers = {FAR_GOOD}, .server_count = 1},
    {STORY(second_server), .servers = {FAR_ABSENT, FAR_GOOD}, .server_count = 2},
    {STORY(failed_handshake), .servers = {FAR_STRANGER, FAR_GOOD}, .server_count = 2},
    {STORY(second_opinion), .servers = {FAR_MOODY, FAR_GOOD}, .server_count = 2},
    {STORY(silent_server), .servers = {FAR_MOODY, FAR_GOOD}, .server_count = 2},
    {STORY(links_grow), .servers = {FAR_GOOD}, .server_count = 1},
    {STORY(link_refreshed), .servers = {FAR_BRIEF}, .server_count = 1},
    {STORY(clients_leave), .servers = {FAR_GOOD}, .server_count = 1},
    {STORY(drained), .servers = {FAR_GOOD}, .server_count = 1},
    {STORY(server_by_name), .servers = {FAR_ABSENT, FAR_GOOD}, .server_count = 2, .from_start = true,
     .by_name = true},
    {STORY(everything_logged), .servers = {FAR_GOOD}, .server_count = 1, .logs = true},
    {STORY(clear_text), .servers = {FAR_BARE}, .server_count = 1},
    {STORY(clear_text_truncated), .servers = {FAR_BARE}, .server_count = 1},
};
const size_t story_count = sizeof stories / sizeof stories[0];
