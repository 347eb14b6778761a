/*
 * Addresses between text, our form and the kernel's. Called with what people write in a configuration and
 * with what the kernel tells about a peer; text is parsed strictly, and an IPv4-mapped address never leaves
 * this file.
 */
#include "base/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

enum { IPV4_SIZE = 4, IPV6_SIZE = 16, MAPPED_BITS = 96, HOST_TEXT_MAX = INET6_ADDRSTRLEN };

static const uint8_t mapped_start[MAPPED_BITS / 8] = {[10] = 0xff, [11] = 0xff};

/* Whether an IPv6 address means nothing without its interface (RFC 4007 section 6). */
static bool is_link_local(const uint8_t *bytes)
{
    return bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
}

static void take_ipv6(const uint8_t *bytes, uint32_t scope, struct address *out)
{
    if (memcmp(bytes, mapped_start, sizeof mapped_start) == 0) {
        out->family = AF_INET;
        memcpy(out->bytes, bytes + sizeof mapped_start, IPV4_SIZE);
        return;
    }
    out->family = AF_INET6;
    out->scope = is_link_local(bytes) ? scope : 0;
    memcpy(out->bytes, bytes, IPV6_SIZE);
}

/* Splits at the first `separator`: what is before it stays in `text`, what is behind it is `rest`, else
 * empty. */
static bool split(struct span *text, char separator, struct span *rest)
{
    const uint8_t *at = text->size > 0 ? memchr(text->data, separator, text->size) : NULL;
    *rest = (struct span){0};
    if (at == NULL) {
        return false;
    }
    size_t before = (size_t)(at - text->data);
    *rest = span_of(at + 1, text->size - before - 1);
    text->size = before;
    return true;
}

/* A decimal number of at most `digits` digits and nothing else. */
static bool parse_number(struct span text, size_t digits, uint64_t *out)
{
    uint64_t value = 0;
    if (text.size == 0 || text.size > digits) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = value;
    return true;
}

static int parse_port(struct span text, uint16_t *out)
{
    uint64_t port;
    if (!parse_number(text, 5, &port) || port > UINT16_MAX) {
        return ERROR_RANGE;
    }
    *out = (uint16_t)port;
    return 0;
}

/* A terminated copy, for the functions of the system that want one. */
static bool copy_text(struct span text, size_t size, char *out)
{
    if (text.size == 0 || text.size >= size || memchr(text.data, '\0', text.size) != NULL) {
        return false;
    }
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
    return true;
}

static int parse_scope(struct span text, uint32_t *out)
{
    uint64_t number;
    if (parse_number(text, 10, &number)) {
        *out = (uint32_t)number;
        return number > 0 && number <= UINT32_MAX ? 0 : ERROR_INVALID;
    }
    char name[IF_NAMESIZE];
    if (!copy_text(text, sizeof name, name)) {
        return ERROR_INVALID;
    }
    *out = if_nametoindex(name);
    return *out != 0 ? 0 : ERROR_INVALID;
}

static int parse_ipv4(struct span text, struct address *out)
{
    char host[HOST_TEXT_MAX];
    if (!copy_text(text, sizeof host, host) || inet_pton(AF_INET, host, out->bytes) != 1) {
        return ERROR_INVALID;
    }
    out->family = AF_INET;
    return 0;
}

static int parse_ipv6(struct span text, struct address *out)
{
    char host[HOST_TEXT_MAX];
    uint8_t bytes[IPV6_SIZE];
    uint32_t scope = 0;
    struct span zone;
    bool scoped = split(&text, '%', &zone);
    if (!copy_text(text, sizeof host, host) || inet_pton(AF_INET6, host, bytes) != 1) {
        return ERROR_INVALID;
    }
    if (scoped && (!is_link_local(bytes) || parse_scope(zone, &scope) != 0)) {
        return ERROR_INVALID;
    }
    take_ipv6(bytes, scope, out);
    return 0;
}

