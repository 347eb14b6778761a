/*
 * What a service manager keeps for the next process, as systemd's descriptor store does: the listening
 * sockets with what waits in them, the cache, the counters, and a text in memory that says what they are.
 * That text stays where it is and is written anew in its place, so that the manager need not be told of it,
 * and never has an old one. The monitor calls this whenever a configuration has come into force;
 * handover_read.c takes what comes back.
 */
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include "net/net.h"

#include "monitor/internal.h"

/* So few messages that the manager has not read that there is room for what matters more, such as that the
 * program serves: it may hold ten. */
enum { MESSAGES_AT_ONCE = 4, POLL_MS = 10 };

/* The size of a text that somebody else has written, or nobody to its end. */
#define UNKNOWN SIZE_MAX

/* How long the end of the program waits for a manager. */
#define PATIENCE (100 * CLOCK_MILLISECOND)

#define PAUSE_FIRST (10 * CLOCK_MILLISECOND)
#define PAUSE_MOST  CLOCK_SECOND

/* ---- names ---- */

uint64_t store_inode(int descriptor)
{
    struct stat status;
    return fstat(descriptor, &status) == 0 ? status.st_ino : 0;
}

void store_name_memory(const char *what, int descriptor, char out[STORE_NAME_SIZE])
{
    snprintf(out, STORE_NAME_SIZE, "%s-%ju", what, (uintmax_t)store_inode(descriptor));
}

/* A manager's names have no colon. */
void store_name_socket(const struct address *address, bool udp, char out[STORE_NAME_SIZE])
{
    char text[ADDRESS_TEXT_SIZE];
    address_format(address, true, text);
    for (char *colon = strchr(text, ':'); colon != NULL; colon = strchr(colon, ':')) {
        *colon = '_';
    }
    snprintf(out, STORE_NAME_SIZE, "%s%s", udp ? STORE_UDP : STORE_TCP, text);
}

/* ---- the text ---- */

/* A text that is cut off has no end, and is none. */
static bool write_in_place(int descriptor, const char *text, size_t size)
{
    size_t done = 0;
    ssize_t count = ftruncate(descriptor, 0) == 0;
    while (done < size && count > 0) {
        count = pwrite(descriptor, text + done, size - done, (off_t)done);
        done += count > 0 ? (size_t)count : 0;
    }
    return count > 0;
}

static bool is_told_all(const struct store *store)
{
    const struct boot *boot = store->boot;
    return !store->is_mixed && memchr(boot->forgets, true, sizeof boot->forgets) == NULL;
}

/* One that says the same is left alone: there is no moment without it. */
static void write_text(struct store *store)
{
    char *text = NULL;
    size_t size = 0;
    if (!is_told_all(store) || handover_describe(store->boot, &text, &size) != 0) {
        size = 0;
    }
    bool is_said = true;
    if (store->text < 0) {
        is_said = size > 0 && memory_store(span_of(text, size), "dnseal-store", &store->text) == 0;
    } else if (!span_equal(span_of(text, size), span_of(store->said, store->said_size))) {
        is_said = write_in_place(store->text, text, size);
    }
    free(store->said);
    store->said = is_said ? text : NULL;
    store->said_size = is_said ? size : UNKNOWN;
    if (!is_said) {
        free(text);
    }
}

/* ---- what is to be stored ---- */

static struct store_piece *add(struct store *store, struct span name, uint64_t inode)
{
    size_t size = (store->count + 1) * sizeof *store->pieces;
    struct store_piece *pieces = name.size < STORE_NAME_SIZE ? realloc(store->pieces, size) : NULL;
    if (pieces == NULL) {
        return NULL;
    }
    store->pieces = pieces;
    struct store_piece *piece = &pieces[store->count++];
    *piece = (struct store_piece){.inode = inode, .descriptor = -1};
    memcpy(piece->name, name.data, name.size);
    return piece;
}

/* What there is no memory for is not stored. */
static void want(struct store *store, const char *name, int descriptor)
{
    uint64_t inode = store_inode(descriptor);
    struct store_piece *piece = NULL;
    for (size_t i = 0; i < store->count && piece == NULL; i++) {
        struct store_piece *candidate = &store->pieces[i];
        piece = candidate->inode == inode && strcmp(candidate->name, name) == 0 ? candidate : NULL;
    }
    piece = piece != NULL ? piece : add(store, span_text(name), inode);
    if (piece != NULL) {
        piece->descriptor = descriptor;
        piece->is_wanted = true;
    }
}

static void want_memory(struct store *store, const char *what, int descriptor)
{
    char name[STORE_NAME_SIZE];
    store_name_memory(what, descriptor, name);
    want(store, name, descriptor);
}

/* Where the manager keeps few, the sockets of the last addresses are left out. */
static void want_all(struct store *store)
{
    const struct boot *boot = store->boot;
    for (size_t i = 0; i < store->count; i++) {
        store->pieces[i].is_wanted = false;
    }
    if (store->text >= 0) {
        want(store, STORE_TEXT, store->text);
    }
    if (boot->cache.head != NULL) {
        want_memory(store, "cache", boot->cache.descriptor);
    }
    want_memory(store, "total", boot->total_descriptor);
    for (size_t i = 0; i < boot->table.count; i++) {
        const struct socket_entry *entry = &boot->table.entries[i];
        char name[STORE_NAME_SIZE];
        if (!entry->is_passed) {
            store_name_socket(&entry->address, entry->udp, name);
            want(store, name, entry->descriptor);
        }
    }
}

/* ---- the manager is told ---- */

