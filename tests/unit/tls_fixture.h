/*
 * Throw-away authorities, certificates and servers for the tests of tls and stream, made with OpenSSL itself.
 * The time of these worlds is FIXTURE_NOW. Everything aborts the test where the library fails.
 */
#ifndef TLS_FIXTURE_H
#define TLS_FIXTURE_H

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#include "tls/tls.h"

#define FIXTURE_NOW INT64_C(1700000000)

enum { FIXTURE_DAY = 86400 };

struct fixture_certificate {
    X509 *certificate;
    EVP_PKEY *key;
};

/* What a certificate is to say; a member that is 0 means the usual thing. */
struct fixture_wish {
    const struct fixture_certificate *issuer; /* NULL: signed by itself */
    const char *common_name;
    const char *names;       /* subjectAltName: "DNS:dns.test" */
    const char *usage;       /* extendedKeyUsage: "serverAuth" */
    const char *basic;       /* basicConstraints: "critical,CA:TRUE" */
    const char *constraints; /* nameConstraints */
    int64_t from, to;        /* a day before and after FIXTURE_NOW */
    unsigned rsa_bits;       /* else P-256 */
    bool sha1;
};

void fixture_issue(struct fixture_certificate *out, const struct fixture_wish *wish);
void fixture_discard(struct fixture_certificate *certificate);
void fixture_pin(const struct fixture_certificate *certificate, uint8_t pin[TLS_PIN_SIZE]);
struct tls_trust *fixture_trust(const struct fixture_certificate *authority);

/* A server's context with tickets; `middle` is sent along with the certificate when it is not NULL. */
SSL_CTX *fixture_server(const struct fixture_certificate *certificate,
                        const struct fixture_certificate *middle);

/* A server that chooses this protocol ("\2h2") of whatever is offered. */
void fixture_choose_protocol(SSL_CTX *server, const char *protocol);

/* Bytes of heap in use by this process. */
size_t fixture_heap(void);

/* Two connected non-blocking sockets. */
void fixture_sockets(int descriptor[2]);

/* A client and a server over two sockets of their own. */
struct fixture_pair {
    int descriptor[2];
    struct tls_session *client;
    SSL *server;
};

/* Connects and turns both sides until the client is done or has failed and the server has seen the end of it.
 * Returns the client's result. */
int fixture_meet(struct fixture_pair *pair, struct tls_client *client, SSL_CTX *server, int64_t wall);
void fixture_part(struct fixture_pair *pair);

#endif
