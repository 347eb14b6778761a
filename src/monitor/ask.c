/* The asking end of the control socket: one command to the program that runs, and its answer for a person. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

#include "net/net.h"

#include "monitor/control.h"

enum {
    PATIENCE_MS = 5000,
    RELOAD_PATIENCE_MS = 60 * 1000, /* longer than a new engine may take, and one that waits for a place */
};

static int receive(int descriptor, int patience, void *out, size_t size)
{
    struct pollfd ready = {.fd = descriptor, .events = POLLIN};
    int count;
    do {
        count = poll(&ready, 1, patience);
    } while (count < 0 && errno == EINTR);
    return count == 1 ? net_local_receive(descriptor, out, size, NULL) : ERROR_TIMEOUT;
}

static int print_answer(int descriptor, int patience)
{
    struct control_head head;
    if (receive(descriptor, patience, &head, sizeof head) != sizeof head) {
        complain("the running dnseal did not answer");
        return 1;
    }
    static char packet[CONTROL_PACKET_SIZE];
    for (size_t left = head.size; left > 0;) {
        int size = receive(descriptor, PATIENCE_MS, packet, sizeof packet);
        if (size <= 0 || (size_t)size > left) {
            complain("the running dnseal broke off its answer");
            return 1;
        }
        fwrite(packet, 1, (size_t)size, head.status == 0 ? stdout : stderr);
        left -= (size_t)size;
    }
    return (int)head.status;
}

static const char *way_out(int error)
{
    return error == ERROR_PERMISSION
               ? "ask as root, or as the user who started it"
               : "does it run, with this configuration, and its log tell no control_off?";
}

int ask_send(const char *path, const char *command)
{
    if (path[0] == '\0') {
        complain("control.socket is switched off in this configuration");
        return 1;
    }
    int descriptor;
    int error = net_local_connect(path, &descriptor);
    if (error != 0) {
        complain("%s: no dnseal can be reached there: %s: %s", path, error_text(error), way_out(error));
        return 1;
    }
    error = net_local_send(descriptor, span_text(command), -1);
    if (error != 0) {
        complain("%s: the command cannot be sent: %s", path, error_text(error));
    }
    bool takes_long = strcmp(command, "reload") == 0 || strcmp(command, "upgrade") == 0;
    int patience = takes_long ? RELOAD_PATIENCE_MS : PATIENCE_MS;
    int code = error == 0 ? print_answer(descriptor, patience) : 1;
    net_close(descriptor);
    return code;
}
