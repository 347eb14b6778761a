/*
 * What the files of this room share: the insides of clients and sessions, the keeping of tickets, and the
 * words for what went wrong.
 */
#ifndef TLS_INTERNAL_H
#define TLS_INTERNAL_H

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "tls/tls.h"

enum { TLS_KEPT_MAX = 4 };

/* Names are looked for in the SAN alone, and a wildcard stands for a whole label (RFC 8310, 8.1). */
enum { TLS_NAME_FLAGS = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS };

/* Seconds since the epoch between which every certificate that an identity rests on is valid. */
struct tls_period {
    int64_t from, to;
};

/* A session for resumption, and how long the proof behind it lasts. */
struct tls_kept {
    SSL_SESSION *session;
    struct tls_period period;
};

struct tls_client {
    SSL_CTX *context;
    BIO_METHOD *socket;
    int (*read)(BIO *, char *, int); /* of the library's own sockets */
    char *name;                      /* NULL where the identity has none */
    struct address address;          /* AF_UNSPEC where the identity has none */
    uint8_t (*pins)[TLS_PIN_SIZE];
    size_t pin_count;
    bool chained; /* a name or an address: the chain is verified */
    int64_t clock_least;
    bool without_clock;
    struct tls_kept kept[TLS_KEPT_MAX]; /* the newest is the last */
    size_t kept_count;
    size_t open; /* connections that still point here */
};

struct tls_session {
    SSL *library;
    struct tls_client *client;
    int64_t wall;
    struct tls_period
        period; /* of the proof: of this handshake's certificates, or of the offered session's */
    enum tls_want want;
    bool offered;  /* a kept session was given to the library */
    bool verified; /* this handshake's certificate was checked and found good */
    bool proven;   /* the handshake is done and the peer is who it must be */
    bool undated;  /* the certificates' dates do not count for it */
    bool broken;   /* the library must not be asked to write any more */
    bool drained;  /* the last read wanted more bytes of the socket */
    bool emptied;  /* the last read of the socket took all that was there */
    size_t idle;   /* bytes of the socket since data came out of them */
    struct tls_failure failure;
};

static inline bool tls_session_clock_is_wrong(const struct tls_session *session)
{
    return session->wall < session->client->clock_least;
}

/* Bytes of an address in a certificate. */
static inline size_t tls_address_size(const struct address *address)
{
    return address->family == AF_INET6 ? 16 : 4;
}

/* ---- pin.c ---- */

/* False where the key cannot be encoded or hashed. */
bool tls_pin_of(X509 *certificate, uint8_t out[TLS_PIN_SIZE]);

/* Whether the certificate carries one of the client's pinned keys. */
bool tls_pin_matches(const struct tls_client *client, X509 *certificate);

/* ---- context.c ---- */

/* Keeps a copy of a session: the library spoils its own when the connection is cut, which says nothing
 * against the ticket. The oldest gives way. */
void tls_client_keep(struct tls_client *client, SSL_SESSION *session, struct tls_period period);

/* Takes the newest session whose proof holds at `wall`, for a single use; those that have ended are dropped
 * on the way. The reference passes to the caller. */
bool tls_client_take(struct tls_client *client, int64_t wall, struct tls_kept *out);

/* ---- socket.c ---- */

bool tls_socket_build(struct tls_client *client);

/* The library reads and writes this descriptor from here on; it stays the caller's. */
bool tls_socket_open(struct tls_session *session, int descriptor);

/* Whether the peer has sent too much since it last sent data: nothing more is read then. */
bool tls_socket_is_idle(const struct tls_session *session);

/* ---- failure.c ---- */

/* Puts a question mark in the place of every byte that is not. */
void tls_text_make_printable(char *text);

/* "CN=Test Root,O=Test", cut to fit. */
void tls_name_write(const X509_NAME *name, char *out, size_t size);

/* Both validity times of a certificate; an empty period when they cannot be read. */
struct tls_period tls_certificate_period(const X509 *certificate);

/* Notes why, with the library's words for it. The first note of a session stays. */
void tls_failure_note(struct tls_failure *failure, enum tls_reason reason, const char *detail);

/* Notes whose certificate it was. NULL is allowed. */
void tls_failure_note_peer(struct tls_failure *failure, const X509 *certificate);

/* The reason for a result of certificate verification (X509_V_ERR_*). */
enum tls_reason tls_reason_of_verification(int result);

/* Notes that a certificate is not valid yet by a clock that cannot be right. */
void tls_failure_note_clock(struct tls_failure *failure, int64_t wall, int64_t least);

/* Notes the reason for the oldest error in the library's queue. */
void tls_failure_note_queue(struct tls_failure *failure);

/* ---- peer.c ---- */

/* What people are told of a certificate. */
void tls_certificate_describe(const struct tls_client *client, X509 *certificate,
                              struct tls_certificate *out);

#endif
