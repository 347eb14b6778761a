/*
 * The zones that are answered here by default: the locally served zones of the IANA's registry (RFC 6303, RFC
 * 7793, RFC 8375, RFC 9462, RFC 9665) and the names of special use that no server of the public tree knows
 * (RFC 6761, RFC 7686, RFC 9476). ipv4only.arpa is none of them: it is asked to learn of the way to the
 * servers (RFC 8880).
 */
#include <assert.h>
#include <stdio.h>

#include "local/internal.h"

static const char *const zones[] = {
    "localhost",
    "invalid",
    "test",
    "onion",
    "alt",
    "home.arpa",
    "resolver.arpa",
    "service.arpa",
    "0.in-addr.arpa",
    "10.in-addr.arpa",
    "127.in-addr.arpa",
    "254.169.in-addr.arpa",
    "168.192.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "255.255.255.255.in-addr.arpa",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
};

/* Zones that differ in one number: 172.16.0.0/12 (RFC 1918) and 100.64.0.0/10 (RFC 7793). */
static const struct {
    unsigned first, last, network;
} ranges[] = {{16, 31, 172}, {64, 127, 100}};

static void parse(const char *text, struct local_name *out)
{
    bool is_name = local_name_of_host(span_text(text), out);
    assert(is_name);
}

bool local_special_zone(size_t index, struct local_name *out)
{
    if (index < sizeof zones / sizeof zones[0]) {
        parse(zones[index], out);
        return true;
    }
    index -= sizeof zones / sizeof zones[0];
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        size_t count = ranges[i].last - ranges[i].first + 1;
        if (index < count) {
            char text[40];
            snprintf(text, sizeof text, "%u.%u.in-addr.arpa", ranges[i].first + (unsigned)index,
                     ranges[i].network);
            parse(text, out);
            return true;
        }
        index -= count;
    }
    return false;
}

bool local_special_reverse(size_t index, struct local_name *out)
{
    static const uint8_t ipv4[] = {127, 0, 0, 1}, ipv6[16] = {[15] = 1};
    if (index < 2) {
        local_name_reverse(index == 0 ? ipv4 : ipv6, index == 0 ? sizeof ipv4 : sizeof ipv6, out);
    }
    return index < 2;
}

/* Whether one name is the other, or below it. */
static bool is_within(const struct local_name *name, const struct local_name *zone)
{
    size_t at = 0;
    while (name->size - at > zone->size) {
        at += name->bytes[at] + 1u;
    }
    return name->size - at == zone->size && memcmp(name->bytes + at, zone->bytes, zone->size) == 0;
}

bool local_special_touches(const struct local_name *name)
{
    struct local_name zone;
    for (size_t i = 0; local_special_zone(i, &zone); i++) {
        if (is_within(name, &zone) || is_within(&zone, name)) {
            return true;
        }
    }
    return false;
}
