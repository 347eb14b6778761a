/*
 * One connection over the caller's socket. Called by the stream room, on the thread of its client. The
 * handshake is done only when the peer's identity is proven; until then nothing can be written. The library
 * writes with write(2): the process ignores SIGPIPE.
 */
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/error.h"

#include "tls/internal.h"

static void offer_kept(struct tls_session *session)
{
    struct tls_kept kept;
    if (!tls_client_take(session->client, session->wall, &kept)) {
        return;
    }
    session->offered = SSL_set_session(session->library, kept.session) == 1;
    session->period = kept.period;
    SSL_SESSION_free(kept.session);
}

/* What certificates are judged by; pins alone have no use for it at any time. */
static void set_time(struct tls_session *session)
{
    X509_VERIFY_PARAM *parameters = SSL_get0_param(session->library);
    const struct tls_client *client = session->client;
    session->undated = client->chained && client->without_clock && tls_session_clock_is_wrong(session);
    if (session->undated) {
        X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_NO_CHECK_TIME);
    } else {
        X509_VERIFY_PARAM_set_time(parameters, (time_t)session->wall);
    }
}

static bool prepare(struct tls_session *session, int descriptor)
{
    SSL *library = session->library;
    set_time(session);
    SSL_set_connect_state(library);
    return SSL_set_app_data(library, session) == 1 && tls_socket_open(session, descriptor) &&
           (session->client->name == NULL || SSL_set_tlsext_host_name(library, session->client->name) == 1);
}

static int fail(struct tls_session *session, enum tls_reason reason, const char *detail)
{
    session->broken = true;
    tls_failure_note(&session->failure, reason, detail);
    if (session->failure.subject[0] == '\0') {
        tls_failure_note_peer(&session->failure, SSL_get0_peer_certificate(session->library));
    }
    return ERROR_TLS;
}

static int fail_by_queue(struct tls_session *session)
{
    tls_failure_note_queue(&session->failure);
    ERR_clear_error();
    fail(session, TLS_REASON_OTHER, "");
    /* Once its certificate is here, the cipher was agreed on: the same alert tells of something else then. */
    if (session->failure.reason == TLS_REASON_CIPHER && SSL_get0_peer_certificate(session->library) != NULL) {
        session->failure.reason = TLS_REASON_ALERT;
    }
    return session->failure.reason == TLS_REASON_CLOSED ? ERROR_CLOSED : ERROR_TLS;
}

static int fail_by_system(struct tls_session *session, int number)
{
    fail(session, TLS_REASON_CLOSED,
         number == 0 ? "end of the connection" : error_text(error_from_errno(number)));
    return number == 0 ? ERROR_CLOSED : error_from_errno(number);
}

/* What a call of the library that did not succeed means. */
static int explain(struct tls_session *session, int result)
{
    int number = errno;
    switch (SSL_get_error(session->library, result)) {
    case SSL_ERROR_WANT_READ:
        session->want = TLS_WANT_READ;
        session->drained = true;
        return ERROR_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        session->want = TLS_WANT_WRITE;
        return ERROR_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return ERROR_CLOSED;
    case SSL_ERROR_SYSCALL:
        return fail_by_system(session, number);
    default:
        return fail_by_queue(session);
    }
}

/* Nothing of an earlier call may be taken for the reason of the next one. */
static void begin_call(void)
{
    ERR_clear_error();
    errno = 0;
}

/* A resumed session brings no certificate: the one it was earned with must still be right for this client. A
 * pin that was found higher in the chain was found by this same client, or the session would not be kept. */
static bool resumed_peer_fits(const struct tls_session *session)
{
    X509 *leaf = SSL_get0_peer_certificate(session->library);
    if (!session->offered || leaf == NULL) {
        return false;
    }
    const struct tls_client *client = session->client;
    if (client->name != NULL) {
        return X509_check_host(leaf, client->name, 0, TLS_NAME_FLAGS, NULL) == 1;
    }
    if (client->chained) {
        return X509_check_ip(leaf, client->address.bytes, tls_address_size(&client->address), 0) == 1;
    }
    return tls_pin_matches(client, leaf);
}

