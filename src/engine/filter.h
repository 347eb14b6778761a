/*
 * Filters of system calls, made from the lists of calls.h when the program is built (tools/make_filters.c),
 * so that a start needs neither the library nor memory for them. Private to the room.
 */
#ifndef ENGINE_FILTER_H
#define ENGINE_FILTER_H

#include "engine/calls.h"

/* For good: what the list allows is allowed, what is a trap raises SIGSYS, and everything else is answered
 * ENOSYS, which the C library takes for an old kernel. no_new_privs must be set. Each looks whether the
 * filter holds: an emulator may say that it does. ERROR_UNSUPPORTED, ERROR_PERMISSION, ERROR_MEMORY, ... */

/* For all threads of the process: what any thread of an engine may make, and to narrow that. */
int filter_take_common(void);

/* For the calling thread. */
int filter_take_own(enum calls_thread thread);

/* The name of a call that is a trap, or "". */
const char *filter_name_of(int number);

#endif
