/*
 * What is wrong with a server, in a sentence, and the way out. The words are those of the log; what the
 * sentence adds is what was seen: which names the certificate bears, when it ended, which key is there.
 * Called by report.c.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "probe/internal.h"

struct text {
    char *at;
    size_t size;
};

/* Empty where none came. */
static const struct tls_certificate *own_certificate(const struct probe_result *result)
{
    return &result->chain[0];
}

static void explain_by_word(const struct probe_result *result, const struct probe_page *page, struct text out)
{
    static const struct {
        const char *reason, *sentence;
    } sentences[] = {
        {"refused", "nothing listens there: the connection was refused"},
        {"unreachable", "there is no route to it"},
        {"forbidden", "this machine does not allow what is sent to it"},
        {"failed", "the system refuses to send to it"},
        {"timeout", "the system gave the connection up"},
        {"descriptors", "no file descriptor is left for it"},
        {"memory", "memory ran out"},
        {"connect_timeout", "no answer to the TCP connection"},
        {"handshake_timeout", "TCP connects, but TLS is never finished"},
        {"closed", "TCP connects, but the server closes the connection during the TLS handshake"},
        {"reset", "the server resets the connection"},
        {"not_tls", "TCP connects, but what the server sends is not TLS"},
        {"alpn", "the server chose a protocol other than dot (ALPN)"},
        {"version", "there is no version of TLS that both speak"},
        {"cipher", "there is no cipher suite that both speak"},
        {"alert", "the server sent an alert"},
    };
    (void)page;
    for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++) {
        if (strcmp(sentences[i].reason, result->reason) == 0) {
            snprintf(out.at, out.size, "%s", sentences[i].sentence);
            return;
        }
    }
    snprintf(out.at, out.size, "%s", result->failure.detail);
}

/* What was well until then. */
static const char *so_far(const struct probe_result *result)
{
    static const char *const words[] = {
        [CONFIG_TLS] = "TLS is fine, but ",
        [CONFIG_TCP] = "TCP connects, but ",
        [CONFIG_UDP] = "",
    };
    return words[result->upstream->transport];
}

static void explain_service(const struct probe_result *result, const struct probe_page *page, struct text out)
{
    static const struct {
        const char *reason, *sentence;
    } sentences[] = {
        {"no_answer", "no answer to a DNS query comes"},
        {"hung_up", "the server closes the connection when it is asked"},
        {"malformed", "what comes is no DNS answer"},
        {"mismatch", "it answers what was not asked"},
    };
    size_t i = 0;
    (void)page;
    while (strcmp(sentences[i].reason, result->reason) != 0) {
        i++;
        assert(i < sizeof sentences / sizeof sentences[0]);
    }
    snprintf(out.at, out.size, "%s%s", so_far(result), sentences[i].sentence);
}

static void explain_rcode(const struct probe_result *result, const struct probe_page *page, struct text out)
{
    char code[16];
    (void)page;
    snprintf(out.at, out.size, "%sit answers %s to a harmless query", so_far(result),
             dns_rcode_text(result->rcode, code));
}

/* Over UDP there is no connection that could be refused. */
static void explain_refusal(const struct probe_result *result, const struct probe_page *page, struct text out)
{
    if (result->upstream->transport == CONFIG_UDP) {
        snprintf(out.at, out.size, "nothing listens there: a message of the network (ICMP) says so");
    } else {
        explain_by_word(result, page, out);
    }
}

static void explain_name(const struct probe_result *result, const struct probe_page *page, struct text out)
{
    char address[ADDRESS_TEXT_SIZE];
    (void)page;
    address_format(&result->upstream->address, false, address);
    const char *names = own_certificate(result)->names;
    snprintf(out.at, out.size, "the certificate bears %s, and not %s",
             names[0] != '\0' ? names : "no name at all (its subject does not count)",
             result->upstream->name != NULL ? result->upstream->name : address);
}

/* The first certificate of the chain that is outside its time; its own where none is. */
static const struct tls_certificate *untimely(const struct probe_result *result, int64_t wall)
{
    for (size_t i = 0; i < result->chain_count; i++) {
        if (wall < result->chain[i].not_before || wall > result->chain[i].not_after) {
            return &result->chain[i];
        }
    }
    return own_certificate(result);
}

static void explain_time(const struct probe_result *result, const struct probe_page *page, struct text out)
{
    char edge[PROBE_MOMENT_SIZE], now[PROBE_MOMENT_SIZE], apart[PROBE_MOMENT_SIZE];
    const struct tls_certificate *certificate = untimely(result, page->wall);
    bool is_over = page->wall > certificate->not_after;
    int64_t distance = is_over ? page->wall - certificate->not_after : certificate->not_before - page->wall;
    snprintf(out.at, out.size, "the certificate of %s %s %s, %s %s by this machine's clock (%s)",
             certificate->subject, is_over ? "ended" : "begins",
             probe_moment(is_over ? certificate->not_after : certificate->not_before, edge),
             probe_distance(distance, apart), is_over ? "ago" : "from now", probe_moment(page->wall, now));
}

static void explain_authority(const struct probe_result *result, const struct probe_page *page,
                              struct text out)
{
    if (result->chain_count == 0) {
        explain_by_word(result, page, out);
        return;
    }
    const struct tls_certificate *last = &result->chain[result->chain_count - 1];
    bool is_root = strcmp(last->subject, last->issuer) == 0;
    snprintf(out.at, out.size,
             is_root ? "the chain ends at %s, which is not in %s"
                     : "the chain lacks %s, which the server did not send and which is not in %s",
             last->issuer, page->authorities);
}

