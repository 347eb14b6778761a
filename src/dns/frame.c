/*
 * The two-byte frames of DNS over streams. The stream room calls this with whatever bytes it has; nothing is
 * kept between two calls.
 */
#include "base/error.h"

#include "dns/dns.h"

enum { LENGTH_SIZE = 2 };

int dns_frame_next(struct span bytes, struct span *message, size_t *used)
{
    if (bytes.size < LENGTH_SIZE) {
        *used = LENGTH_SIZE;
        return ERROR_SHORT;
    }
    size_t length = bytes_get_u16(bytes.data);
    if (length < DNS_HEADER_SIZE) {
        return ERROR_MALFORMED;
    }
    *used = LENGTH_SIZE + length;
    if (bytes.size < *used) {
        return ERROR_SHORT;
    }
    *message = span_of(bytes.data + LENGTH_SIZE, length);
    return 0;
}
