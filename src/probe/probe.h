/*
 * The servers of a configuration, dialled once and explained to a person: who they are, how they speak, what
 * is wrong with those that do not work, and the way out. Each is asked exactly as it is while the program
 * serves: verified before anything is sent, or in clear text where it is written so. To be run in a process
 * without rights: it reads strangers' bytes.
 */
#ifndef PROBE_PROBE_H
#define PROBE_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

#include "tls/tls.h"

#include "config/config.h"

/* Receives the report in pieces. */
struct probe_sink {
    void (*write)(struct probe_sink *sink, struct span text);
};

struct probe_setup {
    const struct config *config;
    size_t upstream_count; /* the first ones are dialled; there is no route to the others */
    struct tls_trust *trust;
    bool is_coloured; /* what fails is told in red */
    struct probe_sink *sink;
};

/* Dials all servers at once, and tells of each in the order of the configuration. `failed` counts those that
 * do not work. It takes as long as a connection and two questions may take at most. ERROR_MEMORY,
 * ERROR_DESCRIPTORS: nothing was told. */
int probe_run(const struct probe_setup *setup, size_t *failed);

#endif
