/* Defaults, the order of the layers, all errors at once, and what is checked on the machine. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "config_support.h"

/* Shows: M3, RFC5625-6.2 */
static void test_defaults(void **state)
{
    (void)state;
    struct config_sources nothing = {0};
    struct config *config = built(&nothing);
    assert_int_equal(config->listen_count, 2);
    assert_listens(config, 0, "127.0.0.1:53", true, true);
    assert_listens(config, 1, "[::1]:53", true, true);
    assert_int_equal(config->upstream_count, 4);
    assert_upstream(config, 0, "tls://1.1.1.1:853#cloudflare-dns.com", "cloudflare-dns.com");
    assert_upstream(config, 1, "tls://1.0.0.1:853#cloudflare-dns.com", "cloudflare-dns.com");
    assert_false(config->upstreams[1].optional);
    assert_upstream(config, 2, "tls://[2606:4700:4700::1111]:853#cloudflare-dns.com", "cloudflare-dns.com");
    assert_true(config->upstreams[2].optional);
    assert_int_equal(config->access.allow.count, 8);
    assert_int_equal(config->access.deny.count, 0);
    assert_int_equal(config->limits.memory, 256 << 20);
    assert_int_equal(config->limits.query_timeout, 4500 * CLOCK_MILLISECOND);
    assert_int_equal(config->limits.tcp_idle, 10 * CLOCK_SECOND);
    assert_int_equal(config->limits.tcp_message_timeout, 5 * CLOCK_SECOND);
    assert_int_equal(config->limits.tcp_write_timeout, 10 * CLOCK_SECOND);
    assert_int_equal(config->limits.tcp_output, 256 * 1024);
    assert_int_equal(config->limits.tcp_connections, 1000);
    assert_int_equal(config->limits.tcp_connections_per_client, 50);
    assert_int_equal(config->limits.pending, 16384);
    assert_int_equal(config->limits.pending_per_client, 1000);
    assert_int_equal(config->limits.drain_delay, 0);
    assert_int_equal(config->limits.drain_timeout, 5 * CLOCK_SECOND);
    assert_int_equal(config->upstream.attempt_timeout, 1500 * CLOCK_MILLISECOND);
    assert_int_equal(config->upstream.connect_timeout, 1500 * CLOCK_MILLISECOND);
    assert_int_equal(config->upstream.handshake_timeout, 2500 * CLOCK_MILLISECOND);
    assert_int_equal(config->limits.udp_discard, 1900 * CLOCK_MILLISECOND);
    assert_int_equal(config->upstream.refused_retry, 250 * CLOCK_MILLISECOND);
    assert_int_equal(config->upstream.backoff_min, 250 * CLOCK_MILLISECOND);
    assert_int_equal(config->upstream.backoff_max, 30 * CLOCK_SECOND);
    assert_int_equal(config->upstream.handshakes_per_second, 5);
    assert_int_equal(config->upstream.in_flight, 512);
    assert_int_equal(config->cache.size, 64 << 20);
    assert_int_equal(config->cache.min_ttl, 0);
    assert_int_equal(config->cache.max_ttl, 86400);
    assert_int_equal(config->cache.negative_max_ttl, 3600);
    assert_int_equal(config->cache.failure_ttl, 5);
    assert_true(config->cache.serve_stale);
    assert_int_equal(config->cache.stale_max, 86400);
    assert_int_equal(config->cache.stale_client_timeout, 1800 * CLOCK_MILLISECOND);
    assert_true(config->cache.prefetch);
    assert_string_equal(config->cache.file, "");
    assert_true(config->cache.file_interval == 300 * CLOCK_SECOND);
    assert_string_equal(config->tls.ca, "/etc/ssl/certs/ca-certificates.crt");
    assert_false(config->tls.require_1_3);
    assert_int_equal(config->tls.padding, 128);
    assert_true(config->privacy.strip_client_subnet);
    assert_int_equal(config->log.level, LOG_INFO);
    assert_int_equal(config->log.format, LOG_FORMAT_TEXT);
    assert_string_equal(config->log.target, "stderr");
    assert_int_equal(config->log.queries, CONFIG_LOG_OFF);
    assert_string_equal(config->control.socket, "/run/dnseal/control.socket");
    assert_int_equal(config->workers, 0);
    assert_string_equal(config->user, "auto");
    config_free(config);
}

