/* What the files of a worker share: worker.c and servers.c open what options.c works out from the
 * configuration. */
#ifndef WORKER_INTERNAL_H
#define WORKER_INTERNAL_H

#include "stream/stream.h"

#include "upstream/upstream.h"

#include "query/query.h"

#include "listen/listen.h"

#include "worker/worker.h"

#include "bootstrap/bootstrap.h"

/* The servers of a group among the first `upstream_count` upstreams, in their order, without what TLS needs
 * and without what was found out about hosts. Returns their number. */
size_t worker_servers(const struct config *config, size_t upstream_count, unsigned group,
                      struct upstream_server_options out[CONFIG_UPSTREAMS_MAX]);

/* Those that are asked for addresses, the same way; all of the configuration's. */
void worker_bootstrap_servers(const struct config *config, size_t upstream_count,
                              struct upstream_server_options out[CONFIG_BOOTSTRAP_MAX]);

/* Of a group. */
struct upstream_options worker_upstream_options(const struct config *config, unsigned group,
                                                const struct upstream_server_options *servers, size_t count);

/* How many of the first so many upstreams are known by name. */
size_t worker_host_count(const struct config *config, size_t upstream_count);

/* Of those; all but who owns it. The servers are those of the option `bootstrap`. */
struct bootstrap_options worker_bootstrap_options(const struct config *config, size_t upstream_count,
                                                  const struct upstream_server_options *servers);

/* All but the hash key and the number of the worker. */
struct query_options worker_query_options(const struct config *config, unsigned workers);
struct listen_options worker_listen_options(const struct config *config);

/* ---- servers.c ---- */

/* Zeroed before it is opened. */
struct worker_servers {
    const struct worker_setup *setup;
    struct upstream_surroundings around;
    struct tls_client *clients[CONFIG_UPSTREAMS_MAX];
    struct tls_client *bootstrap_clients[CONFIG_BOOTSTRAP_MAX];
    struct bootstrap *bootstrap;           /* NULL: no server is known by name */
    size_t named[CONFIG_UPSTREAMS_MAX];    /* the upstream that each name belongs to */
    size_t index_of[CONFIG_UPSTREAMS_MAX]; /* of each upstream in its pool */
    struct upstream_pool *pools[CONFIG_GROUPS_MAX];
    uint8_t partitions[CONFIG_GROUPS_MAX]; /* of the cache, by group */
};

/* What has been opened is closed by the caller after an error as well. ERROR_MEMORY, ... */
int worker_servers_open(struct worker_servers *servers, const struct worker_setup *setup,
                        const struct upstream_surroundings *around);
void worker_servers_close(struct worker_servers *servers);

/* No link and no failure of before counts any more. */
void worker_servers_trust_anew(struct worker_servers *servers);

#endif
