/*
 * Words to a service manager: datagrams to the local socket that it named (sd_notify(3)), with descriptors
 * along that it is to keep. The monitor calls this. Nothing here waits: a manager whose socket is full is
 * told another time.
 */
#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"

#include "net/internal.h"

union control {
    struct cmsghdr head;
    uint8_t bytes[CMSG_SPACE(NET_NOTIFY_PASSED_MAX * sizeof(int))];
};

/* An abstract name begins with a zero byte in the place of '@', and is as long as its address says. */
static int write_name(const char *text, struct sockaddr_un *out, socklen_t *size)
{
    size_t length = strlen(text);
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((text[0] != '/' && text[0] != '@') || length < 2) {
        return ERROR_INVALID;
    }
    if (length >= sizeof out->sun_path) {
        return ERROR_RANGE;
    }
    memcpy(out->sun_path, text, length);
    if (text[0] == '@') {
        out->sun_path[0] = '\0';
    }
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return 0;
}

int net_notify_open(const char *name, int *descriptor)
{
    struct sockaddr_un address;
    socklen_t size;
    int made = -1;
    int failed = write_name(name, &address, &size);
    if (!failed) {
        failed = net_socket(AF_UNIX, SOCK_DGRAM, &made);
    }
    if (failed) {
        return failed;
    }
    int outcome;
    do {
        outcome = connect(made, (const struct sockaddr *)&address, size);
    } while (outcome != 0 && errno == EINTR);
    if (outcome != 0) {
        failed = error_from_errno(errno);
        close(made);
        return failed;
    }
    *descriptor = made;
    return 0;
}

int net_notify_send(int descriptor, struct span text, const int *passed, size_t count)
{
    assert(count <= NET_NOTIFY_PASSED_MAX);
    struct iovec part = {.iov_base = (void *)(uintptr_t)text.data, .iov_len = text.size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union control control = {0};
    if (count > 0) {
        size_t size = count * sizeof *passed;
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(size);
        control.head =
            (struct cmsghdr){.cmsg_len = CMSG_LEN(size), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), passed, size);
    }
    ssize_t sent;
    do {
        sent = sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? error_from_errno(errno) : 0;
}

bool net_notify_is_read(int descriptor)
{
    int unread = 0;
    return ioctl(descriptor, SIOCOUTQ, &unread) != 0 || unread == 0;
}
