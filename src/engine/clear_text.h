/* Tells which groups of servers, and who else, are asked in clear text. Private to the room. */
#ifndef ENGINE_CLEAR_TEXT_H
#define ENGINE_CLEAR_TEXT_H

#include "base/log.h"

#include "config/config.h"

/* The event for a group, if it is one of those; true when there is one to be ended by the caller. */
bool clear_text_begin(struct log *log, const struct config *config, unsigned group);

/* The same for who is asked for the addresses of servers. */
bool clear_text_begin_bootstrap(struct log *log, const struct config *config);

#endif
