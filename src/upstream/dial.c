/*
 * A connection to a server with several addresses (RFC 8305, "happy eyeballs"): it is begun at one, and a
 * quarter of a second later at the next, until the first has proven the server's identity, and then the
 * others are closed. An address that fails makes room for the next at once, and the server fails only when
 * all have. Whatever the address, it is one server: one identity, one health, one budget. Over UDP the
 * address that answers is kept, and one that does not makes room for the next.
 *
 * Which addresses those are may change while it runs. Called by server.c, datagram.c and links that are
 * begun.
 */
#include <assert.h>

#include "base/error.h"

#include "upstream/internal.h"

/* ---- the order ---- */

/* The first of the server's own addresses that is not in the order yet, of this family if there is one. */
static const struct address *find_next(const struct upstream_server *server, uint8_t family)
{
    const struct address *other = NULL;
    for (size_t i = 0; i < server->own_count; i++) {
        const struct address *address = &server->addresses.items[i];
        if (address_list_has(&server->dial.order, address)) {
            continue;
        }
        if (address->family == family) {
            return address;
        }
        other = other == NULL ? address : other;
    }
    return other;
}

/* The address that worked last, then from one family to the other and back, IPv6 first. What was an address
 * before comes at the end, and only where it is that or nothing. */
static void set_order(struct upstream_server *server)
{
    struct address_list *order = &server->dial.order;
    const struct address *next = NULL;
    order->count = 0;
    for (size_t i = 0; i < server->own_count; i++) {
        if (address_equal(&server->addresses.items[i], &server->worked)) {
            next = &server->addresses.items[i];
        }
    }
    next = next != NULL ? next : find_next(server, AF_INET6);
    while (next != NULL) {
        address_list_add(order, next);
        next = find_next(server, next->family == AF_INET6 ? AF_INET : AF_INET6);
    }
    bool is_last_hope = list_empty(&server->open);
    for (size_t i = server->own_count; is_last_hope && i < server->addresses.count; i++) {
        address_list_add(order, &server->addresses.items[i]);
    }
}

static void begin_order(struct upstream_server *server)
{
    set_order(server);
    server->dial.next = server->dial.missed = 0;
}

/* ---- the race ---- */

/* What TLS says is more telling than what TCP says; else the last word counts. */
static void note_failure(struct upstream_dial *dial, const struct upstream_failure *failure)
{
    if (failure->is_of_tls || !dial->failure.is_of_tls) {
        dial->failure = *failure;
    }
}

void upstream_dial_want(const struct upstream_server *server, bool is_urgent)
{
    struct upstream_lookup *lookup = server->options.lookup;
    if (lookup != NULL) {
        lookup->wanted(lookup, is_urgent);
    }
}

static void all_failed(struct upstream_server *server)
{
    struct upstream_failure failure = server->dial.failure; /* what follows may dial anew */
    server->told = failure.address;
    upstream_dial_want(server, true);
    upstream_server_failed(server, failure.error, failure.is_of_tls ? &failure.tls : NULL, failure.reason);
}

static void try_next(struct upstream_server *server)
{
    struct upstream_dial *dial = &server->dial;
    struct event_loop *loop = server->pool->around.loop;
    event_timer_clear(&dial->timer);
    while (dial->next < dial->order.count) {
        const struct address *address = &dial->order.items[dial->next++];
        upstream_server_spend(server);
        int error = upstream_link_open(server, address);
        if (error == 0) {
            if (dial->next < dial->order.count) {
                event_timer_set(loop, &dial->timer, event_now(loop) + UPSTREAM_CONNECTION_DELAY);
            }
            return;
        }
        struct upstream_failure failure = {
            .error = error, .reason = stream_reason_word(error, NULL), .address = *address};
        note_failure(dial, &failure);
    }
    if (!upstream_server_is_dialing(server)) {
        all_failed(server);
    }
}

static void on_next(struct event_timer *timer)
{
    try_next(container_of(timer, struct upstream_server, dial.timer));
}

void upstream_dial_init(struct upstream_server *server)
{
    list_init(&server->connecting);
    event_timer_init(&server->dial.timer, on_next);
    server->addresses = server->options.addresses;
    server->own_count = server->addresses.count;
    server->told = server->addresses.items[0];
    server->reason = server->addresses.count == 0 ? "unresolved" : NULL;
    begin_order(server);
}

void upstream_dial_begin(struct upstream_server *server)
{
    assert(server->addresses.count > 0);
    upstream_dial_want(server, false);
    begin_order(server);
    server->dial.begun_at = event_now(server->pool->around.loop);
    server->dial.failure = (struct upstream_failure){0};
    try_next(server);
}

void upstream_dial_failed(struct upstream_server *server, const struct upstream_failure *failure)
{
    note_failure(&server->dial, failure);
    try_next(server);
}

void upstream_dial_end(struct upstream_server *server)
{
    event_timer_clear(&server->dial.timer);
    begin_order(server);
    while (!list_empty(&server->connecting)) {
        upstream_link_free(container_of(server->connecting.next, struct upstream_link, node));
    }
}

/* Whether it is one of the server's own. */
static bool is_own(const struct upstream_server *server, const struct address *address)
{
    for (size_t i = 0; i < server->own_count; i++) {
        if (address_equal(&server->addresses.items[i], address)) {
            return true;
        }
    }
    return false;
}

