/*
 * News of the network from the kernel: addresses, links, default routes. Read by the worker that owns the
 * socket; what the news means for connections is decided above.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

#include "net/net.h"

enum { NEWS_SIZE = 16 * 1024 };

int net_changes_open(int *descriptor)
{
    int made = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (made < 0) {
        return error_from_errno(errno);
    }
    struct sockaddr_nl groups = {
        .nl_family = AF_NETLINK,
        .nl_groups =
            RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
    };
    if (bind(made, (struct sockaddr *)&groups, sizeof groups) != 0) {
        int error = error_from_errno(errno);
        close(made);
        return error;
    }
    *descriptor = made;
    return 0;
}

static bool is_default_route(const struct nlmsghdr *news)
{
    struct rtmsg route;
    if (news->nlmsg_len < NLMSG_LENGTH(sizeof route)) {
        return false;
    }
    memcpy(&route, NLMSG_DATA(news), sizeof route);
    return route.rtm_dst_len == 0 && route.rtm_table != RT_TABLE_LOCAL &&
           (route.rtm_flags & RTM_F_CLONED) == 0;
}

/* The kernel tells a link's state again and again; a change is one of these flags. */
static bool is_up_or_down(const struct nlmsghdr *news)
{
    struct ifinfomsg link;
    if (news->nlmsg_len < NLMSG_LENGTH(sizeof link)) {
        return false;
    }
    memcpy(&link, NLMSG_DATA(news), sizeof link);
    return (link.ifi_change & (IFF_UP | IFF_RUNNING)) != 0;
}

/* An address for one link alone is no way to a server, and comes and goes by itself. */
static bool is_beyond_link(const struct nlmsghdr *news)
{
    struct ifaddrmsg address;
    if (news->nlmsg_len < NLMSG_LENGTH(sizeof address)) {
        return false;
    }
    memcpy(&address, NLMSG_DATA(news), sizeof address);
    return address.ifa_scope < RT_SCOPE_LINK;
}

static bool matters(const struct nlmsghdr *news)
{
    switch (news->nlmsg_type) {
    case RTM_NEWADDR:
    case RTM_DELADDR:
        return is_beyond_link(news);
    case RTM_DELLINK:
        return true;
    case RTM_NEWLINK:
        return is_up_or_down(news);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        return is_default_route(news);
    default:
        return false;
    }
}

static bool any_matters(const uint8_t *bytes, size_t size)
{
    bool found = false;
    size_t at = 0;
    struct nlmsghdr news;
    while (size - at >= sizeof news) {
        memcpy(&news, bytes + at, sizeof news);
        if (news.nlmsg_len < sizeof news || news.nlmsg_len > size - at) {
            break;
        }
        found = found || matters((const struct nlmsghdr *)(const void *)(bytes + at));
        size_t step = NLMSG_ALIGN(news.nlmsg_len);
        at += step < size - at ? step : size - at;
    }
    return found;
}

bool net_changes_read(int descriptor)
{
    _Alignas(struct nlmsghdr) uint8_t bytes[NEWS_SIZE];
    bool found = false;
    for (;;) {
        ssize_t size = recv(descriptor, bytes, sizeof bytes, 0);
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size < 0 && errno == ENOBUFS) {
            found = true; /* news were lost */
            continue;
        }
        if (size <= 0) {
            return found;
        }
        found = any_matters(bytes, (size_t)size) || found;
    }
}
