/*
 * Names, types and response codes as text, for logs and people. The bytes of a name come from strangers: what
 * is not a plain host name character leaves here escaped, so that no log line can be broken by a question.
 */
#include <stdio.h>
#include <string.h>

#include "base/error.h"

#include "dns/dns.h"

static bool is_plain(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '-' || byte == '_';
}

static char *byte_to_text(uint8_t byte, char *out)
{
    if (is_plain(byte)) {
        *out++ = (char)byte;
        return out;
    }
    *out++ = '\\';
    if (byte == '.') {
        *out++ = '.';
        return out;
    }
    *out++ = (char)('0' + byte / 100);
    *out++ = (char)('0' + byte / 10 % 10);
    *out++ = (char)('0' + byte % 10);
    return out;
}

size_t dns_name_to_text(const uint8_t *name, char out[DNS_NAME_TEXT_SIZE])
{
    char *end = out;
    if (*name == 0) {
        *end++ = '.';
    }
    while (*name != 0) {
        for (const uint8_t *label_end = name + *name; name < label_end;) {
            end = byte_to_text(*++name, end);
        }
        *end++ = '.';
        name++;
    }
    *end = '\0';
    return (size_t)(end - out);
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* What stands behind a backslash. */
static uint8_t escaped_byte(struct bytes_reader *text)
{
    uint8_t first = bytes_read_u8(text);
    if (!is_digit(first)) {
        return first;
    }
    uint8_t second = bytes_read_u8(text), third = bytes_read_u8(text);
    unsigned value = (first - '0') * 100U + (second - '0') * 10U + third - '0';
    text->failed |= !is_digit(second) || !is_digit(third) || value > UINT8_MAX;
    return (uint8_t)value;
}

/* A label and the dot behind it. */
static void label_from_text(struct bytes_reader *text, struct bytes_writer *name)
{
    uint8_t *length = bytes_claim(name, 1);
    size_t begin = bytes_written(name);
    while (bytes_left(text) > 0 && !text->failed) {
        uint8_t byte = bytes_read_u8(text);
        if (byte == '.') {
            break;
        }
        text->failed |= byte <= ' ' || byte > '~';
        bytes_write_u8(name, byte == '\\' ? escaped_byte(text) : byte);
    }
    size_t size = bytes_written(name) - begin;
    text->failed |= size == 0 || size > DNS_LABEL_MAX || name->failed;
    if (!text->failed) {
        *length = (uint8_t)size;
    }
}

int dns_name_from_text(struct span text, uint8_t out[DNS_NAME_MAX], size_t *size)
{
    struct bytes_reader reader = bytes_reader_of(text);
    struct bytes_writer writer = bytes_writer_of(out, DNS_NAME_MAX);
    reader.failed = text.size == 0;
    bool is_root = span_equal(text, span_text("."));
    while (!is_root && bytes_left(&reader) > 0 && !reader.failed) {
        label_from_text(&reader, &writer);
    }
    bytes_write_u8(&writer, 0);
    if (reader.failed || writer.failed) {
        return ERROR_INVALID;
    }
    *size = bytes_written(&writer);
    return 0;
}

static const char *type_name(uint16_t type)
{
    static const char *const names[] = {
        [1] = "A",       [2] = "NS",        [3] = "MD",          [4] = "MF",          [5] = "CNAME",
        [6] = "SOA",     [7] = "MB",        [8] = "MG",          [9] = "MR",          [10] = "NULL",
        [11] = "WKS",    [12] = "PTR",      [13] = "HINFO",      [14] = "MINFO",      [15] = "MX",
        [16] = "TXT",    [17] = "RP",       [18] = "AFSDB",      [24] = "SIG",        [25] = "KEY",
        [28] = "AAAA",   [29] = "LOC",      [33] = "SRV",        [35] = "NAPTR",      [36] = "KX",
        [37] = "CERT",   [39] = "DNAME",    [41] = "OPT",        [42] = "APL",        [43] = "DS",
        [44] = "SSHFP",  [45] = "IPSECKEY", [46] = "RRSIG",      [47] = "NSEC",       [48] = "DNSKEY",
        [49] = "DHCID",  [50] = "NSEC3",    [51] = "NSEC3PARAM", [52] = "TLSA",       [53] = "SMIMEA",
        [55] = "HIP",    [59] = "CDS",      [60] = "CDNSKEY",    [61] = "OPENPGPKEY", [62] = "CSYNC",
        [63] = "ZONEMD", [64] = "SVCB",     [65] = "HTTPS",      [108] = "EUI48",     [109] = "EUI64",
        [249] = "TKEY",  [250] = "TSIG",    [251] = "IXFR",      [252] = "AXFR",      [253] = "MAILB",
        [254] = "MAILA", [255] = "ANY",     [256] = "URI",       [257] = "CAA",
    };
    return type < sizeof names / sizeof names[0] ? names[type] : NULL;
}

static const char *rcode_name(unsigned rcode)
{
    static const char *const names[] = {
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",  "NOTIMP",  "REFUSED", "YXDOMAIN", "YXRRSET",
        "NXRRSET", "NOTAUTH", "NOTZONE",  "DSOTYPENI", NULL,      NULL,      NULL,       NULL,
        "BADVERS", "BADKEY",  "BADTIME",  "BADMODE",   "BADNAME", "BADALG",  "BADTRUNC", "BADCOOKIE",
    };
    return rcode < sizeof names / sizeof names[0] ? names[rcode] : NULL;
}

const char *dns_type_text(uint16_t type, char out[16])
{
    const char *name = type_name(type);
    if (name != NULL) {
        snprintf(out, 16, "%s", name);
    } else {
        snprintf(out, 16, "TYPE%u", (unsigned)type);
    }
    return out;
}

const char *dns_rcode_text(unsigned rcode, char out[16])
{
    const char *name = rcode_name(rcode);
    if (name != NULL) {
        snprintf(out, 16, "%s", name);
    } else {
        snprintf(out, 16, "RCODE%u", rcode);
    }
    return out;
}
