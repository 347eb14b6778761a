/*
 * See secure.h. The relay talks to its server through this, and the load generator where it asks a server
 * itself. It promises the check of the certificate and nothing else: no resumption, no second try.
 */
#include "secure.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common.h"

SSL *secure_open(int descriptor, const char *authorities, const char *name)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_read_ahead(context, 1);
    if (SSL_CTX_load_verify_file(context, authorities) != 1) {
        bench_fail(authorities);
    }
    SSL *connection = SSL_new(context);
    SSL_CTX_free(context); /* the connection holds it */
    SSL_set_mode(connection, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_set_tlsext_host_name(connection, name);
    SSL_set1_host(connection, name);
    SSL_set_fd(connection, descriptor);
    if (SSL_connect(connection) != 1) {
        bench_fail("TLS handshake");
    }
    return connection;
}

void secure_close(SSL *connection)
{
    SSL_free(connection);
    ERR_clear_error();
}

static ssize_t result_of(const SSL *connection, int result)
{
    if (result > 0) {
        return result;
    }
    int error = SSL_get_error(connection, result);
    ERR_clear_error();
    if (error == SSL_ERROR_ZERO_RETURN) {
        return 0;
    }
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
    return -1;
}

ssize_t secure_read(SSL *connection, uint8_t *bytes, size_t room)
{
    return result_of(connection, SSL_read(connection, bytes, (int)room));
}

ssize_t secure_write(SSL *connection, const uint8_t *bytes, size_t size)
{
    return result_of(connection, SSL_write(connection, bytes, (int)size));
}
