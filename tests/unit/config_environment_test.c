/* The environment: a name for every option, the older names, and which of them wins. */
#include <stdio.h>

#include "base/clock.h"

#include "config_support.h"

/* Shows: I8 */
static void test_every_kind(void **state)
{
    (void)state;
    struct config *config = built_from_environment(NAMES(
        "PATH=/bin", "DNSEAL_LIMITS_TCP_IDLE=30s", "DNSEAL_LIMITS_TCP_OUTPUT=1MiB", "DNSEAL_TLS_PADDING=0",
        "DNSEAL_TLS_MIN_VERSION=1.3", "DNSEAL_LOG_LEVEL=debug", "DNSEAL_TLS_CA=/ca.pem",
        "DNSEAL_CONTROL_SOCKET=", "DNSEAL_USER=", "DNSEAL_WORKERS=auto",
        "DNSEAL_LISTEN=127.0.0.1:5300 , [::1]:5300", "DNSEAL_UPSTREAMS=google,tls://192.0.2.1#a.example",
        "DNSEAL_ACCESS_ALLOW=private, 203.0.113.0/24", "DNSEAL_ACCESS_DENY="));
    assert_int_equal(config->limits.tcp_idle, 30 * CLOCK_SECOND);
    assert_int_equal(config->limits.tcp_output, 1048576);
    assert_int_equal(config->tls.padding, 0);
    assert_true(config->tls.require_1_3);
    assert_int_equal(config->log.level, LOG_DEBUG);
    assert_string_equal(config->tls.ca, "/ca.pem");
    assert_string_equal(config->control.socket, "");
    assert_string_equal(config->user, "");
    assert_int_equal(config->listen_count, 2);
    assert_listens(config, 0, "127.0.0.1:5300", true, true);
    assert_listens(config, 1, "[::1]:5300", true, true);
    assert_int_equal(config->upstream_count, 5);
    assert_upstream(config, 4, "tls://192.0.2.1:853#a.example", "a.example");
    assert_int_equal(config->access.allow.count, 9);
    assert_int_equal(config->access.deny.count, 0);
    config_free(config);
}

static void test_errors(void **state)
{
    (void)state;
    assert_environment_refused(NAMES("DNSEAL_LISTEN=127.0.0.1:53,,"),
                               "environment: DNSEAL_LISTEN: \"\": expected an address and a port, such as "
                               "127.0.0.1:53 or [::1]:53\n"
                               "environment: DNSEAL_LISTEN: \"\": expected an address and a port, such as "
                               "127.0.0.1:53 or [::1]:53\n");
    assert_environment_refused(NAMES("DNSEAL_UPSTREAMS="),
                               "environment: DNSEAL_UPSTREAMS: at least one upstream is needed\n");
    assert_environment_refused(NAMES("DNSEAL_LISTEN= "),
                               "environment: DNSEAL_LISTEN: at least one address is needed\n");
    assert_environment_refused(NAMES("DNSEAL_WORKERS="),
                               "environment: DNSEAL_WORKERS: \"\": expected auto or a whole number\n");
    assert_environment_refused(NAMES("DNSEAL_USER=\xff"),
                               "environment: DNSEAL_USER: holds a control character or is not UTF-8\n");
}

static void test_unknown_names(void **state)
{
    (void)state;
    assert_environment_refused(NAMES("DNSEAL_LISTN=127.0.0.1:53"),
                               "environment: DNSEAL_LISTN: unknown name; did you mean DNSEAL_LISTEN?\n");
    assert_environment_refused(NAMES("DNSEAL_TCP_IDLE=1s", "DNSEAL_=1"),
                               "environment: DNSEAL_TCP_IDLE: unknown name\n"
                               "environment: DNSEAL_: unknown name\n");
    assert_environment_refused(NAMES("DNSEAL_listen=127.0.0.1:53"),
                               "environment: DNSEAL_listen: unknown name\n");
    /* What Kubernetes sets for a Service of the name dnseal, and what is not ours at all. */
    struct config *config =
        built_from_environment(NAMES("DNSEAL_PORT=udp://10.0.0.10:53", "DNSEAL_PORT_53_UDP_ADDR=10.0.0.10",
                                     "DNSEAL_SERVICE_HOST=10.0.0.10", "DNSEAL_SERVICE_PORT_DNS=53",
                                     "DNSEALX=1", "XDNSEAL_LISTEN=1", "DNSEAL_NOTHING"));
    assert_int_equal(config->upstream_count, 4);
    config_free(config);
}

