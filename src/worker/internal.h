/* What the files of a worker share: worker.c opens what options.c works out from the configuration. */
#ifndef WORKER_INTERNAL_H
#define WORKER_INTERNAL_H

#include "stream/stream.h"

#include "upstream/upstream.h"

#include "query/query.h"

#include "listen/listen.h"

#include "worker/worker.h"

/* Of a group. */
struct upstream_options worker_upstream_options(const struct config *config, unsigned group,
                                                const struct upstream_server_options *servers, size_t count);

/* All but the hash key and the number of the worker. */
struct query_options worker_query_options(const struct config *config, unsigned workers);
struct listen_options worker_listen_options(const struct config *config);

#endif
