/* Landlock, without a library. Private to the room. */
#ifndef ENGINE_LANDLOCK_H
#define ENGINE_LANDLOCK_H

/* Takes all files away from the calling thread and from those that it will start, for good; and the binding
 * of TCP ports, abstract sockets and signals of others where the kernel knows how. What is below the
 * directory `readable` can still be read, where that is not -1; it stays the caller's. no_new_privs must be
 * set. ERROR_UNSUPPORTED, ERROR_PERMISSION, ... */
int landlock_take(int readable);

#endif
