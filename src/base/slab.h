/*
 * Objects of one size, lent from one reservation: give and take are a few instructions, the last one given is
 * the next one taken, and memory is touched only as high as it was ever used. Not thread-safe: one slab, one
 * thread.
 */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include <stddef.h>

struct slab {
    void *memory;
    void *free;      /* singly linked through the first word of each object */
    size_t stride;   /* bytes from one object to the next */
    size_t capacity; /* objects */
    size_t touched;  /* objects ever taken, counted from the start of the memory */
    size_t taken;    /* objects lent out now */
};

/* Reserves room for `capacity` objects of `size` bytes, aligned to 16. ERROR_MEMORY. */
int slab_open(struct slab *slab, size_t size, size_t capacity);

/* The bytes that slab_open would reserve; SIZE_MAX when they are beyond counting. */
size_t slab_memory(size_t size, size_t capacity);

/* Gives the memory back. Every object must have been given back before: asserted. */
void slab_close(struct slab *slab);

/* An object with undefined contents, or NULL when all are lent. */
void *slab_take(struct slab *slab);

/* Takes back what slab_take lent. */
void slab_give(struct slab *slab, void *object);

#endif
