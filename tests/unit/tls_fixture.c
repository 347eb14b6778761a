/* See tls_fixture.h. */
#include "tls_fixture.h"

#include <malloc.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

/* clang tells its sanitizers in another way than gcc. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
size_t __sanitizer_get_current_allocated_bytes(void); /* gcc brings no header for it */
#endif

static void must(bool condition, const char *text)
{
    if (!condition) {
        fprintf(stderr, "the fixture failed: %s\n", text);
        ERR_print_errors_fp(stderr);
        abort();
    }
}

#define MUST(condition) must(condition, #condition)

static void add_extension(X509 *certificate, X509V3_CTX *context, int nid, const char *value)
{
    if (value == NULL) {
        return;
    }
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, context, nid, value);
    MUST(extension != NULL);
    MUST(X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static void add_extensions(X509 *certificate, X509 *issuer, const struct fixture_wish *wish)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    add_extension(certificate, &context, NID_basic_constraints, wish->basic);
    add_extension(certificate, &context, NID_subject_key_identifier, "hash");
    add_extension(certificate, &context, NID_subject_alt_name, wish->names);
    add_extension(certificate, &context, NID_ext_key_usage, wish->usage);
    add_extension(certificate, &context, NID_name_constraints, wish->constraints);
}

void fixture_issue(struct fixture_certificate *out, const struct fixture_wish *wish)
{
    static long serial = 1;
    EVP_PKEY *key = wish->rsa_bits ? EVP_RSA_gen(wish->rsa_bits) : EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    MUST(key != NULL && certificate != NULL);
    X509 *issuer = wish->issuer != NULL ? wish->issuer->certificate : certificate;
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_set_pubkey(certificate, key);
    ASN1_TIME_set(X509_getm_notBefore(certificate), wish->from ? wish->from : FIXTURE_NOW - FIXTURE_DAY);
    ASN1_TIME_set(X509_getm_notAfter(certificate), wish->to ? wish->to : FIXTURE_NOW + FIXTURE_DAY);
    const unsigned char *name = (const unsigned char *)(wish->common_name ? wish->common_name : "server");
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8, name, -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
    add_extensions(certificate, issuer, wish);
    MUST(X509_sign(certificate, wish->issuer != NULL ? wish->issuer->key : key,
                   wish->sha1 ? EVP_sha1() : EVP_sha256()) > 0);
    *out = (struct fixture_certificate){.certificate = certificate, .key = key};
}

void fixture_discard(struct fixture_certificate *certificate)
{
    X509_free(certificate->certificate);
    EVP_PKEY_free(certificate->key);
    *certificate = (struct fixture_certificate){0};
}

void fixture_pin(const struct fixture_certificate *certificate, uint8_t pin[TLS_PIN_SIZE])
{
    unsigned char *encoded = NULL;
    int size = i2d_PUBKEY(certificate->key, &encoded);
    MUST(size > 0 && EVP_Digest(encoded, (size_t)size, pin, NULL, EVP_sha256(), NULL) == 1);
    OPENSSL_free(encoded);
}

struct tls_trust *fixture_trust(const struct fixture_certificate *authority)
{
    BIO *text = BIO_new(BIO_s_mem());
    MUST(PEM_write_bio_X509(text, authority->certificate) == 1);
    char *data;
    long size = BIO_get_mem_data(text, &data);
    struct tls_trust *trust = NULL;
    MUST(tls_trust_build(span_of(data, (size_t)size), &trust) == 0);
    BIO_free(text);
    return trust;
}

SSL_CTX *fixture_server(const struct fixture_certificate *certificate,
                        const struct fixture_certificate *middle)
{
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    MUST(server != NULL);
    SSL_CTX_set_security_level(server, 0);
    MUST(SSL_CTX_use_certificate(server, certificate->certificate) == 1);
    MUST(SSL_CTX_use_PrivateKey(server, certificate->key) == 1);
    if (middle != NULL) {
        MUST(SSL_CTX_add1_chain_cert(server, middle->certificate) == 1);
    }
    SSL_CTX_set_session_id_context(server, (const unsigned char *)"dot", 3);
    return server;
}

static int choose(SSL *server, const unsigned char **out, unsigned char *size, const unsigned char *offered,
                  unsigned offered_size, void *protocol)
{
    (void)server;
    (void)offered;
    (void)offered_size;
    *size = *(const unsigned char *)protocol;
    *out = (const unsigned char *)protocol + 1;
    return SSL_TLSEXT_ERR_OK;
}

void fixture_choose_protocol(SSL_CTX *server, const char *protocol)
{
    SSL_CTX_set_alpn_select_cb(server, choose, (void *)(uintptr_t)protocol);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
size_t fixture_heap(void)
{
    return __sanitizer_get_current_allocated_bytes();
}
#else
size_t fixture_heap(void)
{
    struct mallinfo2 heap = mallinfo2();
    return heap.uordblks + heap.hblkhd;
}
#endif

void fixture_sockets(int descriptor[2])
{
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, descriptor) == 0);
}

int fixture_meet(struct fixture_pair *pair, struct tls_client *client, SSL_CTX *server, int64_t wall)
{
    fixture_sockets(pair->descriptor);
    pair->client = NULL;
    MUST(tls_session_connect(client, pair->descriptor[0], wall, &pair->client) == 0);
    pair->server = SSL_new(server);
    SSL_set_accept_state(pair->server);
    SSL_set_fd(pair->server, pair->descriptor[1]);
    int result = ERROR_AGAIN;
    for (int turn = 0; turn < 100 && result == ERROR_AGAIN; turn++) {
        result = tls_session_handshake(pair->client);
        SSL_do_handshake(pair->server);
        ERR_clear_error();
    }
    return result;
}

void fixture_part(struct fixture_pair *pair)
{
    tls_session_close(pair->client);
    SSL_set_shutdown(pair->server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(pair->server);
    close(pair->descriptor[0]);
    close(pair->descriptor[1]);
}
