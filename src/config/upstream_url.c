/*
 * Upstream URLs, the presets, and what makes an identity: an address or host that can be asked and a name
 * that can be looked for in a certificate. There is no way to write an encrypted upstream that is asked
 * without a check, and clear text is only asked for by the schemes udp and tcp.
 */
#include <assert.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"

#include "config/table.h"

enum { LABEL_MAX = 63 };

static const char *const schemes[] = {"tls", "tcp", "udp"};

static const struct config_preset presets[] = {
    {"cloudflare",
     "cloudflare-dns.com",
     {"1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001"}},
    {"google", "dns.google", {"8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"}},
    {"quad9", "dns.quad9.net", {"9.9.9.9", "149.112.112.112", "2620:fe::fe", "2620:fe::9"}},
    {"adguard",
     "dns.adguard-dns.com",
     {"94.140.14.14", "94.140.15.15", "2a10:50c0::ad1:ff", "2a10:50c0::ad2:ff"}},
};

enum { PRESET_COUNT = sizeof presets / sizeof presets[0] };

const struct config_preset *config_preset_at(size_t index)
{
    return index < PRESET_COUNT ? &presets[index] : NULL;
}

const struct config_preset *config_preset_find(const char *word)
{
    for (size_t i = 0; i < PRESET_COUNT; i++) {
        if (strcmp(presets[i].word, word) == 0) {
            return &presets[i];
        }
    }
    return NULL;
}

struct address config_preset_server(const struct config_preset *preset, size_t index)
{
    struct address address = {0};
    int error = address_parse(span_text(preset->servers[index]), CONFIG_DOT_PORT, &address);
    assert(error == 0);
    (void)error;
    return address;
}

const struct config_preset *config_preset_of(const struct address *address)
{
    for (size_t i = 0; i < PRESET_COUNT; i++) {
        for (size_t j = 0; j < CONFIG_PRESET_SERVERS; j++) {
            struct address server = config_preset_server(&presets[i], j);
            if (address_same_host(&server, address)) {
                return &presets[i];
            }
        }
    }
    return NULL;
}

static bool is_letter_or_digit(char letter)
{
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
           (letter >= '0' && letter <= '9');
}

