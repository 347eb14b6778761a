/*
 * Trust and clients: which certificates are authorities, and what a connection of one identity may look like.
 * Built when the configuration is, by the thread that will use it; the trust alone is shared. A client also
 * keeps the sessions that its own connections earned.
 */
#include <assert.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/error.h"

#include "tls/internal.h"

enum { SECURITY_LEVEL = 2, CHAIN_DEPTH_MAX = 8, READ_BUFFER_SIZE = 32 * 1024 };

/* Bytes of heap a byte of PEM text, the text itself among them. */
enum { TRUST_MEMORY = 12 };

/* Forward secrecy and AEAD alone (RFC 9325, 4.2). */
static const char ciphers_1_2[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                  "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
                                  "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
static const char ciphers_1_3[] =
    "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";

static const unsigned char protocols[] = "\3dot";

struct tls_trust {
    X509_STORE *store;
};

static int add_certificates(X509_STORE *store, BIO *text)
{
    size_t count = 0;
    X509 *certificate;
    while ((certificate = PEM_read_bio_X509(text, NULL, NULL, NULL)) != NULL) {
        /* What the library finds out about a certificate when it needs it first, it keeps, and keeps it wrong
         * where memory runs out just then: let that be at the start. */
        (void)X509_check_purpose(certificate, -1, 0);
        int added = X509_STORE_add_cert(store, certificate);
        X509_free(certificate);
        if (!added) {
            return ERROR_MEMORY;
        }
        count++;
    }
    unsigned long error = ERR_peek_last_error();
    if (ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE) {
        return ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE ? ERROR_MEMORY : ERROR_MALFORMED;
    }
    return count == 0 ? ERROR_NOT_FOUND : 0;
}

static bool limit_protocol(SSL_CTX *context, bool require_1_3)
{
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_security_level(context, SECURITY_LEVEL);
    return SSL_CTX_set_min_proto_version(context, require_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(context, ciphers_1_2) == 1 &&
           SSL_CTX_set_ciphersuites(context, ciphers_1_3) == 1 &&
           SSL_CTX_set_alpn_protos(context, protocols, sizeof protocols - 1) == 0;
}

/* One read of the socket takes a whole flight of answers; the buffers are given back while nothing is in
 * them. */
static void set_buffers(SSL_CTX *context)
{
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_BUFFER_SIZE);
}

static bool set_expectation(SSL_CTX *context, const struct tls_identity *identity)
{
    X509_VERIFY_PARAM *parameters = SSL_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_depth(parameters, CHAIN_DEPTH_MAX);
    X509_VERIFY_PARAM_set_auth_level(parameters, SECURITY_LEVEL);
    X509_VERIFY_PARAM_set_hostflags(parameters, TLS_NAME_FLAGS);
    if (X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SSL_SERVER) != 1) {
        return false;
    }
    if (identity->name != NULL) {
        return X509_VERIFY_PARAM_set1_host(parameters, identity->name, 0) == 1;
    }
    if (identity->address != NULL) {
        return X509_VERIFY_PARAM_set1_ip(parameters, identity->address->bytes,
                                         tls_address_size(identity->address)) == 1;
    }
    return true;
}

/* The period in which all certificates of a chain are valid. */
static struct tls_period chain_period(STACK_OF(X509) * chain)
{
    struct tls_period all = {.from = INT64_MIN, .to = INT64_MAX};
    for (int i = 0; i < sk_X509_num(chain); i++) {
        struct tls_period one = tls_certificate_period(sk_X509_value(chain, i));
        all.from = one.from > all.from ? one.from : all.from;
        all.to = one.to < all.to ? one.to : all.to;
    }
    return all;
}

static bool chain_has_pin(const struct tls_client *client, STACK_OF(X509) * chain)
{
    for (int i = 0; i < sk_X509_num(chain); i++) {
        if (tls_pin_matches(client, sk_X509_value(chain, i))) {
            return true;
        }
    }
    return false;
}

