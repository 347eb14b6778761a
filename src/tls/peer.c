/*
 * What a handshake has shown of the peer, for people: its certificates and what was agreed on. Called by
 * whoever explains a connection, good or refused, and by nobody while questions pass. What a peer chose to
 * write leaves here as printable ASCII.
 */
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>

#include "tls/internal.h"

enum { IPV4_SIZE = 4, IPV6_SIZE = 16 };

/* Text that grows as far as there is room; where there is none it ends in dots. */
struct text {
    char *at;
    size_t size, used;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *format, ...)
{
    static const char dots[] = "...";
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text->at + text->used, text->size - text->used, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < text->size - text->used) {
        text->used += (size_t)length;
    } else {
        memcpy(text->at + text->size - sizeof dots, dots, sizeof dots);
        text->used = text->size - 1;
    }
}

/* A name that ends early for others, by a byte of 0 in it, must be seen to go on. */
static void put_host(struct text *text, const ASN1_STRING *host)
{
    const unsigned char *bytes = ASN1_STRING_get0_data(host);
    for (int i = 0; i < ASN1_STRING_length(host); i++) {
        put(text, "%c", bytes[i] < '!' || bytes[i] > '~' ? '?' : bytes[i]);
    }
}

static void put_address(struct text *text, const ASN1_STRING *bytes)
{
    size_t size = (size_t)ASN1_STRING_length(bytes);
    struct address address = {.family = size == IPV4_SIZE ? AF_INET : AF_INET6};
    char written[ADDRESS_TEXT_SIZE];
    memcpy(address.bytes, ASN1_STRING_get0_data(bytes), size);
    address_format(&address, false, written);
    put(text, "%s", written);
}

/* Other types of names are no strings, and of another type in C. */
static bool is_address(int type, const ASN1_STRING *value)
{
    int size = type == GEN_IPADD ? ASN1_STRING_length(value) : 0;
    return size == IPV4_SIZE || size == IPV6_SIZE;
}

/* The names that a server can be looked for by. */
static void write_names(X509 *certificate, char *out, size_t size)
{
    struct text text = {.at = out, .size = size};
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type == GEN_DNS || is_address(type, value)) {
            put(&text, "%s", text.used > 0 ? ", " : "");
            (type == GEN_DNS ? put_host : put_address)(&text, value);
        }
    }
    GENERAL_NAMES_free(names);
}

/* What was verified, or as much of it as was found before it was refused; by pins alone what was sent. */
static STACK_OF(X509) * chain_of(const struct tls_session *session)
{
    STACK_OF(X509) *verified = SSL_get0_verified_chain(session->library);
    return verified != NULL ? verified : SSL_get_peer_cert_chain(session->library);
}

void tls_certificate_describe(const struct tls_client *client, X509 *certificate, struct tls_certificate *out)
{
    *out = (struct tls_certificate){.is_pinned = tls_pin_matches(client, certificate)};
    struct tls_period period = tls_certificate_period(certificate);
    out->not_before = period.from;
    out->not_after = period.to;
    out->has_pin = tls_pin_of(certificate, out->pin);
    tls_name_write(X509_get_subject_name(certificate), out->subject, sizeof out->subject);
    tls_name_write(X509_get_issuer_name(certificate), out->issuer, sizeof out->issuer);
    write_names(certificate, out->names, sizeof out->names);
}

size_t tls_session_chain(const struct tls_session *session, struct tls_certificate *out, size_t most)
{
    STACK_OF(X509) *chain = tls_session_resumed(session) ? NULL : chain_of(session);
    size_t count = chain != NULL ? (size_t)sk_X509_num(chain) : 0;
    count = count < most ? count : most;
    for (size_t i = 0; i < count; i++) {
        tls_certificate_describe(session->client, sk_X509_value(chain, (int)i), &out[i]);
    }
    ERR_clear_error();
    return count;
}

const char *tls_session_cipher(const struct tls_session *session)
{
    return SSL_get_cipher_name(session->library);
}

const char *tls_session_group(const struct tls_session *session)
{
    int group = (int)SSL_get_negotiated_group(session->library);
    const char *nist = EC_curve_nid2nist(group);
    const char *name = nist != NULL ? nist : OBJ_nid2sn(group);
    if (name == NULL) { /* one that is no curve alone, such as X25519MLKEM768 */
        name = SSL_group_to_name(session->library, group);
    }
    return group == NID_undef || name == NULL ? "" : name;
}

bool tls_session_chose_protocol(const struct tls_session *session)
{
    const unsigned char *chosen;
    unsigned size;
    SSL_get0_alpn_selected(session->library, &chosen, &size);
    return size > 0;
}
