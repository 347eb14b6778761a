/*
 * What was found out about one server, as lines for a person. The head says whether it works, and why not;
 * what is known stands below it, also of a server that fails. Called by probe.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#include "bootstrap/bootstrap.h"
#include "probe/internal.h"

enum { SENTENCE_SIZE = 512, LIST_SIZE = 4096, VALIDITY_SIZE = 64, KEEPALIVE_UNITS = 10 };

static double milliseconds(uint64_t nanoseconds)
{
    return (double)nanoseconds / (double)CLOCK_MILLISECOND;
}

/* ---- the connection ---- */

static void tell_connection(const struct probe_result *result, const struct probe_page *page)
{
    char address[ADDRESS_TEXT_SIZE];
    address_format(&result->upstream->address, true, address);
    if (result->upstream->transport == CONFIG_UDP) {
        probe_page_line(page, "address", "%s, UDP", address);
    } else if (result->is_connected) {
        probe_page_line(page, "address", "%s, TCP in %.1f ms (round trip %.1f ms)", address,
                        milliseconds(result->connect_time), milliseconds(result->round_trip));
    } else {
        probe_page_line(page, "address", "%s", address);
    }
}

static void tell_clear_text(const struct probe_page *page)
{
    probe_page_line(page, "clear text", "whoever is on the way can read and change queries and answers");
}

static void tell_agreement(const struct probe_result *result, const struct probe_page *page)
{
    probe_page_line(page, "tls", "in %.1f ms, %s, %s%s%s, %s", milliseconds(result->handshake_time),
                    result->version, result->cipher, result->group[0] != '\0' ? ", " : "", result->group,
                    result->has_protocol ? "ALPN dot" : "no protocol chosen (ALPN)");
}

static void tell_identity(const struct probe_result *result, const struct probe_page *page)
{
    const struct config_upstream *upstream = result->upstream;
    char address[ADDRESS_TEXT_SIZE];
    address_format(&upstream->address, false, address);
    if (upstream->name != NULL) {
        probe_page_line(page, "identity", "%s, which the certificate bears%s", upstream->name,
                        upstream->pin_count > 0 ? ", and a pinned key" : "");
    } else if (upstream->pin_count > 0) {
        probe_page_line(page, "identity", "a pinned key, and nothing else");
    } else {
        probe_page_line(page, "identity", "%s, which the certificate bears", address);
    }
    if (result->is_undated) {
        probe_page_line(page, "clock", "this machine's clock is wrong: the dates below were not looked at");
    }
}

/* ---- the chain ---- */

static const char *validity(const struct tls_certificate *certificate, int64_t wall, char out[VALIDITY_SIZE])
{
    char apart[PROBE_MOMENT_SIZE];
    if (wall < certificate->not_before) {
        snprintf(out, VALIDITY_SIZE, "begins in %s", probe_distance(certificate->not_before - wall, apart));
    } else if (wall > certificate->not_after) {
        snprintf(out, VALIDITY_SIZE, "ended %s ago", probe_distance(wall - certificate->not_after, apart));
    } else {
        snprintf(out, VALIDITY_SIZE, "%s left", probe_distance(certificate->not_after - wall, apart));
    }
    return out;
}

static void tell_certificate(const struct tls_certificate *certificate, const struct probe_page *page,
                             bool is_own)
{
    char from[PROBE_MOMENT_SIZE], to[PROBE_MOMENT_SIZE], validity_text[VALIDITY_SIZE], pin[TLS_PIN_TEXT_SIZE];
    probe_page_line(page, is_own ? "certificate" : "issuer", "%s, %s to %s, %s", certificate->subject,
                    probe_moment(certificate->not_before, from), probe_moment(certificate->not_after, to),
                    validity(certificate, page->wall, validity_text));
    if (is_own) {
        probe_page_line(page, "names", "%s", certificate->names[0] != '\0' ? certificate->names : "none");
    }
    if (certificate->has_pin && (is_own || certificate->is_pinned)) {
        tls_pin_format(certificate->pin, pin);
        probe_page_line(page, "pin", "%s%s", pin, certificate->is_pinned ? ", which is pinned" : "");
    }
}