static int check_chain(const struct tls_client *client, X509_STORE_CTX *verification,
                       struct tls_session *session)
{
    if (X509_verify_cert(verification) != 1) {
        int result = X509_STORE_CTX_get_error(verification);
        return result != X509_V_OK ? result : X509_V_ERR_UNSPECIFIED;
    }
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(verification);
    session->period = chain_period(chain);
    return client->pin_count == 0 || chain_has_pin(client, chain) ? X509_V_OK
                                                                  : X509_V_ERR_APPLICATION_VERIFICATION;
}

static int check_leaf(const struct tls_client *client, X509 *leaf, struct tls_session *session)
{
    session->period = (struct tls_period){.from = INT64_MIN, .to = INT64_MAX};
    return tls_pin_matches(client, leaf) ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION;
}

/* Which certificate it is about where that is not the server's own, and how weak its key is where that is it.
 */
static void write_detail(X509_STORE_CTX *verification, int result, char *out, size_t size)
{
    X509 *certificate = X509_STORE_CTX_get_current_cert(verification);
    bool is_weak = result == X509_V_ERR_EE_KEY_TOO_SMALL || result == X509_V_ERR_CA_KEY_TOO_SMALL;
    bool is_other = X509_STORE_CTX_get_error_depth(verification) > 0;
    int used = snprintf(out, size, "%s", X509_verify_cert_error_string(result));
    if (certificate != NULL && is_weak) {
        EVP_PKEY *key = X509_get0_pubkey(certificate);
        used +=
            snprintf(out + used, size - (size_t)used, " (%d bits)", key == NULL ? 0 : EVP_PKEY_get_bits(key));
    }
    if (certificate != NULL && is_other) {
        char subject[128];
        tls_name_write(X509_get_subject_name(certificate), subject, sizeof subject);
        snprintf(out + used, size - (size_t)used, ": %s", subject);
    }
}

static void note_refusal(X509_STORE_CTX *verification, struct tls_session *session, int result)
{
    if (result == X509_V_ERR_CERT_NOT_YET_VALID && tls_session_clock_is_wrong(session)) {
        tls_failure_note_clock(&session->failure, session->wall, session->client->clock_least);
        return;
    }
    char text[256] = "no pinned key in the certificates";
    if (result != X509_V_ERR_APPLICATION_VERIFICATION) {
        write_detail(verification, result, text, sizeof text);
    }
    tls_failure_note(&session->failure, tls_reason_of_verification(result), text);
}

/* Stands in the place of the library's own verification. */
static int verify_peer(X509_STORE_CTX *verification, void *argument)
{
    const struct tls_client *client = argument;
    SSL *library = X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_session *session = SSL_get_app_data(library);
    X509 *leaf = X509_STORE_CTX_get0_cert(verification);
    int result =
        client->chained ? check_chain(client, verification, session) : check_leaf(client, leaf, session);
    X509_STORE_CTX_set_error(verification, result);
    session->verified = result == X509_V_OK;
    if (!session->verified) {
        note_refusal(verification, session, result);
        tls_failure_note_peer(&session->failure, leaf);
    }
    return session->verified;
}

/* Tickets of TLS 1.3 come after the handshake; a session of TLS 1.2 is taken at its end (session.c). Whatever
 * comes before the proof is not kept. */
static int keep_ticket(SSL *library, SSL_SESSION *ticket)
{
    struct tls_session *session = SSL_get_app_data(library);
    if (!session->proven || SSL_version(library) < TLS1_3_VERSION) {
        return 0;
    }
    tls_client_keep(session->client, ticket, session->period);
    return 0;
}

