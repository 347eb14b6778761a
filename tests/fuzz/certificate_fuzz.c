/*
 * A certificate that a server shows: whatever bytes OpenSSL takes for one, what people are told of it is
 * printable ASCII, terminated and within bounds.
 */
#include <openssl/x509.h>
#include <string.h>

#include "tls/internal.h"

#include "target.h"

static void must_be_printable(const char *text, size_t size)
{
    const char *end = memchr(text, '\0', size);
    must(end != NULL);
    for (; text < end; text++) {
        must(*text >= ' ' && *text <= '~');
    }
}

static void look_at(X509 *certificate)
{
    static const uint8_t pins[1][TLS_PIN_SIZE];
    struct tls_client *client;
    struct tls_certificate told;
    must(tls_client_build(&(struct tls_identity){.pins = pins, .pin_count = 1}, NULL, &client) == 0);
    tls_certificate_describe(client, certificate, &told);
    must_be_printable(told.subject, sizeof told.subject);
    must_be_printable(told.issuer, sizeof told.issuer);
    must_be_printable(told.names, sizeof told.names);
    tls_client_free(client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const unsigned char *at = data;
    X509 *certificate = d2i_X509(NULL, &at, (long)size);
    if (certificate != NULL) {
        look_at(certificate);
        X509_free(certificate);
    }
    return 0;
}
