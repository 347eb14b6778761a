/*
 * Runs a fuzz target once over every file of the directories that it is called with: seeds and old crashes,
 * as a test that needs no fuzzer. Every file lies in memory of exactly its size, so that the sanitizers see
 * each read behind its end.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "target.h"

static bool replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat status;
    if (file == NULL || fstat(fileno(file), &status) < 0) {
        perror(path);
        return false;
    }
    size_t size = (size_t)status.st_size;
    uint8_t *data = malloc(size > 0 ? size : 1);
    bool is_read = data != NULL && fread(data, 1, size, file) == size;
    fclose(file);
    if (is_read) {
        printf("%s\n", path);
        fflush(stdout);
        LLVMFuzzerTestOneInput(size > 0 ? data : data + 1, size);
    }
    free(data);
    return is_read;
}

/* Hidden files keep empty directories in the repository; they are no inputs. */
static bool replay_directory(const char *path)
{
    DIR *directory = opendir(path);
    if (directory == NULL) {
        perror(path);
        return false;
    }
    bool is_read = true;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char name[4096];
        if (entry->d_name[0] != '.') {
            snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
            is_read &= replay_file(name);
        }
    }
    closedir(directory);
    return is_read;
}

int main(int count, char **arguments)
{
    bool is_read = true;
    for (int i = 1; i < count; i++) {
        is_read &= replay_directory(arguments[i]);
    }
    return is_read ? 0 : 1;
}
