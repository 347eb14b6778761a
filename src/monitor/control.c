/*
 * The control socket and its clients. A command is one packet; its answer is a head packet with the answer's
 * size and status, then the text in packets. The file is of mode 0600: who may open it may ask.
 */
#include "monitor/control.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include "net/net.h"

enum { ANSWER_MOST = 4 * 1024 * 1024 };

/* Until accepting is tried again after descriptors ran out. */
#define ACCEPT_PAUSE (100 * CLOCK_MILLISECOND)

/* To who asks for what a program that ends does not do. */
static const char refusal[] = "dnseal: the program is stopping\n";

struct text {
    struct metrics_sink sink;
    char *bytes;
    size_t size;
};

struct control_client {
    struct control *control;
    struct event_watch watch; /* without a loop: the place is free */
    struct text answer;       /* while it is on its way */
    size_t sent;
    enum control_wait waiting;
    struct pulse_wait pulse; /* linked while it waits for a sign of life */
    uint64_t since;          /* which of them came first */
};

enum { CLIENTS_MOST = UPGRADE_CLIENTS_MAX };

struct control {
    struct boot *boot;
    struct control_setup setup; /* what of it outlives the opening: whom it gives orders to */
    struct event_loop *loop;
    struct event_watch watch;
    struct control_client clients[CLIENTS_MOST];
    uint64_t arrivals;
    bool is_stopping; /* the program */
    struct event_timer pause;
    char *path;
};

/* ---- answers ---- */

static void append(struct metrics_sink *sink, struct span piece)
{
    struct text *text = container_of(sink, struct text, sink);
    if (text->size + piece.size <= ANSWER_MOST) {
        memcpy(text->bytes + text->size, piece.data, piece.size);
        text->size += piece.size;
    }
}

static void drop_client(struct control_client *client)
{
    if (client->watch.loop != NULL) {
        int descriptor = client->watch.descriptor;
        event_watch_remove(&client->watch);
        net_close(descriptor);
    }
    if (client->waiting == CONTROL_PULSE) {
        pulse_forget(&client->pulse);
    }
    memory_close(client->answer.bytes, ANSWER_MOST);
    client->answer = (struct text){0};
    client->waiting = CONTROL_NOTHING;
}

/* As much as the client takes now; a socket takes less than a long answer at once. */
static void send_answer(struct control_client *client)
{
    const struct text *answer = &client->answer;
    int error = 0;
    while (client->sent < answer->size && error == 0) {
        size_t left = answer->size - client->sent,
               piece = left < CONTROL_PACKET_SIZE ? left : CONTROL_PACKET_SIZE;
        error = net_local_send(client->watch.descriptor, span_of(answer->bytes + client->sent, piece), -1);
        client->sent += error == 0 ? piece : 0;
    }
    if (error == ERROR_AGAIN) {
        event_watch_change(&client->watch, EVENT_WRITE);
    } else {
        drop_client(client);
    }
}

/* Room for the answer; without it the client goes. */
static bool open_answer(struct control_client *client)
{
    void *bytes;
    if (memory_open(ANSWER_MOST, &bytes) != 0) {
        drop_client(client);
        return false;
    }
    client->answer = (struct text){.sink.write = append, .bytes = bytes};
    client->sent = 0;
    return true;
}

static void begin_answer(struct control_client *client, uint32_t status)
{
    struct control_head head = {.status = status, .size = (uint32_t)client->answer.size};
    if (net_local_send(client->watch.descriptor, span_of(&head, sizeof head), -1) != 0) {
        drop_client(client);
        return;
    }
    send_answer(client);
}

static void answer_health(struct control_client *client, bool is_alive)
{
    if (!open_answer(client)) {
        return;
    }
    if (client->control->is_stopping) {
        append(&client->answer.sink, span_text("not ready: the program is stopping\n"));
        begin_answer(client, 1);
    } else {
        begin_answer(client, command_health(client->control->boot, is_alive, &client->answer.sink));
    }
}

static void on_pulse(struct pulse_wait *wait, bool is_alive)
{
    struct control_client *client = container_of(wait, struct control_client, pulse);
    client->waiting = CONTROL_NOTHING;
    answer_health(client, is_alive);
}

/* What the engine has to say comes later. */
static void begin_health(struct control_client *client)
{
    if (!client->control->boot->serves) {
        answer_health(client, false);
        return;
    }
    client->waiting = CONTROL_PULSE;
    pulse_ask(client->control->boot->pulse, &client->pulse);
}

static void refuse_change(struct control_client *client)
{
    if (open_answer(client)) {
        append(&client->answer.sink, span_text(refusal));
        begin_answer(client, 1);
    }
}

static void obey(struct control_client *client, const char *command)
{
    struct control *control = client->control;
    bool is_change = strcmp(command, "reload") == 0 || strcmp(command, "upgrade") == 0;
    if (strcmp(command, "health") == 0) {
        begin_health(client);
    } else if (is_change && control->is_stopping) {
        refuse_change(client);
    } else if (strcmp(command, "reload") == 0) {
        client->waiting = CONTROL_RELOAD;
        control->setup.reload(control->setup.owner);
    } else if (strcmp(command, "upgrade") == 0) {
        client->waiting = CONTROL_UPGRADE;
        control->setup.upgrade(control->setup.owner);
    } else if (open_answer(client)) {
        begin_answer(client, command_obey(control->boot, command, &client->answer.sink));
    }
}

