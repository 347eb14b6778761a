/*
 * Writes to standard output what the documentation takes from the table of options: `manual` (Markdown),
 * `roff` (a part of dnseal.yaml(5)) or `schema` (JSON Schema).
 */
#include <stdio.h>
#include <string.h>

#include "config/config.h"

static void write_out(struct config_sink *sink, struct span text)
{
    (void)sink;
    fwrite(text.data, 1, text.size, stdout);
}

int main(int argc, char **argv)
{
    struct config_sink sink = {.write = write_out};
    const char *wanted = argc == 2 ? argv[1] : "";
    if (strcmp(wanted, "manual") == 0) {
        config_print_manual(&sink);
    } else if (strcmp(wanted, "roff") == 0) {
        config_print_roff(&sink);
    } else if (strcmp(wanted, "schema") == 0) {
        config_print_schema(&sink);
    } else {
        fputs("usage: make_docs manual|roff|schema\n", stderr);
        return 2;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
