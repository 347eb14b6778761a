/*
 * Every listening socket, one for each worker. Workers share an address by SO_REUSEPORT, which would also let
 * a second dnseal slip in beside the first: so each address is first bound alone.
 *
 * The sockets belong to the program and outlive engines and configurations: what waits in one is read by
 * whoever serves next. A socket whose address is still listened on is never closed, not even when there are
 * fewer workers than before, since closing it would lose what waits in it: a worker then has two.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include "net/net.h"

#include "monitor/internal.h"

/* All addresses of two configurations, over UDP and TCP, for as many workers as there can be. */
enum { SOCKETS_MOST = 4 * CONFIG_LISTEN_MAX * METRICS_WORKERS_MAX };

enum { BACKLOG = 1024, UDP_BUFFER = 4 * 1024 * 1024, UDP_BUFFER_LEAST = 1024 * 1024 };

/* How long an address may stay taken: an engine that lost its monitor needs a moment to go. */
#define TAKEN_PATIENCE CLOCK_SECOND
#define TAKEN_STEP     (20 * CLOCK_MILLISECOND)

static int bind_one(const struct address *address, bool udp, bool share, int *descriptor, size_t *granted)
{
    return udp ? net_udp_bind(address, share, UDP_BUFFER, descriptor, granted)
               : net_tcp_listen(address, share, BACKLOG, descriptor);
}

static int bind_alone(const struct address *address, bool udp)
{
    for (uint64_t waited = 0;; waited += TAKEN_STEP) {
        int descriptor;
        size_t granted;
        int error = bind_one(address, udp, false, &descriptor, &granted);
        if (error == 0) {
            net_close(descriptor);
        }
        if (error != ERROR_ADDRESS_IN_USE || waited >= TAKEN_PATIENCE) {
            return error;
        }
        struct timespec step = {.tv_nsec = (long)TAKEN_STEP};
        nanosleep(&step, NULL);
    }
}

static const char *way_out(int error)
{
    switch (error) {
    case ERROR_PERMISSION:
        return "ports below 1024 need root, the capability CAP_NET_BIND_SERVICE or, in a container, the "
               "setting "
               "net.ipv4.ip_unprivileged_port_start=0; or choose another port with --listen or "
               "LISTENING_PORT";
    case ERROR_ADDRESS_IN_USE:
        return "another program serves there ('ss -lntup' names it): stop it, or choose another address with "
               "--listen";
    case ERROR_ADDRESS_MISSING:
        return "'ip address' shows the addresses of this machine";
    case ERROR_UNSUPPORTED:
        return "this system has no IPv6: leave the address out";
    default:
        return "choose another address with --listen";
    }
}

struct opening {
    struct socket_table *table;
    struct plan *plan;
    struct journal *journal;
    struct config_report *report;
    size_t before; /* how many sockets were open already */
};

static int refuse(const struct opening *opening, const struct address *address, bool udp, int error)
{
    char text[ADDRESS_TEXT_SIZE];
    address_format(address, true, text);
    complain_to(opening->report, "cannot listen on %s (%s): %s: %s", text, udp ? "udp" : "tcp",
                error_text(error), way_out(error));
    return error;
}

static void warn_of_small_buffer(struct journal *journal, const struct address *address, size_t granted)
{
    if (granted < UDP_BUFFER_LEAST && log_begin(&journal->log, LOG_WARNING, "small_buffer")) {
        log_address(&journal->log, "address", address, true);
        log_number(&journal->log, "bytes", (int64_t)granted);
        log_text(&journal->log, "hint",
                 "bursts may be lost: set net.core.rmem_max to 4194304 or start as root");
        journal_end(journal);
    }
}

/* ---- the table ---- */

static bool is_of(const struct socket_entry *entry, const struct address *address, bool udp)
{
    return entry->udp == udp && address_equal(&entry->address, address);
}

static size_t count_of(const struct socket_table *table, const struct address *address, bool udp)
{
    size_t count = 0;
    for (size_t i = 0; i < table->count; i++) {
        count += is_of(&table->entries[i], address, udp);
    }
    return count;
}

static int make_room(const struct socket_table *table)
{
    return table->count < SOCKETS_MOST ? 0 : ERROR_MEMORY;
}

static int open_socket(struct opening *opening, const struct address *address, bool udp)
{
    int descriptor;
    size_t granted = UDP_BUFFER;
    int error = make_room(opening->table);
    if (error == 0) {
        error = bind_one(address, udp, true, &descriptor, &granted);
    }
    if (error != 0) {
        return refuse(opening, address, udp, error);
    }
    if (udp && count_of(opening->table, address, udp) == 0) {
        warn_of_small_buffer(opening->journal, address, granted);
    }
    opening->table->entries[opening->table->count++] =
        (struct socket_entry){.address = *address, .descriptor = descriptor, .udp = udp};
    return 0;
}