static bool protocol_fits(const struct tls_session *session)
{
    const unsigned char *chosen;
    unsigned size;
    SSL_get0_alpn_selected(session->library, &chosen, &size);
    return size == 0 || span_equal(span_of(chosen, size), span_text("dot"));
}

/* Of TLS 1.2; the tickets of TLS 1.3 come later (context.c). */
static void keep_session(struct tls_session *session)
{
    SSL_SESSION *current = SSL_get0_session(session->library);
    if (SSL_version(session->library) < TLS1_3_VERSION && SSL_SESSION_is_resumable(current)) {
        tls_client_keep(session->client, current, session->period);
    }
}

static int prove(struct tls_session *session)
{
    bool known = tls_session_resumed(session) ? resumed_peer_fits(session) : session->verified;
    if (!known || SSL_get_verify_result(session->library) != X509_V_OK) {
        return fail(session, TLS_REASON_OTHER, "the peer's identity was not proven");
    }
    if (!protocol_fits(session)) {
        return fail(session, TLS_REASON_ALPN, "the server chose another protocol than dot");
    }
    session->proven = true;
    session->idle = 0;
    keep_session(session);
    return 0;
}

int tls_session_connect(struct tls_client *client, int descriptor, int64_t wall, struct tls_session **out)
{
    begin_call();
    struct tls_session *session = OPENSSL_zalloc(sizeof *session);
    if (session == NULL) {
        return ERROR_MEMORY;
    }
    session->client = client;
    session->wall = wall;
    session->want = TLS_WANT_WRITE;
    session->library = SSL_new(client->context);
    if (session->library == NULL || !prepare(session, descriptor)) {
        SSL_free(session->library);
        OPENSSL_free(session);
        ERR_clear_error();
        return ERROR_MEMORY;
    }
    client->open++;
    offer_kept(session);
    *out = session;
    return 0;
}

enum tls_want tls_session_want(const struct tls_session *session)
{
    return session->want;
}

int tls_session_handshake(struct tls_session *session)
{
    assert(!session->broken);
    if (session->proven) {
        return 0;
    }
    begin_call();
    session->drained = false;
    int result = SSL_do_handshake(session->library);
    return result == 1 ? prove(session) : explain(session, result);
}

int tls_session_read(struct tls_session *session, uint8_t *out, size_t size)
{
    assert(session->proven && !session->broken);
    begin_call();
    session->drained = false;
    size_t count;
    int result = SSL_read_ex(session->library, out, size, &count);
    if (result == 1) {
        session->idle = 0;
        return (int)count;
    }
    int error = explain(session, result);
    if (error == ERROR_AGAIN && tls_socket_is_idle(session)) {
        return fail(session, TLS_REASON_OTHER, "too many messages without data");
    }
    return error == ERROR_CLOSED && !session->broken ? 0 : error;
}

int tls_session_write(struct tls_session *session, const uint8_t *bytes, size_t size)
{
    assert(session->proven && !session->broken && size > 0 && size <= TLS_RECORD_MAX);
    begin_call();
    size_t count;
    int result = SSL_write_ex(session->library, bytes, size, &count);
    return result == 1 ? (int)count : explain(session, result);
}

bool tls_session_has_pending(const struct tls_session *session)
{
    return !session->drained && SSL_has_pending(session->library) == 1;
}

bool tls_session_resumed(const struct tls_session *session)
{
    return SSL_session_reused(session->library) == 1;
}

bool tls_session_is_undated(const struct tls_session *session)
{
    return session->undated;
}

const char *tls_session_version(const struct tls_session *session)
{
    return SSL_get_version(session->library);
}

const struct tls_failure *tls_session_failure(const struct tls_session *session)
{
    return &session->failure;
}

void tls_session_close(struct tls_session *session)
{
    if (session == NULL) {
        return;
    }
    begin_call();
    if (session->proven && !session->broken) {
        SSL_shutdown(session->library);
    }
    SSL_free(session->library);
    ERR_clear_error();
    session->client->open--;
    OPENSSL_free(session);
}