/* Shows: I8 */
static void test_layers(void **state)
{
    (void)state;
    static const char file[] = "listen: [127.0.0.1:1001]\n"
                               "upstreams: [\"tls://192.0.2.1\"]\n"
                               "workers: 2\n"
                               "limits: {tcp_idle: 20s}\n";
    struct config_sources sources = with_file(file);
    struct config *config = built(&sources);
    assert_int_equal(config->listen_count, 1);
    assert_listens(config, 0, "127.0.0.1:1001", true, true);
    assert_upstream(config, 0, "tls://192.0.2.1:853", NULL);
    assert_int_equal(config->workers, 2);
    config_free(config);

    sources.environment = (char *const *)(uintptr_t)NAMES("DNSEAL_LISTEN=127.0.0.1:1002", "DNSEAL_WORKERS=3",
                                                          "DNSEAL_UPSTREAMS=tls://192.0.2.2,tls://192.0.2.3");
    config = built(&sources);
    assert_int_equal(config->listen_count, 1);
    assert_listens(config, 0, "127.0.0.1:1002", true, true);
    assert_int_equal(config->upstream_count, 2);
    assert_upstream(config, 0, "tls://192.0.2.2:853", NULL);
    assert_int_equal(config->workers, 3);
    assert_int_equal(config->limits.tcp_idle, 20 * CLOCK_SECOND);
    config_free(config);

    sources.listen = NAMES("127.0.0.1:1003", "[::1]:1003");
    sources.listen_count = 2;
    sources.upstream = NAMES("quad9");
    sources.upstream_count = 1;
    config = built(&sources);
    assert_int_equal(config->listen_count, 2);
    assert_listens(config, 1, "[::1]:1003", true, true);
    assert_int_equal(config->upstream_count, 4);
    assert_upstream(config, 0, "tls://9.9.9.9:853#dns.quad9.net", "dns.quad9.net");
    assert_int_equal(config->workers, 3);
    config_free(config);
}

/* What a service manager passed takes the place of the default, and of nothing that somebody wrote. */
static void test_passed(void **state)
{
    (void)state;
    struct config_listen passed[3] = {{.udp = true}, {.udp = true, .tcp = true}, {.tcp = true}};
    assert_int_equal(address_parse(span_text("127.0.0.1:1001"), 0, &passed[0].address), 0);
    assert_int_equal(address_parse(span_text("[::1]:1001"), 0, &passed[1].address), 0);
    assert_int_equal(address_parse(span_text("127.0.0.1:1002"), 0, &passed[2].address), 0);
    struct config_sources sources = {.passed = passed, .passed_count = 3};
    struct config *config = built(&sources);
    assert_int_equal(config->listen_count, 3);
    assert_listens(config, 0, "127.0.0.1:1001", true, false);
    assert_listens(config, 1, "[::1]:1001", true, true);
    assert_listens(config, 2, "127.0.0.1:1002", false, true);
    config_free(config);
    sources.environment = (char *const *)(uintptr_t)NAMES("DNSEAL_LISTEN=127.0.0.1:1003");
    config = built(&sources);
    assert_int_equal(config->listen_count, 1);
    assert_listens(config, 0, "127.0.0.1:1003", true, true);
    config_free(config);
    sources.environment = NULL;
    passed[1].address.port = 853;
    assert_refused(&sources,
                   "environment: LISTEN_FDS: \"[::1]:853\": port 853 is for DNS over TLS; clear text is "
                   "never served there (RFC 7858, section 3.1)\n");
}

