/*
 * A fake of src/net: one UDP socket and one listening socket whose far ends are a test, and connections
 * between it and the program. Nothing leaves the process.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/error.h"

#include "fake/fake.h"

struct fake_world fake;

static void *must_allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* ---- bytes ---- */

void fake_bytes_append(struct fake_bytes *bytes, struct span more)
{
    if (bytes->size + more.size > bytes->capacity) {
        bytes->capacity = 2 * (bytes->size + more.size);
        bytes->data = realloc(bytes->data, bytes->capacity);
        if (bytes->data == NULL) {
            abort();
        }
    }
    if (more.size > 0) {
        memcpy(bytes->data + bytes->size, more.data, more.size);
        bytes->size += more.size;
    }
}

void fake_bytes_drop(struct fake_bytes *bytes, size_t size)
{
    assert(size <= bytes->size);
    if (size > 0) {
        memmove(bytes->data, bytes->data + size, bytes->size - size);
        bytes->size -= size;
    }
}

void fake_bytes_free(struct fake_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct fake_bytes){0};
}

/* ---- the world ---- */

void fake_world_init(void)
{
    fake = (struct fake_world){.last_descriptor = FAKE_FIRST_CONNECTION};
    list_init(&fake.datagrams);
    list_init(&fake.answers);
    list_init(&fake.accepting);
    list_init(&fake.connections);
    list_init(&fake.sockets);
}

static void free_connections(struct list *connections)
{
    struct list *node;
    while ((node = list_take_first(connections)) != NULL) {
        struct fake_connection *connection = container_of(node, struct fake_connection, node);
        fake_bytes_free(&connection->in);
        fake_bytes_free(&connection->out);
        fake_bytes_free(&connection->unsent);
        free(connection);
    }
}

static void free_datagrams(struct list *datagrams)
{
    struct list *node;
    while ((node = list_take_first(datagrams)) != NULL) {
        free(container_of(node, struct fake_datagram, node));
    }
}

void fake_world_fini(void)
{
    free_datagrams(&fake.datagrams);
    free_datagrams(&fake.answers);
    free_connections(&fake.accepting);
    free_connections(&fake.connections);
    while (!list_empty(&fake.sockets)) {
        struct fake_socket *socket = container_of(list_take_first(&fake.sockets), struct fake_socket, node);
        free_datagrams(&socket->coming);
        free_datagrams(&socket->heard);
        free(socket);
    }
}

/* ---- connections ---- */

static struct fake_connection *new_connection(const struct address *remote, struct list *where)
{
    struct fake_connection *connection = must_allocate(sizeof *connection);
    connection->descriptor = fake.last_descriptor++;
    connection->remote = *remote;
    connection->reads = true;
    list_append(where, &connection->node);
    return connection;
}

struct fake_connection *fake_connection_open(const struct address *remote)
{
    return new_connection(remote, &fake.connections);
}

struct fake_connection *fake_net_dial(const struct address *client)
{
    struct fake_connection *connection = new_connection(client, &fake.accepting);
    connection->open = true;
    return connection;
}

struct fake_connection *fake_connection_find(int descriptor)
{
    for (struct list *node = fake.connections.next; node != &fake.connections; node = node->next) {
        struct fake_connection *connection = container_of(node, struct fake_connection, node);
        if (connection->descriptor == descriptor) {
            return connection;
        }
    }
    return NULL;
}

void fake_connection_send(struct fake_connection *connection, struct span bytes)
{
    fake_bytes_append(&connection->in, bytes);
    connection->looked = false;
}

void fake_connection_close(int descriptor)
{
    struct fake_connection *connection = fake_connection_find(descriptor);
    assert(connection != NULL && !connection->closed);
    connection->closed = true;
    connection->open = false;
}

static unsigned connection_readiness(const struct fake_connection *connection)
{
    if (connection == NULL || connection->closed) {
        return 0;
    }
    if (!connection->open) {
        return connection->fate != FAKE_SILENT ? EVENT_WRITE : 0;
    }
    unsigned read = connection->end != 0 || (connection->in.size > 0 && !connection->looked) ? EVENT_READ : 0;
    return read | (connection->reads || connection->takes > 0 ? EVENT_WRITE : 0);
}

