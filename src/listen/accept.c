/*
 * A listening TCP socket. Accepting is bounded a turn. When the process has no descriptor left, idle
 * connections go first; where there is none, accepting pauses instead of spinning on a socket that stays
 * ready.
 */
#include "base/clock.h"
#include "base/error.h"

#include "listen/internal.h"

enum { ACCEPTS_A_TURN = 64 };

#define PAUSE        (100 * CLOCK_MILLISECOND)
#define LIMIT_REPEAT (60 * CLOCK_SECOND)

static void log_limit(struct listen_hall *hall)
{
    uint64_t now = event_now(hall->around.loop);
    if (hall->limit_logged_at != 0 && now - hall->limit_logged_at < LIMIT_REPEAT) {
        return;
    }
    hall->limit_logged_at = now;
    if (log_begin(hall->around.log, LOG_WARNING, "fd_limit")) {
        log_number(hall->around.log, "connections", (int64_t)hall->connections.taken);
        log_text(hall->around.log, "hint",
                 "no file descriptor is left for clients: raise the limit (ulimit -n)");
        log_end(hall->around.log, hall->around.wall());
    }
}

static void pause_accepting(struct listen_tcp *tcp)
{
    struct event_loop *loop = tcp->hall->around.loop;
    log_limit(tcp->hall);
    if (!listen_close_idle(tcp->hall, METRICS_TCP_CLOSES_PRESSURE)) {
        event_watch_change(&tcp->watch, 0);
        event_timer_set(loop, &tcp->pause, event_now(loop) + PAUSE);
    }
}

static void on_pause_over(struct event_timer *timer)
{
    struct listen_tcp *tcp = container_of(timer, struct listen_tcp, pause);
    event_watch_change(&tcp->watch, EVENT_READ);
}

static void on_ready(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    struct listen_tcp *tcp = container_of(watch, struct listen_tcp, watch);
    for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
        int descriptor;
        struct address remote;
        int error = net_tcp_accept(watch->descriptor, &descriptor, &remote);
        if (error == ERROR_DESCRIPTORS || error == ERROR_MEMORY) {
            pause_accepting(tcp);
            return;
        }
        if (error != 0) {
            return;
        }
        listen_connection_open(tcp, descriptor, &remote);
    }
}

int listen_tcp_open(struct listen_hall *hall, int descriptor, unsigned group)
{
    if (hall->tcp_count == LISTEN_SOCKETS_MAX) {
        return ERROR_EXHAUSTED;
    }
    struct listen_tcp *tcp = &hall->tcp[hall->tcp_count];
    int error = net_local_address(descriptor, &tcp->local);
    if (error != 0) {
        return error;
    }
    tcp->hall = hall;
    tcp->group = group;
    tcp->watch.ready = on_ready;
    event_timer_init(&tcp->pause, on_pause_over);
    error = event_watch_add(hall->around.loop, &tcp->watch, descriptor, EVENT_READ);
    if (error == 0) {
        hall->tcp_count++;
    }
    return error;
}
