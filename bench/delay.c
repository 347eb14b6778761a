/*
 * A road of a fixed length between two network namespaces: whatever enters the TUN device of one leaves that
 * of the other so much later, in order. It stands in for netem where the kernel has none, so that handshakes
 * have round trips as well. run.py starts it, names each namespace by a process that lives there, and gives
 * the devices their addresses after `ready`.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common.h"

enum { PACKETS = 16384, PACKET_SIZE = 2048, SIDES = 2 };

struct packet {
    uint64_t due;
    size_t size;
    int to;
    uint8_t bytes[PACKET_SIZE];
};

struct road {
    int devices[SIDES];
    uint64_t delay;
    size_t first, count;
    struct packet packets[PACKETS];
};

static int open_device(double process)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%.0f/ns/net", process);
    int namespace = open(path, O_RDONLY | O_CLOEXEC);
    if (namespace < 0 || setns(namespace, CLONE_NEWNET) != 0) {
        bench_fail(path);
    }
    close(namespace);
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = "road"};
    if (device < 0 || ioctl(device, TUNSETIFF, &request) != 0) {
        bench_fail("/dev/net/tun");
    }
    return device;
}

static void take_packets(struct road *road, int side)
{
    while (road->count < PACKETS) {
        struct packet *packet = &road->packets[(road->first + road->count) % PACKETS];
        ssize_t size = read(road->devices[side], packet->bytes, PACKET_SIZE);
        if (size <= 0) {
            return;
        }
        packet->due = bench_now() + road->delay;
        packet->size = (size_t)size;
        packet->to = road->devices[1 - side];
        road->count++;
    }
}

static void give_packets(struct road *road)
{
    uint64_t now = bench_now();
    while (road->count > 0 && road->packets[road->first].due <= now) {
        const struct packet *packet = &road->packets[road->first];
        if (write(packet->to, packet->bytes, packet->size) < 0 && errno != EAGAIN && errno != EIO) {
            bench_fail("write to a TUN device");
        }
        road->first = (road->first + 1) % PACKETS;
        road->count--;
    }
}

static void wait_for_packets(const struct road *road)
{
    struct pollfd ready[SIDES] = {{.fd = road->devices[0], .events = POLLIN},
                                  {.fd = road->devices[1], .events = POLLIN}};
    uint64_t now = bench_now();
    uint64_t due = road->count > 0 ? road->packets[road->first].due : now;
    uint64_t wait = due > now ? due - now : 0;
    struct timespec time = {.tv_sec = (time_t)(wait / BENCH_SECOND), .tv_nsec = (long)(wait % BENCH_SECOND)};
    (void)ppoll(ready, SIDES, road->count > 0 ? &time : NULL, NULL);
}

int main(int argc, char **argv)
{
    static struct road road;
    double near = 0;
    double far = 0;
    double delay = 10;
    const struct bench_option options[] = {{.name = "near", .number = &near},
                                           {.name = "far", .number = &far},
                                           {.name = "delay", .number = &delay},
                                           {0}};
    bench_options(argc, argv, options);
    (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    road.delay = (uint64_t)(delay * BENCH_MILLISECOND);
    road.devices[0] = open_device(near);
    road.devices[1] = open_device(far);
    puts("ready");
    (void)fflush(stdout);
    for (;;) {
        wait_for_packets(&road);
        take_packets(&road, 0);
        take_packets(&road, 1);
        give_packets(&road);
    }
}
