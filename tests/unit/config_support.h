/* What the files of the configuration's test share: building from pieces, and the complaints as one text. */
#ifndef CONFIG_SUPPORT_H
#define CONFIG_SUPPORT_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "config/config.h"

enum { TEXT_MAX = 64 * 1024 };

/* Text that grows: complaints, a line each, or what a sink was given. */
struct text {
    struct config_report report;
    struct config_sink sink;
    size_t size, lines;
    char bytes[TEXT_MAX];
};
struct text *text_open(void);

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The configuration that must come out. The caller frees it. */
struct config *built(const struct config_sources *sources);
struct config *built_from_file(const char *text);
struct config *built_from_environment(const char *const *environment);
struct config *built_from_upstream(const char *url);

/* The complaints that must come out, all of them and in order, each with its newline. */
void assert_refused(const struct config_sources *sources, const char *expected);
void assert_file_refused(const char *text, const char *expected);
void assert_file_refused_bytes(struct span text, const char *expected);
void assert_environment_refused(const char *const *environment, const char *expected);
void assert_upstream_refused(const char *url, const char *reason);

/* The sources that hold these. */
struct config_sources with_file(const char *text);
struct config_sources with_environment(const char *const *environment);

void assert_listens(const struct config *config, size_t index, const char *expected, bool udp, bool tcp);
void assert_upstream(const struct config *config, size_t index, const char *label, const char *name);

/* The tests, by file. */
extern const struct CMUnitTest config_value_tests[], config_yaml_tests[], config_environment_tests[],
    config_upstream_tests[], config_print_tests[], config_group_tests[], config_plain_tests[],
    config_bootstrap_tests[];
extern const size_t config_value_count, config_yaml_count, config_environment_count, config_upstream_count,
    config_print_count, config_group_count, config_plain_count, config_bootstrap_count;

#endif
