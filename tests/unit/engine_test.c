/* The engine: its start, the letters of its channel, its end. */
#include "engine_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include "net/net.h"

#include "engine/engine.h"

char heard_text[TEXT_MAX];

unsigned open_descriptors(void)
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

unsigned count_of(const char *word)
{
    unsigned count = 0;
    for (const char *at = heard_text; (at = strstr(at, word)) != NULL; at++) {
        count++;
    }
    return count;
}

size_t read_pipe(int descriptor, size_t at, int patience)
{
    struct pollfd ready = {.fd = descriptor, .events = POLLIN};
    while (poll(&ready, 1, patience) == 1) {
        ssize_t count = read(descriptor, heard_text + at, sizeof heard_text - 1 - at);
        if (count <= 0) {
            break;
        }
        at += (size_t)count;
    }
    heard_text[at] = '\0';
    return at;
}

/* ---- the engine's start and end ---- */

struct setting {
    struct config config;
    struct config_upstream upstreams[2];
    struct config_group group;
    struct address_prefix everybody;
    struct engine_socket socket;
    struct engine_setup setup;
    struct metrics *metrics;
    int metrics_descriptor, channel[2], log[2];
    pthread_t thread;
    int code;
};

static void make_setting(struct setting *setting, const char *authorities)
{
    *setting = (struct setting){.code = -1};
    struct address any;
    assert_int_equal(address_parse(span_text("127.0.0.1:0"), 0, &any), 0);
    setting->upstreams[0] = (struct config_upstream){.label = "tls://127.0.0.1:1#a.test", .name = "a.test"};
    assert_int_equal(address_parse(span_text("127.0.0.1:1"), 0, &setting->upstreams[0].address), 0);
    assert_int_equal(address_prefix_parse(span_text("0.0.0.0/0"), &setting->everybody), 0);
    struct config *config = &setting->config;
    config->upstreams = setting->upstreams;
    config->upstream_count = 1;
    config->groups = &setting->group;
    config->group_count = 1;
    config->access.allow = (struct config_prefixes){&setting->everybody, 1};
    config->limits.query_timeout = CLOCK_SECOND;
    config->limits.tcp_idle = config->limits.tcp_message_timeout = config->limits.tcp_write_timeout =
        CLOCK_SECOND;
    config->limits.tcp_output = 128 * 1024;
    config->limits.tcp_connections = config->limits.tcp_connections_per_client = 10;
    config->limits.pending = config->limits.pending_per_client = 10;
    config->limits.drain_timeout = CLOCK_SECOND;
    config->upstream.attempt_timeout = config->upstream.connect_timeout = 1500 * CLOCK_MILLISECOND;
    config->upstream.handshake_timeout = 2500 * CLOCK_MILLISECOND;
    config->upstream.refused_retry = config->upstream.backoff_min = 250 * CLOCK_MILLISECOND;
    config->upstream.backoff_max = 30 * CLOCK_SECOND;
    config->upstream.handshakes_per_second = 5;
    config->upstream.links = 1;
    config->upstream.max_age = 600 * CLOCK_SECOND;
    config->upstream.warm = 600 * CLOCK_SECOND;
    config->upstream.in_flight = 10;
    config->tls.ca = "authorities.pem";
    config->log.level = LOG_INFO;
    config->sandbox = CONFIG_SANDBOX_OFF; /* it would be for good, in the process of all tests */
    assert_int_equal(net_local_pair(setting->channel), 0);
    assert_int_equal(pipe(setting->log), 0);
    assert_int_equal(metrics_open(1, &setting->metrics, &setting->metrics_descriptor), 0);
    size_t granted;
    setting->socket.udp = true;
    assert_int_equal(net_udp_bind(&any, true, 65536, &setting->socket.descriptor, &granted), 0);
    int stored;
    assert_int_equal(memory_store(span_text(authorities), "test", &stored), 0);
    setting->setup = (struct engine_setup){.authorities = stored,
                                           .config = config,
                                           .upstream_count = 1,
                                           .workers = 1,
                                           .stream_blocks = 256,
                                           .sockets = &setting->socket,
                                           .socket_count = 1,
                                           .metrics = setting->metrics,
                                           .authorities_size = strlen(authorities),
                                           .log_descriptor = setting->log[1],
                                           .channel = setting->channel[1]};
}

static void drop_setting(struct setting *setting)
{
    memory_close_shared(setting->setup.authorities);
    if (setting->channel[0] >= 0) {
        net_close(setting->channel[0]);
    }
    net_close(setting->channel[1]);
    close(setting->log[0]);
    close(setting->log[1]);
    net_close(setting->socket.descriptor);
    metrics_close(setting->metrics, setting->metrics_descriptor);
}

/* Waits for one packet of the engine; its size. */
static int receive_packet(int channel, char *packet, size_t size)
{
    struct pollfd ready = {.fd = channel, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 5000), 1);
    int count = net_local_receive(channel, (uint8_t *)packet, size - 1, NULL);
    packet[count > 0 ? count : 0] = '\0';
    return count;
}

