/*
 * Options by name: finding one by its path, and the names that it has in the file and in the environment.
 * Called by every layer that is read, and by whatever prints the table.
 */
#include "config/table.h"

const struct config_option *config_option_find(const char *path)
{
    for (size_t i = 0; i < config_option_count(); i++) {
        if (strcmp(config_option_at(i)->path, path) == 0) {
            return config_option_at(i);
        }
    }
    return NULL;
}

const struct config_option *config_section_find(const char *section)
{
    size_t size = strlen(section);
    for (size_t i = 0; i < config_option_count() && size > 0; i++) {
        const struct config_option *option = config_option_at(i);
        if (config_option_section(option) == size && strncmp(option->path, section, size) == 0) {
            return option;
        }
    }
    return NULL;
}

void config_option_variable(const struct config_option *option, char out[CONFIG_NAME_SIZE])
{
    static const char prefix[] = "DNSEAL_";
    size_t size = sizeof prefix - 1;
    memcpy(out, prefix, size);
    for (const char *at = option->path; *at != '\0' && size < CONFIG_NAME_SIZE - 1; at++) {
        bool lower = *at >= 'a' && *at <= 'z';
        out[size++] = *at == '.' ? '_' : lower ? (char)(*at - 'a' + 'A') : *at;
    }
    out[size] = '\0';
}

size_t config_option_section(const struct config_option *option)
{
    const char *dot = strchr(option->path, '.');
    return dot == NULL ? 0 : (size_t)(dot - option->path);
}

const char *config_option_key(const struct config_option *option)
{
    const char *dot = strchr(option->path, '.');
    return dot == NULL ? option->path : dot + 1;
}

bool config_type_is_list(enum config_type type)
{
    return type >= CONFIG_LISTENERS;
}
