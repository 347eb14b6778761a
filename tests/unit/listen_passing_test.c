/* Connections that pass from one hall to another one, as they do from engine to engine. */
#include <unistd.h>

#include "base/error.h"

#include "listen_test.h"

/* The hall that comes after the one of the test, with the same TCP socket. */
static struct listen_hall *next_doors;
static int next_socket = -1;
static int ends[2]; /* the one of before sends, the next one receives */

/* A loop watches a descriptor once. */
static struct listen_hall *open_same_door(int *copy)
{
    struct listen_hall *opened = open_empty_doors();
    *copy = dup(tcp_socket);
    assert_int_equal(listen_tcp_open(opened, *copy, 0), 0);
    return opened;
}

static void open_next(void)
{
    next_doors = open_same_door(&next_socket);
    assert_int_equal(net_local_pair(ends), 0);
    assert_int_equal(listen_inherit(next_doors, ends[1]), 0);
}

static void close_next(void)
{
    listen_hall_close(next_doors);
    net_close(next_socket);
    next_socket = -1;
    net_close(ends[0]);
    net_close(ends[1]);
}

static void check_served(int client)
{
    send_query(client, DNS_TYPE_AXFR);
    assert_int_equal(read_answer(client), DNS_RCODE_REFUSED);
    assert_false(is_closed(client));
}

/* Shows: M9 */
void an_idle_connection_goes_on_with_the_heir(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int asked = connect_client(), never_asked = connect_client();
    check_served(asked);
    open_next();
    listen_drain(doors, ends[0]);
    assert_false(listen_busy(doors));
    assert_int_equal(meter(METRICS_TCP_PASSED), 2);
    check_served(asked);
    check_served(never_asked);
    assert_int_equal(meter(METRICS_TCP_CLOSES_DRAIN), 0);
    net_close(asked);
    net_close(never_asked);
    close_next();
}

/* Shows: M9 */
void what_was_read_of_a_question_goes_along(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int client = connect_client(), quick = connect_client();
    uint8_t frame[64];
    size_t size = write_query(frame + 2, DNS_TYPE_AXFR);
    bytes_put_u16(frame, (uint16_t)size);
    send_bytes(client, frame, 9);
    open_next();
    struct iovec part = {.iov_base = frame, .iov_len = size + 2};
    assert_int_equal(net_tcp_write(quick, &part, 1), (int)size + 2); /* lies in the kernel unread */
    listen_drain(doors, ends[0]);
    assert_false(listen_busy(doors));
    turn_for(5 * CLOCK_MILLISECOND);
    assert_int_equal(read_answer(quick), DNS_RCODE_REFUSED);
    send_bytes(client, frame + 9, size + 2 - 9);
    assert_int_equal(read_answer(client), DNS_RCODE_REFUSED);
    send_bytes(client, frame, 1);
    turn_until(METRICS_TCP_CLOSES_MESSAGE_TIMEOUT, 1); /* deadlines hold there as well */
    net_close(client);
    net_close(quick);
    close_next();
}

/* Shows: M9 */
void a_question_is_answered_before_its_connection_goes(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int client = connect_client();
    send_query(client, DNS_TYPE_A);
    open_next();
    listen_drain(doors, ends[0]);
    assert_true(listen_busy(doors));
    send_query(client, DNS_TYPE_AXFR); /* for whoever comes next */
    assert_int_equal(meter(METRICS_QUERIES_TCP), 1);
    turn_for(TIMEOUT + 50 * CLOCK_MILLISECOND);
    uint8_t bytes[512];
    int size = net_tcp_read(client, bytes, sizeof bytes);
    assert_true(size > 2 && (bytes[5] & 0x0f) == DNS_RCODE_SERVFAIL);
    int first = 2 + bytes_get_u16(bytes);
    assert_true(size > first + 2 + DNS_HEADER_SIZE && (bytes[first + 5] & 0x0f) == DNS_RCODE_REFUSED);
    assert_false(listen_busy(doors));
    assert_int_equal(meter(METRICS_TCP_PASSED), 1);
    check_served(client);
    net_close(client);
    close_next();
}

static unsigned fill(int descriptor)
{
    static const uint8_t nonsense[4096];
    unsigned count = 0;
    while (net_local_send(descriptor, span_of(nonsense, sizeof nonsense), -1) == 0) {
        count++;
    }
    return count;
}

