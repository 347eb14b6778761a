/*
 * One engine takes the place of another one: connections of clients go on with the new one, the old one reads
 * no more and ends, and who asked for it is told. Called by reload.c, upgrade.c, supervise.c and process.c.
 */
#include "monitor/supervisor.h"

void relief_end(struct supervisor *supervisor, struct process *old)
{
    if (supervisor->relief != CONTROL_NOTHING && supervisor->relieved == old) {
        bool is_upgrade = supervisor->relief == CONTROL_UPGRADE;
        service_ready(supervisor->boot);
        const char *text = is_upgrade ? "upgraded to " DNSEAL_VERSION "\n" : "reloaded\n";
        control_tell(supervisor->control, supervisor->relief, true, text);
        control_tell(supervisor->leaving, supervisor->relief, true, text);
        control_close(supervisor->leaving);
        supervisor->leaving = NULL;
        supervisor->relief = CONTROL_NOTHING;
    }
}

/* Also of those that still finish what they have: the one that they know goes as well. */
static void bequeath_connections(struct supervisor *supervisor, const struct process *old)
{
    for (size_t i = 0; i < BOOT_ENGINES_MAX; i++) {
        struct process *process = &supervisor->processes[i];
        if (process == old || process->state == PROCESS_DRAINING) {
            process_bequeath(process, supervisor->current);
        }
    }
}

/* Who asked for it is told when the old engine reads no more: from then on all is as the new one has it. */
void relief_begin(struct supervisor *supervisor, struct process *old, uint64_t timeout,
                  enum control_wait wait)
{
    relief_end(supervisor, supervisor->relieved); /* one that was held up keeps nobody waiting */
    supervisor->relieved = old;
    supervisor->relief = wait;
    bequeath_connections(supervisor, old);
    if (old != NULL) {
        process_drain(old, timeout);
        process_send(old, ENGINE_PULSE, -1);
    } else {
        relief_end(supervisor, NULL);
    }
}
