/*
 * A road of a fixed length between two network namespaces: whatever enters the TUN device of one leaves that
 * of the other so much later, in order. It stands in for netem where the kernel has none, so that handshakes
 * have round trips as well. A share of all packets may get lost on it, and every packet from or to one
 * address. run.py starts it, names each namespace by a process that lives there, and gives the devices their
 * addresses after `ready`; while it runs they meet at a board, which is a file.
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

enum { PACKETS = 16384, PACKET_SIZE = 2048, SIDES = 2, PORTS = 65536 };
enum { IPV4_SIZE = 20, IPV4_PROTOCOL = 9, IPV4_SOURCE = 12, IPV4_DESTINATION = 16, TCP_FLAGS = 13 };
enum { TCP_FLAG_SYN = 0x02, TCP_FLAG_ACK = 0x10 };

/* In the order that run.py knows. */
struct board {
    uint64_t lost_address;    /* all its packets get lost, in host order; 0: nobody's */
    uint64_t connects[PORTS]; /* SYNs that set out to this port */
};

struct packet {
    uint64_t due;
    size_t size;
    int to;
    uint8_t bytes[PACKET_SIZE];
};

struct road {
    int devices[SIDES];
    uint64_t delay;
    double loss;     /* the share that gets lost */
    uint64_t random; /* the state; never 0 */
    struct board *board;
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

/* ---- what gets lost ---- */

/* At least 0, less than 1: xorshift64* of Marsaglia and Vigna. */
static double draw(struct road *road)
{
    road->random ^= road->random >> 12;
    road->random ^= road->random << 25;
    road->random ^= road->random >> 27;
    return (double)(road->random * 0x2545f4914f6cdd1d >> 11) / (double)(1ULL << 53);
}

static bool is_ipv4(const struct packet *packet)
{
    return packet->size >= IPV4_SIZE && packet->bytes[0] >> 4 == 4;
}

static bool is_of_lost_address(const struct board *board, const struct packet *packet)
{
    uint64_t address = board->lost_address;
    return address != 0 && is_ipv4(packet) &&
           (bench_get32(packet->bytes + IPV4_SOURCE) == address ||
            bench_get32(packet->bytes + IPV4_DESTINATION) == address);
}

static void count_connect(struct board *board, const struct packet *packet)
{
    size_t header_size = (size_t)(packet->bytes[0] & 15) * 4;
    if (!is_ipv4(packet) || packet->bytes[IPV4_PROTOCOL] != IPPROTO_TCP ||
        packet->size <= header_size + TCP_FLAGS) {
        return;
    }
    const uint8_t *segment = packet->bytes + header_size;
    if ((segment[TCP_FLAGS] & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == TCP_FLAG_SYN) {
        board->connects[bench_get16(segment + 2)]++;
    }
}

static bool arrives(struct road *road, const struct packet *packet)
{
    count_connect(road->board, packet);
    return !is_of_lost_address(road->board, packet) && draw(road) >= road->loss;
}

/* ---- the road ---- */

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
        road->count += arrives(road, packet);
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
    double loss = 0;
    double seed = 1;
    const char *board = NULL;
    const struct bench_option options[] = {{.name = "near", .number = &near},
                                           {.name = "far", .number = &far},
                                           {.name = "delay", .number = &delay},
                                           {.name = "loss", .number = &loss}, /* percent */
                                           {.name = "seed", .number = &seed},
                                           {.name = "board", .text = &board},
                                           {0}};
    bench_options(argc, argv, options);
    (void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    road.delay = (uint64_t)(delay * BENCH_MILLISECOND);
    road.loss = loss / 100;
    road.random = (uint64_t)seed + 1;
    road.board = bench_share(board, sizeof *road.board);
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
