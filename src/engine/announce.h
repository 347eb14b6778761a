/* What an engine logs when it begins to serve. Private to the room. */
#ifndef ENGINE_ANNOUNCE_H
#define ENGINE_ANNOUNCE_H

#include "engine/engine.h"
#include "engine/log_writer.h"
#include "engine/sandbox.h"

/* What its sandbox lacks, its listeners, who is asked in clear text, and that it is ready; in the ring of the
 * main thread. */
void announce_start(const struct engine_setup *setup, const struct sandbox *sandbox,
                    struct log_writer *writer);

#endif
