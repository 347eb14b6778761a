/*
 * Who may enter: access lists, and how many connections one client may hold. It returns verdicts; the caller
 * meters them.
 */
#ifndef GUARD_GUARD_H
#define GUARD_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/address.h"
#include "base/hash.h"

/* ---- access lists (access.c) ---- */

/* Immutable once built; any number of threads may ask. */
struct guard_access;

/* Copies the prefixes. The caller frees it. ERROR_MEMORY. */
int guard_access_build(const struct address_prefix *allow, size_t allow_count,
                       const struct address_prefix *deny, size_t deny_count, struct guard_access **out);
void guard_access_free(struct guard_access *access);

/* Whether an address is in an allowed prefix and in no denied one. Cost: logarithmic in the size of the
 * lists. */
bool guard_access_allows(const struct guard_access *access, const struct address *address);

/* ---- connections (connections.c) ---- */

/* Counts of open connections, in all and by client address, shared by all workers without a lock. Clients are
 * counted in buckets under a keyed hash: two clients may share one, with a chance of one in 65,536. */
struct guard_connections;

int guard_connections_open(struct hash_key key, unsigned most, unsigned most_per_client,
                           struct guard_connections **out);
size_t guard_connections_memory(void);
void guard_connections_close(struct guard_connections *connections);

enum guard_verdict { GUARD_ENTER, GUARD_FULL, GUARD_CLIENT_FULL };

/* Counts a connection of the client in, unless a limit is reached. */
enum guard_verdict guard_connections_enter(struct guard_connections *connections,
                                           const struct address *client);

/* Counts out what entered. */
void guard_connections_leave(struct guard_connections *connections, const struct address *client);

#endif