static int open_missing(struct opening *opening, const struct address *address, bool udp)
{
    int error = 0;
    size_t have = activation_count(opening->table->service, address, udp) > 0
                      ? opening->plan->workers /* what was passed serves all of them */
                      : count_of(opening->table, address, udp);
    for (; have < opening->plan->workers && error == 0; have++) {
        error = open_socket(opening, address, udp);
    }
    return error;
}

/* ---- addresses that nobody else may have ---- */

static bool is_loopback_ipv6(const struct address *address)
{
    static const uint8_t loopback[16] = {[15] = 1};
    return address->family == AF_INET6 && memcmp(address->bytes, loopback, sizeof loopback) == 0;
}

/* A machine without IPv6 has no ::1, and a kernel without it no :: either. Everybody's configuration names
 * one of them: done without, if something else is left. */
static bool is_for_lack_of_ipv6(const struct address *address, int error)
{
    bool is_wildcard = address->family == AF_INET6 && address_is_any(address);
    return (error == ERROR_UNSUPPORTED && is_wildcard) ||
           ((error == ERROR_UNSUPPORTED || error == ERROR_ADDRESS_MISSING) && is_loopback_ipv6(address));
}

static bool drop_ipv6(const struct opening *opening, struct config_listen *listen, int error)
{
    struct log *log = &opening->journal->log;
    if (!is_for_lack_of_ipv6(&listen->address, error) || opening->plan->config->listen_count == 1) {
        return false;
    }
    listen->udp = listen->tcp = false;
    if (log_begin(log, LOG_WARNING, "no_ipv6")) {
        log_address(log, "address", &listen->address, true);
        log_text(log, "hint", "this machine has no IPv6 to listen on: the address is left out");
        journal_end(opening->journal);
    }
    return true;
}

/* A socket of our own at that port, at all addresses of the family or at one of them. It keeps others out. */
static bool is_ours(const struct opening *opening, const struct address *address, bool udp)
{
    for (size_t i = 0; i < opening->before; i++) {
        const struct socket_entry *entry = &opening->table->entries[i];
        bool overlaps = address_is_any(address) || address_is_any(&entry->address) ||
                        address_equal(&entry->address, address);
        if (entry->udp == udp && entry->address.family == address->family &&
            entry->address.port == address->port && overlaps) {
            return true;
        }
    }
    return false;
}

static int check_listen(const struct opening *opening, struct config_listen *listen)
{
    const struct address *address = &listen->address;
    bool udp = listen->udp;
    int error = udp && !is_ours(opening, address, true) ? bind_alone(address, true) : 0;
    if (error == 0 && listen->tcp) {
        udp = false;
        error = is_ours(opening, address, false) ? 0 : bind_alone(address, false);
    }
    if (error == 0 || drop_ipv6(opening, listen, error)) {
        return 0;
    }
    return refuse(opening, address, udp, error);
}

static int open_all(struct opening *opening)
{
    const struct config *config = opening->plan->config;
    int error = 0;
    for (size_t i = 0; i < config->listen_count && error == 0; i++) {
        error = check_listen(opening, &config->listen[i]);
    }
    for (size_t i = 0; i < config->listen_count && error == 0; i++) {
        const struct config_listen *listen = &config->listen[i];
        error = listen->udp ? open_missing(opening, &listen->address, true) : 0;
        if (error == 0 && listen->tcp) {
            error = open_missing(opening, &listen->address, false);
        }
    }
    return error;
}

/* ---- sharing out ---- */

static const struct config_listen *listen_of(const struct config *config, const struct socket_entry *entry)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *listen = &config->listen[i];
        if ((entry->udp ? listen->udp : listen->tcp) && address_equal(&listen->address, &entry->address)) {
            return listen;
        }
    }
    return NULL;
}

/* The sockets of an address go round the workers; where there are fewer than workers, several watch one. */
static void give_to_worker(struct opening *opening, unsigned worker)
{
    struct plan *plan = opening->plan;
    for (size_t i = 0; i < opening->table->count; i++) {
        const struct socket_entry *entry = &opening->table->entries[i];
        const struct config_listen *listen = listen_of(plan->config, entry);
        const struct socket_table before = {.entries = opening->table->entries, .count = i};
        size_t nth = count_of(&before, &entry->address, entry->udp);
        size_t count = count_of(opening->table, &entry->address, entry->udp);
        if (listen != NULL && activation_is_for_worker(nth, count, worker, plan->workers)) {
            plan->sockets[plan->socket_count++] = (struct engine_socket){
                .descriptor = entry->descriptor, .udp = entry->udp, .worker = worker, .group = listen->group};
        }
    }
}

static void close_entry(const struct socket_entry *entry)
{
    if (!entry->is_passed) {
        net_close(entry->descriptor);
    }
}

