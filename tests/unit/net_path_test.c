/*
 * What the kernel tells of connections and of the network: a path that acknowledges, one that has gone
 * silent, and news of addresses and links. Each story runs in a network namespace of its own, in a child.
 */
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/error.h"

#include "net/net.h"

#include "cmocka.h"
#include "net_test.h"

static void set_loopback(bool up)
{
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo"};
    if (ioctl(control, SIOCGIFFLAGS, &request) != 0) {
        _exit(3);
    }
    request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
    if (ioctl(control, SIOCSIFFLAGS, &request) != 0) {
        _exit(4);
    }
    close(control);
}

/* Runs a story in a child with a network of its own; its exit code. */
static int in_namespace(int (*story)(void))
{
    pid_t child = fork();
    if (child == 0) {
        int wanted = geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWNET | CLONE_NEWUSER;
        _exit(unshare(wanted) == 0 ? story() : 2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int news_of_links(void)
{
    int changes;
    if (net_changes_open(&changes) != 0) {
        return 10;
    }
    if (net_changes_read(changes)) {
        return 11;
    }
    set_loopback(true);
    if (!net_changes_read(changes)) {
        return 12;
    }
    if (net_changes_read(changes)) {
        return 13;
    }
    set_loopback(false);
    return net_changes_read(changes) ? 0 : 14;
}

/* Shows: pain 3, regression 21 */
void net_test_news_of_the_network(void **state)
{
    (void)state;
    assert_int_equal(in_namespace(news_of_links), 0);
}

struct pair {
    int listener, client, server;
};

static int connect_pair(struct pair *pair)
{
    struct address address, remote;
    address_parse(span_text("127.0.0.1:0"), 0, &address);
    if (net_tcp_listen(&address, false, 4, &pair->listener) != 0 ||
        net_local_address(pair->listener, &address) != 0 || net_tcp_connect(&address, &pair->client) != 0) {
        return ERROR_SYSTEM;
    }
    int error = ERROR_AGAIN;
    for (int tries = 0; error == ERROR_AGAIN && tries < 100; tries++) {
        error = net_tcp_accept(pair->listener, &pair->server, &remote);
        usleep(1000);
    }
    return error;
}

static int path_goes_silent(void)
{
    set_loopback(true);
    struct pair pair;
    struct net_tcp_path path;
    struct iovec part = {.iov_base = (char[]){"question"}, .iov_len = 8};
    if (connect_pair(&pair) != 0 || net_tcp_write(pair.client, &part, 1) != 8) {
        return 20;
    }
    usleep(50000);
    if (net_tcp_path(pair.client, &path) != 0 || path.unacknowledged != 0 || path.retransmits != 0 ||
        path.acknowledged < 8) {
        return 21;
    }
    uint64_t acknowledged = path.acknowledged;
    set_loopback(false);
    net_tcp_write(pair.client, &part, 1);
    for (int tries = 0; tries < 200; tries++) {
        usleep(10000);
        if (net_tcp_path(pair.client, &path) == 0 && path.unacknowledged == 1 &&
            path.acknowledged == acknowledged && path.silent_for >= 400 * CLOCK_MILLISECOND) {
            return 0;
        }
    }
    return 22;
}

/* Shows: pain 1, pain 2, regression 9 */
void net_test_silence_of_a_path(void **state)
{
    (void)state;
    assert_int_equal(in_namespace(path_goes_silent), 0);
}

/* Shows: pain 1 */
void net_test_path_of_no_connection(void **state)
{
    (void)state;
    struct net_tcp_path path;
    int changes;
    assert_int_equal(net_changes_open(&changes), 0);
    assert_int_not_equal(net_tcp_path(changes, &path), 0);
    net_close(changes);
}
