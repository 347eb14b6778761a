/*
 * All servers at once, each by a dial of its own, in one loop; and the report, when the last one is done.
 * Called by the monitor, in a child of it.
 */
#include "probe/probe.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

#include "probe/internal.h"

enum { BLOCKS_PER_SERVER = 64 };

struct probe;

/* One server. */
struct line {
    struct probe *probe;
    struct probe_dial dial;
    struct probe_result result;
};

struct probe {
    const struct probe_setup *setup;
    struct event_loop *loop;
    struct stream_shop shop;
    struct random random;
    size_t running;
    struct line lines[CONFIG_UPSTREAMS_MAX];
};

/* ---- dialling ---- */

static void on_done(struct probe_dial *dial)
{
    struct probe *probe = container_of(dial, struct line, dial)->probe;
    if (--probe->running == 0) {
        event_loop_stop(probe->loop);
    }
}

static int open_line(struct probe *probe, size_t index)
{
    const struct config *config = probe->setup->config;
    const struct config_upstream *upstream = &config->upstreams[index];
    struct line *line = &probe->lines[index];
    line->probe = probe;
    line->result.upstream = upstream;
    line->result.keepalive = -1;
    line->dial.shop = &probe->shop;
    line->dial.config = config;
    line->dial.result = &line->result;
    line->dial.done = on_done;
    line->dial.first_id = random_u16(&probe->random);
    probe_theme_choose(config, upstream->group, random_u64(&probe->random), &line->dial.theme);
    if (upstream->transport != CONFIG_TLS) {
        return 0;
    }
    struct tls_identity identity = config_upstream_identity(config, upstream);
    return tls_client_build(&identity, probe->setup->trust, &line->dial.client);
}

static int open_ground(struct probe *probe)
{
    int error = event_loop_open(&probe->loop);
    if (error != 0) {
        return error;
    }
    return stream_shop_open(&probe->shop, probe->loop, probe->setup->upstream_count * BLOCKS_PER_SERVER);
}

static int open_lines(struct probe *probe)
{
    int error = open_ground(probe);
    random_init(&probe->random);
    for (size_t i = 0; i < probe->setup->upstream_count && error == 0; i++) {
        error = open_line(probe, i);
    }
    return error;
}

static void dial_all(struct probe *probe)
{
    event_loop_turn(probe->loop, 0); /* whatever was built before took its time */
    probe->running = probe->setup->upstream_count;
    for (size_t i = 0; i < probe->setup->upstream_count; i++) {
        probe_dial_begin(&probe->lines[i].dial);
    }
    event_loop_run(probe->loop);
}

static void close_lines(struct probe *probe)
{
    for (size_t i = 0; i < probe->setup->upstream_count; i++) {
        tls_client_free(probe->lines[i].dial.client);
    }
    if (probe->shop.scratch != NULL) {
        stream_shop_close(&probe->shop);
    }
    if (probe->loop != NULL) {
        event_loop_close(probe->loop);
    }
}

/* ---- telling ---- */

static void tell_left_out(const struct probe_page *page, const struct config_upstream *upstream)
{
    probe_page_head(page, upstream->label, "left out: this machine has no route to it", false);
}

static size_t tell_all(const struct probe *probe)
{
    const struct config *config = probe->setup->config;
    struct probe_page page = {
        .sink = probe->setup->sink,
        .is_coloured = probe->setup->is_coloured,
        .wall = (int64_t)(clock_wall() / CLOCK_SECOND),
        .authorities = config->tls.ca,
        .asks_for_padding = config->tls.padding > 0,
    };
    size_t failed = 0;
    for (size_t i = 0; i < probe->setup->upstream_count; i++) {
        probe_report(&probe->lines[i].result, &page);
        failed += probe->lines[i].result.reason != NULL;
    }
    for (size_t i = probe->setup->upstream_count; i < config->upstream_count; i++) {
        tell_left_out(&page, &config->upstreams[i]);
    }
    return failed;
}

int probe_run(const struct probe_setup *setup, size_t *failed)
{
    void *memory;
    int error = memory_open(sizeof(struct probe), &memory);
    if (error != 0) {
        return error;
    }
    struct probe *probe = memory;
    probe->setup = setup;
    error = open_lines(probe);
    if (error == 0) {
        dial_all(probe);
        *failed = tell_all(probe);
    }
    close_lines(probe);
    memory_close(memory, sizeof *probe);
    return error;
}
