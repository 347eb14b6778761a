/* What happens to a system call that the sandbox does not bear. Private to the room. */
#ifndef ENGINE_TRAP_H
#define ENGINE_TRAP_H

/* From here on SIGSYS tells the call to whoever is at the other end of the channel, and ends the process. */
void trap_open(int channel);

#endif