static void tell_chain(const struct probe_result *result, const struct probe_page *page)
{
    for (size_t i = 0; i < result->chain_count; i++) {
        tell_certificate(&result->chain[i], page, i == 0);
    }
    if (result->chain_count > 0 && result->chain_count < PROBE_CHAIN_MAX) {
        const struct tls_certificate *last = &result->chain[result->chain_count - 1];
        if (strcmp(last->issuer, last->subject) != 0) {
            probe_page_line(page, "issuer", "%s, which was not seen", last->issuer);
        }
    }
}

/* ---- the service ---- */

static void tell_resumption(const struct probe_result *result, const struct probe_page *page)
{
    static const char *const texts[] = {
        [PROBE_NOT_TRIED] = "not known: there was no second connection",
        [PROBE_RESUMED] = "a second connection resumed the session",
        [PROBE_NOT_RESUMED] = "none: a second connection made a full handshake",
    };
    probe_page_line(page, "resumption", "%s", texts[result->resumption]);
}

static void tell_keepalive(const struct probe_result *result, const struct probe_page *page)
{
    if (result->keepalive < 0) {
        probe_page_line(page, "keepalive", "not told (RFC 7828); the idle limit is learned");
    } else {
        probe_page_line(page, "keepalive", "idle connections are kept for %d.%d s",
                        result->keepalive / KEEPALIVE_UNITS, result->keepalive % KEEPALIVE_UNITS);
    }
}

static void tell_padding(const struct probe_result *result, const struct probe_page *page)
{
    bool fits = result->answer_size % PROBE_PADDING_BLOCK == 0;
    if (!page->asks_for_padding) {
        probe_page_line(page, "padding", "not asked for (tls.padding is 0)");
    } else if (!result->is_padded) {
        probe_page_line(page, "padding", "answers are not padded: their sizes tell what they are about");
    } else if (fits) {
        probe_page_line(page, "padding", "answers are padded to a multiple of %d bytes", PROBE_PADDING_BLOCK);
    } else {
        probe_page_line(page, "padding", "answers are padded (%zu bytes), not to a multiple of %d",
                        result->answer_size, PROBE_PADDING_BLOCK);
    }
}

static void tell_pipelining(const struct probe_result *result, const struct probe_page *page)
{
    if (result->answered < PROBE_SINGLE) {
        probe_page_line(page, "pipelining", "not known: the server closed after %u answer%s",
                        result->answered, result->answered == 1 ? "" : "s");
    } else if (result->answered_together < PROBE_TOGETHER) {
        probe_page_line(page, "pipelining", "%u of %d queries at once were answered",
                        result->answered_together, PROBE_TOGETHER);
    } else {
        probe_page_line(page, "pipelining", "%d queries at once, all answered in %.1f ms, %s", PROBE_TOGETHER,
                        milliseconds(result->together_time),
                        result->is_out_of_order ? "out of order" : "in the order of the queries");
    }
}

