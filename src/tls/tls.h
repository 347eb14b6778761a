/*
 * OpenSSL behind our own types: the only room that knows it. Nothing here weakens a check: there is no option
 * to go without one. TLS 1.2 is the least, with ECDHE and AEAD ciphers only; no compression, no
 * renegotiation, no early data (RFC 9325, RFC 8310). The library writes to sockets with write(2): the process
 * must ignore SIGPIPE.
 */
#ifndef TLS_TLS_H
#define TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/bytes.h"

enum {
    TLS_PIN_SIZE = 32,
    TLS_PIN_TEXT_SIZE = 7 + 44 + 1,
    TLS_RECORD_MAX = 16384,
    TLS_SESSION_MEMORY = 88 * 1024, /* the most heap that a connection holds, its handshake included */
    TLS_CLIENT_MEMORY = 64 * 1024   /* and a context with the sessions that it keeps */
};

/* Why a handshake or a connection failed, as words for the log and the meters. */
#define TLS_REASONS(X)                \
    X(NONE, "none")                   \
    X(EXPIRED, "expired")             \
    X(NOT_YET_VALID, "not_yet_valid") \
    X(WRONG_CLOCK, "wrong_clock")     \
    X(WRONG_NAME, "wrong_name")       \
    X(SELF_SIGNED, "self_signed")     \
    X(UNKNOWN_CA, "unknown_ca")       \
    X(BAD_CHAIN, "bad_chain")         \
    X(PURPOSE, "purpose")             \
    X(WEAK, "weak")                   \
    X(PIN, "pin")                     \
    X(VERSION, "version")             \
    X(CIPHER, "cipher")               \
    X(ALPN, "alpn")                   \
    X(NOT_TLS, "not_tls")             \
    X(ALERT, "alert")                 \
    X(CLOSED, "closed")               \
    X(OTHER, "other")

enum tls_reason {
#define X(name, word) TLS_REASON_##name,
    TLS_REASONS(X)
#undef X
        TLS_REASON_COUNT
};

const char *tls_reason_word(enum tls_reason reason);

struct tls_failure {
    enum tls_reason reason;
    char detail[128];              /* the library's words, printable ASCII, terminated */
    char subject[128];             /* of the peer's certificate, empty when none came */
    int64_t not_before, not_after; /* of it, seconds since the epoch; 0 when none came */
};

/* ---- the library (library.c) ---- */

/* Once in a process, before anything else of this room. ERROR_SYSTEM when the library has memory already. */
int tls_library_open(void);

/* Reads the library's own configuration file, where there is one, if it was not read yet. It is otherwise
 * read when it is needed first, for which there must be files. */
void tls_library_configure(void);

/* Loads what handshakes take and nobody has needed so far. ERROR_MEMORY when the library was refused memory
 * at any time since the open: it may lack a part of itself, and would not say so. */
int tls_library_load(void);

/* ---- trust and contexts (context.c) ---- */

/* Certificates of authorities; shared by all contexts and threads, immutable. */
struct tls_trust;

/* From PEM text. ERROR_MALFORMED when it holds a certificate that cannot be read, ERROR_NOT_FOUND when it
 * holds none, ERROR_MEMORY. The caller frees it after every context that was built on it. */
int tls_trust_build(struct span pem, struct tls_trust **out);
void tls_trust_free(struct tls_trust *trust);

/* The most heap that authorities of so many bytes of PEM text take, the text included. */
size_t tls_trust_memory(size_t pem);

/* Whom we are willing to talk to. At least a name, or an address with verify_address, or a pin must be there:
 * else tls_client_build says ERROR_INVALID. */
struct tls_identity {
    const char *name; /* DNS name to send as SNI and to find in the certificate; NULL for none */
    const struct address
        *address; /* with name NULL: the certificate must bear this IP address; NULL for none */
    const uint8_t (*pins)[TLS_PIN_SIZE]; /* SHA-256 of a SubjectPublicKeyInfo (RFC 7858, 4.2) */
    size_t pin_count;
    bool require_1_3;
    int64_t clock_least; /* seconds since the epoch: a clock before it is wrong */
    bool without_clock;  /* while it is wrong, dates of certificates do not count; needs pins */
};