/* Shows: P02 */
static void test_all_errors_at_once(void **state)
{
    (void)state;
    struct config_sources sources = with_file("limits:\n"
                                              "  tcp_idle: 10\n"
                                              "  tcp_idel: 10s\n"
                                              "log: {level: loud}\n"
                                              "colour: blue\n");
    sources.environment =
        (char *const *)(uintptr_t)NAMES("DNSEAL_LIMITS_TCP_IDLE=10x", "DNSEAL_TLS_PADDIN=1");
    sources.listen = NAMES("127.0.0.1");
    sources.listen_count = 1;
    sources.upstream = NAMES("1.1.1.1");
    sources.upstream_count = 1;
    assert_refused(
        &sources,
        "t.yaml:2:13: limits.tcp_idle: \"10\": expected a duration with its unit (ms, s, m, h), such as "
        "500ms\n"
        "t.yaml:3:3: limits.tcp_idel: unknown key; did you mean tcp_idle?\n"
        "t.yaml:4:14: log.level: \"loud\": expected error, warning, info or debug\n"
        "t.yaml:5:1: colour: unknown key\n"
        "environment: DNSEAL_LIMITS_TCP_IDLE: \"10x\": expected a duration with its unit (ms, s, m, h), "
        "such as 500ms\n"
        "environment: DNSEAL_TLS_PADDIN: unknown name; did you mean DNSEAL_TLS_PADDING?\n"
        "command line: --listen: \"127.0.0.1\": the port is missing, as in 127.0.0.1:53 or [::1]:53\n"
        "command line: --upstream: \"1.1.1.1\": is it to be asked over TLS (tls://ADDRESS[:PORT][#NAME]), or "
        "in clear text (udp://ADDRESS[:PORT])?\n");
}

/* A layer that is overruled is read all the same: its error would bite later. */
static void test_overruled_errors(void **state)
{
    (void)state;
    struct config_sources sources = with_file("workers: many\n");
    sources.environment = (char *const *)(uintptr_t)NAMES("DNSEAL_WORKERS=3");
    assert_refused(&sources, "t.yaml:1:10: workers: \"many\": expected auto or a whole number\n");
}

static void test_error_cap(void **state)
{
    (void)state;
    enum { ERRORS = 150, CAP = 100 };
    char text[ERRORS * 8 + 1];
    for (size_t i = 0; i < ERRORS; i++) {
        snprintf(text + i * 8, 9, "k%03zu: 1\n", i);
    }
    struct text *complaints = text_open();
    struct config_sources sources = with_file(text);
    struct config *config;
    assert_int_equal(config_build(&sources, &complaints->report, &config), ERROR_INVALID);
    assert_int_equal(complaints->lines, CAP + 1);
    assert_non_null(strstr(complaints->bytes, "t.yaml:100:1: k099: unknown key\n"
                                              "there are more errors, which are not shown\n"));
    free(complaints);
}

static void test_cross_checks(void **state)
{
    (void)state;
    assert_file_refused("upstream: {backoff_min: 2s, backoff_max: 1s}\n",
                        "t.yaml:1:25: upstream.backoff_min: 2s is more than upstream.backoff_max (1s)\n");
    assert_file_refused(
        "limits: {query_timeout: 1s}\n",
        "t.yaml:1:25: limits.query_timeout: 1s is less than upstream.attempt_timeout (1500ms)\n");
    assert_file_refused(
        "upstream: {attempt_timeout: 5s}\n",
        "t.yaml:1:29: upstream.attempt_timeout: 5s is more than limits.query_timeout (4500ms)\n");
    assert_file_refused(
        "limits: {tcp_connections: 10, tcp_connections_per_client: 11}\n",
        "t.yaml:1:59: limits.tcp_connections_per_client: 11 is more than limits.tcp_connections "
        "(10)\n");
    /* What was wrong by itself is not compared. */
    assert_file_refused(
        "upstream: {backoff_min: 2m, backoff_max: 1x}\n",
        "t.yaml:1:42: upstream.backoff_max: \"1x\": expected a duration with its unit (ms, s, m, h), "
        "such as 500ms\n");
    struct config *config =
        built_from_file("limits: {tcp_connections: 50}\nupstream: {backoff_max: 250ms}\n");
    config_free(config);
}

