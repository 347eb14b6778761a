/*
 * Memory that is opened once, at start, and lives as long as its room: reserved whole, touched only as high
 * as it is used.
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

#include "base/bytes.h"

/* A zeroed reservation of at least `size` bytes, aligned to a page. The pages cost nothing until they are
 * touched. The caller closes it. ERROR_MEMORY. */
int memory_open(size_t size, void **out);

/* Gives a reservation of `size` bytes back; NULL is allowed. */
void memory_close(void *memory, size_t size);

/* A zeroed mapping that child processes share, without a name in the file system. `descriptor` keeps it alive
 * over an exec; both belong to the caller. ERROR_MEMORY, ERROR_DESCRIPTORS. */
int memory_share(size_t size, const char *name, void **out, int *descriptor);

/* Maps what memory_share opened, in another process perhaps, to be read and written, until memory_close.
 * ERROR_INVALID when it is not of that size, ERROR_MEMORY. */
int memory_adopt(int descriptor, size_t size, void **out);

/* Puts a copy of the bytes into shared memory that is mapped nowhere, so that it counts for no process until
 * one maps it. ERROR_MEMORY, ERROR_DESCRIPTORS. */
int memory_store(struct span bytes, const char *name, int *descriptor);

/* Maps stored bytes to be read, until memory_close. ERROR_MEMORY. */
int memory_map(int descriptor, size_t size, void **out);

/* Unmaps the pages of code and constants that the process has used so far, its libraries' included. What is
 * needed again comes back by itself, from the system's cache of files: for a process that has done its work
 * and will mostly sleep. */
void memory_forget_code(void);

/* Lets go of a shared mapping's descriptor; the mapping itself goes with memory_close. */
void memory_close_shared(int descriptor);

#endif
