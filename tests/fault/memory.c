/*
 * The allocator's functions, in the place of the C library's own: they fail as the plan says, and keep a list
 * of what was taken and not given back. OpenSSL's memory comes this way as well.
 */
#include <errno.h>
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"

enum { TABLE_BITS = 16, TABLE_SIZE = 1 << TABLE_BITS, FRAMES_MAX = 12, TOLD_MOST = 5 };

/* Beneath us: the sanitizer's allocator, where there is one, so that it sees what it always sees. */
#if FAULT_SANITIZED
#define BENEATH(name) __interceptor_##name
#else
#define BENEATH(name)        __libc_##name
#define __libc_aligned_alloc __libc_memalign
#endif
void *BENEATH(malloc)(size_t size);
void *BENEATH(calloc)(size_t count, size_t size);
void *BENEATH(realloc)(void *memory, size_t size);
void *BENEATH(aligned_alloc)(size_t alignment, size_t size);
void BENEATH(free)(void *memory);

/* A table of what was taken, by address; who took it stands beside it, and is only written when asked for. */
static void *table[TABLE_SIZE];
static void *frames[TABLE_SIZE][FRAMES_MAX];
static atomic_flag busy = ATOMIC_FLAG_INIT;

static size_t place_of(const void *memory)
{
    return (size_t)(((uintptr_t)memory >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - TABLE_BITS));
}

static void enter(void)
{
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire)) {}
}

static void leave(void)
{
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

static void *note_taken(void *memory)
{
    if (memory == NULL || !fault_watches()) {
        return memory;
    }
    enter();
    size_t at = place_of(memory);
    while (table[at] != NULL) {
        at = (at + 1) % TABLE_SIZE;
    }
    table[at] = memory;
    leave();
    if (fault_current()->talkative) {
        fault_exempt(true);
        (void)backtrace(frames[at], FRAMES_MAX);
        fault_exempt(false);
    }
    return memory;
}

/* Entries behind the hole that could not be found any more move into it. */
static void close_hole(size_t hole)
{
    for (size_t at = (hole + 1) % TABLE_SIZE; table[at] != NULL; at = (at + 1) % TABLE_SIZE) {
        size_t distance = (at - place_of(table[at])) % TABLE_SIZE;
        if (distance >= (at - hole) % TABLE_SIZE) {
            table[hole] = table[at];
            if (fault_current()->talkative) {
                memcpy(frames[hole], frames[at], sizeof frames[hole]);
            }
            hole = at;
        }
    }
    table[hole] = NULL;
}

static void note_given(const void *memory)
{
    if (memory == NULL || fault_current() == NULL) {
        return;
    }
    enter();
    size_t at = place_of(memory);
    while (table[at] != NULL && table[at] != memory) {
        at = (at + 1) % TABLE_SIZE;
    }
    if (table[at] != NULL) {
        close_hole(at);
    }
    leave();
}

unsigned fault_memory_lost(void)
{
    unsigned lost = 0;
    fault_exempt(true);
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        if (table[i] != NULL && lost++ < TOLD_MOST && fault_current()->talkative) {
            fprintf(stderr, "lost memory, taken by:\n");
            backtrace_symbols_fd(frames[i], FRAMES_MAX, STDERR_FILENO);
        }
    }
    fault_exempt(false);
    return lost;
}

void *malloc(size_t size)
{
    return fault_strikes(FAULT_malloc, NULL) ? NULL : note_taken(BENEATH(malloc)(size));
}

void *calloc(size_t count, size_t size)
{
    return fault_strikes(FAULT_calloc, NULL) ? NULL : note_taken(BENEATH(calloc)(count, size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fault_strikes(FAULT_aligned_alloc, NULL) ? NULL
                                                    : note_taken(BENEATH(aligned_alloc)(alignment, size));
}

/* Noted as given before it is, or another thread could have the same memory noted twice. */
void *realloc(void *memory, size_t size)
{
    if (fault_strikes(FAULT_realloc, NULL)) {
        return NULL;
    }
    note_given(memory);
    void *moved = BENEATH(realloc)(memory, size);
    note_taken(moved == NULL && size > 0 ? memory : moved);
    return moved;
}

void free(void *memory)
{
    int number = errno;
    note_given(memory);
    BENEATH(free)(memory);
    errno = number;
}