static int parse_bracketed(struct span text, struct address *out)
{
    struct span inside = span_of(text.data + 1, text.size - 1), rest;
    if (!split(&inside, ']', &rest)) {
        return ERROR_INVALID;
    }
    int failed = parse_ipv6(inside, out);
    if (failed || rest.size == 0) {
        return failed;
    }
    return rest.data[0] == ':' ? parse_port(span_of(rest.data + 1, rest.size - 1), &out->port)
                               : ERROR_INVALID;
}

static int parse_ipv4_with_port(struct span text, struct address *out)
{
    struct span port;
    bool has_port = split(&text, ':', &port);
    int failed = parse_ipv4(text, out);
    return failed || !has_port ? failed : parse_port(port, &out->port);
}

/* Two colons are an IPv6 address, one stands before a port. */
static bool looks_like_ipv6(struct span text)
{
    struct span rest, behind;
    return split(&text, ':', &rest) && split(&rest, ':', &behind);
}

unsigned address_bits(const struct address *address)
{
    assert(address->family == AF_INET || address->family == AF_INET6);
    return address->family == AF_INET ? 8 * IPV4_SIZE : 8 * IPV6_SIZE;
}

int address_parse(struct span text, uint16_t default_port, struct address *out)
{
    struct address parsed = {.port = default_port};
    int failed;
    if (text.size > 0 && text.data[0] == '[') {
        failed = parse_bracketed(text, &parsed);
    } else if (looks_like_ipv6(text)) {
        failed = parse_ipv6(text, &parsed);
    } else {
        failed = parse_ipv4_with_port(text, &parsed);
    }
    if (!failed) {
        *out = parsed;
    }
    return failed;
}

size_t address_format(const struct address *address, bool with_port, char out[ADDRESS_TEXT_SIZE])
{
    char host[HOST_TEXT_MAX] = "none";
    char scope[sizeof "%4294967295"] = "";
    bool bracketed = with_port && address->family == AF_INET6;
    if (address->family != AF_UNSPEC) {
        inet_ntop(address->family, address->bytes, host, sizeof host);
    }
    if (address->scope != 0) {
        /* The number, not the name: the name is a system call away. */
        snprintf(scope, sizeof scope, "%%%u", (unsigned)address->scope);
    }
    int size =
        snprintf(out, ADDRESS_TEXT_SIZE, "%s%s%s%s", bracketed ? "[" : "", host, scope, bracketed ? "]" : "");
    if (with_port && address->family != AF_UNSPEC) {
        size += snprintf(out + size, (size_t)(ADDRESS_TEXT_SIZE - size), ":%u", (unsigned)address->port);
    }
    return (size_t)size;
}

/* The bits that a byte at `index` keeps of a prefix of `length` bits. */
static uint8_t byte_mask(unsigned length, size_t index)
{
    unsigned start = 8 * (unsigned)index;
    if (length <= start) {
        return 0;
    }
    unsigned cleared = length >= start + 8 ? 0 : start + 8 - length;
    return (uint8_t)(0xffU << cleared);
}

int address_prefix_parse(struct span text, struct address_prefix *out)
{
    struct address address = {0};
    struct span digits;
    uint64_t length = 0;
    bool has_length = split(&text, '/', &digits);
    if (has_length && !parse_number(digits, 3, &length)) {
        return ERROR_INVALID;
    }
    bool ipv6 = looks_like_ipv6(text);
    if ((ipv6 ? parse_ipv6(text, &address) : parse_ipv4(text, &address)) != 0 || address.scope != 0) {
        return ERROR_INVALID;
    }
    if (!has_length) {
        length = address_bits(&address);
    } else if (ipv6 && address.family == AF_INET) {
        if (length < MAPPED_BITS) {
            return ERROR_INVALID;
        }
        length -= MAPPED_BITS;
    }
    if (length > address_bits(&address)) {
        return ERROR_INVALID;
    }
    struct address_prefix prefix = address_prefix_of(&address, (uint8_t)length);
    if (!address_same_host(&prefix.address, &address)) {
        return ERROR_INVALID;
    }
    *out = prefix;
    return 0;
}