unsigned fake_net_readiness(int descriptor)
{
    if (descriptor == FAKE_UDP) {
        return list_empty(&fake.datagrams) ? 0 : EVENT_READ;
    }
    if (descriptor == FAKE_TCP) {
        return list_empty(&fake.accepting) ? 0 : EVENT_READ;
    }
    const struct fake_socket *socket = fake_socket_find(descriptor);
    return socket != NULL ? fake_socket_readiness(socket)
                          : connection_readiness(fake_connection_find(descriptor));
}

int net_tcp_accept(int listener, int *descriptor, struct address *remote)
{
    assert(listener == FAKE_TCP);
    if (list_empty(&fake.accepting)) {
        return ERROR_AGAIN;
    }
    if (fake.descriptors_gone) {
        return ERROR_DESCRIPTORS;
    }
    struct list *node = list_take_first(&fake.accepting);
    list_append(&fake.connections, node);
    struct fake_connection *connection = container_of(node, struct fake_connection, node);
    *descriptor = connection->descriptor;
    *remote = connection->remote;
    return 0;
}

int net_local_address(int descriptor, struct address *out)
{
    (void)descriptor;
    *out = fake.local;
    return 0;
}

/* In a play there is one engine: nothing passes to another one. */
int net_local_send(int descriptor, struct span packet, int passed)
{
    (void)descriptor, (void)packet, (void)passed;
    abort();
}

int net_local_receive(int descriptor, uint8_t *out, size_t size, int *passed)
{
    (void)descriptor, (void)out, (void)size, (void)passed;
    abort();
}

void net_close(int descriptor)
{
    struct fake_socket *socket = fake_socket_find(descriptor);
    if (socket == NULL) {
        fake_connection_close(descriptor);
    } else {
        assert(!socket->closed);
        socket->closed = true;
    }
}

/* ---- datagrams ---- */

struct net_udp_batch {
    size_t count;
    struct fake_datagram *received[NET_UDP_BATCH];
    struct list pushed;
};

static struct fake_datagram *new_datagram(const struct net_peer *peer, struct span bytes)
{
    struct fake_datagram *datagram = must_allocate(sizeof *datagram + bytes.size);
    datagram->peer = *peer;
    datagram->size = bytes.size;
    if (bytes.size > 0) {
        memcpy(datagram->bytes, bytes.data, bytes.size);
    }
    return datagram;
}

void fake_net_put(const struct net_peer *peer, struct span datagram)
{
    list_append(&fake.datagrams, &new_datagram(peer, datagram)->node);
}

size_t net_udp_batch_memory(void)
{
    return sizeof(struct net_udp_batch);
}

int net_udp_batch_open(struct net_udp_batch **out)
{
    *out = must_allocate(sizeof **out);
    list_init(&(*out)->pushed);
    return 0;
}

static void forget_received(struct net_udp_batch *batch)
{
    while (batch->count > 0) {
        free(batch->received[--batch->count]);
    }
}

void net_udp_batch_close(struct net_udp_batch *batch)
{
    forget_received(batch);
    free_datagrams(&batch->pushed);
    free(batch);
}

int net_udp_receive(struct net_udp_batch *batch, int descriptor, bool wildcard)
{
    (void)wildcard;
    assert(descriptor == FAKE_UDP);
    forget_received(batch);
    while (batch->count < NET_UDP_BATCH && !list_empty(&fake.datagrams)) {
        batch->received[batch->count++] =
            container_of(list_take_first(&fake.datagrams), struct fake_datagram, node);
    }
    return batch->count > 0 ? (int)batch->count : ERROR_AGAIN;
}

struct span net_udp_datagram(const struct net_udp_batch *batch, size_t i, struct net_peer *peer)
{
    const struct fake_datagram *datagram = batch->received[i];
    *peer = datagram->peer;
    if (datagram->size > NET_UDP_RECEIVE_MAX) {
        return (struct span){0};
    }
    return span_of(datagram->bytes, datagram->size);
}

void net_udp_push(struct net_udp_batch *batch, int descriptor, const struct net_peer *peer,
                  struct span datagram)
{
    assert(descriptor == FAKE_UDP && datagram.size <= NET_UDP_SEND_MAX);
    list_append(&batch->pushed, &new_datagram(peer, datagram)->node);
}

size_t net_udp_flush(struct net_udp_batch *batch, int descriptor)
{
    assert(descriptor == FAKE_UDP);
    list_move_all(&fake.answers, &batch->pushed);
    return 0;
}
