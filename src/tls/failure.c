/*
 * The words for what went wrong: the library's many codes on one side, the few reasons of the log and the
 * meters on the other, and what is worth knowing of the peer's certificate. Called by context.c and
 * session.c. What a peer chose to write into its certificate leaves here as printable ASCII.
 */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <time.h>

#include "tls/internal.h"

enum { MOMENT_SIZE = 32 };

struct meaning {
    int code;
    enum tls_reason reason;
};

static const char *const words[TLS_REASON_COUNT] = {
#define X(name, word) [TLS_REASON_##name] = word,
    TLS_REASONS(X)
#undef X
};

static const struct meaning verification_meanings[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, TLS_REASON_EXPIRED},
    {X509_V_ERR_CERT_NOT_YET_VALID, TLS_REASON_NOT_YET_VALID},
    {X509_V_ERR_HOSTNAME_MISMATCH, TLS_REASON_WRONG_NAME},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, TLS_REASON_WRONG_NAME},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, TLS_REASON_SELF_SIGNED},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, TLS_REASON_UNKNOWN_CA},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, TLS_REASON_UNKNOWN_CA},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, TLS_REASON_UNKNOWN_CA},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, TLS_REASON_UNKNOWN_CA},
    {X509_V_ERR_CERT_UNTRUSTED, TLS_REASON_UNKNOWN_CA},
    {X509_V_ERR_INVALID_PURPOSE, TLS_REASON_PURPOSE},
    {X509_V_ERR_CERT_REJECTED, TLS_REASON_PURPOSE},
    {X509_V_ERR_EE_KEY_TOO_SMALL, TLS_REASON_WEAK},
    {X509_V_ERR_CA_KEY_TOO_SMALL, TLS_REASON_WEAK},
    {X509_V_ERR_CA_MD_TOO_WEAK, TLS_REASON_WEAK},
    {X509_V_ERR_APPLICATION_VERIFICATION, TLS_REASON_PIN},
    {X509_V_ERR_OUT_OF_MEM, TLS_REASON_OTHER},
    {X509_V_ERR_UNSPECIFIED, TLS_REASON_OTHER},
};

static const struct meaning library_meanings[] = {
    {SSL_R_UNSUPPORTED_PROTOCOL, TLS_REASON_VERSION},
    {SSL_R_WRONG_SSL_VERSION, TLS_REASON_VERSION},
    {SSL_R_VERSION_TOO_LOW, TLS_REASON_VERSION},
    {SSL_R_UNKNOWN_SSL_VERSION, TLS_REASON_VERSION},
    {SSL_R_INAPPROPRIATE_FALLBACK, TLS_REASON_VERSION},
    {SSL_R_BAD_LEGACY_VERSION, TLS_REASON_VERSION},
    {SSL_R_WRONG_CIPHER_RETURNED, TLS_REASON_CIPHER},
    {SSL_R_UNKNOWN_CIPHER_RETURNED, TLS_REASON_CIPHER},
    {SSL_R_UNKNOWN_KEY_EXCHANGE_TYPE, TLS_REASON_CIPHER},
    {SSL_R_WRONG_CURVE, TLS_REASON_CIPHER},
    {SSL_R_EE_KEY_TOO_SMALL, TLS_REASON_WEAK},
    {SSL_R_CA_KEY_TOO_SMALL, TLS_REASON_WEAK},
    {SSL_R_CA_MD_TOO_WEAK, TLS_REASON_WEAK},
    {SSL_R_DH_KEY_TOO_SMALL, TLS_REASON_WEAK},
    {SSL_R_WRONG_VERSION_NUMBER, TLS_REASON_NOT_TLS},
    {SSL_R_HTTP_REQUEST, TLS_REASON_NOT_TLS},
    {SSL_R_HTTPS_PROXY_REQUEST, TLS_REASON_NOT_TLS},
    {SSL_R_UNEXPECTED_EOF_WHILE_READING, TLS_REASON_CLOSED},
    {SSL_AD_REASON_OFFSET + SSL_AD_PROTOCOL_VERSION, TLS_REASON_VERSION},
    {SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE, TLS_REASON_CIPHER},
    {SSL_AD_REASON_OFFSET + SSL_AD_INSUFFICIENT_SECURITY, TLS_REASON_CIPHER},
    {SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL, TLS_REASON_ALPN},
};

