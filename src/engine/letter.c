/*
 * The letter with addresses, from the engine to whoever supervises it. The one that reads it has more rights
 * than the one that writes it, and takes nothing on trust.
 */
#include <string.h>

#include "base/error.h"

#include "engine/engine.h"

/* The letter, the number of the upstream, and of each address its family and its bytes. */
enum { HEAD_SIZE = 2, ENTRY_SIZE = 1 + 16, IPV4 = 4, IPV6 = 6 };

size_t engine_addresses_write(size_t upstream, const struct address_list *addresses,
                              uint8_t out[ENGINE_ADDRESSES_SIZE])
{
    out[0] = ENGINE_ADDRESSES;
    out[1] = (uint8_t)upstream;
    for (size_t i = 0; i < addresses->count; i++) {
        uint8_t *entry = out + HEAD_SIZE + i * ENTRY_SIZE;
        entry[0] = addresses->items[i].family == AF_INET ? IPV4 : IPV6;
        memcpy(entry + 1, addresses->items[i].bytes, sizeof addresses->items[i].bytes);
    }
    return HEAD_SIZE + addresses->count * ENTRY_SIZE;
}

int engine_addresses_read(struct span letter, size_t *upstream, struct address_list *out)
{
    if (letter.size <= HEAD_SIZE || letter.size > ENGINE_ADDRESSES_SIZE ||
        (letter.size - HEAD_SIZE) % ENTRY_SIZE != 0 || letter.data[0] != ENGINE_ADDRESSES) {
        return ERROR_MALFORMED;
    }
    struct address_list list = {0};
    for (size_t at = HEAD_SIZE; at < letter.size; at += ENTRY_SIZE) {
        bool is_v4 = letter.data[at] == IPV4;
        struct address address = {.family = is_v4 ? AF_INET : AF_INET6};
        if (!is_v4 && letter.data[at] != IPV6) {
            return ERROR_MALFORMED;
        }
        memcpy(address.bytes, letter.data + at + 1, is_v4 ? 4 : sizeof address.bytes);
        if (address_is_any(&address) || address_is_multicast(&address)) {
            return ERROR_MALFORMED;
        }
        address_list_add(&list, &address);
    }
    *upstream = letter.data[1];
    *out = list;
    return 0;
}
