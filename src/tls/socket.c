/*
 * The library's way to the socket: its own, but for a look at what the bytes are good for. The library goes
 * on reading as long as nothing but tickets and new keys comes; a peer that sends them without end would keep
 * the thread for ever, and is held up here. And a read that brought less than it asked for has emptied the
 * socket: the next one is not made, because what comes later is announced anyway. Used by context.c and
 * session.c.
 */
#include "tls/internal.h"

/* A record that carries data is done with fewer bytes than this, tickets and new keys that come before it
 * included; a peer that sends more has nothing to say. */
enum { IDLE_BYTES_MOST = 64 * 1024 };

bool tls_socket_is_idle(const struct tls_session *session)
{
    return session->proven && session->idle > IDLE_BYTES_MOST;
}

static int read_socket(BIO *socket, char *out, int size)
{
    struct tls_session *session = BIO_get_app_data(socket);
    if (tls_socket_is_idle(session)) {
        BIO_set_retry_read(socket);
        return -1;
    }
    if (session->emptied) {
        session->emptied = false;
        BIO_set_retry_read(socket);
        return -1;
    }
    int count = session->client->read(socket, out, size);
    session->idle += count > 0 ? (size_t)count : 0;
    session->emptied = count > 0 && count < size;
    return count;
}

bool tls_socket_build(struct tls_client *client)
{
    const BIO_METHOD *own = BIO_s_socket();
    client->read = BIO_meth_get_read(own);
    client->socket = BIO_meth_new(BIO_TYPE_SOCKET, "dnseal");
    return client->socket != NULL && BIO_meth_set_read(client->socket, read_socket) == 1 &&
           BIO_meth_set_write(client->socket, BIO_meth_get_write(own)) == 1 &&
           BIO_meth_set_ctrl(client->socket, BIO_meth_get_ctrl(own)) == 1 &&
           BIO_meth_set_create(client->socket, BIO_meth_get_create(own)) == 1 &&
           BIO_meth_set_destroy(client->socket, BIO_meth_get_destroy(own)) == 1;
}

bool tls_socket_open(struct tls_session *session, int descriptor)
{
    BIO *socket = BIO_new(session->client->socket);
    /* Its data is the library's own from version 3.2 on. */
    if (socket == NULL || BIO_set_app_data(socket, session) != 1) {
        BIO_free(socket);
        return false;
    }
    BIO_set_fd(socket, descriptor, BIO_NOCLOSE);
    SSL_set_bio(session->library, socket, socket);
    return true;
}
