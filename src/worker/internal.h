/* What the files of a worker share: worker.c opens what options.c works out from the configuration. */
#ifndef WORKER_INTERNAL_H
#define WORKER_INTERNAL_H

#include "stream/stream.h"

#include "upstream/upstream.h"

#include "query/query.h"

#include "listen/listen.h"

#include "worker/worker.h"

/* The servers of a group among the first `upstream_count` upstreams, in their order, without what TLS needs.
 * Returns their number. */
size_t worker_servers(const struct config *config, size_t upstream_count, unsigned group,
                      struct upstream_server_options out[CONFIG_UPSTREAMS_MAX]);

/* Of a group. */
struct upstream_options worker_upstream_options(const struct config *config, unsigned group,
                                                const struct upstream_server_options *servers, size_t count);

/* All but the hash key and the number of the worker. */
struct query_options worker_query_options(const struct config *config, unsigned workers);
struct listen_options worker_listen_options(const struct config *config);

#endif