static int check(const char *text, struct text *complaints)
{
    struct config_sources sources = with_file(text);
    struct config *config = built(&sources);
    int error = config_check(config, &complaints->report, true);
    config_free(config);
    return error;
}

static void assert_check_refuses(const char *text, const char *expected)
{
    struct text *complaints = text_open();
    assert_int_equal(check(text, complaints), ERROR_INVALID);
    assert_string_equal(complaints->bytes, expected);
    free(complaints);
}

static void assert_check_passes(const char *text)
{
    struct text *complaints = text_open();
    int error = check(text, complaints);
    assert_string_equal(complaints->bytes, "");
    assert_int_equal(error, 0);
    free(complaints);
}

/* What is known only when a value is used is told with its place all the same. */
static void test_refused_later(void **state)
{
    (void)state;
    struct text *complaints = text_open();
    struct config *config = built_from_file("local:\n  hosts: [a, b]\n");
    config_refuse(config, &complaints->report, config_place_of_text(&config->local.hosts, 1), "no %s", "x");
    config_refuse(config, &complaints->report, config_place_of(config, "local.hosts"), "\xc3\xa9");
    config_refuse(config, &complaints->report, config_place_of(config, "limits.memory"), "too little");
    char place[CONFIG_PLACE_SIZE];
    config_place_write(config, config_place_of_text(&config->local.hosts, 0), place);
    assert_string_equal(place, "t.yaml:2:11: local.hosts[0]");
    config_free(config);
    config = built_from_environment(NAMES("DNSEAL_LOCAL_HOSTS=a,b"));
    config_refuse(config, &complaints->report, config_place_of_text(&config->local.hosts, 1), "no");
    config_free(config);
    assert_string_equal(complaints->bytes, "t.yaml:2:14: local.hosts[1]: no x\n"
                                           "t.yaml:2:10: local.hosts: \\195\\169\n"
                                           "default: limits.memory: too little\n"
                                           "environment: DNSEAL_LOCAL_HOSTS: no\n");
    free(complaints);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

/* A self-signed certificate of a P-256 key. */
static const char certificate[] = "-----BEGIN CERTIFICATE-----\n"
                                  "MIIBgzCCASmgAwIBAgIUBe0nC+2u711/W441w41HqJOuaw0wCgYIKoZIzj0EAwIw\n"
                                  "FjEUMBIGA1UEAwwLZG5zZWFsIHRlc3QwIBcNMjYxMTIxMDgxMTQ4WhgPMjEyNjEw\n"
                                  "MjgwODExNDhaMBYxFDASBgNVBAMMC2Ruc2VhbCB0ZXN0MFkwEwYHKoZIzj0CAQYI\n"
                                  "KoZIzj0DAQcDQgAEEi3YkxPT0Kc8DBuFg6G6pSET/ZHgrtUCZHEXvkx7qk8ha/Dm\n"
                                  "Hqj6GMqGUQiZmxoAgNNa0j9rZ71ZojB7WKj1EaNTMFEwHQYDVR0OBBYEFJH6nl9g\n"
                                  "7lhDkpfFsvppt0bkgiJiMB8GA1UdIwQYMBaAFJH6nl9g7lhDkpfFsvppt0bkgiJi\n"
                                  "MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgSW/OPdloksj0Cd80\n"
                                  "EJBK0HFDDdbnBq8m6OxY6o5UASgCIQDiii4qtDm2itslPdt8mIn4D2AxsT5ysxCj\n"
                                  "eDockfLxSg==\n"
                                  "-----END CERTIFICATE-----\n";

/* Shows: P02, regression 12 */
static void test_check(void **state)
{
    (void)state;
    char directory[] = "/tmp/dnseal-config-XXXXXX", ca[64], text[256], expected[256];
    assert_non_null(mkdtemp(directory));
    snprintf(ca, sizeof ca, "%s/ca.pem", directory);

    snprintf(text, sizeof text, "tls: {ca: %s}\n", ca);
    snprintf(expected, sizeof expected,
             "t.yaml:1:11: tls.ca: \"%s\": no such file or entry; on Debian, the package ca-certificates "
             "brings /etc/ssl/certs/ca-certificates.crt\n",
             ca);
    assert_check_refuses(text, expected);
    write_file(ca, "no certificate\n");
    snprintf(expected, sizeof expected, "t.yaml:1:11: tls.ca: \"%s\": holds no certificate\n", ca);
    assert_check_refuses(text, expected);
    write_file(ca, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    snprintf(expected, sizeof expected,
             "t.yaml:1:11: tls.ca: \"%s\": holds a certificate that cannot be read\n", ca);
    assert_check_refuses(text, expected);
    write_file(ca, certificate);
    assert_check_passes(text);
    snprintf(text, sizeof text, "tls: {ca: %s}\n", directory);
    struct text *complaints = text_open();
    assert_int_equal(check(text, complaints), ERROR_INVALID);
    assert_int_equal(complaints->lines, 1);
    free(complaints);

    snprintf(text, sizeof text, "tls: {ca: %s}\nlog: {target: %s}\nuser: nobody-of-this-name\n", ca,
             directory);
    snprintf(expected, sizeof expected,
             "t.yaml:2:15: log.target: \"%s\": is a directory\n"
             "t.yaml:3:7: user: \"nobody-of-this-name\": there is no such user\n",
             directory);
    assert_check_refuses(text, expected);
    snprintf(text, sizeof text, "tls: {ca: %s}\nlog: {target: %s/none/log}\n", ca, directory);
    snprintf(expected, sizeof expected,
             "t.yaml:2:15: log.target: \"%s/none/log\": its directory does not exist\n", directory);
    assert_check_refuses(text, expected);
    snprintf(text, sizeof text, "tls: {ca: %s}\nlog: {target: %s/log}\nuser: root\n", ca, directory);
    assert_check_passes(text);
    snprintf(text, sizeof text, "tls: {ca: %s}\nlog: {target: stdout}\nuser: \"\"\n", ca);
    assert_check_passes(text);

    assert_int_equal(unlink(ca), 0);
    /* Nothing was left behind: not even the log file. */
    assert_int_equal(rmdir(directory), 0);
}

static void add(struct CMUnitTest *all, size_t *count, const struct CMUnitTest *tests, size_t more)
{
    for (size_t i = 0; i < more; i++) {
        all[(*count)++] = tests[i];
    }
}

int main(void)
{
    static const struct CMUnitTest own[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_passed),
        cmocka_unit_test(test_all_errors_at_once),
        cmocka_unit_test(test_overruled_errors),
        cmocka_unit_test(test_error_cap),
        cmocka_unit_test(test_cross_checks),
        cmocka_unit_test(test_refused_later),
        cmocka_unit_test(test_check),
    };
    struct CMUnitTest config[128];
    size_t count = 0;
    add(config, &count, own, sizeof own / sizeof own[0]);
    add(config, &count, config_value_tests, config_value_count);
    add(config, &count, config_yaml_tests, config_yaml_count);
    add(config, &count, config_environment_tests, config_environment_count);
    add(config, &count, config_upstream_tests, config_upstream_count);
    add(config, &count, config_print_tests, config_print_count);
    add(config, &count, config_group_tests, config_group_count);
    add(config, &count, config_plain_tests, config_plain_count);
    add(config, &count, config_bootstrap_tests, config_bootstrap_count);
    return _cmocka_run_group_tests("config", config, count, NULL, NULL);
}
