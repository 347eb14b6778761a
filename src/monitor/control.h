/*
 * The control socket: command.c (commands that are answered at once), control_socket.c (where it listens),
 * control.c (its listening end), ask.c (its asking end).
 */
#ifndef MONITOR_CONTROL_H
#define MONITOR_CONTROL_H

#include "monitor/internal.h"

/* ---- command.c ---- */

enum { CONTROL_COMMAND_SIZE = 2048 };

#define CONTROL_COMMANDS "status, health, reload, upgrade, flush, flush NAME, flush NAME below"

/* Whether it is ready, in a sentence; `is_alive`: the engine gave a sign of life. Returns the exit code of
 * who asked. */
uint32_t command_health(const struct boot *boot, bool is_alive, struct metrics_sink *sink);

/* Does what needs nobody to wait for it, and says what came of it; what it does not know as well. The same.
 */
uint32_t command_obey(struct boot *boot, const char *command, struct metrics_sink *sink);

/* ---- control.c ---- */

struct control;

struct control_setup {
    const struct config *config;  /* until it is open */
    struct config_report *report; /* as well */
    struct event_loop *loop;
    void (*reload)(void *owner);  /* control_tell is called when it is over */
    void (*upgrade)(void *owner); /* the same */
    void *owner;
};

/* Listens at control.socket, or goes on with what the program of before listened at there. A default path
 * that cannot be had is told in the log and done without. */
int control_open(struct boot *boot, const struct control_setup *setup, struct control **out);

/* NULL is allowed, here and below. */
void control_close(struct control *control);

/* What a client waits for that takes a while. */
enum control_wait { CONTROL_NOTHING, CONTROL_PULSE, CONTROL_RELOAD, CONTROL_UPGRADE };

/* To all who wait for this: how it ended, in lines. */
void control_tell(struct control *control, enum control_wait wait, bool is_done, const char *text);

/* The program ends: who waits is told so, and from here on who asks for health, a reload or an upgrade. */
void control_stop(struct control *control);

/* The socket that listens; -1 where there is none. It is still watched here. */
int control_listener(const struct control *control);

/* Those whom the next program is to answer: still watched here. Returns their number. */
size_t control_unanswered(const struct control *control, struct handover_client out[UPGRADE_CLIENTS_MAX]);

/* A client of the program of before. */
void control_adopt(struct control *control, const struct handover_client *given);

/* ---- control_socket.c ---- */

/* Descriptor -1 with 0: there is no path, or the default one cannot be had and is done without. */
int control_socket_listen(struct boot *boot, const struct control_setup *setup, int *descriptor);

/* Before an answer, which comes in packets of so many bytes at most. */
struct control_head {
    uint32_t size;
    uint32_t status; /* the exit code of the other end */
};
enum { CONTROL_PACKET_SIZE = 16 * 1024 };

/* ---- ask.c ---- */

/* The other end: sends a command, which is not empty, to a running dnseal and prints its answer. Returns the
 * exit code. */
int ask_send(const char *path, const char *command);

#endif
