/*
 * What the log says of a server: that it is down and why, that it is up again, that it is believed
 * although this machine's clock is wrong, and that it does not keep letters. Called by server.c and
 * datagram.c, which decide when something is worth telling.
 */
#include "base/clock.h"

#include "upstream/internal.h"

static void log_server(struct upstream_server *server, struct log *log)
{
    log_text(log, "upstream", server->options.label);
    log_address(log, "address", &server->told, true);
}

static void log_transport(const struct upstream_server *server, struct log *log)
{
    static const char *const words[] = {"tls", "tcp", "udp"};
    log_text(log, "transport", words[server->options.transport]);
}

static void tell_tls_failure(struct upstream_server *server, const struct tls_failure *failure)
{
    struct log *log = server->pool->around.log;
    if (!log_begin(log, LOG_ERROR, "tls_failure")) {
        return;
    }
    log_server(server, log);
    log_text(log, "reason", tls_reason_word(failure->reason));
    log_text(log, "detail", failure->detail);
    if (failure->not_after != 0) {
        log_text(log, "subject", failure->subject);
        log_moment(log, "not_before", failure->not_before);
        log_moment(log, "not_after", failure->not_after);
    }
    log_end(log, server->pool->around.wall());
}

static const char unnamed_hint[] =
    "the certificate does not bear this address: add the name that it bears, behind #, to the upstream's URL";

void upstream_tell_down(struct upstream_server *server, const struct tls_failure *failure)
{
    struct log *log = server->pool->around.log;
    if (failure != NULL) {
        tell_tls_failure(server, failure);
    }
    if (log_begin(log, LOG_WARNING, "upstream_down")) {
        log_server(server, log);
        log_transport(server, log);
        log_text(log, "reason", server->reason);
        bool unnamed =
            strcmp(server->reason, "wrong_name") == 0 && strchr(server->options.label, '#') == NULL;
        log_text(log, "hint", unnamed ? unnamed_hint : stream_reason_hint(server->reason));
        log_end(log, server->pool->around.wall());
    }
}

void upstream_tell_up(struct upstream_server *server, const struct upstream_link *link)
{
    struct log *log = server->pool->around.log;
    if (log_begin(log, LOG_INFO, "upstream_up")) {
        log_server(server, log);
        log_transport(server, log);
        if (server->options.transport == UPSTREAM_TLS) {
            log_text(log, "tls", stream_version(&link->stream));
            log_boolean(log, "resumed", stream_resumed(&link->stream));
        }
        log_end(log, server->pool->around.wall());
    }
}

void upstream_tell_undated(struct upstream_server *server)
{
    const struct upstream_surroundings *around = &server->pool->around;
    uint64_t now = event_now(around->loop);
    if (server->undated_logged_at != 0 && now - server->undated_logged_at < UPSTREAM_LOG_REPEAT) {
        return;
    }
    server->undated_logged_at = now;
    if (log_begin(around->log, LOG_WARNING, "wrong_clock")) {
        log_server(server, around->log);
        log_moment(around->log, "clock", (int64_t)(around->wall() / CLOCK_SECOND));
        log_text(around->log, "hint",
                 "this machine's clock is before this program was made: set it; until then the server is "
                 "believed by its pins, without the dates of its certificate (without_clock)");
        log_end(around->log, around->wall());
    }
}

void upstream_tell_folding(struct upstream_server *server)
{
    struct log *log = server->pool->around.log;
    if (log_begin(log, LOG_WARNING, "case_folded")) {
        log_server(server, log);
        log_text(
            log, "hint",
            "it does not repeat the letter case of names: forged answers are easier to pass for its own");
        log_end(log, server->pool->around.wall());
    }
}
