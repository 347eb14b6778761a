/* What an engine needs descriptors for. Private to the room. */
#ifndef ENGINE_DESCRIPTORS_H
#define ENGINE_DESCRIPTORS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

/* All that it needs besides the connections of clients. */
uint64_t descriptors_own(const struct engine_setup *setup);

/* Whether that has to do with questions over UDP, which have one each. */
bool descriptors_are_for_udp(const struct engine_setup *setup);

#endif
