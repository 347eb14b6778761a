/*
 * A fake of src/net/datagram.c: sockets of the program whose far end is a server of the test. What the
 * program sends is handed round at once, lost, or refused, as the server's fate has it.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/error.h"

#include "fake/fake.h"

struct fake_socket *fake_socket_find(int descriptor)
{
    for (struct list *node = fake.sockets.next; node != &fake.sockets; node = node->next) {
        struct fake_socket *socket = container_of(node, struct fake_socket, node);
        if (socket->descriptor == descriptor) {
            return socket;
        }
    }
    return NULL;
}

static void put(struct list *where, struct span bytes)
{
    struct fake_datagram *datagram = calloc(1, sizeof *datagram + bytes.size);
    if (datagram == NULL) {
        abort();
    }
    datagram->size = bytes.size;
    memcpy(datagram->bytes, bytes.data, bytes.size);
    list_append(where, &datagram->node);
}

void fake_socket_send(struct fake_socket *socket, struct span bytes)
{
    put(&socket->coming, bytes);
}

unsigned fake_socket_readiness(const struct fake_socket *socket)
{
    return !socket->closed && (socket->is_refused || !list_empty(&socket->coming)) ? EVENT_READ : 0;
}

static struct fake_server *find_server(const struct address *remote)
{
    for (size_t i = 0; i < fake.server_count; i++) {
        if (address_equal(&fake.server[i].address, remote)) {
            return &fake.server[i];
        }
    }
    abort(); /* an address that is no server's */
}

int net_datagram_open(const struct address *remote, uint16_t port, int *descriptor)
{
    struct fake_server *server = find_server(remote);
    assert(port >= 1024);
    if (fake.descriptors_gone) {
        return ERROR_DESCRIPTORS;
    }
    if (server->datagram_fate == FAKE_UNREACHABLE) {
        return ERROR_UNREACHABLE;
    }
    struct fake_socket *socket = calloc(1, sizeof *socket);
    if (socket == NULL) {
        abort();
    }
    *socket = (struct fake_socket){.descriptor = fake.last_descriptor++, .server = server};
    list_init(&socket->coming);
    list_init(&socket->heard);
    list_append(&fake.sockets, &socket->node);
    *descriptor = socket->descriptor;
    return 0;
}

int net_datagram_send(int descriptor, struct span datagram)
{
    struct fake_socket *socket = fake_socket_find(descriptor);
    enum fake_fate fate = socket->server->datagram_fate;
    assert(datagram.size <= NET_UDP_SEND_MAX);
    socket->is_refused = fate == FAKE_REFUSE;
    if (fate == FAKE_ACCEPT) {
        put(&socket->heard, datagram);
    }
    return 0;
}

int net_datagram_receive(int descriptor, const struct address *remote, uint8_t *out, size_t size)
{
    struct fake_socket *socket = fake_socket_find(descriptor);
    assert(address_equal(&socket->server->address, remote));
    if (socket->is_refused) {
        socket->is_refused = false;
        return ERROR_REFUSED;
    }
    if (list_empty(&socket->coming)) {
        return ERROR_AGAIN;
    }
    struct fake_datagram *datagram =
        container_of(list_take_first(&socket->coming), struct fake_datagram, node);
    int got = (int)(datagram->size < size ? datagram->size : size);
    memcpy(out, datagram->bytes, (size_t)got);
    free(datagram);
    return got;
}
