/* What the tables of options are written with. Included by schema.c and schema_program.c. */
#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include "base/clock.h"

#include "config/table.h"

#define MILLISECONDS(count) ((count)*CLOCK_MILLISECOND)
#define SECONDS(count)      ((count)*CLOCK_SECOND)
#define MINUTES(count)      (60 * SECONDS(count))
#define HOURS(count)        (60 * MINUTES(count))
#define KIB(count)          ((count)*UINT64_C(1024))
#define MIB(count)          (1024 * KIB(count))

#define FIELD(name, kind) .offset = offsetof(struct config, name), .type = CONFIG_##kind

/* A part of the table. */
struct config_options {
    const struct config_option *items;
    size_t count;
};

/* What is kept and answered here, whom it trusts, and how the program runs. */
struct config_options config_program_options(void);

#endif