/* RFC 1123, section 2.1: letters, digits and, not at the ends, hyphens. */
static bool label_is_valid(const char *label, size_t size)
{
    if (size == 0 || size > LABEL_MAX || label[0] == '-' || label[size - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (!is_letter_or_digit(label[i]) && label[i] != '-') {
            return false;
        }
    }
    return true;
}

static bool is_host_name(const char *name)
{
    if (strlen(name) > CONFIG_HOST_NAME_MAX) {
        return false;
    }
    for (const char *label = name;;) {
        size_t size = strcspn(label, ".");
        if (!label_is_valid(label, size)) {
            return false;
        }
        if (label[size] == '\0') {
            return true;
        }
        label += size + 1;
    }
}

const char *config_host_name_refusal(const char *name)
{
    struct address address;
    if (address_parse(span_text(name), 0, &address) == 0) {
        return "an address is no name: leave the name out, and the certificate must bear the server's "
               "address";
    }
    if (!is_host_name(name)) {
        return "the name of the certificate is not a valid host name (letters, digits, hyphens and dots)";
    }
    return NULL;
}

static const char *port_refusal(enum config_transport transport, uint16_t port)
{
    if (transport == CONFIG_TLS && port == CONFIG_DNS_PORT) {
        return "port 53 is for clear text; DNS over TLS never uses it (RFC 7858, section 3.1)";
    }
    if (transport != CONFIG_TLS && port == CONFIG_DOT_PORT) {
        return "port 853 is for DNS over TLS; clear text is never sent there (RFC 7858, section 3.1)";
    }
    return NULL;
}

const char *config_server_refusal(enum config_transport transport, const struct address *address)
{
    if (port_refusal(transport, address->port) != NULL) {
        return port_refusal(transport, address->port);
    }
    if (address_is_any(address) || address_is_multicast(address)) {
        return "no server can have this address";
    }
    if (address_is_unscoped(address)) {
        return "a link-local address needs its interface, as in [fe80::1%eth0]";
    }
    return NULL;
}

/* The parts of an authority; a port that was not written has size 0. */
struct authority {
    struct span host, port;
    bool bracketed, port_written;
};

static const char *authority_split(struct span text, struct authority *out)
{
    const uint8_t *end = text.data + text.size;
    const uint8_t *host = text.data;
    const uint8_t *host_end, *colon;
    *out = (struct authority){.bracketed = text.size > 0 && text.data[0] == '['};
    if (out->bracketed) {
        host++;
        host_end = memchr(text.data, ']', text.size);
        if (host_end == NULL) {
            return "the bracket of the address is not closed";
        }
        colon = host_end + 1;
        if (colon < end && *colon != ':') {
            return "expected a colon and a port behind the bracket";
        }
    } else {
        colon = memchr(text.data, ':', text.size);
        colon = colon == NULL ? end : colon;
        host_end = colon;
        if (colon < end && memchr(colon + 1, ':', (size_t)(end - colon - 1)) != NULL) {
            return "an IPv6 address stands in brackets, such as tls://[2001:db8::1]:853";
        }
    }
    out->host = span_of(host, (size_t)(host_end - host));
    out->port_written = colon < end;
    if (out->port_written) {
        out->port = span_of(colon + 1, (size_t)(end - colon - 1));
    }
    return NULL;
}

/* Digits and dots alone are an address with a slip, not a name. */
static bool names_host(const struct authority *authority)
{
    char name[CONFIG_HOST_NAME_MAX + 1];
    if (authority->bracketed || authority->host.size == 0 || authority->host.size >= sizeof name) {
        return false;
    }
    memcpy(name, authority->host.data, authority->host.size);
    name[authority->host.size] = '\0';
    return is_host_name(name) && strspn(name, "0123456789.") < authority->host.size;
}

static const char *host_parse(const struct authority *authority, uint16_t port, struct config_url *out)
{
    if (authority->host.size == 0) {
        return "the address is missing";
    }
    if (!names_host(authority)) {
        return out->transport == CONFIG_TLS
                   ? "expected an address or a host name, as in tls://192.0.2.1:853#NAME, "
                     "tls://[2001:db8::1]:853#NAME or tls://NAME:853"
                   : "expected an address or a host name, as in udp://192.0.2.1, tcp://[2001:db8::1]:53 or "
                     "udp://NAME";
    }
    out->host = authority->host;
    out->address = (struct address){.port = port};
    return port_refusal(out->transport, port);
}

static const char *authority_parse(struct span text, struct config_url *out)
{
    struct authority authority;
    uint16_t port = out->transport == CONFIG_TLS ? CONFIG_DOT_PORT : CONFIG_DNS_PORT;
    const char *refusal = authority_split(text, &authority);
    if (refusal != NULL) {
        return refusal;
    }
    if (authority.port_written && !config_port_parse(authority.port, &port)) {
        return "expected a port from 1 to 65535";
    }
    bool colon = authority.host.size > 0 && memchr(authority.host.data, ':', authority.host.size) != NULL;
    if (colon != authority.bracketed || address_parse(authority.host, port, &out->address) != 0) {
        return host_parse(&authority, port, out);
    }
    return config_server_refusal(out->transport, &out->address);
}

static const char *scheme_refusal(const char *text)
{
    struct address address;
    if (strncmp(text, "https://", 8) == 0 || strncmp(text, "quic://", 7) == 0) {
        return "DNS over TLS is spoken (tls://), and clear text (udp://, tcp://)";
    }
    if (address_parse(span_of(text, strcspn(text, "#@")), 0, &address) == 0) {
        return "is it to be asked over TLS (tls://ADDRESS[:PORT][#NAME]), or in clear text "
               "(udp://ADDRESS[:PORT])?";
    }
    return "expected tls://ADDRESS[:PORT][#NAME], udp://ADDRESS[:PORT], tcp://ADDRESS[:PORT], or one of "
           "cloudflare, google, quad9 and adguard";
}

/* What follows the scheme and its "://"; NULL where it is none that is spoken. */
static const char *scheme_parse(const char *text, enum config_transport *transport)
{
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t size = strlen(schemes[i]);
        if (strncmp(text, schemes[i], size) == 0 && strncmp(text + size, "://", 3) == 0) {
            *transport = (enum config_transport)i;
            return text + size + 3;
        }
    }
    return NULL;
}