struct address_prefix address_prefix_of(const struct address *address, uint8_t length)
{
    assert(length <= address_bits(address));
    struct address_prefix prefix = {.address.family = address->family, .length = length};
    for (size_t i = 0; i < sizeof address->bytes; i++) {
        prefix.address.bytes[i] = address->bytes[i] & byte_mask(length, i);
    }
    return prefix;
}

bool address_prefix_contains(const struct address_prefix *prefix, const struct address *address)
{
    size_t whole = prefix->length / 8;
    if (prefix->address.family != address->family ||
        memcmp(prefix->address.bytes, address->bytes, whole) != 0) {
        return false;
    }
    return prefix->length % 8 == 0 ||
           ((prefix->address.bytes[whole] ^ address->bytes[whole]) & byte_mask(prefix->length, whole)) == 0;
}

bool address_equal(const struct address *a, const struct address *b)
{
    return a->port == b->port && address_same_host(a, b);
}

bool address_same_host(const struct address *a, const struct address *b)
{
    return a->family == b->family && a->scope == b->scope && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool address_is_multicast(const struct address *address)
{
    static const uint8_t everybody[4] = {255, 255, 255, 255};
    if (address->family == AF_INET) {
        bool is_group = (address->bytes[0] & 0xf0) == 0xe0;
        return is_group || memcmp(address->bytes, everybody, sizeof everybody) == 0;
    }
    return address->bytes[0] == 0xff;
}

bool address_list_has(const struct address_list *list, const struct address *address)
{
    for (size_t i = 0; i < list->count; i++) {
        if (address_equal(&list->items[i], address)) {
            return true;
        }
    }
    return false;
}

bool address_list_add(struct address_list *list, const struct address *address)
{
    if (list->count == ADDRESS_LIST_MAX || address_list_has(list, address)) {
        return false;
    }
    list->items[list->count++] = *address;
    return true;
}

bool address_list_same(const struct address_list *a, const struct address_list *b)
{
    for (size_t i = 0; i < a->count; i++) {
        if (!address_list_has(b, &a->items[i])) {
            return false;
        }
    }
    return a->count == b->count;
}

bool address_is_any(const struct address *address)
{
    static const uint8_t zero[IPV6_SIZE];
    return address->family != AF_UNSPEC && memcmp(address->bytes, zero, sizeof zero) == 0;
}

bool address_is_unscoped(const struct address *address)
{
    return address->family == AF_INET6 && is_link_local(address->bytes) && address->scope == 0;
}

socklen_t address_to_kernel(const struct address *address, struct sockaddr_storage *out)
{
    if (address->family == AF_INET6) {
        struct sockaddr_in6 ipv6 = {
            .sin6_family = AF_INET6, .sin6_port = htons(address->port), .sin6_scope_id = address->scope};
        memcpy(&ipv6.sin6_addr, address->bytes, IPV6_SIZE);
        memcpy(out, &ipv6, sizeof ipv6);
        return sizeof ipv6;
    }
    assert(address->family == AF_INET);
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(address->port)};
    memcpy(&ipv4.sin_addr, address->bytes, IPV4_SIZE);
    memcpy(out, &ipv4, sizeof ipv4);
    return sizeof ipv4;
}

void address_from_kernel(const struct sockaddr *from, struct address *out)
{
    *out = (struct address){0};
    if (from->sa_family == AF_INET) {
        struct sockaddr_in ipv4;
        memcpy(&ipv4, from, sizeof ipv4);
        out->family = AF_INET;
        out->port = ntohs(ipv4.sin_port);
        memcpy(out->bytes, &ipv4.sin_addr, IPV4_SIZE);
    } else if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 ipv6;
        memcpy(&ipv6, from, sizeof ipv6);
        out->port = ntohs(ipv6.sin6_port);
        take_ipv6(ipv6.sin6_addr.s6_addr, ipv6.sin6_scope_id, out);
    }
}