static void explain_self_signed(const struct probe_result *result, const struct probe_page *page,
                                struct text out)
{
    snprintf(out.at, out.size, "the certificate of %s is signed by itself, and is not in %s",
             own_certificate(result)->subject, page->authorities);
}

static void explain_pin(const struct probe_result *result, const struct probe_page *page, struct text out)
{
    char pin[TLS_PIN_TEXT_SIZE];
    (void)page;
    tls_pin_format(own_certificate(result)->pin, pin);
    snprintf(out.at, out.size, "none of the pinned keys is there; the server's own is %s", pin);
}

void probe_explain(const struct probe_result *result, const struct probe_page *page, char *out, size_t size)
{
    static const struct {
        const char *reason;
        void (*explain)(const struct probe_result *, const struct probe_page *, struct text);
    } explanations[] = {
        {"rcode", explain_rcode},
        {"no_answer", explain_service},
        {"hung_up", explain_service},
        {"malformed", explain_service},
        {"mismatch", explain_service},
        {"refused", explain_refusal},
        {"wrong_name", explain_name},
        {"expired", explain_time},
        {"not_yet_valid", explain_time},
        {"unknown_ca", explain_authority},
        {"self_signed", explain_self_signed},
        {"pin", explain_pin},
    };
    struct text text = {.at = out, .size = size};
    for (size_t i = 0; i < sizeof explanations / sizeof explanations[0]; i++) {
        if (strcmp(explanations[i].reason, result->reason) == 0) {
            explanations[i].explain(result, page, text);
            return;
        }
    }
    explain_by_word(result, page, text);
}

/* Whether a URL can have it behind its #: a stranger wrote it, and whoever reads this copies it. */
static bool is_usable(struct span name)
{
    char text[CONFIG_HOST_NAME_MAX + 1];
    if (name.size > CONFIG_HOST_NAME_MAX) {
        return false;
    }
    memcpy(text, name.data, name.size);
    text[name.size] = '\0';
    return config_host_name_refusal(text) == NULL;
}

/* The first such name; of size 0 where none is. */
static struct span usable_name(const char *names)
{
    for (size_t size; *names != '\0'; names += size + strspn(names + size, ", ")) {
        struct span name = span_of(names, size = strcspn(names, ","));
        if (is_usable(name)) {
            return name;
        }
    }
    return span_of(names, 0);
}

/* Whether the server's address is among the names. */
static bool bears_address(const char *names, const struct address *server)
{
    for (size_t size; *names != '\0'; names += size + strspn(names + size, ", ")) {
        struct address address;
        if (address_parse(span_of(names, size = strcspn(names, ",")), 0, &address) == 0 &&
            address_same_host(&address, server)) {
            return true;
        }
    }
    return false;
}

static void way_to_another_name(const struct probe_result *result, struct text out)
{
    const char *names = own_certificate(result)->names;
    const struct address *address = &result->upstream->address;
    struct span name = usable_name(names);
    const char *host = result->upstream->host;
    char server[ADDRESS_TEXT_SIZE];
    address_format(address, true, server);
    if (name.size > 0 && host != NULL) {
        snprintf(out.at, out.size, "if that is whom you mean, write tls://%s:%u#%.*s", host,
                 (unsigned)address->port, (int)name.size, (const char *)name.data);
    } else if (name.size > 0) {
        snprintf(out.at, out.size, "if that is whom you mean, write tls://%s#%.*s", server, (int)name.size,
                 (const char *)name.data);
    } else if (bears_address(names, address)) {
        snprintf(out.at, out.size,
                 "the certificate bears the address: without a name, as tls://%s, that is enough", server);
    } else {
        snprintf(out.at, out.size, "%s", stream_reason_hint(result->reason));
    }
}

/* A server need not send the authority itself, so that nobody can know from here which of the two it is. */
static void way_to_authority(const struct probe_result *result, struct text out)
{
    const struct tls_certificate *last =
        result->chain_count == 0 ? own_certificate(result) : &result->chain[result->chain_count - 1];
    if (last->issuer[0] == '\0' || strcmp(last->subject, last->issuer) == 0) {
        snprintf(out.at, out.size, "%s", stream_reason_hint(result->reason));
    } else {
        snprintf(out.at, out.size,
                 "if %s is an authority that you trust, add it to tls.ca; else the server has to send its "
                 "certificate: tell its operator",
                 last->issuer);
    }
}

void probe_way_out(const struct probe_result *result, char *out, size_t size)
{
    static const struct {
        const char *reason, *way;
    } ways[] = {
        {"no_answer", "is it a DNS server? ask its operator"},
        {"hung_up", "does it serve this machine's address? ask its operator"},
        {"malformed", "is it a DNS server? ask its operator"},
        {"mismatch", "ask its operator"},
        {"rcode", "does it serve this machine's address, and this name? ask its operator"},
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (strcmp(ways[i].reason, result->reason) == 0) {
            snprintf(out, size, "%s", ways[i].way);
            return;
        }
    }
    struct text text = {.at = out, .size = size};
    if (strcmp(result->reason, "wrong_name") == 0) {
        way_to_another_name(result, text);
    } else if (strcmp(result->reason, "unknown_ca") == 0) {
        way_to_authority(result, text);
    } else {
        snprintf(out, size, "%s", stream_reason_hint(result->reason));
    }
}
