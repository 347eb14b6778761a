/*
 * All servers at once, each address by a dial of its own, in one loop, once it is known where they are; and
 * the report, when the last one is done. Called by the monitor, in a child of it.
 */
#include "probe/probe.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

#include "net/net.h"

#include "probe/internal.h"

enum { BLOCKS_PER_LINE = 64, LINES_MAX = CONFIG_UPSTREAMS_MAX * ADDRESS_LIST_MAX, LABEL_SIZE = 640 };

struct probe;

/* One address of a server. */
struct line {
    struct probe *probe;
    size_t number;                   /* of the upstream */
    struct config_upstream upstream; /* at this address */
    char label[LABEL_SIZE];
    bool is_left_out;
    struct probe_dial dial;
    struct probe_result result;
};

struct probe {
    const struct probe_setup *setup;
    struct event_loop *loop;
    struct stream_shop shop;
    struct random random;
    size_t running;
    struct probe_lookup lookups[CONFIG_UPSTREAMS_MAX];
    size_t line_count;
    struct line lines[LINES_MAX];
};

/* ---- dialling ---- */

static void on_done(struct probe_dial *dial)
{
    struct probe *probe = container_of(dial, struct line, dial)->probe;
    if (--probe->running == 0) {
        event_loop_stop(probe->loop);
    }
}

static int open_dial(struct line *line)
{
    struct probe *probe = line->probe;
    const struct config *config = probe->setup->config;
    line->result.upstream = &line->upstream;
    line->result.keepalive = -1;
    line->dial.shop = &probe->shop;
    line->dial.config = config;
    line->dial.result = &line->result;
    line->dial.done = on_done;
    line->dial.first_id = random_u16(&probe->random);
    probe_theme_choose(config, line->upstream.group, random_u64(&probe->random), &line->dial.theme);
    if (line->upstream.transport != CONFIG_TLS) {
        return 0;
    }
    struct tls_identity identity = config_upstream_identity(config, &line->upstream);
    return tls_client_build(&identity, probe->setup->trust, &line->dial.client);
}

static struct line *add_line(struct probe *probe, size_t number)
{
    struct line *line = &probe->lines[probe->line_count++];
    line->probe = probe;
    line->number = number;
    line->upstream = probe->setup->config->upstreams[number];
    return line;
}

static bool has_route(const struct address_list *addresses)
{
    bool has = false;
    for (size_t i = 0; i < addresses->count; i++) {
        has |= net_has_route(&addresses->items[i]);
    }
    return has;
}

/* An address that no route leads to is told of, and dialled only where no other one is left. */
static int open_addresses(struct probe *probe, size_t number)
{
    const struct address_list *addresses = &probe->lookups[number].addresses;
    bool has_choice = has_route(addresses);
    int error = 0;
    for (size_t i = 0; i < addresses->count && error == 0; i++) {
        char text[ADDRESS_TEXT_SIZE];
        struct line *line = add_line(probe, number);
        line->upstream.address = addresses->items[i];
        address_format(&addresses->items[i], false, text);
        snprintf(line->label, sizeof line->label, "%s at %s", line->upstream.label, text);
        line->upstream.label = line->label;
        line->is_left_out = has_choice && !net_has_route(&addresses->items[i]);
        error = line->is_left_out ? 0 : open_dial(line);
    }
    return error;
}

/* At most: who is asked for addresses is a line of its own. */
static size_t count_lines(const struct probe_setup *setup)
{
    size_t count = setup->config->bootstrap_count;
    for (size_t i = 0; i < setup->upstream_count; i++) {
        count += setup->config->upstreams[i].host != NULL ? ADDRESS_LIST_MAX : 1;
    }
    return count;
}

static int open_ground(struct probe *probe)
{
    int error = event_loop_open(&probe->loop);
    if (error != 0) {
        return error;
    }
    random_init(&probe->random);
    return stream_shop_open(&probe->shop, probe->loop, count_lines(probe->setup) * BLOCKS_PER_LINE);
}

static int open_lines(struct probe *probe)
{
    int error = open_ground(probe);
    if (error == 0) {
        error = probe_look_up(probe->setup, &probe->shop, &probe->random, probe->lookups);
    }
    for (size_t i = 0; i < probe->setup->upstream_count && error == 0; i++) {
        bool by_name = probe->lookups[i].upstream != NULL;
        error = by_name ? open_addresses(probe, i) : open_dial(add_line(probe, i));
    }
    return error;
}

static void dial_all(struct probe *probe)
{
    event_loop_turn(probe->loop, 0); /* whatever was built before took its time */
    for (size_t i = 0; i < probe->line_count; i++) {
        probe->running += !probe->lines[i].is_left_out;
    }
    for (size_t i = 0; i < probe->line_count; i++) {
        if (!probe->lines[i].is_left_out) {
            probe_dial_begin(&probe->lines[i].dial);
        }
    }
    if (probe->running > 0) {
        event_loop_run(probe->loop);
    }
}

static void close_lines(struct probe *probe)
{
    for (size_t i = 0; i < probe->line_count; i++) {
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

/* Whether one of its addresses works. */
static bool tell_upstream(const struct probe *probe, size_t number, const struct probe_page *page)
{
    bool works = false;
    if (probe->lookups[number].upstream != NULL) {
        probe_report_lookup(&probe->lookups[number], probe->setup->config, page);
    }
    for (size_t i = 0; i < probe->line_count; i++) {
        const struct line *line = &probe->lines[i];
        if (line->number == number && line->is_left_out) {
            tell_left_out(page, &line->upstream);
        } else if (line->number == number) {
            probe_report(&line->result, page);
            works |= line->result.reason == NULL;
        }
    }
    return works;
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
        failed += !tell_upstream(probe, i, &page);
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
