/* Where connections of clients go when an engine ends, and where they come from. Private to the room. */
#ifndef ENGINE_PASSING_H
#define ENGINE_PASSING_H

#include <stdbool.h>

enum { PASSING_INHERITED_MAX = 4 };

struct passing {
    int heir;                             /* -1: nobody */
    int inherited[PASSING_INHERITED_MAX]; /* -1: free */
};

void passing_init(struct passing *passing);

/* The descriptors are taken: kept, or closed. */

/* Whoever serves next. An heir of before, to whom workers may be sending, gives its number to this one; after
 * the drain has begun without one there is none. */
void passing_set_heir(struct passing *passing, int descriptor, bool is_ending);

/* Whether it is to be watched. */
bool passing_inherit(struct passing *passing, int descriptor);

/* When no worker is left. */
void passing_close(struct passing *passing);

#endif