static void set_callbacks(struct tls_client *client)
{
    SSL_CTX_set_verify(client->context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(client->context, verify_peer, client);
    SSL_CTX_set_session_cache_mode(client->context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client->context, keep_ticket);
}

static bool copy_identity(struct tls_client *client, const struct tls_identity *identity)
{
    client->chained = identity->name != NULL || identity->address != NULL;
    client->clock_least = identity->clock_least;
    client->without_clock = identity->without_clock;
    client->pin_count = identity->pin_count;
    if (identity->pin_count > 0) {
        client->pins = OPENSSL_memdup(identity->pins, identity->pin_count * TLS_PIN_SIZE);
    }
    if (identity->name != NULL) {
        client->name = OPENSSL_strdup(identity->name);
    } else if (identity->address != NULL) {
        client->address = *identity->address;
    }
    return (identity->pin_count == 0 || client->pins != NULL) &&
           (identity->name == NULL || client->name != NULL);
}

/* A name that begins with a dot would be matched by every name below it. */
static bool identity_is_sound(const struct tls_identity *identity, const struct tls_trust *trust)
{
    if (identity->name != NULL && (identity->name[0] == '\0' || identity->name[0] == '.')) {
        return false;
    }
    if (identity->without_clock && identity->pin_count == 0) {
        return false;
    }
    if (identity->name != NULL || identity->address != NULL) {
        return trust != NULL;
    }
    return identity->pin_count > 0;
}

int tls_trust_build(struct span pem, struct tls_trust **out)
{
    ERR_clear_error();
    struct tls_trust *trust = OPENSSL_zalloc(sizeof *trust);
    if (trust == NULL) {
        return ERROR_MEMORY;
    }
    int error = ERROR_MEMORY;
    trust->store = X509_STORE_new();
    BIO *text = pem.size <= INT32_MAX
                    ? BIO_new_mem_buf(pem.size > 0 ? (const void *)pem.data : "", (int)pem.size)
                    : NULL;
    if (trust->store != NULL && text != NULL) {
        error = add_certificates(trust->store, text);
    }
    BIO_free(text);
    ERR_clear_error();
    if (error) {
        tls_trust_free(trust);
        return error;
    }
    *out = trust;
    return 0;
}

void tls_trust_free(struct tls_trust *trust)
{
    if (trust != NULL) {
        X509_STORE_free(trust->store);
        OPENSSL_free(trust);
    }
}

int tls_client_build(const struct tls_identity *identity, struct tls_trust *trust, struct tls_client **out)
{
    if (!identity_is_sound(identity, trust)) {
        return ERROR_INVALID;
    }
    ERR_clear_error();
    struct tls_client *client = OPENSSL_zalloc(sizeof *client);
    if (client == NULL) {
        return ERROR_MEMORY;
    }
    client->context = SSL_CTX_new(TLS_client_method());
    if (client->context == NULL || !tls_socket_build(client) || !copy_identity(client, identity) ||
        !limit_protocol(client->context, identity->require_1_3) ||
        !set_expectation(client->context, identity)) {
        tls_client_free(client);
        ERR_clear_error();
        return ERROR_MEMORY;
    }
    set_buffers(client->context);
    set_callbacks(client);
    if (client->chained) {
        SSL_CTX_set1_cert_store(client->context, trust->store);
    }
    *out = client;
    return 0;
}

void tls_client_free(struct tls_client *client)
{
    if (client == NULL) {
        return;
    }
    assert(client->open == 0);
    for (size_t i = 0; i < client->kept_count; i++) {
        SSL_SESSION_free(client->kept[i].session);
    }
    SSL_CTX_free(client->context);
    BIO_meth_free(client->socket);
    OPENSSL_free(client->name);
    OPENSSL_free(client->pins);
    OPENSSL_free(client);
}

void tls_client_keep(struct tls_client *client, SSL_SESSION *session, struct tls_period period)
{
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    if (copy == NULL) {
        return;
    }
    if (client->kept_count == TLS_KEPT_MAX) {
        SSL_SESSION_free(client->kept[0].session);
        memmove(&client->kept[0], &client->kept[1], (TLS_KEPT_MAX - 1) * sizeof client->kept[0]);
        client->kept_count--;
    }
    client->kept[client->kept_count++] = (struct tls_kept){.session = copy, .period = period};
}

bool tls_client_take(struct tls_client *client, int64_t wall, struct tls_kept *out)
{
    while (client->kept_count > 0) {
        struct tls_kept kept = client->kept[--client->kept_count];
        if (wall >= kept.period.from && wall <= kept.period.to && SSL_SESSION_is_resumable(kept.session)) {
            *out = kept;
            return true;
        }
        SSL_SESSION_free(kept.session);
    }
    return false;
}

const char *tls_library_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

size_t tls_trust_memory(size_t pem)
{
    return TRUST_MEMORY * pem;
}
