/*
 * Socket activation: sockets that a service manager opened and passed are served in the place of our own, so
 * that nobody here needs the rights to bind them, and nothing that waits in them is lost while the program is
 * away. The monitor calls this at its start. What was passed is either served or refuses the start: a socket
 * that nobody reads would swallow questions.
 */
#include "base/error.h"

#include "net/net.h"

#include "monitor/internal.h"

/* The default name of a systemd socket is that of its unit. */
static int refuse(const struct service_passed *passed, const char *reason)
{
    complain("LISTEN_FDS: the descriptor %d (%.*s) %s", passed->descriptor, (int)passed->name.size,
             (const char *)passed->name.data, reason);
    return ERROR_INVALID;
}

static int look_at(struct service_passed *passed)
{
    struct net_served served;
    if (net_served(passed->descriptor, &served) != 0) {
        return refuse(
            passed,
            "is neither a bound UDP socket nor a listening TCP socket of IPv4 or IPv6: take it out of "
            "the socket unit; ListenDatagram= and ListenStream= with ADDRESS:PORT are right, and "
            "Accept=yes is not");
    }
    if (served.takes_ipv4) {
        return refuse(passed,
                      "is an IPv6 socket that takes IPv4 as well: write BindIPv6Only=ipv6-only into the "
                      "socket unit, and lines for 0.0.0.0 beside those for [::]");
    }
    passed->address = served.address;
    passed->udp = served.udp;
    return 0;
}

int activation_open(struct service *service)
{
    int error = 0;
    for (size_t i = 0; service != NULL && i < service->passed_count && error == 0; i++) {
        if (!service->passed[i].stored) {
            error = look_at(&service->passed[i]);
        }
    }
    return error;
}

static struct config_listen *find(struct config_listen *list, size_t count, const struct address *address)
{
    for (size_t i = 0; i < count; i++) {
        if (address_equal(&list[i].address, address)) {
            return &list[i];
        }
    }
    return NULL;
}

size_t activation_listeners(const struct service *service, struct config_listen out[CONFIG_LISTEN_MAX])
{
    size_t count = 0;
    for (size_t i = 0; service != NULL && i < service->passed_count; i++) {
        const struct service_passed *passed = &service->passed[i];
        struct config_listen *entry = find(out, count, &passed->address);
        if (passed->stored || (entry == NULL && count == CONFIG_LISTEN_MAX)) {
            continue; /* one too many is refused as one that is not configured */
        }
        if (entry == NULL) {
            entry = &out[count++];
            *entry = (struct config_listen){.address = passed->address};
        }
        entry->udp |= passed->udp;
        entry->tcp |= !passed->udp;
    }
    return count;
}

static bool is_for(const struct service_passed *passed, const struct address *address, bool udp)
{
    return !passed->stored && passed->udp == udp && address_equal(&passed->address, address);
}

size_t activation_count(const struct service *service, const struct address *address, bool udp)
{
    size_t count = 0;
    for (size_t i = 0; service != NULL && i < service->passed_count; i++) {
        count += is_for(&service->passed[i], address, udp);
    }
    return count;
}

int activation_find(const struct service *service, const struct address *address, bool udp, size_t nth)
{
    for (size_t i = 0; service != NULL && i < service->passed_count; i++) {
        if (is_for(&service->passed[i], address, udp) && nth-- == 0) {
            return service->passed[i].descriptor;
        }
    }
    return -1;
}

bool activation_has(const struct service *service, int descriptor)
{
    bool found = false;
    for (size_t i = 0; service != NULL && i < service->passed_count; i++) {
        found |= service->passed[i].descriptor == descriptor;
    }
    return found;
}

bool activation_is_for_worker(size_t nth, size_t count, unsigned worker, unsigned workers)
{
    return nth % workers == worker || worker % count == nth;
}

static bool is_configured(const struct service_passed *passed, const struct config *config)
{
    bool found = false;
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *listen = &config->listen[i];
        found |= (listen->udp && is_for(passed, &listen->address, true)) ||
                 (listen->tcp && is_for(passed, &listen->address, false));
    }
    return found;
}

int activation_check(const struct service *service, const struct config *config, struct config_report *report)
{
    int error = 0;
    for (size_t i = 0; service != NULL && i < service->passed_count; i++) {
        const struct service_passed *passed = &service->passed[i];
        if (!passed->stored && !is_configured(passed, config)) {
            char text[ADDRESS_TEXT_SIZE];
            address_format(&passed->address, true, text);
            complain_to(
                report,
                "LISTEN_FDS: the descriptor %d (%.*s) is a socket for %s (%s), which is not configured: add "
                "it to listen, or take it out of the socket unit; without listen all that is passed is "
                "served",
                passed->descriptor, (int)passed->name.size, (const char *)passed->name.data, text,
                passed->udp ? "udp" : "tcp");
            error = ERROR_INVALID;
        }
    }
    return error;
}
