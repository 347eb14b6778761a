/*
 * Small readers of text that several files of this room need: UTF-8 and ports.
 */
#include "config/table.h"

static uint32_t utf8_least(size_t length)
{
    return length == 1 ? 0x20 : length == 2 ? 0xa0 : length == 3 ? 0x800 : 0x10000;
}

size_t config_utf8_next(struct span text, uint32_t *out)
{
    uint8_t first = text.data[0];
    size_t length = first < 0x80   ? 1
                    : first < 0xc0 ? 0
                    : first < 0xe0 ? 2
                    : first < 0xf0 ? 3
                    : first < 0xf8 ? 4
                                   : 0;
    if (length == 0 || length > text.size) {
        return 0;
    }
    uint32_t point = length == 1 ? first : first & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text.data[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (text.data[i] & 0x3f);
    }
    bool surrogate = point >= 0xd800 && point <= 0xdfff;
    /* 0x80 to 0x9f are control characters too, and terminals obey them. */
    if (point < utf8_least(length) || point == 0x7f || surrogate || point > 0x10ffff) {
        return 0;
    }
    *out = point;
    return length;
}

bool config_port_parse(struct span text, uint16_t *out)
{
    uint32_t port = 0;
    if (text.size == 0 || text.size > 5 || text.data[0] == '0') {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        port = port * 10 + (uint32_t)(text.data[i] - '0');
    }
    *out = (uint16_t)port;
    return port <= UINT16_MAX;
}
