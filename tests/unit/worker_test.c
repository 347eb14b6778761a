/* A worker over a real TLS server: it serves, drains, stops and closes, and cleans up where it cannot open.
 */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "net/net.h"

#include "worker/worker.h"

#include "tls_fixture.h"

enum { RING_SIZE = 1 << 16, QUERY_SIZE = 19 };

/* A server that answers each question with the question itself, on a thread of its own. */
struct far_end {
    struct fixture_certificate authority, leaf;
    struct tls_trust *trust;
    SSL_CTX *context;
    struct address address;
    int listener;
    pthread_t thread;
};

struct world {
    struct config config;
    struct config_upstream upstream;
    struct config_group group;
    struct worker_socket sockets[2];
    struct worker_setup setup;
    struct guard_access *access;
    struct guard_connections *connections;
    struct metrics *metrics;
    int metrics_descriptor;
    struct log log;
    uint8_t ring[RING_SIZE];
    struct event_loop *loop;
    struct event_mailbox log_mailbox, done_mailbox;
    unsigned done;
    struct address address;
};

static struct far_end far_end;
static struct world world;

static struct address address_of(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(span_text(text), 0, &address), 0);
    return address;
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

/* ---- the server ---- */

static bool read_whole(SSL *server, uint8_t *out, size_t size)
{
    for (size_t at = 0; at < size;) {
        int count = SSL_read(server, out + at, (int)(size - at));
        if (count <= 0) {
            return false;
        }
        at += (size_t)count;
    }
    return true;
}

static void serve_connection(SSL *server)
{
    uint8_t frame[2 + 512];
    while (read_whole(server, frame, 2)) {
        size_t size = bytes_get_u16(frame);
        if (size > sizeof frame - 2 || !read_whole(server, frame + 2, size)) {
            return;
        }
        frame[4] |= 0x80;
        SSL_write(server, frame, (int)size + 2);
    }
}

