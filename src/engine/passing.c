/* The descriptors over which connections of clients pass from engine to engine: workers use them, this keeps
 * them. Called by engine.c. */
#include "engine/passing.h"

#include <stddef.h>

#include "net/net.h"

void passing_init(struct passing *passing)
{
    passing->heir = -1;
    for (size_t i = 0; i < PASSING_INHERITED_MAX; i++) {
        passing->inherited[i] = -1;
    }
}

void passing_set_heir(struct passing *passing, int descriptor, bool is_ending)
{
    if (passing->heir < 0 && !is_ending) {
        passing->heir = descriptor;
        return;
    }
    if (passing->heir >= 0 && descriptor >= 0) {
        (void)net_replace(passing->heir, descriptor); /* else connections go where they went */
    }
    net_close(descriptor);
}

bool passing_inherit(struct passing *passing, int descriptor)
{
    for (size_t i = 0; i < PASSING_INHERITED_MAX && descriptor >= 0; i++) {
        if (passing->inherited[i] < 0) {
            passing->inherited[i] = descriptor;
            return true;
        }
    }
    net_close(descriptor);
    return false;
}

void passing_close(struct passing *passing)
{
    net_close(passing->heir);
    for (size_t i = 0; i < PASSING_INHERITED_MAX; i++) {
        net_close(passing->inherited[i]);
    }
    passing_init(passing);
}
