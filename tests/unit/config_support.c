/* Builds configurations for the tests and compares what was complained about. */
#include "config_support.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"

static void text_add(struct text *text, struct span bytes)
{
    assert_true(text->size + bytes.size < TEXT_MAX);
    memcpy(text->bytes + text->size, bytes.data, bytes.size);
    text->size += bytes.size;
    text->bytes[text->size] = '\0';
}

static void note_error(struct config_report *report, const char *line)
{
    struct text *text = (struct text *)(void *)((char *)report - offsetof(struct text, report));
    text_add(text, span_text(line));
    text_add(text, span_text("\n"));
    text->lines++;
}

static void note_text(struct config_sink *sink, struct span bytes)
{
    text_add((struct text *)(void *)((char *)sink - offsetof(struct text, sink)), bytes);
}

struct text *text_open(void)
{
    struct text *text = calloc(1, sizeof *text);
    assert_non_null(text);
    text->report.error = note_error;
    text->sink.write = note_text;
    return text;
}

struct config_sources with_file(const char *text)
{
    return (struct config_sources){.file = "t.yaml", .text = span_text(text), .file_read = true};
}

struct config_sources with_environment(const char *const *environment)
{
    return (struct config_sources){.environment = (char *const *)(uintptr_t)environment};
}

struct config *built(const struct config_sources *sources)
{
    struct text *complaints = text_open();
    struct config *config = NULL;
    int error = config_build(sources, &complaints->report, &config);
    assert_string_equal(complaints->bytes, "");
    assert_int_equal(error, 0);
    assert_non_null(config);
    free(complaints);
    return config;
}

struct config *built_from_file(const char *text)
{
    struct config_sources sources = with_file(text);
    return built(&sources);
}

struct config *built_from_environment(const char *const *environment)
{
    struct config_sources sources = with_environment(environment);
    return built(&sources);
}

struct config *built_from_upstream(const char *url)
{
    struct config_sources sources = {.upstream = &url, .upstream_count = 1};
    return built(&sources);
}

void assert_refused(const struct config_sources *sources, const char *expected)
{
    struct text *complaints = text_open();
    struct config *untouched = (struct config *)(void *)complaints, *config = untouched;
    int error = config_build(sources, &complaints->report, &config);
    assert_string_equal(complaints->bytes, expected);
    assert_int_equal(error, ERROR_INVALID);
    assert_ptr_equal(config, untouched);
    free(complaints);
}

void assert_file_refused_bytes(struct span text, const char *expected)
{
    struct config_sources sources = {.file = "t.yaml", .text = text, .file_read = true};
    assert_refused(&sources, expected);
}

void assert_file_refused(const char *text, const char *expected)
{
    assert_file_refused_bytes(span_text(text), expected);
}

void assert_environment_refused(const char *const *environment, const char *expected)
{
    struct config_sources sources = with_environment(environment);
    assert_refused(&sources, expected);
}

void assert_upstream_refused(const char *url, const char *reason)
{
    char expected[512];
    snprintf(expected, sizeof expected, "command line: --upstream: \"%s\": %s\n", url, reason);
    struct config_sources sources = {.upstream = &url, .upstream_count = 1};
    assert_refused(&sources, expected);
}

void assert_listens(const struct config *config, size_t index, const char *expected, bool udp, bool tcp)
{
    char text[ADDRESS_TEXT_SIZE];
    assert_true(index < config->listen_count);
    address_format(&config->listen[index].address, true, text);
    assert_string_equal(text, expected);
    assert_int_equal(config->listen[index].udp, udp);
    assert_int_equal(config->listen[index].tcp, tcp);
}

void assert_upstream(const struct config *config, size_t index, const char *label, const char *name)
{
    assert_true(index < config->upstream_count);
    assert_string_equal(config->upstreams[index].label, label);
    if (name == NULL) {
        assert_null(config->upstreams[index].name);
    } else {
        assert_non_null(config->upstreams[index].name);
        assert_string_equal(config->upstreams[index].name, name);
    }
}