static bool is_same_name(const struct store *store, size_t a, size_t b)
{
    return strcmp(store->pieces[a].name, store->pieces[b].name) == 0;
}

/* All of one name are forgotten together, and what is wanted of them is stored anew. */
static int forget_others(struct store *store, unsigned *room)
{
    for (size_t i = 0; i < store->count; i++) {
        if (store->pieces[i].is_wanted || !store->pieces[i].is_there) {
            continue;
        }
        int error = *room > 0 ? service_forget(store->boot->service, store->pieces[i].name) : ERROR_AGAIN;
        if (error != 0) {
            return error;
        }
        (*room)--;
        for (size_t k = 0; k < store->count; k++) {
            store->pieces[k].is_there &= !is_same_name(store, i, k);
        }
    }
    return 0;
}

static void drop_forgotten(struct store *store)
{
    size_t kept = 0;
    for (size_t i = 0; i < store->count; i++) {
        if (store->pieces[i].is_wanted || store->pieces[i].is_there) {
            store->pieces[kept++] = store->pieces[i];
        }
    }
    store->count = kept;
}

static int send_wanted(struct store *store, unsigned *room)
{
    for (size_t i = 0; i < store->count;) {
        int descriptors[NET_NOTIFY_PASSED_MAX];
        size_t count = 0, end = i;
        while (end < store->count && count < NET_NOTIFY_PASSED_MAX && is_same_name(store, i, end) &&
               !store->pieces[end].is_there) {
            descriptors[count++] = store->pieces[end++].descriptor;
        }
        if (count == 0) {
            i++;
            continue;
        }
        int error = *room > 0 ? service_store(store->boot->service, store->pieces[i].name, descriptors, count)
                              : ERROR_AGAIN;
        if (error != 0) {
            return error;
        }
        (*room)--;
        for (; i < end; i++) {
            store->pieces[i].is_there = true;
        }
    }
    return 0;
}

static int tell_some(struct store *store, unsigned *room)
{
    int error = forget_others(store, room);
    drop_forgotten(store);
    return error == 0 ? send_wanted(store, room) : error;
}

/* What was told before is read first. A manager that is gone, or does not take it, is told again when there
 * is something new. */
static void tell(struct store *store)
{
    unsigned most = net_notify_is_read(store->boot->service->notify) ? MESSAGES_AT_ONCE : 0;
    unsigned room = most;
    if (tell_some(store, &room) == ERROR_AGAIN) {
        uint64_t longer = 2 * store->pause_for < PAUSE_MOST ? 2 * store->pause_for : PAUSE_MOST;
        store->pause_for = room < most ? PAUSE_FIRST : longer;
        event_timer_set(store->loop, &store->pause, event_now(store->loop) + store->pause_for);
    }
}

static void on_pause_over(struct event_timer *timer)
{
    tell(container_of(timer, struct store, pause));
}

static void tell_the_rest(struct store *store)
{
    unsigned room = UINT_MAX;
    uint64_t end = clock_monotonic() + PATIENCE;
    struct pollfd ready = {.fd = store->boot->service->notify, .events = POLLOUT};
    for (uint64_t now = 0; tell_some(store, &room) == ERROR_AGAIN && now < end; now = clock_monotonic()) {
        (void)poll(&ready, 1, POLL_MS);
    }
}

/* ---- for the others ---- */

void store_update(struct boot *boot)
{
    struct store *store = boot->store;
    if (store != NULL) {
        store->is_mixed = false;
        store->pause_for = PAUSE_FIRST;
        write_text(store);
        want_all(store);
        store->is_known = true;
        tell(store);
    }
}

void store_note(struct boot *boot)
{
    if (boot->store != NULL && boot->store->text >= 0) {
        write_text(boot->store);
    }
}

void store_mix(struct boot *boot)
{
    if (boot->store != NULL) {
        boot->store->is_mixed = true;
        store_note(boot);
    }
}

void store_tell(struct boot *boot, const char *piece, const char *reason)
{
    struct log *log = &boot->journal.log;
    if (boot->handover == NULL || !boot->handover->is_stored || !log_begin(log, LOG_WARNING, "store")) {
        return;
    }
    log_text(log, "piece", piece);
    log_text(log, "reason", reason);
    log_text(
        log, "hint",
        strcmp(reason, STORE_MISSING) == 0
            ? "the service manager did not give it back, and it is begun anew: see FileDescriptorStoreMax"
            : "another version has stored it, or it is not whole: it is begun anew");
    journal_end(&boot->journal);
}

/* ---- life ---- */

int store_open(struct boot *boot, struct event_loop *loop)
{
    struct handover *handover = boot->handover;
    int text = handover != NULL ? handover->stored_text : -1;
    if (!service_is_told(boot->service)) {
        net_close(text);
        return 0;
    }
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return ERROR_MEMORY;
    }
    *store = (struct store){.boot = boot, .loop = loop, .text = text, .said_size = UNKNOWN};
    event_timer_init(&store->pause, on_pause_over);
    boot->store = store;
    for (size_t i = 0; handover != NULL && i < handover->stored_count; i++) {
        struct store_piece *piece = add(store, handover->stored[i].name, handover->stored[i].inode);
        if (piece != NULL) {
            piece->is_there = true;
        }
    }
    return 0;
}

void store_close(struct store *store)
{
    if (store != NULL) {
        if (store->is_known) {
            tell_the_rest(store);
        }
        event_timer_clear(&store->pause);
        net_close(store->text);
        free(store->pieces);
        free(store->said);
        free(store);
    }
}