static enum tls_reason find_meaning(const struct meaning *table, size_t count, int code,
                                    enum tls_reason otherwise)
{
    for (size_t i = 0; i < count; i++) {
        if (table[i].code == code) {
            return table[i].reason;
        }
    }
    return otherwise;
}

static enum tls_reason reason_of_library(int code)
{
    enum tls_reason otherwise = code >= SSL_AD_REASON_OFFSET ? TLS_REASON_ALERT : TLS_REASON_OTHER;
    return find_meaning(library_meanings, sizeof library_meanings / sizeof library_meanings[0], code,
                        otherwise);
}

static bool read_time(const ASN1_TIME *time, int64_t *out)
{
    struct tm parts;
    if (time == NULL || ASN1_TIME_to_tm(time, &parts) != 1) {
        return false;
    }
    *out = (int64_t)timegm(&parts);
    return true;
}

void tls_text_make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < ' ' || *text > '~') {
            *text = '?';
        }
    }
}

void tls_name_write(const X509_NAME *name, char *out, size_t size)
{
    out[0] = '\0';
    BIO *text = BIO_new(BIO_s_mem());
    if (text == NULL) {
        return;
    }
    X509_NAME_print_ex(text, name, 0, XN_FLAG_RFC2253);
    int length = BIO_read(text, out, (int)size - 1);
    out[length > 0 ? length : 0] = '\0';
    tls_text_make_printable(out);
    BIO_free(text);
}

const char *tls_reason_word(enum tls_reason reason)
{
    return reason < TLS_REASON_COUNT ? words[reason] : words[TLS_REASON_OTHER];
}

struct tls_period tls_certificate_period(const X509 *certificate)
{
    struct tls_period period;
    if (!read_time(X509_get0_notBefore(certificate), &period.from) ||
        !read_time(X509_get0_notAfter(certificate), &period.to)) {
        return (struct tls_period){.from = INT64_MAX, .to = INT64_MIN};
    }
    return period;
}

void tls_failure_note(struct tls_failure *failure, enum tls_reason reason, const char *detail)
{
    if (failure->reason != TLS_REASON_NONE) {
        return;
    }
    failure->reason = reason;
    snprintf(failure->detail, sizeof failure->detail, "%s", detail);
    tls_text_make_printable(failure->detail);
}

static void write_moment(int64_t seconds, char out[MOMENT_SIZE])
{
    struct tm parts;
    time_t moment = (time_t)seconds;
    gmtime_r(&moment, &parts);
    strftime(out, MOMENT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

void tls_failure_note_clock(struct tls_failure *failure, int64_t wall, int64_t least)
{
    char now[MOMENT_SIZE], made[MOMENT_SIZE], text[sizeof failure->detail];
    write_moment(wall, now);
    write_moment(least, made);
    snprintf(text, sizeof text, "this machine's clock says %s, and this program was made after %s", now,
             made);
    tls_failure_note(failure, TLS_REASON_WRONG_CLOCK, text);
}

void tls_failure_note_peer(struct tls_failure *failure, const X509 *certificate)
{
    if (certificate == NULL) {
        return;
    }
    int64_t time;
    failure->not_before = read_time(X509_get0_notBefore(certificate), &time) ? time : 0;
    failure->not_after = read_time(X509_get0_notAfter(certificate), &time) ? time : 0;
    tls_name_write(X509_get_subject_name(certificate), failure->subject, sizeof failure->subject);
}

enum tls_reason tls_reason_of_verification(int result)
{
    return find_meaning(verification_meanings, sizeof verification_meanings / sizeof verification_meanings[0],
                        result, TLS_REASON_BAD_CHAIN);
}

void tls_failure_note_queue(struct tls_failure *failure)
{
    const char *function = "";
    unsigned long error = ERR_peek_error_all(NULL, NULL, &function, NULL, NULL);
    const char *text = ERR_reason_error_string(error);
    enum tls_reason reason = TLS_REASON_OTHER;
    if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
        reason = reason_of_library(ERR_GET_REASON(error));
    }
    /* A choice that was not offered has no code of its own; older libraries leave it to session.c. */
    if (reason == TLS_REASON_OTHER && strcmp(function, "tls_parse_stoc_alpn") == 0) {
        reason = TLS_REASON_ALPN;
    }
    tls_failure_note(failure, reason, text != NULL ? text : "an error without a name");
}
