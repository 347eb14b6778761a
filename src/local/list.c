/*
 * Files of names: hosts files (hosts(5)) and block lists. Called once for each file at the start; a line that
 * makes no sense is told with its number and refuses the file, and the other lines are read all the same.
 */
#include "base/error.h"

#include "local/internal.h"

static const char no_host[] = "is no host name (letters, digits, - and _; 1 to 63 in a label, 255 in all)";

/* What hosts files and lists say of the machine itself; no list means to block it. */
static const char *const own_names[] = {
    "localhost",      "localhost.localdomain", "local",           "broadcasthost",
    "ip6-localhost",  "ip6-loopback",          "ip6-localnet",    "ip6-allnodes",
    "ip6-allrouters", "ip6-allhosts",          "ip6-mcastprefix", "0.0.0.0",
};

/* A file on its way, line by line. */
struct file {
    struct local_plan *plan;
    struct local_place place;
    int error; /* what the file as a whole comes to */
};

static int complain(struct file *file, struct span word, const char *reason)
{
    return local_complain(file->plan, &file->place, word, reason);
}

/* What stands before a comment. In block lists the mark must stand at the start of a word: behind a name it
 * is something else. */
static struct span without_comment(struct span line, bool anywhere)
{
    for (size_t i = 0; i < line.size; i++) {
        bool begins = i == 0 || line.data[i - 1] == ' ' || line.data[i - 1] == '\t';
        if (line.data[i] == '#' && (anywhere || begins)) {
            return span_of(line.data, i);
        }
    }
    return line;
}

static int read_lines(struct file *file, struct span text, int (*read)(struct file *, struct span))
{
    struct local_lines lines = local_lines_of(text);
    struct span line;
    while (local_lines_next(&lines, &line)) {
        file->place.line = lines.number;
        int error = read(file, line);
        if (error != 0 && error != ERROR_INVALID) {
            return error;
        }
        file->error = error != 0 ? error : file->error;
    }
    return file->error;
}

/* ---- hosts files ---- */

static int add_address(struct file *file, const struct local_name *name, const uint8_t *address, size_t size)
{
    struct local_record record = {.name = *name, .ttl = LOCAL_RECORD_TTL, .size = size};
    record.line = file->place.line;
    record.type = size == 4 ? DNS_TYPE_A : DNS_TYPE_AAAA;
    memcpy(record.data, address, size);
    return local_plan_add_record(file->plan, LOCAL_RAW_RECORD, &record);
}

static int add_pointer(struct file *file, const struct local_name *name, const uint8_t *address, size_t size)
{
    struct local_record record = {.type = LOCAL_TYPE_PTR, .ttl = LOCAL_RECORD_TTL, .size = name->size};
    record.line = file->place.line;
    local_name_reverse(address, size, &record.name);
    memcpy(record.data, name->bytes, name->size);
    return local_plan_add_record(file->plan, LOCAL_RAW_FIRST, &record);
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* "fe80::1%lo0" is an address of this machine alone. */
static bool is_scoped(struct span word)
{
    uint8_t address[16];
    const uint8_t *mark = memchr(word.data, '%', word.size);
    return mark != NULL && local_address_of(span_of(word.data, (size_t)(mark - word.data)), address) == 16;
}

static int read_hosts_line(struct file *file, struct span line)
{
    struct span word, left = without_comment(line, true);
    uint8_t address[16];
    if (!local_word_next(&left, &word) || is_scoped(word)) {
        return 0;
    }
    size_t size = local_address_of(word, address);
    if (size == 0) {
        return complain(file, word, "is no address");
    }
    struct span before = word;
    bool is_first = true;
    while (local_word_next(&left, &word)) {
        struct local_name name;
        if (!local_name_of_host(word, &name)) {
            return complain(file, word, no_host);
        }
        int error = add_address(file, &name, address, size);
        if (error == 0 && is_first && !is_zero(address, size)) {
            error = add_pointer(file, &name, address, size);
        }
        if (error != 0) {
            return error;
        }
        is_first = false;
    }
    return is_first ? complain(file, before, "an address without a name") : 0;
}

int local_plan_hosts(struct local_plan *plan, const char *path, struct span text)
{
    struct file file = {.plan = plan, .place.path = path};
    int error = local_plan_source(plan, path);
    return error != 0 ? error : read_lines(&file, text, read_hosts_line);
}

/* ---- block lists ---- */

static bool is_own_name(struct span word)
{
    for (size_t i = 0; i < sizeof own_names / sizeof own_names[0]; i++) {
        if (local_word_is(word, own_names[i])) {
            return true;
        }
    }
    return false;
}

/* The addresses at which lists let names end: nobody's, and the machine's own. */
static bool is_sink(const uint8_t *address, size_t size)
{
    static const uint8_t ipv4[] = {127, 0, 0, 1}, ipv6[16] = {[15] = 1};
    return is_zero(address, size) || memcmp(address, size == sizeof ipv4 ? ipv4 : ipv6, size) == 0;
}

/* Names behind an address, each of which is blocked alone. */
static int read_block_names(struct file *file, struct span left, bool is_sunk)
{
    struct span word;
    while (local_word_next(&left, &word)) {
        struct local_name name;
        if (is_own_name(word)) {
            continue;
        }
        if (!is_sunk) {
            return complain(
                file, word,
                "a block list gives names no address but 0.0.0.0, ::, 127.0.0.1 and ::1 (names with "
                "addresses of their own belong into local.hosts)");
        }
        if (!local_name_of_host(word, &name)) {
            return complain(file, word, no_host);
        }
        int error = local_plan_add(&file->plan->blocks, LOCAL_HERE, &name);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

static int read_block_line(struct file *file, struct span line)
{
    struct span word, more, left = without_comment(line, false);
    uint8_t address[16];
    struct local_name name;
    if (!local_word_next(&left, &word)) {
        return 0;
    }
    size_t size = local_address_of(word, address);
    struct span behind = left;
    if (size > 0 || is_scoped(word)) {
        return local_word_next(&behind, &more)
                   ? read_block_names(file, left, size > 0 && is_sink(address, size))
                   : complain(file, word, "an address without a name");
    }
    if (!local_name_of_host(word, &name) || local_word_next(&behind, &more)) {
        return complain(
            file, span_of(word.data, (size_t)(line.data + line.size - word.data)),
            "is neither a domain nor an address with names (other syntax, such as that of adblock, "
            "dnsmasq or zone files, is not understood: take the list as domains or as hosts)");
    }
    return local_plan_add(&file->plan->blocks, LOCAL_KINDS, &name);
}

int local_plan_block(struct local_plan *plan, const char *path, struct span text)
{
    struct file file = {.plan = plan, .place.path = path};
    return read_lines(&file, text, read_block_line);
}