void control_tell(struct control *control, enum control_wait wait, bool is_done, const char *text)
{
    for (size_t i = 0; control != NULL && i < CLIENTS_MOST; i++) {
        struct control_client *client = &control->clients[i];
        if (client->waiting == wait && open_answer(client)) {
            client->waiting = CONTROL_NOTHING;
            append(&client->answer.sink, span_text(text));
            begin_answer(client, is_done ? 0 : 1);
        }
    }
}

int control_listener(const struct control *control)
{
    return control != NULL ? control->watch.descriptor : -1;
}

void control_stop(struct control *control)
{
    if (control != NULL) {
        control->is_stopping = true;
    }
    control_tell(control, CONTROL_RELOAD, false, refusal);
    control_tell(control, CONTROL_UPGRADE, false, refusal);
}

size_t control_unanswered(const struct control *control, struct handover_client out[UPGRADE_CLIENTS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; control != NULL && i < CLIENTS_MOST; i++) {
        const struct control_client *client = &control->clients[i];
        if (client->watch.loop != NULL && client->answer.bytes == NULL && client->waiting != CONTROL_RELOAD) {
            out[count++] = (struct handover_client){client->watch.descriptor, (int)client->waiting};
        }
    }
    return count;
}

/* A client that says something while it waits, or after its answer, is not listened to. */
static void on_client_ready(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    struct control_client *client = container_of(watch, struct control_client, watch);
    if (client->answer.bytes != NULL) {
        send_answer(client);
        return;
    }
    char command[CONTROL_COMMAND_SIZE] = "";
    int size = net_local_receive(watch->descriptor, (uint8_t *)command, sizeof command - 1, NULL);
    if ((size > 0 || size == ERROR_SPACE) && client->waiting == CONTROL_NOTHING) {
        /* and not one that goes on behind its end, or behind the end of the room for it */
        bool is_text = size > 0 && strlen(command) == (size_t)size;
        obey(client, is_text ? command : "");
    } else if (size != ERROR_AGAIN) {
        drop_client(client);
    }
}

/* The socket stays ready while nobody can be taken in: without a pause the loop would spin. */
static void pause_accepting(struct control *control)
{
    event_watch_change(&control->watch, 0);
    event_timer_set(control->loop, &control->pause, event_now(control->loop) + ACCEPT_PAUSE);
}

static void on_pause_over(struct event_timer *timer)
{
    event_watch_change(&container_of(timer, struct control, pause)->watch, EVENT_READ);
}

/* A free place, or that of the one who is here the longest and waits for nothing: it says nothing, or takes
 * nothing. */
static struct control_client *find_place(struct control *control)
{
    struct control_client *oldest = NULL;
    for (size_t i = 0; i < CLIENTS_MOST; i++) {
        struct control_client *client = &control->clients[i];
        if (client->watch.loop == NULL) {
            return client;
        }
        if (client->waiting == CONTROL_NOTHING && (oldest == NULL || client->since < oldest->since)) {
            oldest = client;
        }
    }
    if (oldest == NULL) {
        oldest = &control->clients[0];
    }
    drop_client(oldest);
    return oldest;
}

static struct control_client *add_client(struct control *control, int descriptor)
{
    struct control_client *client = find_place(control);
    *client = (struct control_client){.control = control,
                                      .watch.ready = on_client_ready,
                                      .pulse.told = on_pulse,
                                      .since = control->arrivals++};
    list_init(&client->pulse.link);
    if (event_watch_add(control->loop, &client->watch, descriptor, EVENT_READ) != 0) {
        net_close(descriptor);
        return NULL;
    }
    return client;
}

void control_adopt(struct control *control, const struct handover_client *given)
{
    struct control_client *client = control != NULL ? add_client(control, given->descriptor) : NULL;
    if (control == NULL) {
        net_close(given->descriptor);
    } else if (client != NULL && given->waits == CONTROL_PULSE) {
        begin_health(client);
    } else if (client != NULL && given->waits == CONTROL_UPGRADE) {
        client->waiting = CONTROL_UPGRADE;
    }
}

static void on_client(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    struct control *control = container_of(watch, struct control, watch);
    int descriptor;
    int error = net_local_accept(watch->descriptor, &descriptor);
    if (error == ERROR_DESCRIPTORS || error == ERROR_MEMORY) {
        pause_accepting(control);
    }
    if (error == 0) {
        (void)add_client(control, descriptor);
    }
}

/* ---- opening ---- */

int control_open(struct boot *boot, const struct control_setup *setup, struct control **out)
{
    int descriptor;
    *out = NULL;
    int error = control_socket_listen(boot, setup, &descriptor);
    if (error != 0 || descriptor < 0) {
        return error;
    }
    struct control *control = calloc(1, sizeof *control);
    if (control == NULL) {
        net_close(descriptor);
        return ERROR_MEMORY;
    }
    *control = (struct control){.boot = boot,
                                .loop = setup->loop,
                                .setup = *setup,
                                .path = strdup(setup->config->control.socket),
                                .watch.ready = on_client};
    event_timer_init(&control->pause, on_pause_over);
    error = event_watch_add(control->loop, &control->watch, descriptor, EVENT_READ);
    if (error != 0) {
        net_close(descriptor);
        free(control->path);
        free(control);
        return error;
    }
    *out = control;
    return 0;
}

void control_close(struct control *control)
{
    if (control == NULL) {
        return;
    }
    for (size_t i = 0; i < CLIENTS_MOST; i++) {
        drop_client(&control->clients[i]);
    }
    event_timer_clear(&control->pause);
    int descriptor = control->watch.descriptor;
    event_watch_remove(&control->watch);
    net_close(descriptor);
    unlink(control->path);
    free(control->path);
    free(control);
}