static void close_from(struct socket_table *table, size_t first)
{
    while (table->count > first) {
        close_entry(&table->entries[--table->count]);
    }
}

static int take_passed(struct opening *opening, const struct service_passed *passed)
{
    size_t granted = UDP_BUFFER;
    int error = make_room(opening->table);
    if (error == 0) {
        error = passed->udp ? net_udp_adopt(passed->descriptor, UDP_BUFFER, &granted)
                            : net_tcp_adopt(passed->descriptor);
    }
    if (error != 0) {
        return refuse(opening, &passed->address, passed->udp, error);
    }
    if (passed->udp && count_of(opening->table, &passed->address, true) == 0) {
        warn_of_small_buffer(opening->journal, &passed->address, granted);
    }
    opening->table->entries[opening->table->count++] = (struct socket_entry){
        .address = passed->address, .descriptor = passed->descriptor, .udp = passed->udp, .is_passed = true};
    return 0;
}

/* One that is not needed any more is closed when its place is taken. Whether it is one. */
static bool take_inherited(struct opening *opening, int descriptor)
{
    struct net_served served;
    size_t granted = UDP_BUFFER;
    int error = make_room(opening->table);
    error = error == 0 ? net_served(descriptor, &served) : error;
    if (error == 0) {
        error = served.udp ? net_udp_adopt(descriptor, UDP_BUFFER, &granted) : net_tcp_adopt(descriptor);
    }
    if (error != 0) {
        net_close(descriptor);
        return false;
    }
    opening->table->entries[opening->table->count++] =
        (struct socket_entry){.address = served.address, .descriptor = descriptor, .udp = served.udp};
    return true;
}

static void take_all_inherited(struct opening *opening, struct boot *boot)
{
    const struct handover *handover = boot->handover;
    if (handover == NULL) {
        return;
    }
    for (size_t i = 0; i < handover->socket_count; i++) {
        if (!take_inherited(opening, handover->sockets[i])) {
            store_tell(boot, "socket", STORE_UNREADABLE);
        }
    }
    if (handover->socket_count < handover->sockets_stored) {
        store_tell(boot, "socket", STORE_MISSING);
    }
}

int sockets_open(struct boot *boot, struct config_report *report)
{
    const struct service *service = boot->service;
    struct opening opening = {.table = &boot->table, .journal = &boot->journal, .report = report};
    void *entries;
    int error = memory_open(SOCKETS_MOST * sizeof *boot->table.entries, &entries);
    if (error != 0) {
        complain_to(report, "the list of sockets: %s", error_text(error));
        return error;
    }
    boot->table.entries = entries;
    boot->table.service = service;
    take_all_inherited(&opening, boot);
    for (size_t i = 0; service != NULL && i < service->passed_count && error == 0; i++) {
        error = service->passed[i].stored ? 0 : take_passed(&opening, &service->passed[i]);
    }
    boot->table.inherited = boot->table.count;
    return error;
}

int sockets_share_out(struct socket_table *table, struct plan *plan, struct journal *journal,
                      struct config_report *report)
{
    struct opening opening = {table, plan, journal, report, table->count};
    int error = activation_check(table->service, plan->config, report);
    error = error == 0 ? open_all(&opening) : error;
    if (error == 0) {
        plan->sockets = calloc(table->count * plan->workers + 1, sizeof *plan->sockets);
        error = plan->sockets == NULL ? ERROR_MEMORY : 0;
    }
    if (error != 0) {
        close_from(table, opening.before);
        return error;
    }
    for (unsigned worker = 0; worker < plan->workers; worker++) {
        give_to_worker(&opening, worker);
    }
    return 0;
}

void sockets_withdraw(struct socket_table *table, struct plan *plan)
{
    free(plan->sockets);
    plan->sockets = NULL;
    plan->socket_count = 0;
    close_from(table, table->inherited);
}

static bool is_shared_out(const struct plan *plan, const struct socket_entry *entry)
{
    for (size_t i = 0; i < plan->socket_count; i++) {
        if (plan->sockets[i].descriptor == entry->descriptor) {
            return true;
        }
    }
    return false;
}

/* Also those of an address that is listened on, where the plan has no worker for them: nobody would read
 * them.
 */
void sockets_close_others(struct socket_table *table, const struct plan *plan)
{
    size_t kept = 0;
    if (plan->sockets == NULL) {
        close_from(table, table->inherited); /* an engine of another plan serves */
        return;
    }
    for (size_t i = 0; i < table->count; i++) {
        if (is_shared_out(plan, &table->entries[i])) {
            table->entries[kept++] = table->entries[i];
        } else {
            close_entry(&table->entries[i]);
        }
    }
    table->count = kept;
}

void sockets_close(struct socket_table *table)
{
    close_from(table, 0);
    memory_close(table->entries, SOCKETS_MOST * sizeof *table->entries);
    *table = (struct socket_table){0};
}