static void a_start_that_fails_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *authorities, *reason;
    } cases[] = {
        {"", "Ftls.ca: authorities.pem: holds no certificate"},
        {"no PEM at all", "Ftls.ca: authorities.pem: holds no certificate"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
         "Ftls.ca: authorities.pem: holds a certificate that cannot be read"},
    };
    unsigned before = open_descriptors();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct setting setting;
        make_setting(&setting, cases[i].authorities);
        assert_int_equal(engine_run(&setting.setup), 1);
        char packet[512];
        assert_true(receive_packet(setting.channel[0], packet, sizeof packet) > 0);
        assert_string_equal(packet, cases[i].reason);
        drop_setting(&setting);
    }
    assert_int_equal(open_descriptors(), before);
}

/* Shows: W5, pain 26 */
static void memory_is_shared_out_before_the_start(void **state)
{
    (void)state;
    struct setting setting;
    make_setting(&setting, "");
    struct config *config = &setting.config;
    config->limits.memory = 1;
    struct engine_budget least = engine_budget(config, 1, 2, 1000, 0);
    assert_int_equal(least.stream_blocks, 0);
    assert_int_equal(least.needed,
                     least.queries + least.links + least.clients + least.shared + least.buffers);
    config->cache.size = 4 << 20;
    assert_int_equal(engine_budget(config, 1, 2, 1000, 0).needed, least.needed + (4 << 20));
    config->cache.size = 0;
    config->limits.memory = least.needed;
    struct engine_budget enough = engine_budget(config, 1, 2, 1000, 0);
    assert_int_equal(enough.buffers, least.buffers);
    assert_true(enough.stream_blocks > 0);
    config->limits.memory = least.needed + (64 << 20);
    struct engine_budget more = engine_budget(config, 1, 2, 1000, 0);
    assert_int_equal(more.needed, least.needed);
    assert_int_equal(more.buffers, least.buffers + (64 << 20));
    assert_int_equal(more.stream_blocks, enough.stream_blocks + (32 << 20) / 4096);
    assert_true(engine_budget(config, 1, 3, 1000, 0).needed > least.needed);
    assert_true(engine_budget(config, 2, 2, 1000, 0).links > least.links);
    drop_setting(&setting);
}

static void *run_engine(void *argument)
{
    struct setting *setting = argument;
    setting->code = engine_run(&setting->setup);
    return NULL;
}

static char authorities[1 << 20];

/* The machine's own authorities; without any, nothing can be started here. */
static bool read_authorities(void)
{
    int descriptor = open("/etc/ssl/certs/ca-certificates.crt", O_RDONLY);
    ssize_t size = descriptor >= 0 ? read(descriptor, authorities, sizeof authorities - 1) : -1;
    if (descriptor >= 0) {
        close(descriptor);
    }
    authorities[size > 0 ? size : 0] = '\0';
    return size > 0;
}

static void start_engine(struct setting *setting)
{
    make_setting(setting, authorities);
    assert_int_equal(pthread_create(&setting->thread, NULL, run_engine, setting), 0);
    char packet[512];
    assert_int_equal(receive_packet(setting->channel[0], packet, sizeof packet), 1);
    assert_int_equal(packet[0], ENGINE_READY);
}

static void tell(struct setting *setting, enum engine_letter letter, int passed)
{
    uint8_t byte = (uint8_t)letter;
    assert_int_equal(net_local_send(setting->channel[0], span_of(&byte, 1), passed), 0);
}

static void an_engine_serves_until_it_is_told_to_end(void **state)
{
    (void)state;
    assert_true(read_authorities());
    unsigned before = open_descriptors();
    for (unsigned i = 0; i < 3; i++) {
        struct setting setting;
        start_engine(&setting);
        if (i == 0) {
            tell(&setting, ENGINE_DRAIN, -1);
        } else if (i == 1) {
            tell(&setting, ENGINE_STOP, -1);
        } else {
            net_close(setting.channel[0]); /* its supervisor is gone */
            setting.channel[0] = -1;
        }
        pthread_join(setting.thread, NULL);
        assert_int_equal(setting.code, 0);
        read_pipe(setting.log[0], 0, 0);
        assert_int_equal(count_of("event=listening"), 1);
        assert_int_equal(count_of("event=ready"), 1);
        drop_setting(&setting);
    }
    assert_int_equal(open_descriptors(), before);
}

static void an_engine_gives_signs_of_life(void **state)
{
    (void)state;
    assert_true(read_authorities());
    struct setting setting;
    char packet[TEXT_MAX];
    start_engine(&setting);
    for (unsigned i = 0; i < 3; i++) {
        tell(&setting, ENGINE_PULSE, -1);
        assert_int_equal(receive_packet(setting.channel[0], packet, sizeof packet), 1);
        assert_int_equal(packet[0], ENGINE_PULSE);
    }
    tell(&setting, ENGINE_STOP, -1);
    pthread_join(setting.thread, NULL);
    drop_setting(&setting);
}