void connections_wait_for_an_heir_that_is_busy(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int clients[PER_CLIENT];
    for (unsigned i = 0; i < PER_CLIENT; i++) {
        clients[i] = connect_client();
    }
    next_doors = open_same_door(&next_socket);
    assert_int_equal(net_local_pair(ends), 0);
    unsigned filled = fill(ends[0]);
    assert_true(filled > 0);
    listen_drain(doors, ends[0]);
    turn_for(20 * CLOCK_MILLISECOND);
    assert_true(listen_busy(doors));
    assert_int_equal(meter(METRICS_TCP_PASSED) + meter(METRICS_TCP_CLOSES_DRAIN), 0);
    assert_int_equal(listen_inherit(next_doors, ends[1]), 0);
    turn_until(METRICS_TCP_PASSED, PER_CLIENT);
    assert_int_equal(meter(METRICS_TCP_CLOSES_DRAIN), filled); /* it was no connection */
    for (unsigned i = 0; i < PER_CLIENT; i++) {
        check_served(clients[i]);
        net_close(clients[i]);
    }
    close_next();
}

void an_heir_that_is_gone_takes_nothing(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int client = connect_client();
    assert_int_equal(net_local_pair(ends), 0);
    net_close(ends[1]);
    listen_drain(doors, ends[0]);
    assert_false(listen_busy(doors));
    assert_true(is_closed(client));
    assert_int_equal(meter(METRICS_TCP_CLOSES_DRAIN), 1);
    assert_int_equal(meter(METRICS_TCP_PASSED), 0);
    net_close(client);
    net_close(ends[0]);
}

void one_that_lost_an_answer_is_closed(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int client = connect_client();
    struct listen_connection *connection = container_of(doors->open.next, struct listen_connection, node);
    connection->overfull = true;
    open_next();
    listen_drain(doors, ends[0]);
    assert_int_equal(meter(METRICS_TCP_PASSED), 0);
    turn_until(METRICS_TCP_CLOSES_OUTPUT, 1);
    assert_true(is_closed(client));
    net_close(client);
    close_next();
}

/* Engines may come faster than connections go. */
void an_heir_passes_on_when_it_ends_itself(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int client = connect_client(), late = connect_client();
    send_query(late, DNS_TYPE_A);
    open_next();
    int further[2], last_socket;
    struct listen_hall *last = open_same_door(&last_socket);
    assert_int_equal(net_local_pair(further), 0);
    assert_int_equal(listen_inherit(last, further[1]), 0);
    listen_drain(doors, ends[0]);
    listen_drain(next_doors, further[0]);
    turn_until(METRICS_TCP_PASSED, 2);
    check_served(client);
    turn_until(METRICS_TCP_PASSED, 4);
    assert_false(listen_busy(doors));
    turn_for(5 * CLOCK_MILLISECOND);
    assert_int_equal(read_answer(late), DNS_RCODE_SERVFAIL);
    check_served(late);
    assert_true(listen_busy(next_doors)); /* more might come */
    net_close(ends[0]);
    ends[0] = -1;
    turn_for(5 * CLOCK_MILLISECOND);
    assert_false(listen_busy(next_doors));
    net_close(client);
    net_close(late);
    close_next();
    listen_hall_close(last);
    net_close(last_socket);
    net_close(further[0]);
    net_close(further[1]);
}

void what_belongs_to_no_door_is_closed(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    int client = connect_client();
    next_doors = open_empty_doors();
    assert_int_equal(net_local_pair(ends), 0);
    assert_int_equal(listen_inherit(next_doors, ends[1]), 0);
    listen_drain(doors, ends[0]);
    turn_until(METRICS_TCP_CLOSES_DRAIN, 1);
    assert_true(is_closed(client));
    uint8_t packet[LISTEN_PACKET_SIZE + 1] = {1};
    assert_int_equal(net_local_send(ends[0], span_of(packet, 1), -1), 0);
    assert_int_equal(net_local_send(ends[0], span_of(packet, sizeof packet), -1), 0); /* cannot be read */
    packet[0] = 2;
    assert_int_equal(net_local_send(ends[0], span_of(packet, LISTEN_PACKET_HEAD), ends[0]), 0);
    turn_until(METRICS_TCP_CLOSES_DRAIN, 3);
    net_close(ends[0]);
    turn_for(5 * CLOCK_MILLISECOND);
    assert_null(next_doors->inheritances[0].watch.loop); /* that was its end */
    ends[0] = -1;
    net_close(client);
    close_next();
}

void connections_may_come_from_several(void **state)
{
    (void)state;
    open_doors("127.0.0.1:0", "127.0.0.1:0");
    open_next();
    for (unsigned i = 1; i < LISTEN_INHERITANCES; i++) {
        assert_int_equal(listen_inherit(next_doors, dup(ends[1])), 0);
    }
    assert_int_equal(listen_inherit(next_doors, ends[1]), ERROR_EXHAUSTED);
    for (unsigned i = 1; i < LISTEN_INHERITANCES; i++) {
        int copy = next_doors->inheritances[i].watch.descriptor;
        event_watch_remove(&next_doors->inheritances[i].watch);
        net_close(copy);
    }
    close_next();
}
