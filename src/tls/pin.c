/*
 * Pinned keys: SHA-256 of a SubjectPublicKeyInfo (RFC 7858, 4.2). The configuration reads them here, and the
 * check of a certificate asks here. A key that cannot be encoded or hashed matches nothing.
 */
#include <openssl/evp.h>

#include "base/error.h"

#include "tls/internal.h"

static const char prefix[] = "sha256/";

enum { PREFIX_SIZE = sizeof prefix - 1, PIN_TEXT_SIZE = 44 };

static bool is_base64(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

bool tls_pin_of(X509 *certificate, uint8_t out[TLS_PIN_SIZE])
{
    unsigned char *encoded = NULL;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &encoded);
    if (size <= 0) {
        return false;
    }
    int done = EVP_Digest(encoded, (size_t)size, out, NULL, EVP_sha256(), NULL);
    OPENSSL_free(encoded);
    return done == 1;
}

bool tls_pin_matches(const struct tls_client *client, X509 *certificate)
{
    uint8_t hash[TLS_PIN_SIZE];
    if (certificate == NULL || !tls_pin_of(certificate, hash)) {
        return false;
    }
    for (size_t i = 0; i < client->pin_count; i++) {
        if (memcmp(client->pins[i], hash, sizeof hash) == 0) {
            return true;
        }
    }
    return false;
}

int tls_pin_parse(struct span text, uint8_t out[TLS_PIN_SIZE])
{
    if (text.size > PREFIX_SIZE && memcmp(text.data, prefix, PREFIX_SIZE) == 0) {
        text = span_of(text.data + PREFIX_SIZE, text.size - PREFIX_SIZE);
    }
    if (text.size != PIN_TEXT_SIZE || text.data[PIN_TEXT_SIZE - 1] != '=') {
        return ERROR_INVALID;
    }
    for (size_t i = 0; i + 1 < PIN_TEXT_SIZE; i++) {
        if (!is_base64(text.data[i])) {
            return ERROR_INVALID;
        }
    }
    /* The padding is decoded as zero bits: a last byte that is not zero means bits behind the 32 bytes. */
    uint8_t decoded[TLS_PIN_SIZE + 1];
    if (EVP_DecodeBlock(decoded, text.data, PIN_TEXT_SIZE) != TLS_PIN_SIZE + 1 ||
        decoded[TLS_PIN_SIZE] != 0) {
        return ERROR_INVALID;
    }
    memcpy(out, decoded, TLS_PIN_SIZE);
    return 0;
}

void tls_pin_format(const uint8_t pin[TLS_PIN_SIZE], char out[TLS_PIN_TEXT_SIZE])
{
    memcpy(out, prefix, PREFIX_SIZE);
    EVP_EncodeBlock((unsigned char *)out + PREFIX_SIZE, pin, TLS_PIN_SIZE);
}