static void a_new_log_is_taken_over_by_letter(void **state)
{
    (void)state;
    assert_true(read_authorities());
    struct setting setting;
    start_engine(&setting);
    unsigned before = open_descriptors();
    for (unsigned i = 0; i < 10; i++) {
        int descriptor = open("/dev/null", O_WRONLY | O_CLOEXEC);
        tell(&setting, ENGINE_LOG, descriptor);
        close(descriptor);
        usleep(10000);
    }
    assert_in_range(open_descriptors(), before, before + 1);
    tell(&setting, ENGINE_STOP, -1);
    pthread_join(setting.thread, NULL);
    drop_setting(&setting);
}

static struct address_list two_addresses(void)
{
    struct address_list list = {0};
    static const char *const texts[] = {"192.0.2.1", "2001:db8::1"};
    for (size_t i = 0; i < 2; i++) {
        struct address address;
        assert_int_equal(address_parse(span_text(texts[i]), 0, &address), 0);
        assert_true(address_list_add(&list, &address));
    }
    return list;
}

static void addresses_come_back_from_their_letter(void **state)
{
    (void)state;
    uint8_t letter[ENGINE_ADDRESSES_SIZE];
    struct address_list list = two_addresses(), back;
    size_t upstream, size = engine_addresses_write(31, &list, letter);
    assert_int_equal(engine_addresses_read(span_of(letter, size), &upstream, &back), 0);
    assert_int_equal(upstream, 31);
    assert_true(address_list_same(&list, &back));
    list.items[1].port = 53;
    while (list.count < ADDRESS_LIST_MAX) {
        list.items[list.count] = list.items[list.count - 1];
        list.items[list.count++].bytes[15]++;
    }
    size = engine_addresses_write(0, &list, letter);
    assert_int_equal(size, sizeof letter);
    assert_int_equal(engine_addresses_read(span_of(letter, size), &upstream, &back), 0);
    assert_int_equal(back.count, ADDRESS_LIST_MAX);
}

/* Whoever reads it has more rights than whoever wrote it. */
static void letters_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    uint8_t letter[ENGINE_ADDRESSES_SIZE + 17];
    struct address_list list = two_addresses(), back = {0};
    size_t upstream = 7, size = engine_addresses_write(0, &list, letter);
    for (size_t cut = 0; cut < size; cut++) {
        int error = engine_addresses_read(span_of(letter, cut), &upstream, &back);
        assert_int_equal(error, cut == 2 + 17 ? 0 : ERROR_MALFORMED);
    }
    memset(letter + size, 4, sizeof letter - size);
    assert_int_equal(engine_addresses_read(span_of(letter, sizeof letter), &upstream, &back),
                     ERROR_MALFORMED);
    for (unsigned byte = 0; byte < 256; byte++) {
        letter[2] = (uint8_t)byte;
        int error = engine_addresses_read(span_of(letter, size), &upstream, &back);
        assert_int_equal(error, byte == 4 || byte == 6 ? 0 : ERROR_MALFORMED);
    }
    letter[2] = 4;
    letter[3] = 224;
    assert_int_equal(engine_addresses_read(span_of(letter, size), &upstream, &back), ERROR_MALFORMED);
    memset(letter + 3, 0, 16);
    assert_int_equal(engine_addresses_read(span_of(letter, size), &upstream, &back), ERROR_MALFORMED);
    letter[3] = 192;
    letter[0] = ENGINE_READY;
    assert_int_equal(engine_addresses_read(span_of(letter, size), &upstream, &back), ERROR_MALFORMED);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_come_back_from_their_letter),
        cmocka_unit_test(letters_that_make_no_sense_are_refused),
        cmocka_unit_test(lines_of_all_rings_come_out),
        cmocka_unit_test(a_writer_without_a_thread_writes_at_its_close),
        cmocka_unit_test(a_writer_that_may_not_go_on_writes_what_waits),
        cmocka_unit_test(a_reader_that_stopped_stops_nobody_else),
        cmocka_unit_test(lines_for_nobody_are_counted),
        cmocka_unit_test(a_line_that_was_cut_short_is_ended_first),
        cmocka_unit_test(a_redirected_log_keeps_no_old_file_open),
        cmocka_unit_test(a_start_that_fails_says_why),
        cmocka_unit_test(memory_is_shared_out_before_the_start),
        cmocka_unit_test(an_engine_serves_until_it_is_told_to_end),
        cmocka_unit_test(an_engine_gives_signs_of_life),
        cmocka_unit_test(a_new_log_is_taken_over_by_letter),
        cmocka_unit_test(a_blocked_log_is_given_up_after_a_while),
    };
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
