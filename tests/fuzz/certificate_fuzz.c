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

/* Made once: it takes far longer than a look at a certificate. */
static struct tls_client *any_client(void)
{
    static const uint8_t pins[1][TLS_PIN_SIZE];
    static struct tls_client *client;
    if (client == NULL) {
        must(tls_client_build(&(struct tls_identity){.pins = pins, .pin_count = 1}, NULL, &client) == 0);
    }
    return client;
}

static void look_at(X509 *certificate)
{
    struct tls_certificate told;
    tls_certificate_describe(any_client(), certificate, &told);
    must_be_printable(told.subject, sizeof told.subject);
    must_be_printable(told.issuer, sizeof told.issuer);
    must_be_printable(told.names, sizeof told.names);
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
