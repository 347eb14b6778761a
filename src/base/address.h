/*
 * Network addresses: an IPv4 or IPv6 address with a port, its text form, and prefixes. An IPv4-mapped IPv6
 * address is turned into the IPv4 address when it is read, so that one client has one name.
 */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/bytes.h"

enum { ADDRESS_TEXT_SIZE = 80 }; /* longest text of address_format, terminator and scope included */

struct address {
    uint8_t family;    /* AF_INET, AF_INET6, or AF_UNSPEC for none */
    uint16_t port;     /* host order */
    uint32_t scope;    /* interface index of a link-local IPv6 address, else 0 */
    uint8_t bytes[16]; /* network order; IPv4 uses the first four, the others are 0 */
};

struct address_prefix {
    struct address address; /* host bits are 0, port is 0 */
    uint8_t length;         /* bits */
};

/* A few addresses of one host, the preferred one first. */
enum { ADDRESS_LIST_MAX = 8 };

struct address_list {
    size_t count;
    struct address items[ADDRESS_LIST_MAX];
};

/* Number of bits of the family: 32 or 128. */
unsigned address_bits(const struct address *address);

/* Reads "192.0.2.1", "192.0.2.1:53", "[2001:db8::1]:53", "2001:db8::1", "fe80::1%eth0". The port is
 * `default_port` where the text has none. ERROR_INVALID, ERROR_RANGE for a port that is none. */
int address_parse(struct span text, uint16_t default_port, struct address *out);

/* Writes "192.0.2.1:53" or "[2001:db8::1]:53"; without the port where with_port is false. Returns the length.
 */
size_t address_format(const struct address *address, bool with_port, char out[ADDRESS_TEXT_SIZE]);

/* Reads "192.0.2.0/24", "2001:db8::/32" or a single address. Host bits that are set are an error:
 * ERROR_INVALID. */
int address_prefix_parse(struct span text, struct address_prefix *out);

/* Keeps the first `length` bits and clears the rest, port and scope. */
struct address_prefix address_prefix_of(const struct address *address, uint8_t length);

bool address_prefix_contains(const struct address_prefix *prefix, const struct address *address);

/* Same family, bytes, scope and port. */
bool address_equal(const struct address *a, const struct address *b);

/* Same family, bytes and scope. */
bool address_same_host(const struct address *a, const struct address *b);

bool address_list_has(const struct address_list *list, const struct address *address);

/* Adds it where it is new and there is room; whether it did. */
bool address_list_add(struct address_list *list, const struct address *address);

/* The same addresses, in whatever order. Neither list has one twice. */
bool address_list_same(const struct address_list *a, const struct address_list *b);

/* 0.0.0.0 or ::. */
bool address_is_any(const struct address *address);

/* Whether it stands for many: of a group, or the broadcast address of IPv4. */
bool address_is_multicast(const struct address *address);

/* Whether it is a link-local IPv6 address without its interface: nothing can be sent there. */
bool address_is_unscoped(const struct address *address);

/* Between our form and the kernel's. The size of what was written is returned. */
socklen_t address_to_kernel(const struct address *address, struct sockaddr_storage *out);
void address_from_kernel(const struct sockaddr *from, struct address *out);

#endif