/* One connection after the other, until a shut listener ends it. */
static void *serve(void *argument)
{
    struct far_end *far = argument;
    int descriptor;
    while ((descriptor = accept4(far->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        SSL *server = SSL_new(far->context);
        SSL_set_fd(server, descriptor);
        if (SSL_accept(server) == 1) {
            serve_connection(server);
        }
        SSL_free(server);
        close(descriptor);
    }
    return NULL;
}

static int raise_server(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    int64_t now = (int64_t)(clock_wall() / CLOCK_SECOND);
    struct fixture_wish authority = {.common_name = "authority",
                                     .basic = "critical,CA:TRUE",
                                     .from = now - FIXTURE_DAY,
                                     .to = now + FIXTURE_DAY};
    fixture_issue(&far_end.authority, &authority);
    struct fixture_wish leaf = {.issuer = &far_end.authority,
                                .names = "DNS:a.test",
                                .from = now - FIXTURE_DAY,
                                .to = now + FIXTURE_DAY};
    fixture_issue(&far_end.leaf, &leaf);
    far_end.trust = fixture_trust(&far_end.authority);
    far_end.context = fixture_server(&far_end.leaf, NULL);
    struct address any = address_of("127.0.0.1:0");
    struct sockaddr_storage name;
    far_end.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = address_to_kernel(&any, &name);
    assert_int_equal(bind(far_end.listener, (struct sockaddr *)&name, size), 0);
    assert_int_equal(listen(far_end.listener, 8), 0);
    assert_int_equal(net_local_address(far_end.listener, &far_end.address), 0);
    return pthread_create(&far_end.thread, NULL, serve, &far_end);
}

static int raze_server(void **state)
{
    (void)state;
    shutdown(far_end.listener, SHUT_RDWR);
    pthread_join(far_end.thread, NULL);
    close(far_end.listener);
    tls_trust_free(far_end.trust);
    SSL_CTX_free(far_end.context);
    fixture_discard(&far_end.leaf);
    fixture_discard(&far_end.authority);
    return 0;
}

/* ---- what a worker is given ---- */

static void on_log(struct event_mailbox *mailbox)
{
    (void)mailbox;
}

static void on_worker_done(struct event_mailbox *mailbox)
{
    container_of(mailbox, struct world, done_mailbox)->done++;
}

static void fill_config(struct config *config)
{
    config->upstreams = &world.upstream;
    config->upstream_count = 1;
    config->limits.query_timeout = 2 * CLOCK_SECOND;
    config->limits.tcp_idle = config->limits.tcp_message_timeout = CLOCK_SECOND;
    config->limits.tcp_write_timeout = CLOCK_SECOND;
    config->limits.tcp_output = 128 * 1024;
    config->limits.tcp_connections = config->limits.tcp_connections_per_client = 10;
    config->limits.pending = config->limits.pending_per_client = 10;
    config->upstream.attempt_timeout = config->upstream.connect_timeout = 1500 * CLOCK_MILLISECOND;
    config->upstream.handshake_timeout = 2500 * CLOCK_MILLISECOND;
    config->upstream.refused_retry = config->upstream.backoff_min = 250 * CLOCK_MILLISECOND;
    config->upstream.backoff_max = 30 * CLOCK_SECOND;
    config->upstream.handshakes_per_second = 5;
    config->upstream.links = 1;
    config->upstream.max_age = 600 * CLOCK_SECOND;
    config->upstream.warm = 600 * CLOCK_SECOND;
    config->upstream.in_flight = 10;
    config->groups = &world.group;
    config->group_count = 1;
    config->tls.padding = 128;
}

static void open_sockets(void)
{
    struct address any = address_of("127.0.0.1:0");
    size_t granted;
    world.sockets[0].udp = true;
    assert_int_equal(net_udp_bind(&any, false, 65536, &world.sockets[0].descriptor, &granted), 0);
    assert_int_equal(net_local_address(world.sockets[0].descriptor, &world.address), 0);
    assert_int_equal(net_tcp_listen(&any, false, 8, &world.sockets[1].descriptor), 0);
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    world.upstream = (struct config_upstream){.address = far_end.address, .label = "far", .name = "a.test"};
    fill_config(&world.config);
    open_sockets();
    struct address_prefix everybody;
    assert_int_equal(address_prefix_parse(span_text("127.0.0.0/8"), &everybody), 0);
    assert_int_equal(guard_access_build(&everybody, 1, NULL, 0, &world.access), 0);
    assert_int_equal(guard_connections_open((struct hash_key){{1, 2}}, 10, 10, &world.connections), 0);
    assert_int_equal(metrics_open(1, &world.metrics, &world.metrics_descriptor), 0);
    log_init(&world.log, LOG_INFO, world.ring, sizeof world.ring);
    assert_int_equal(event_loop_open(&world.loop), 0);
    assert_int_equal(event_mailbox_open(world.loop, &world.log_mailbox, on_log), 0);
    assert_int_equal(event_mailbox_open(world.loop, &world.done_mailbox, on_worker_done), 0);
    world.setup = (struct worker_setup){.workers = 1,
                                        .config = &world.config,
                                        .upstream_count = 1,
                                        .stream_blocks = 256,
                                        .trust = far_end.trust,
                                        .access = world.access,
                                        .connections = world.connections,
                                        .metrics = &world.metrics->worker[0],
                                        .sockets = world.sockets,
                                        .socket_count = 2,
                                        .log = &world.log,
                                        .log_mailbox = &world.log_mailbox,
                                        .done_mailbox = &world.done_mailbox};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    event_mailbox_close(&world.log_mailbox);
    event_mailbox_close(&world.done_mailbox);
    event_loop_close(world.loop);
    metrics_close(world.metrics, world.metrics_descriptor);
    guard_connections_close(world.connections);
    guard_access_free(world.access);
    net_close(world.sockets[0].descriptor);
    net_close(world.sockets[1].descriptor);
    return 0;
}

/* ---- a client ---- */

static int send_query(void)
{
    static const uint8_t query[QUERY_SIZE] = {0xbe, 0xef, 1, 0,   0, 1, 0, 0, 0, 0,
                                              0,    0,    1, 'A', 0, 0, 1, 0, 1};
    struct sockaddr_storage name;
    socklen_t size = address_to_kernel(&world.address, &name);
    int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(sendto(client, query, sizeof query, 0, (struct sockaddr *)&name, size), QUERY_SIZE);
    return client;
}

/* Whether an answer comes; it is the query's own, in its own letter case. */
static bool receive_answer(int client, int patience)
{
    struct pollfd ready = {.fd = client, .events = POLLIN};
    uint8_t answer[512];
    bool there = poll(&ready, 1, patience) == 1 && recv(client, answer, sizeof answer, 0) >= QUERY_SIZE;
    if (there) {
        assert_int_equal(bytes_get_u16(answer), 0xbeef);
        assert_int_equal(answer[3] & 0x0f, 0);
        assert_int_equal(answer[13], 'A');
    }
    close(client);
    return there;
}

static void wait_for_done(void)
{
    for (unsigned i = 0; i < 100 && world.done == 0; i++) {
        event_loop_turn(world.loop, 100 * CLOCK_MILLISECOND);
    }
    assert_int_equal(world.done, 1);
    world.done = 0;
}

/* ---- the tests ---- */

/* Shows: pain 29 */
static void a_worker_serves_drains_and_closes_twice(void **state)
{
    (void)state;
    unsigned before = open_descriptors();
    for (unsigned i = 0; i < 2; i++) {
        struct worker *worker;
        assert_int_equal(worker_open(&world.setup, &worker), 0);
        assert_int_equal(worker_start(worker), 0);
        assert_true(receive_answer(send_query(), 5000));
        assert_false(worker_is_done(worker));
        worker_drain(worker, -1);
        wait_for_done();
        assert_true(worker_is_done(worker));
        int late = send_query(); /* stays in the socket for the next worker */
        worker_close(worker);
        assert_int_equal(worker_open(&world.setup, &worker), 0);
        assert_int_equal(worker_start(worker), 0);
        assert_true(receive_answer(late, 5000));
        worker_drain(worker, -1);
        wait_for_done();
        worker_close(worker);
    }
    assert_int_equal(metrics_sum(world.metrics, METRICS_QUERIES_UDP), 4);
    assert_int_equal(metrics_sum(world.metrics, METRICS_PENDING), 0);
    assert_in_range(open_descriptors(), before - 1, before + 1); /* the server's end may still close */
}

static bool refuse(void *called)
{
    *(bool *)called = true;
    return false;
}

/* Not even what waits already, since nothing would keep it from doing what that says. Shows: S06 */
static void a_worker_that_may_not_go_on_reads_nothing(void **state)
{
    (void)state;
    struct worker *worker;
    bool called = false;
    int client = send_query();
    world.setup.enter = refuse;
    world.setup.sandbox = &called;
    assert_int_equal(worker_open(&world.setup, &worker), 0);
    assert_int_equal(worker_start(worker), 0);
    wait_for_done();
    assert_true(called && worker_is_done(worker));
    worker_close(worker);
    assert_false(receive_answer(client, 100));
    assert_int_equal(metrics_sum(world.metrics, METRICS_QUERIES_UDP), 0);
}

/* A worker that does not turn owes its answer; one that has ended owes nothing. Shows: P06 */
static void a_worker_that_turns_answers_its_pulse(void **state)
{
    (void)state;
    struct worker *worker;
    assert_int_equal(worker_open(&world.setup, &worker), 0);
    assert_true(worker_is_alive(worker));
    worker_pulse(worker);
    worker_pulse(worker);
    event_loop_turn(world.loop, 50 * CLOCK_MILLISECOND);
    assert_false(worker_is_alive(worker));
    assert_int_equal(worker_start(worker), 0);
    wait_for_done(); /* it says that there is something to look at */
    assert_true(worker_is_alive(worker));
    assert_false(worker_is_done(worker));
    worker_stop(worker);
    wait_for_done();
    worker_pulse(worker);
    assert_true(worker_is_alive(worker));
    worker_close(worker);
}

static void a_stop_does_not_wait(void **state)
{
    (void)state;
    world.upstream.address = address_of("127.0.0.1:1"); /* nobody answers */
    struct worker *worker;
    assert_int_equal(worker_open(&world.setup, &worker), 0);
    assert_int_equal(worker_start(worker), 0);
    int client = send_query();
    while (metrics_sum(world.metrics, METRICS_PENDING) == 0) {
        sched_yield();
    }
    worker_drain(worker, -1);
    worker_stop(worker);
    wait_for_done();
    worker_close(worker);
    assert_false(receive_answer(client, 0));
    assert_int_equal(metrics_sum(world.metrics, METRICS_PENDING), 0);
}

static void a_worker_that_never_started_closes(void **state)
{
    (void)state;
    struct worker *worker;
    assert_int_equal(worker_open(&world.setup, &worker), 0);
    worker_close(worker);
}

/* Whatever is the first descriptor that cannot be had. */
static void a_worker_that_cannot_open_leaves_nothing(void **state)
{
    (void)state;
    unsigned before = open_descriptors();
    struct rlimit usual;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    int next = dup(0);
    close(next);
    unsigned failures = 0;
    for (rlim_t room = 0; room < 8; room++) {
        struct rlimit tiny = {.rlim_cur = (rlim_t)next + room, .rlim_max = usual.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tiny), 0);
        struct worker *worker = NULL;
        int error = worker_open(&world.setup, &worker);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
        if (error == 0) {
            worker_close(worker);
        } else {
            assert_int_equal(error, ERROR_DESCRIPTORS);
            assert_null(worker);
            failures++;
        }
        assert_int_equal(open_descriptors(), before);
    }
    assert_in_range(failures, 1, 7);
}

static void bad_sockets_and_identities_are_told(void **state)
{
    (void)state;
    unsigned before = open_descriptors();
    struct worker *worker;
    struct worker_socket bad[2] = {world.sockets[0], {.descriptor = -1}};
    world.setup.sockets = bad;
    assert_true(worker_open(&world.setup, &worker) < 0);
    world.setup.sockets = world.sockets;
    world.setup.trust = NULL; /* a name, and nobody who could vouch for it */
    assert_true(worker_open(&world.setup, &worker) < 0);
    assert_int_equal(open_descriptors(), before);
}

/* Pages of this process's address space. */
static size_t address_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Shows: W5, pain 26 */
static void a_worker_takes_the_memory_it_says(void **state)
{
    (void)state;
    enum { SLACK = 8 << 20, BUFFERS = 64 << 20 };
    struct config_listen listen = {.udp = true, .tcp = true};
    world.config.listen = &listen;
    world.config.listen_count = 1;
    world.config.limits.pending = 100000;
    world.config.limits.tcp_connections = 100000;
    world.setup.stream_blocks = worker_buffers(BUFFERS);
    struct worker_memory memory = worker_memory(&world.config, 1, 1);
    size_t told = memory.queries + memory.links + memory.clients + BUFFERS;
    assert_in_range(told, 200 << 20, 400 << 20);
    size_t before = address_space();
    struct worker *worker;
    assert_int_equal(worker_open(&world.setup, &worker), 0);
    size_t taken = address_space() - before;
    worker_close(worker);
    assert_in_range(taken, told - memory.links - SLACK, told + SLACK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_worker_serves_drains_and_closes_twice), TEST(a_worker_that_may_not_go_on_reads_nothing),
        TEST(a_worker_that_turns_answers_its_pulse),   TEST(a_stop_does_not_wait),
        TEST(a_worker_that_never_started_closes),      TEST(a_worker_that_cannot_open_leaves_nothing),
        TEST(bad_sockets_and_identities_are_told),     TEST(a_worker_takes_the_memory_it_says),
    };
    return cmocka_run_group_tests_name("worker", tests, raise_server, raze_server);
}