void upstream_dial_opened(struct upstream_server *server, const struct upstream_link *link)
{
    server->worked = server->told = link->remote;
    if (is_own(server, &link->remote)) {
        server->addresses.count = server->own_count;
    }
    upstream_dial_end(server);
}

/* ---- over UDP ---- */

static bool is_asked_at(const struct upstream_ask *ask, const struct upstream_server *server,
                        const struct address *address)
{
    for (size_t i = 0; i < UPSTREAM_ATTEMPTS; i++) {
        const struct upstream_attempt *attempt = &ask->attempt[i];
        if (attempt->server == server && address_equal(&attempt->datagram->remote, address)) {
            return true;
        }
    }
    return false;
}

const struct address *upstream_dial_address(const struct upstream_server *server,
                                            const struct upstream_ask *ask)
{
    const struct address_list *order = &server->dial.order;
    for (size_t i = 0; i < order->count; i++) {
        const struct address *address = &order->items[(server->dial.next + i) % order->count];
        if (!is_asked_at(ask, server, address)) {
            return address;
        }
    }
    return &order->items[server->dial.next];
}

void upstream_dial_heard(struct upstream_server *server, const struct address *address)
{
    const struct upstream_dial *dial = &server->dial;
    server->told = *address;
    if (dial->missed == 0 && address_equal(&server->worked, address)) {
        return;
    }
    server->worked = *address;
    if (is_own(server, address)) {
        server->addresses.count = server->own_count;
    }
    begin_order(server);
}

bool upstream_dial_missed(struct upstream_server *server, const struct address *address)
{
    struct upstream_dial *dial = &server->dial;
    server->told = *address;
    if (address_equal(&dial->order.items[dial->next], address)) {
        dial->missed++;
        dial->next = (dial->next + 1) % dial->order.count;
    }
    bool is_last = dial->missed >= dial->order.count;
    if (is_last) {
        upstream_dial_want(server, true);
    }
    return is_last;
}

/* ---- other addresses ---- */

/* A connection that is on its way does not wait for addresses that are gone. */
static void extend(struct upstream_server *server)
{
    bool is_longer = false;
    for (size_t i = 0; i < server->own_count; i++) {
        is_longer |= address_list_add(&server->dial.order, &server->addresses.items[i]);
    }
    if (is_longer) {
        try_next(server);
    }
}

static void keep_former(struct upstream_server *server, const struct address_list *former)
{
    for (size_t i = 0; i < former->count; i++) {
        address_list_add(&server->addresses, &former->items[i]);
    }
}

static void leave_former(struct upstream_server *server)
{
    struct list *node = server->open.next;
    while (node != &server->open) {
        struct upstream_link *link = container_of(node, struct upstream_link, node);
        node = node->next;
        if (!is_own(server, &link->remote)) {
            upstream_link_expire(link);
        }
    }
}

/* Whether it answers there has to be seen. */
static void forget_unresolved(struct upstream_server *server)
{
    uint64_t since;
    if (server->is_unresolved && upstream_fact_health(server->fact, &since) == UPSTREAM_DOWN) {
        upstream_fact_turn(server->fact, UPSTREAM_UNKNOWN, event_now(server->pool->around.loop));
    }
    server->is_unresolved = false;
}

static void set_addresses(struct upstream_server *server, const struct address_list *addresses)
{
    struct address_list former = server->addresses;
    bool was_down = upstream_server_is_down(server), has_new = false;
    server->addresses = *addresses;
    server->own_count = addresses->count;
    for (size_t i = 0; i < addresses->count; i++) {
        has_new |= !address_list_has(&former, &addresses->items[i]);
    }
    if (!is_own(server, &server->worked)) {
        keep_former(server, &former);
    }
    leave_former(server);
    forget_unresolved(server);
    if (was_down && has_new) {
        upstream_server_forgive(server);
    }
    if (upstream_server_is_udp(server)) {
        begin_order(server);
    } else if (upstream_server_is_dialing(server)) {
        extend(server);
    }
    if (was_down && has_new) {
        upstream_place_waiting(server->pool);
    }
}

void upstream_pool_set_addresses(struct upstream_pool *pool, size_t index,
                                 const struct address_list *addresses)
{
    assert(index < pool->server_count && addresses->count > 0);
    set_addresses(&pool->server[index], addresses);
    if (pool->server[index].half != NULL) {
        set_addresses(pool->server[index].half, addresses);
    }
}

/* Another worker may have found its addresses, and reached it: that is known better than this. */
static void set_unresolved(struct upstream_server *server, const char *reason)
{
    uint64_t since;
    if (server->addresses.count > 0) {
        return;
    }
    server->reason = reason;
    if (upstream_fact_health(server->fact, &since) == UPSTREAM_UNKNOWN) {
        upstream_fact_turn(server->fact, UPSTREAM_DOWN, event_now(server->pool->around.loop));
        server->is_unresolved = true;
    }
}

void upstream_pool_unresolved(struct upstream_pool *pool, size_t index, const char *reason)
{
    assert(index < pool->server_count);
    set_unresolved(&pool->server[index], reason);
    if (pool->server[index].half != NULL) {
        set_unresolved(pool->server[index].half, reason);
    }
}
