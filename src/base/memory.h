/*
 * Memory that is opened once, at start, and lives as long as its room: reserved whole, touched only as high
 * as it is used.
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

/* A zeroed reservation of at least `size` bytes, aligned to a page. The pages cost nothing until they are
 * touched. The caller closes it. ERROR_MEMORY. */
int memory_open(size_t size, void **out);

/* Gives a reservation of `size` bytes back; NULL is allowed. */
void memory_close(void *memory, size_t size);

/* A zeroed mapping that child processes share, without a name in the file system. `descriptor` keeps it alive
 * over an exec; both belong to the caller. ERROR_MEMORY, ERROR_DESCRIPTORS. */
int memory_share(size_t size, const char *name, void **out, int *descriptor);

/* Lets go of a shared mapping's descriptor; the mapping itself goes with memory_close. */
void memory_close_shared(int descriptor);

#endif