/* Shows: M5 */
static void test_server_ip(void **state)
{
    (void)state;
    struct config *config = built_from_environment(NAMES("DNS_SERVER_IP=192.0.2.7"));
    assert_int_equal(config->upstream_count, 1);
    assert_upstream(config, 0, "tls://192.0.2.7:853", NULL);
    config_free(config);
    config = built_from_environment(NAMES("DNS_SERVER_IP=9.9.9.9"));
    assert_upstream(config, 0, "tls://9.9.9.9:853#dns.quad9.net", "dns.quad9.net");
    config_free(config);
    config = built_from_environment(NAMES("DNS_SERVER_IP=2620:fe::fe", "DNS_SERVER_PORT=8853"));
    assert_upstream(config, 0, "tls://[2620:fe::fe]:8853#dns.quad9.net", "dns.quad9.net");
    assert_false(config->upstreams[0].optional);
    config_free(config);
    config = built_from_environment(
        NAMES("DNS_SERVER_IP=9.9.9.9", "DNS_SERVER_PORT=8853", "DNS_SERVER_NAME=Mine.Example"));
    assert_upstream(config, 0, "tls://9.9.9.9:8853#mine.example", "mine.example");
    config_free(config);
}

/* Shows: M5 */
static void test_server_without_ip(void **state)
{
    (void)state;
    struct config *config = built_from_environment(NAMES("DNS_SERVER_PORT=8853"));
    assert_int_equal(config->upstream_count, 2);
    assert_upstream(config, 0, "tls://1.1.1.1:8853#cloudflare-dns.com", "cloudflare-dns.com");
    assert_upstream(config, 1, "tls://1.0.0.1:8853#cloudflare-dns.com", "cloudflare-dns.com");
    config_free(config);
    config = built_from_environment(NAMES("DNS_SERVER_NAME=one.one.one.one"));
    assert_int_equal(config->upstream_count, 2);
    assert_upstream(config, 1, "tls://1.0.0.1:853#one.one.one.one", "one.one.one.one");
    config_free(config);
}

static void test_server_errors(void **state)
{
    (void)state;
    assert_environment_refused(
        NAMES("DNS_SERVER_IP=dns.example"),
        "environment: DNS_SERVER_IP: \"dns.example\": expected an address without a port\n");
    assert_environment_refused(
        NAMES("DNS_SERVER_IP=1.1.1.1:853"),
        "environment: DNS_SERVER_IP: \"1.1.1.1:853\": expected an address without a port\n");
    assert_environment_refused(NAMES("DNS_SERVER_IP=0.0.0.0"),
                               "environment: DNS_SERVER_IP: \"0.0.0.0\": no server can have this address\n");
    assert_environment_refused(
        NAMES("DNS_SERVER_PORT=0", "DNS_SERVER_NAME=a_b"),
        "environment: DNS_SERVER_PORT: \"0\": expected a port from 1 to 65535\n"
        "environment: DNS_SERVER_NAME: \"a_b\": the name of the certificate is not a valid "
        "host name (letters, digits, hyphens and dots)\n");
    static const char clear[] =
        "environment: DNS_SERVER_PORT: \"53\": port 53 is for clear text; DNS over TLS "
        "never uses it (RFC 7858, section 3.1)\n";
    assert_environment_refused(NAMES("DNS_SERVER_IP=192.0.2.7", "DNS_SERVER_PORT=53"), clear);
    assert_environment_refused(NAMES("DNS_SERVER_PORT=53"), clear);
    assert_environment_refused(NAMES("DNS_SERVER_PORT=65536"),
                               "environment: DNS_SERVER_PORT: \"65536\": expected a port from 1 to 65535\n");
}