static int compare_times(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

static void tell_latency(const struct probe_result *result, const struct probe_page *page)
{
    uint64_t sorted[PROBE_SINGLE];
    memcpy(sorted, result->latency, sizeof sorted);
    qsort(sorted, result->answered, sizeof sorted[0], compare_times);
    probe_page_line(page, "latency", "%.1f ms (the middle of %u, %.1f to %.1f ms)",
                    milliseconds(sorted[result->answered / 2]), result->answered, milliseconds(sorted[0]),
                    milliseconds(sorted[result->answered - 1]));
}

/* Of a server of UDP. */
static void tell_stream(const struct probe_result *result, const struct probe_page *page)
{
    if (result->stream_reason == NULL) {
        probe_page_line(page, "tcp", "in %.1f ms (round trip %.1f ms), for what no datagram carries",
                        milliseconds(result->connect_time), milliseconds(result->round_trip));
    } else {
        probe_page_line(page, "tcp", "fails (%s): what no datagram carries has no answer here",
                        result->stream_reason);
    }
}

static void tell_service(const struct probe_result *result, const struct probe_page *page)
{
    switch (result->upstream->transport) {
    case CONFIG_TLS:
        tell_resumption(result, page);
        tell_keepalive(result, page);
        tell_padding(result, page);
        tell_pipelining(result, page);
        break;
    case CONFIG_TCP:
        tell_keepalive(result, page);
        tell_pipelining(result, page);
        break;
    case CONFIG_UDP:
        tell_stream(result, page);
        break;
    }
    tell_latency(result, page);
}

/* ---- the head ---- */

static void tell_failure(const struct probe_result *result, const struct probe_page *page)
{
    char sentence[SENTENCE_SIZE], verdict[SENTENCE_SIZE + 64];
    probe_explain(result, page, sentence, sizeof sentence);
    snprintf(verdict, sizeof verdict, "FAILS: %s: %s", result->reason, sentence);
    probe_page_head(page, result->upstream->label, verdict, true);
    bool is_told = strcmp(sentence, result->failure.detail) == 0;
    probe_way_out(result, sentence, sizeof sentence);
    probe_page_line(page, "way out", "%s", sentence);
    if (result->failure.detail[0] != '\0' && !is_told) {
        probe_page_line(page, "detail", "%s", result->failure.detail);
    }
}

void probe_report(const struct probe_result *result, const struct probe_page *page)
{
    if (result->reason != NULL) {
        tell_failure(result, page);
    } else {
        probe_page_head(page, result->upstream->label, "works", false);
    }
    tell_connection(result, page);
    if (result->upstream->transport != CONFIG_TLS) {
        tell_clear_text(page);
    }
    if (result->is_secured) {
        tell_agreement(result, page);
        tell_identity(result, page);
    }
    tell_chain(result, page);
    if (result->reason == NULL) {
        tell_service(result, page);
    }
}

/* ---- servers that are known by name ---- */

static void list_addresses(const struct address_list *list, char out[SENTENCE_SIZE])
{
    size_t size = 0;
    out[0] = '\0';
    for (size_t i = 0; i < list->count; i++) {
        out[size] = ' ';
        size += i > 0;
        size += address_format(&list->items[i], false, out + size);
    }
}

static void tell_said(const struct probe_said *said, const char *url, const struct probe_page *page)
{
    char text[SENTENCE_SIZE];
    list_addresses(&said->addresses, text);
    if (said->addresses.count > 0) {
        probe_page_line(page, "asked", "%s: %s, in %.1f ms", url, text, milliseconds(said->time));
    } else {
        const char *hint = bootstrap_reason_hint(said->reason);
        probe_page_line(page, "asked", "%s: fails: %s: %s", url, said->reason,
                        hint != NULL ? hint : stream_reason_hint(said->reason));
    }
}

static void tell_unresolved(const struct probe_lookup *lookup, const struct config *config,
                            const struct probe_page *page)
{
    char verdict[LIST_SIZE];
    size_t size = (size_t)snprintf(
        verdict, sizeof verdict,
        "FAILS: unresolved: nobody who was asked told an address of %s: ", lookup->upstream->host);
    for (size_t i = 0; i < config->bootstrap_count && size < sizeof verdict; i++) {
        size += (size_t)snprintf(verdict + size, sizeof verdict - size, "%s%s (%s)", i == 0 ? "" : ", ",
                                 config->bootstrap[i].url, lookup->said[i].reason);
    }
    probe_page_head(page, lookup->upstream->label, verdict, true);
    probe_page_line(
        page, "way out",
        "see below; or name others in bootstrap, or the server by its address (tls://ADDRESS#NAME)");
}

void probe_report_lookup(const struct probe_lookup *lookup, const struct config *config,
                         const struct probe_page *page)
{
    char addresses[SENTENCE_SIZE], verdict[SENTENCE_SIZE + 16];
    if (lookup->addresses.count == 0) {
        tell_unresolved(lookup, config, page);
    } else {
        list_addresses(&lookup->addresses, addresses);
        snprintf(verdict, sizeof verdict, "is at %s", addresses);
        probe_page_head(page, lookup->upstream->label, verdict, false);
    }
    for (size_t i = 0; i < config->bootstrap_count; i++) {
        tell_said(&lookup->said[i], config->bootstrap[i].url, page);
    }
}