/* A client's side for one identity. With a name or an address the chain must lead to `trust` and the
 * certificate must bear it in its SAN (never in CN); with pins one certificate of the verified chain must
 * carry a pinned key. With pins and neither name nor address the server's own certificate must carry the
 * pinned key, and that alone is checked; `trust` may be NULL then. ALPN "dot" is offered; a server that
 * chooses none is fine, one that chooses another is refused. A certificate that is not valid yet while the
 * clock is wrong fails as WRONG_CLOCK; one that has expired by a clock that is behind has expired. The
 * context keeps the sessions it was given for resumption, for this identity alone. One thread. */
struct tls_client;
int tls_client_build(const struct tls_identity *identity, struct tls_trust *trust, struct tls_client **out);
/* After its last connection was closed: asserted. NULL is allowed. */
void tls_client_free(struct tls_client *client);

/* Reads "sha256/BASE64=" or "BASE64=" of 32 bytes. ERROR_INVALID. (pin.c) */
int tls_pin_parse(struct span text, uint8_t out[TLS_PIN_SIZE]);

/* Writes the first of the two forms. (pin.c) */
void tls_pin_format(const uint8_t pin[TLS_PIN_SIZE], char out[TLS_PIN_TEXT_SIZE]);

/* What is built in and what runs: "OpenSSL 3.0.19 27 Jan 2026". */
const char *tls_library_version(void);

/* ---- connections (session.c) ---- */

struct tls_session;

/* A client's connection over a connected non-blocking socket; the descriptor stays the caller's. Offers a
 * kept session. `wall` is the time in seconds that certificates are judged by. ERROR_MEMORY. */
int tls_session_connect(struct tls_client *client, int descriptor, int64_t wall, struct tls_session **out);

/* What a call waits for when it says ERROR_AGAIN. */
enum tls_want { TLS_WANT_READ, TLS_WANT_WRITE };
enum tls_want tls_session_want(const struct tls_session *session);

/* Goes on with the handshake. 0: done, and the peer is who it must be. ERROR_AGAIN; ERROR_TLS (see
 * tls_session_failure), ERROR_RESET, ERROR_CLOSED. */
int tls_session_handshake(struct tls_session *session);

/* Bytes read (at most `size`); 0 after the peer's close_notify; ERROR_AGAIN, ERROR_CLOSED (end without
 * close_notify), ERROR_RESET, ERROR_TLS. ERROR_AGAIN may come before the socket was asked once more: whoever
 * waits must be told as long as it has bytes, not only when they come. */
int tls_session_read(struct tls_session *session, uint8_t *out, size_t size);

/* Writes one record of at most TLS_RECORD_MAX bytes. Bytes written; ERROR_AGAIN (give the same bytes again,
 * they may have moved), ERROR_RESET, ERROR_TLS. */
int tls_session_write(struct tls_session *session, const uint8_t *bytes, size_t size);

/* Whether the library holds bytes that the socket will not announce. */
bool tls_session_has_pending(const struct tls_session *session);

bool tls_session_resumed(const struct tls_session *session);

/* Whether the identity was proven without a look at the certificates' dates, because the clock is wrong. */
bool tls_session_is_undated(const struct tls_session *session);

/* "TLSv1.3". */
const char *tls_session_version(const struct tls_session *session);

/* Valid after ERROR_TLS, until the close; the reason is TLS_REASON_NONE before. */
const struct tls_failure *tls_session_failure(const struct tls_session *session);

/* Says close_notify if the socket takes it at once, never waits, frees everything. NULL is allowed. */
void tls_session_close(struct tls_session *session);

/* ---- what is known of the peer (peer.c) ---- */

/* A certificate, for people. Text is printable ASCII, cut to fit. */
struct tls_certificate {
    char subject[128], issuer[128];
    char names[256];               /* of the SAN: "a.test, *.b.test, 192.0.2.1"; cut with dots */
    int64_t not_before, not_after; /* seconds since the epoch */
    uint8_t pin[TLS_PIN_SIZE];     /* with has_pin */
    bool has_pin, is_pinned;       /* by the identity */
};

/* The chain, the peer's own certificate first: the one that was verified; after a refusal, also before the
 * handshake is done, as much of it as was found; for pins alone what the peer sent. Writes `most` at most and
 * returns their number; a resumed session has none. */
size_t tls_session_chain(const struct tls_session *session, struct tls_certificate *out, size_t most);

/* Static text: "TLS_AES_128_GCM_SHA256"; "X25519" or "" where it is not known. */
const char *tls_session_cipher(const struct tls_session *session);
const char *tls_session_group(const struct tls_session *session);

/* Whether the server chose a protocol of ALPN, which is "dot" then. */
bool tls_session_chose_protocol(const struct tls_session *session);

#endif
