/*
 * The lines of an engine's start, in their order: what a person should know before the others comes first,
 * and `ready` last. Called by engine.c.
 */
#include "engine/announce.h"

#include "base/clock.h"

#include "net/net.h"

#include "engine/clear_text.h"

struct announcement {
    const struct engine_setup *setup;
    struct log *log;
    struct event_mailbox *mailbox;
};

static void end_event(const struct announcement *announcement)
{
    log_end(announcement->log, clock_wall());
    event_mailbox_post(announcement->mailbox);
}

static void log_sandbox(const struct announcement *announcement, const struct sandbox *sandbox)
{
    for (unsigned layer = 0; layer < SANDBOX_LAYER_COUNT; layer++) {
        if (sandbox_begin_event(sandbox, layer, announcement->log)) {
            end_event(announcement);
        }
    }
}

static void log_listening(const struct announcement *announcement)
{
    const struct engine_setup *setup = announcement->setup;
    for (size_t i = 0; i < setup->socket_count && setup->sockets[i].worker == 0; i++) {
        struct address local;
        const struct engine_socket *socket = &setup->sockets[i];
        if (net_local_address(socket->descriptor, &local) == 0 &&
            log_begin(announcement->log, LOG_INFO, "listening")) {
            log_address(announcement->log, "address", &local, true);
            log_text(announcement->log, "transport", socket->udp ? "udp" : "tcp");
            end_event(announcement);
        }
    }
}

static void log_clear_text(const struct announcement *announcement)
{
    const struct config *config = announcement->setup->config;
    for (unsigned group = 0; group < config->group_count; group++) {
        if (clear_text_begin(announcement->log, config, group)) {
            end_event(announcement);
        }
    }
    if (clear_text_begin_bootstrap(announcement->log, config)) {
        end_event(announcement);
    }
}

static void log_ready(const struct announcement *announcement)
{
    if (log_begin(announcement->log, LOG_INFO, "ready")) {
        log_number(announcement->log, "workers", announcement->setup->workers);
        log_number(announcement->log, "upstreams", (int64_t)announcement->setup->upstream_count);
        end_event(announcement);
    }
}

void announce_start(const struct engine_setup *setup, const struct sandbox *sandbox,
                    struct log_writer *writer)
{
    const struct announcement announcement = {setup, log_writer_ring(writer, setup->workers),
                                              log_writer_mailbox(writer)};
    log_sandbox(&announcement, sandbox);
    log_listening(&announcement);
    log_clear_text(&announcement);
    log_ready(&announcement);
}
