/* Reservations of address space: private ones for slabs, shared ones for what outlives a process. */
#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

/* A mapping has a byte at least. */
static size_t mapped_size(size_t size)
{
    return size > 0 ? size : 1;
}

int memory_open(size_t size, void **out)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return ERROR_MEMORY;
    }
    *out = memory;
    return 0;
}

void memory_close(void *memory, size_t size)
{
    if (memory != NULL) {
        munmap(memory, mapped_size(size));
    }
}

int memory_share(size_t size, const char *name, void **out, int *descriptor)
{
    int shared = memfd_create(name, MFD_CLOEXEC);
    if (shared < 0) {
        return error_from_errno(errno);
    }
    if (ftruncate(shared, (off_t)size) != 0) {
        close(shared);
        return ERROR_MEMORY;
    }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
    if (memory == MAP_FAILED) {
        close(shared);
        return ERROR_MEMORY;
    }
    *out = memory;
    *descriptor = shared;
    return 0;
}

int memory_adopt(int descriptor, size_t size, void **out)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0 || status.st_size < 0 || (size_t)status.st_size != size) {
        return ERROR_INVALID;
    }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED) {
        return ERROR_MEMORY;
    }
    *out = memory;
    return 0;
}

int memory_store(struct span bytes, const char *name, int *descriptor)
{
    void *memory = NULL;
    int error = memory_share(mapped_size(bytes.size), name, &memory, descriptor);
    if (error != 0) {
        return error;
    }
    assert(memory != NULL);
    memcpy(memory, bytes.data, bytes.size);
    memory_close(memory, bytes.size);
    return 0;
}

int memory_map(int descriptor, size_t size, void **out)
{
    void *memory = mmap(NULL, mapped_size(size), PROT_READ, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED) {
        return ERROR_MEMORY;
    }
    *out = memory;
    return 0;
}

static int forget_segments(struct dl_phdr_info *object, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t begin = (object->dlpi_addr + segment->p_vaddr) / page * page;
        uintptr_t end = object->dlpi_addr + segment->p_vaddr + segment->p_memsz;
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W) == 0) {
            (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* read-only: nothing can be lost */
        }
    }
    return 0;
}

void memory_forget_code(void)
{
    dl_iterate_phdr(forget_segments, NULL);
}

void memory_close_shared(int descriptor)
{
    close(descriptor);
}
