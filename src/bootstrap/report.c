/* What the log says of names that are looked up. A failure that goes on is told from time to time. */
#include <stdio.h>
#include <string.h>

#include "bootstrap/internal.h"

/* The same failure is told once a minute, another one of the same name every ten seconds at most. */
#define LOG_REPEAT   (60 * CLOCK_SECOND)
#define LOG_DISTANCE (10 * CLOCK_SECOND)

enum { LIST_TEXT_SIZE = ADDRESS_LIST_MAX * (ADDRESS_TEXT_SIZE + 1) };

static void list_to_text(const struct address_list *list, char out[LIST_TEXT_SIZE])
{
    size_t size = 0;
    for (size_t i = 0; i < list->count; i++) {
        out[size] = ' ';
        size += i > 0;
        size += address_format(&list->items[i], false, out + size);
    }
    out[size] = '\0';
}

void bootstrap_tell_found(const struct bootstrap_name *name, uint64_t lifetime)
{
    struct log *log = name->bootstrap->around.log;
    char text[LIST_TEXT_SIZE];
    list_to_text(&name->given, text);
    if (log_begin(log, LOG_INFO, "bootstrap")) {
        log_text(log, "name", name->target.host);
        log_text(log, "addresses", text);
        log_number(log, "seconds", (int64_t)lifetime);
        log_end(log, name->bootstrap->around.wall());
    }
}

const char *bootstrap_reason_hint(const char *reason)
{
    static const struct {
        const char *reason, *hint;
    } hints[] = {
        {"denied", "there is no such name: check the host name in the upstream's URL"},
        {"no_address", "the name has no address: check the host name in the upstream's URL"},
        {"own_address",
         "the name has the address of a listener of this program, and would be asked in a circle"},
        {"wrong_clock",
         "this machine's clock is before this program was made: set it, or ask a server in clear text for "
         "addresses (udp://), which needs no clock; the names are looked up as soon as the clock is right"},
        {"failure", "the servers of bootstrap cannot say: name others there, or the server by its address"},
    };
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        if (strcmp(hints[i].reason, reason) == 0) {
            return hints[i].hint;
        }
    }
    return NULL;
}

void bootstrap_tell_failure(struct bootstrap_name *name)
{
    struct log *log = name->bootstrap->around.log;
    uint64_t now = event_now(name->bootstrap->around.loop);
    const char *reason = name->reason != NULL ? name->reason : "timeout";
    const char *hint = bootstrap_reason_hint(reason);
    if (name->told != NULL &&
        now - name->told_at < (strcmp(name->told, reason) == 0 ? LOG_REPEAT : LOG_DISTANCE)) {
        return;
    }
    name->told = reason;
    name->told_at = now;
    if (log_begin(log, LOG_WARNING, "bootstrap_failed")) {
        log_text(log, "name", name->target.host);
        log_text(log, "reason", reason);
        log_text(log, "server", name->blamed != NULL ? name->blamed : "");
        log_number(log, "kept", (int64_t)name->given.count);
        log_text(log, "hint",
                 hint != NULL ? hint
                              : "the servers of bootstrap cannot be reached: check the network, and "
                                "upstream_down before this; it is tried again as queries come");
        log_end(log, name->bootstrap->around.wall());
    }
}