const char *config_url_parse(const char *text, struct config_url *out)
{
    *out = (struct config_url){0};
    const char *authority = scheme_parse(text, &out->transport);
    if (authority == NULL) {
        return scheme_refusal(text);
    }
    size_t size = strcspn(authority, "#");
    const char *refusal = authority_parse(span_of(authority, size), out);
    if (refusal != NULL || authority[size] == '\0') {
        return refusal;
    }
    if (out->transport != CONFIG_TLS) {
        return "in clear text there is no certificate that could bear a name: leave out # and the name";
    }
    out->name = authority + size + 1;
    return *out->name == '\0' ? "the name behind # is missing" : config_host_name_refusal(out->name);
}

static char *name_copy(struct config_arena *arena, struct span name)
{
    char *copy = config_arena_text(arena, name);
    for (char *at = copy; at != NULL && *at != '\0'; at++) {
        if (*at >= 'A' && *at <= 'Z') {
            *at = (char)(*at - 'A' + 'a');
        }
    }
    return copy;
}

bool config_upstream_fill(struct config_arena *arena, enum config_transport transport,
                          const struct address *address, const char *name, struct config_upstream *out)
{
    char server[ADDRESS_TEXT_SIZE], url[ADDRESS_TEXT_SIZE + CONFIG_HOST_NAME_MAX + 16];
    address_format(address, true, server);
    *out = (struct config_upstream){.transport = transport, .address = *address};
    if (name != NULL) {
        out->name = name_copy(arena, span_text(name));
        if (out->name == NULL) {
            return false;
        }
    }
    snprintf(url, sizeof url, "%s://%s%s%s", schemes[transport], server, name == NULL ? "" : "#",
             name == NULL ? "" : out->name);
    out->url = config_arena_text(arena, span_text(url));
    return out->url != NULL;
}

/* A host without another name is looked for under its own in its certificate. */
static bool fill_host(struct config_arena *arena, const struct config_url *url, struct config_upstream *out)
{
    char text[2 * CONFIG_HOST_NAME_MAX + 32];
    *out = (struct config_upstream){.transport = url->transport, .address = url->address};
    out->host = name_copy(arena, url->host);
    if (url->name != NULL) {
        out->name = name_copy(arena, span_text(url->name));
    } else if (url->transport == CONFIG_TLS) {
        out->name = out->host;
    }
    if (out->host == NULL || (out->name == NULL && url->transport == CONFIG_TLS)) {
        return false;
    }
    bool has_other = out->name != NULL && strcmp(out->name, out->host) != 0;
    snprintf(text, sizeof text, "%s://%s:%u%s%s", schemes[url->transport], out->host,
             (unsigned)url->address.port, has_other ? "#" : "", has_other ? out->name : "");
    out->url = config_arena_text(arena, span_text(text));
    return out->url != NULL;
}

bool config_url_fill(struct config_arena *arena, const struct config_url *url, struct config_upstream *out)
{
    return url->host.size > 0 ? fill_host(arena, url, out)
                              : config_upstream_fill(arena, url->transport, &url->address, url->name, out);
}

static bool is_vouched_for(const struct config_upstream *server)
{
    return server->transport == CONFIG_TLS && (server->name != NULL || server->pin_count == 0);
}

bool config_needs_authorities(const struct config *config)
{
    bool has_host = false;
    for (size_t i = 0; i < config->upstream_count; i++) {
        if (is_vouched_for(&config->upstreams[i])) {
            return true;
        }
        has_host |= config->upstreams[i].host != NULL;
    }
    for (size_t i = 0; i < config->bootstrap_count && has_host; i++) {
        if (is_vouched_for(&config->bootstrap[i])) {
            return true;
        }
    }
    return false;
}

struct tls_identity config_upstream_identity(const struct config *config,
                                             const struct config_upstream *upstream)
{
    bool by_address = upstream->name == NULL && upstream->pin_count == 0;
    return (struct tls_identity){
        .name = upstream->name,
        .address = by_address ? &upstream->address : NULL,
        .pins = (const uint8_t(*)[TLS_PIN_SIZE])upstream->pins,
        .pin_count = upstream->pin_count,
        .require_1_3 = config->tls.require_1_3,
        .clock_least = clock_source_date(),
        .without_clock = upstream->without_clock,
    };
}