/* Shows: M5 */
static void test_listener(void **state)
{
    (void)state;
    static const struct {
        const char *environment[4];
        size_t count;
        const char *first, *second;
    } cases[] = {
        {{"LISTENING_PORT=5300"}, 2, "127.0.0.1:5300", "[::1]:5300"},
        {{"PROXY_PORT=5301"}, 2, "127.0.0.1:5301", "[::1]:5301"},
        {{"PROXY_PORT=5301", "LISTENING_PORT=5300"}, 2, "127.0.0.1:5300", "[::1]:5300"},
        {{"PROXY_SERVER=localhost"}, 2, "127.0.0.1:53", "[::1]:53"},
        {{"PROXY_SERVER=localhost", "PROXY_PORT=5301"}, 2, "127.0.0.1:5301", "[::1]:5301"},
        {{"PROXY_SERVER=0.0.0.0"}, 1, "0.0.0.0:53", NULL},
        {{"PROXY_SERVER=::", "LISTENING_PORT=5300", "PROXY_PORT=5301"}, 1, "[::]:5300", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *config = built_from_environment(cases[i].environment);
        assert_int_equal(config->listen_count, cases[i].count);
        assert_listens(config, 0, cases[i].first, true, true);
        if (cases[i].second != NULL) {
            assert_listens(config, 1, cases[i].second, true, true);
        }
        config_free(config);
    }
}

static void test_listener_errors(void **state)
{
    (void)state;
    assert_environment_refused(NAMES("LISTENING_PORT=dns"),
                               "environment: LISTENING_PORT: \"dns\": expected a port from 1 to 65535\n");
    assert_environment_refused(
        NAMES("PROXY_SERVER=proxy.example", "PROXY_PORT=53"),
        "environment: PROXY_SERVER: \"proxy.example\": expected an address without a port, or "
        "localhost\n");
    assert_environment_refused(
        NAMES("PROXY_SERVER=127.0.0.1:53"),
        "environment: PROXY_SERVER: \"127.0.0.1:53\": expected an address without a port, or "
        "localhost\n");
    assert_environment_refused(
        NAMES("PROXY_SERVER=127.0.0.1", "PROXY_PORT=853"),
        "environment: PROXY_PORT: \"127.0.0.1:853\": port 853 is for DNS over TLS; clear text "
        "is never served there (RFC 7858, section 3.1)\n");
}

/* The port alone moves the file's listeners, which keep what else is said of them. Shows: M5 */
static void test_listener_moved(void **state)
{
    (void)state;
    struct config_sources sources =
        with_file("listen:\n  - {address: '0.0.0.0:1000', transport: [udp]}\n  - '[::]:1001'\n");
    sources.environment = (char *const *)(uintptr_t)NAMES("LISTENING_PORT=2000");
    struct config *config = built(&sources);
    assert_int_equal(config->listen_count, 2);
    assert_listens(config, 0, "0.0.0.0:2000", true, false);
    assert_listens(config, 1, "[::]:2000", true, true);
    config_free(config);
    sources = with_file("listen: ['127.0.0.1:1000', '127.0.0.1:1001']\n");
    sources.environment = (char *const *)(uintptr_t)NAMES("PROXY_PORT=2000");
    assert_refused(&sources, "environment: PROXY_PORT: 127.0.0.1:2000 stands here twice\n");
    assert_environment_refused(
        NAMES("LISTENING_PORT=853"),
        "environment: LISTENING_PORT: \"127.0.0.1:853\": port 853 is for DNS over TLS; "
        "clear text is never served there (RFC 7858, section 3.1)\n");
}

/* Shows: M5 */
static void test_old_names_order(void **state)
{
    (void)state;
    /* Over the file, below the DNSEAL_ names, in whatever order they stand. */
    struct config_sources sources = with_file("listen: [127.0.0.1:1000]\ntls: {ca: /file.pem}\n");
    sources.environment = (char *const *)(uintptr_t)NAMES("LISTENING_PORT=2000", "CA_PATH=/old.pem");
    struct config *config = built(&sources);
    assert_listens(config, 0, "127.0.0.1:2000", true, true);
    assert_string_equal(config->tls.ca, "/old.pem");
    config_free(config);
    sources.environment = (char *const *)(uintptr_t)NAMES(
        "DNSEAL_LISTEN=127.0.0.1:3000", "DNSEAL_TLS_CA=/new.pem", "DNSEAL_UPSTREAMS=quad9",
        "LISTENING_PORT=2000", "CA_PATH=/old.pem", "DNS_SERVER_IP=192.0.2.7");
    config = built(&sources);
    assert_int_equal(config->listen_count, 1);
    assert_listens(config, 0, "127.0.0.1:3000", true, true);
    assert_string_equal(config->tls.ca, "/new.pem");
    assert_upstream(config, 0, "tls://9.9.9.9:853#dns.quad9.net", "dns.quad9.net");
    config_free(config);
}

/* Compose files hand on variables that have no value. */
static void test_old_names_empty(void **state)
{
    (void)state;
    struct config *config =
        built_from_environment(NAMES("DNS_SERVER_IP=", "DNS_SERVER_PORT=", "DNS_SERVER_NAME=", "CA_PATH=",
                                     "LISTENING_PORT=", "PROXY_SERVER=", "PROXY_PORT="));
    assert_int_equal(config->upstream_count, 4);
    assert_int_equal(config->listen_count, 2);
    assert_listens(config, 0, "127.0.0.1:53", true, true);
    assert_string_equal(config->tls.ca, "/etc/ssl/certs/ca-certificates.crt");
    config_free(config);
}

const struct CMUnitTest config_environment_tests[] = {
    cmocka_unit_test(test_every_kind),        cmocka_unit_test(test_errors),
    cmocka_unit_test(test_unknown_names),     cmocka_unit_test(test_server_ip),
    cmocka_unit_test(test_server_without_ip), cmocka_unit_test(test_server_errors),
    cmocka_unit_test(test_listener),          cmocka_unit_test(test_listener_errors),
    cmocka_unit_test(test_listener_moved),    cmocka_unit_test(test_old_names_order),
    cmocka_unit_test(test_old_names_empty),
};
const size_t config_environment_count = sizeof config_environment_tests / sizeof config_environment_tests[0];
