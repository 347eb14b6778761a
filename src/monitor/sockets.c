/*
 * Every listening socket, one for each worker. Workers share an address by SO_REUSEPORT, which would also let
 * a second dnseal slip in beside the first: so each address is first bound alone.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"

#include "net/net.h"

#include "monitor/internal.h"

enum { BACKLOG = 1024, UDP_BUFFER = 4 * 1024 * 1024, UDP_BUFFER_LEAST = 1024 * 1024 };

/* How long an address may stay taken: an engine that lost its monitor needs a moment to go. */
#define TAKEN_PATIENCE CLOCK_SECOND
#define TAKEN_STEP     (20 * CLOCK_MILLISECOND)

static int bind_one(const struct address *address, bool udp, bool share, int *descriptor, size_t *granted)
{
    return udp ? net_udp_bind(address, share, UDP_BUFFER, descriptor, granted)
               : net_tcp_listen(address, share, BACKLOG, descriptor);
}

static int bind_alone(const struct address *address, bool udp)
{
    for (uint64_t waited = 0;; waited += TAKEN_STEP) {
        int descriptor;
        size_t granted;
        int error = bind_one(address, udp, false, &descriptor, &granted);
        if (error == 0) {
            net_close(descriptor);
        }
        if (error != ERROR_ADDRESS_IN_USE || waited >= TAKEN_PATIENCE) {
            return error;
        }
        struct timespec step = {.tv_nsec = (long)TAKEN_STEP};
        nanosleep(&step, NULL);
    }
}

static const char *way_out(int error)
{
    switch (error) {
    case ERROR_PERMISSION:
        return "ports below 1024 need root or the capability CAP_NET_BIND_SERVICE; or choose another port "
               "with --listen";
    case ERROR_ADDRESS_IN_USE:
        return "another program serves there ('ss -lntup' names it): stop it, or choose another address with "
               "--listen";
    case ERROR_ADDRESS_MISSING:
        return "'ip address' shows the addresses of this machine";
    case ERROR_UNSUPPORTED:
        return "this system has no IPv6: leave the address out";
    default:
        return "choose another address with --listen";
    }
}

static int refuse(const struct address *address, bool udp, int error)
{
    char text[ADDRESS_TEXT_SIZE];
    address_format(address, true, text);
    complain("cannot listen on %s (%s): %s: %s", text, udp ? "udp" : "tcp", error_text(error),
             way_out(error));
    return error;
}

static void warn_of_small_buffer(struct boot *boot, const struct address *address, size_t granted)
{
    if (granted < UDP_BUFFER_LEAST && log_begin(&boot->journal.log, LOG_WARNING, "small_buffer")) {
        log_address(&boot->journal.log, "address", address, true);
        log_number(&boot->journal.log, "bytes", (int64_t)granted);
        log_text(&boot->journal.log, "hint",
                 "bursts may be lost: set net.core.rmem_max to 4194304 or start as root");
        journal_end(&boot->journal);
    }
}

static int open_socket(struct boot *boot, const struct config_listen *listen, bool udp, unsigned worker)
{
    const struct address *address = &listen->address;
    int descriptor;
    size_t granted = UDP_BUFFER;
    int error = bind_one(address, udp, true, &descriptor, &granted);
    if (error != 0) {
        return refuse(address, udp, error);
    }
    if (worker == 0 && udp) {
        warn_of_small_buffer(boot, address, granted);
    }
    boot->sockets[boot->socket_count++] = (struct engine_socket){
        .descriptor = descriptor, .udp = udp, .worker = worker, .group = listen->group};
    return 0;
}

static int open_sockets_of_worker(struct boot *boot, unsigned worker)
{
    int error = 0;
    for (size_t i = 0; i < boot->config->listen_count && error == 0; i++) {
        const struct config_listen *listen = &boot->config->listen[i];
        if (listen->udp) {
            error = open_socket(boot, listen, true, worker);
        }
        if (listen->tcp && error == 0) {
            error = open_socket(boot, listen, false, worker);
        }
    }
    return error;
}

static bool is_loopback_ipv6(const struct address *address)
{
    static const uint8_t loopback[16] = {[15] = 1};
    return address->family == AF_INET6 && memcmp(address->bytes, loopback, sizeof loopback) == 0;
}

/* A machine without IPv6 has no ::1, and everybody's configuration names it: done without, if something else
 * is left. */
static bool drop_loopback_ipv6(struct boot *boot, struct config_listen *listen, int error)
{
    if ((error != ERROR_ADDRESS_MISSING && error != ERROR_UNSUPPORTED) ||
        !is_loopback_ipv6(&listen->address) || boot->config->listen_count == 1) {
        return false;
    }
    listen->udp = listen->tcp = false;
    if (log_begin(&boot->journal.log, LOG_WARNING, "no_ipv6")) {
        log_address(&boot->journal.log, "address", &listen->address, true);
        log_text(&boot->journal.log, "hint", "this machine has no IPv6 loopback: the address is left out");
        journal_end(&boot->journal);
    }
    return true;
}

static int check_listen(struct boot *boot, struct config_listen *listen)
{
    bool udp = listen->udp;
    int error = udp ? bind_alone(&listen->address, true) : 0;
    if (error == 0 && listen->tcp) {
        udp = false;
        error = bind_alone(&listen->address, false);
    }
    if (error == 0 || drop_loopback_ipv6(boot, listen, error)) {
        return 0;
    }
    return refuse(&listen->address, udp, error);
}

static int check_addresses(struct boot *boot)
{
    int error = 0;
    for (size_t i = 0; i < boot->config->listen_count && error == 0; i++) {
        error = check_listen(boot, &boot->config->listen[i]);
    }
    return error;
}

int sockets_open(struct boot *boot)
{
    boot->sockets = calloc(2 * boot->config->listen_count * boot->workers, sizeof *boot->sockets);
    if (boot->sockets == NULL) {
        return ERROR_MEMORY;
    }
    int error = check_addresses(boot);
    for (unsigned worker = 0; worker < boot->workers && error == 0; worker++) {
        error = open_sockets_of_worker(boot, worker);
    }
    return error;
}

void sockets_close(struct boot *boot)
{
    for (size_t i = 0; i < boot->socket_count; i++) {
        net_close(boot->sockets[i].descriptor);
    }
    free(boot->sockets);
}
