/*
 * What the files about the engine's life share: process.c (one engine, from fork to end), relief.c (one in
 * the place of another), reload.c (another configuration), supervise.c (start, death, stop, signals).
 */
#ifndef MONITOR_SUPERVISOR_H
#define MONITOR_SUPERVISOR_H

#include "monitor/control.h"

enum { LETTER_SIZE = 512 };

/* How long a new engine may take to serve: it loads authorities and reserves memory. */
#define PROCESS_START_PATIENCE (30 * CLOCK_SECOND)

enum process_state {
    PROCESS_FREE, /* the place is nobody's */
    PROCESS_STARTING,
    PROCESS_SERVING,
    PROCESS_DRAINING,
};

struct supervisor;

/* An engine. */
struct process {
    struct supervisor *supervisor;
    enum process_state state;
    pid_t pid;
    struct event_watch channel;
    struct event_timer kill;
    bool is_of_before;       /* another program has started it, with a plan that is gone */
    struct metrics *metrics; /* its own, folded into the total when it is gone; NULL: not readable here */
    int metrics_descriptor;
    uint64_t started_at;
    char reason[LETTER_SIZE]; /* why it cannot start, in its own words; "" where it said none */
};

/* A reload on its way. */
struct reload {
    bool is_going;
    bool again; /* another one is wanted when it is over, or when there is a place for an engine */
    struct plan plan;
    int log_descriptor; /* -1: that of before */
    struct cache cache; /* that of before, or a new one */
    bool moves_control; /* to the path that is named there, where `control` listens; NULL: nowhere */
    struct control *control;
    struct process *process;
    struct event_timer patience;
    uint64_t begun_at;
    struct config_report report;
    const char *cause;
    char *said; /* its complaints, for whoever asked at the control socket */
    size_t said_size;
};

/* Another program in the place of this one, on its way; and in that one, the same upgrade from its side. */
struct upgrade {
    char path[4096]; /* of the program */
    bool again;      /* it is wanted when a reload is over */
    pid_t child;     /* the next program, that looks at the configuration; 0: there is none */
    int said;        /* by the child */
    struct event_timer patience;
    struct handover_client clients[UPGRADE_CLIENTS_MAX]; /* of the control socket, for the next program */
    size_t client_count;
    struct process *successor; /* of the engine of before; NULL when that one is gone or was told to go */
    uint64_t begun_at;
};

struct supervisor {
    struct boot *boot;
    struct event_loop *loop;
    struct event_signals signals;
    struct event_timer restart, drain;
    struct control *control;
    struct control *leaving; /* at the path of before; NULL: there is none, or it stays */
    struct process processes[BOOT_ENGINES_MAX];
    struct process *current; /* the one that serves, or is to serve; NULL while there is none */
    struct reload reload;
    struct upgrade upgrade;
    struct process *relieved; /* an engine that was told to read no more */
    enum control_wait relief; /* and what has come about when it does not; CONTROL_NOTHING: nobody waits */
    uint64_t restart_after;
    bool was_ready; /* some engine has served */
    bool failed_at_start;
    bool stopping;
};

/* ---- process.c ---- */

/* What an engine is started with. */
struct process_setup {
    const struct plan *plan;
    struct cache cache;
    int log_descriptor;
};

/* How many there are, whatever they do, and whether one more can be started. */
size_t process_count(const struct supervisor *supervisor);
bool process_has_place(const struct supervisor *supervisor);

/* Forks an engine. ERROR_EXHAUSTED without a place, ERROR_MEMORY, ERROR_DESCRIPTORS, ... */
int process_start(struct supervisor *supervisor, const struct process_setup *setup, struct process **out);

/* It is killed when it does not serve in time. */
void process_expect(struct process *process);

/* It serves. */
void process_serve(struct process *process);

/* One of the program of before; one that does not serve is to end; what makes no sense is closed. */
void process_adopt(struct supervisor *supervisor, const struct handover_engine *engine);

/* A letter without text, with a descriptor where `passed` is not -1. */
void process_send(struct process *process, enum engine_letter letter, int passed);

/* Connections of clients go on with that one when this one ends; without memory for it they are closed. */
void process_bequeath(struct process *process, struct process *heir);

/* No more questions: it answers what it has, and ends. It is killed when that takes too long. */
void process_drain(struct process *process, uint64_t timeout);

/* It ends at once. */
void process_stop(struct process *process);

/* It was reaped: takes its last words, adds its counts to the total, and gives its place back. */
void process_bury(struct process *process);

/* The supervisor's end: no letter is read any more. */
void process_close_all(struct supervisor *supervisor);

/* The one with this id, or NULL. */
struct process *process_find(struct supervisor *supervisor, pid_t pid);

/* ---- supervise.c ---- */

/* What a control socket is opened with. */
struct control_setup supervise_control(struct supervisor *supervisor, const struct config *config,
                                       struct config_report *report);

/* An engine serves. */
void supervise_on_ready(struct process *process);

/* An engine in place of one that died, soon. */
void supervise_plan_restart(struct supervisor *supervisor);

/* ---- relief.c ---- */

/* The old engine (NULL: there is none) reads no more, and who waits for that is told of the end then. */
void relief_begin(struct supervisor *supervisor, struct process *old, uint64_t timeout,
                  enum control_wait wait);
void relief_end(struct supervisor *supervisor, struct process *old);

/* ---- reload.c ---- */

void reload_init(struct supervisor *supervisor);

/* Takes the configuration anew: a new engine beside the old one, which goes when the new one serves. What
 * does not pass leaves everything as it was. `cause` is what the log tells. */
void reload_begin(struct supervisor *supervisor, const char *cause);

/* The reload's engine serves; it died, or could not start. */
void reload_on_ready(struct supervisor *supervisor);
void reload_on_death(struct supervisor *supervisor, int status);

/* An engine is gone, whichever it was. */
void reload_on_burial(struct supervisor *supervisor);

/* A place for an engine has become free. */
void reload_on_place(struct supervisor *supervisor);

/* What is kept of groups that are not what they were is forgotten, as long as somebody may store it. */
void reload_forget_partitions(struct supervisor *supervisor);

/* The program stops: what is on its way is given up. */
void reload_abandon(struct supervisor *supervisor);

/* ---- upgrade.c ---- */

void upgrade_init(struct supervisor *supervisor);
void upgrade_close(struct supervisor *supervisor);

/* The program that lies where this one was started from takes its place, unless it refuses the configuration:
 * then everything is as it was, and told. */
void upgrade_begin(struct supervisor *supervisor);

/* A child has ended; whether it was of this. */
bool upgrade_reap(struct supervisor *supervisor, pid_t gone, int status);

/* The program stops: what is on its way is given up. */
void upgrade_abandon(struct supervisor *supervisor);

/* A reload is over, and there is a place for an engine. */
void upgrade_on_place(struct supervisor *supervisor);

/* In the next program: takes the engines of the one before, and who waits for the upgrade. */
void upgrade_take_over(struct supervisor *supervisor);

/* There: its own engine serves, or has ended before it did. */
void upgrade_on_ready(struct supervisor *supervisor);
void upgrade_on_death(struct supervisor *supervisor, const char *reason);

/* ---- handover.c ---- */

/* What the next program needs, in memory without a name; all that is named there stays open over an exec. An
 * error leaves that to handover_take_back. */
int handover_write(const struct supervisor *supervisor, int *descriptor);

/* There is no exec: nothing of it stays open over one. */
void handover_take_back(const struct supervisor *supervisor);

#endif
