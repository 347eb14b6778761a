/* A service manager, as the monitor meets it: what it gives, what it is told, and the signs of life for it.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "net/net.h"

#include "monitor/internal.h"

#include "monitor_test.h"

/* In a child, which tells the line that is wrong. */
#define CHECK(what)                    \
    do {                               \
        if (!(what)) {                 \
            return __LINE__ % 255 + 1; \
        }                              \
    } while (0)

enum { ENVIRONMENT_MAX = 8, TEXT_SIZE = 160 };

static char own_pid[TEXT_SIZE], own_watchdog[TEXT_SIZE];

/* "LISTEN_PID=" and "WATCHDOG_PID=" of this process. */
static void name_process(void)
{
    snprintf(own_pid, sizeof own_pid, "LISTEN_PID=%d", (int)getpid());
    snprintf(own_watchdog, sizeof own_watchdog, "WATCHDOG_PID=%d", (int)getpid());
}

static int read_service(struct service **out, char *const *environment)
{
    capture_begin();
    int error = service_read(environment, out);
    capture_end();
    return error;
}

#define ENVIRONMENT(...) ((char *const[]){"PATH=/bin", __VA_ARGS__, NULL})

/* ---- what it gives ---- */

void without_a_manager_nothing_is_read_or_told(void **state)
{
    (void)state;
    struct service *service;
    char *const nothing[] = {NULL};
    assert_int_equal(read_service(&service, nothing), 0);
    assert_int_equal(service->notify, -1);
    assert_int_equal(service->passed_count, 0);
    assert_int_equal(service->watchdog, 0);
    service_watchdog(service);
    service_stopping(service, CLOCK_SECOND);
    assert_false(service_is_told(service));
    assert_int_equal(service_take(service, "cache"), -1);
    service_close(service);
    service_stopping(NULL, CLOCK_SECOND);
    service_close(NULL);
    assert_int_equal(service_take(NULL, "cache"), -1);
    /* What another process was given is not ours; and without a process it is nobody's. */
    assert_int_equal(read_service(&service, ENVIRONMENT("LISTEN_PID=1", "LISTEN_FDS=2", "WATCHDOG_PID=1",
                                                        "WATCHDOG_USEC=1000000", "NOTIFY_SOCKET=")),
                     0);
    assert_int_equal(service->passed_count, 0);
    assert_int_equal(service->watchdog, 0);
    service_close(service);
    assert_int_equal(read_service(&service, ENVIRONMENT("LISTEN_FDS=2")), 0);
    assert_int_equal(service->passed_count, 0);
    service_close(service);
}

static int bound(int type, const char *at)
{
    struct address address;
    struct sockaddr_storage name;
    if (address_parse(span_text(at), 0, &address) != 0) {
        return -1;
    }
    int made = socket(address.family, type, 0);
    socklen_t size = address_to_kernel(&address, &name);
    return bind(made, (struct sockaddr *)&name, size) == 0 ? made : -1;
}

/* The descriptors 3 and 4, as whoever starts a program leaves them. */
static bool pass(int first, int second)
{
    int above = fcntl(second, F_DUPFD, 10);
    return dup2(first, 3) == 3 && dup2(above, 4) == 4 && fcntl(3, F_SETFD, 0) == 0;
}

static int read_passed(void)
{
    struct service *service;
    name_process();
    CHECK(pass(bound(SOCK_DGRAM, "127.0.0.1:0"), bound(SOCK_DGRAM, "127.0.0.1:0")));
    CHECK(service_read(ENVIRONMENT(own_pid, "LISTEN_FDS=2", "LISTEN_FDNAMES=dns.socket:dnseal-stored-cache",
                                   own_watchdog, "WATCHDOG_USEC=3000000"),
                       &service) == 0);
    CHECK(service->passed_count == 2 && service->watchdog == 3 * CLOCK_SECOND);
    CHECK(fcntl(3, F_GETFD) == FD_CLOEXEC && fcntl(4, F_GETFD) == FD_CLOEXEC);
    CHECK(span_equal(service->passed[0].name, span_text("dns.socket")));
    CHECK(!service->passed[0].stored && service->passed[1].stored);
    CHECK(activation_open(service) == 0);
    CHECK(service->passed[0].udp && service->passed[0].address.port != 0);
    service_close(service);
    CHECK(fcntl(3, F_GETFD) < 0 && fcntl(4, F_GETFD) < 0);
    return 0;
}

static int read_without_names(void)
{
    struct service *service;
    name_process();
    CHECK(pass(bound(SOCK_DGRAM, "127.0.0.1:0"), bound(SOCK_DGRAM, "127.0.0.1:0")));
    CHECK(service_read(ENVIRONMENT(own_pid, "LISTEN_FDS=2", "WATCHDOG_USEC=1"), &service) == 0);
    CHECK(service->watchdog == CLOCK_MICROSECOND);
    CHECK(span_equal(service->passed[1].name, span_text("unknown")));
    return 0;
}

/* Shows: P06 */
void what_a_manager_gives_is_read(void **state)
{
    (void)state;
    assert_int_equal(run_child(read_passed), 0);
    assert_int_equal(run_child(read_without_names), 0);
}

static int read_too_few(void)
{
    struct service *service;
    name_process();
    CHECK(pass(bound(SOCK_DGRAM, "127.0.0.1:0"), bound(SOCK_DGRAM, "127.0.0.1:0")));
    close(4);
    CHECK(service_read(ENVIRONMENT(own_pid, "LISTEN_FDS=2"), &service) == ERROR_INVALID);
    return 0;
}

static int read_wrong_names(void)
{
    struct service *service;
    static const char *const wrong[] = {"LISTEN_FDNAMES=a", "LISTEN_FDNAMES=a:b:c", "LISTEN_FDNAMES="};
    name_process();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK(pass(bound(SOCK_DGRAM, "127.0.0.1:0"), bound(SOCK_DGRAM, "127.0.0.1:0")));
        CHECK(service_read(ENVIRONMENT(own_pid, "LISTEN_FDS=2", (char *)(uintptr_t)wrong[i]), &service) ==
              ERROR_INVALID);
        service_close(service);
    }
    return 0;
}

void what_no_manager_would_give_is_refused(void **state)
{
    (void)state;
    name_process();
    static const struct {
        const char *setting, *word;
    } wrong[] = {
        {"LISTEN_FDS=", "LISTEN_FDS"},
        {"LISTEN_FDS=0", "LISTEN_FDS"},
        {"LISTEN_FDS=-1", "LISTEN_FDS"},
        {"LISTEN_FDS=2x", "LISTEN_FDS"},
        {"LISTEN_FDS= 2", "LISTEN_FDS"},
        {"LISTEN_FDS=70000", "LISTEN_FDS"},
        {"WATCHDOG_USEC=0", "WATCHDOG_USEC"},
        {"WATCHDOG_USEC=soon", "WATCHDOG_USEC"},
        {"WATCHDOG_USEC=99999999999999999999999", "WATCHDOG_USEC"},
        {"WATCHDOG_PID=me", "WATCHDOG_PID"},
        {"NOTIFY_SOCKET=run/notify", "NOTIFY_SOCKET: run/notify: not a valid value"},
        {"NOTIFY_SOCKET=/no/such/manager", "NOTIFY_SOCKET: /no/such/manager: no such file"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct service *service;
        char setting[TEXT_SIZE];
        snprintf(setting, sizeof setting, "%s", wrong[i].setting);
        assert_int_equal(read_service(&service, ENVIRONMENT(own_pid, setting)), ERROR_INVALID);
        assert_non_null(strstr(printed, wrong[i].word));
        assert_non_null(strstr(printed, "without this variable"));
        service_close(service);
    }
    struct service *service;
    assert_int_equal(read_service(&service, ENVIRONMENT("LISTEN_PID=we", "LISTEN_FDS=1")), ERROR_INVALID);
    service_close(service);
    assert_int_equal(run_child(read_too_few), 0);
    assert_int_equal(run_child(read_wrong_names), 0);
}

/* ---- what it is told ---- */

/* A manager, and the program's side of it. */
struct manager {
    int socket;
    char variable[TEXT_SIZE];
    struct service *service;
};

static void raise_manager(struct manager *manager, char *watchdog)
{
    snprintf(manager->variable, sizeof manager->variable, "NOTIFY_SOCKET=@dnseal-test-%d", (int)getpid());
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const char *text = strchr(manager->variable, '@');
    size_t size = strlen(text);
    memcpy(name.sun_path, text, size);
    name.sun_path[0] = '\0';
    manager->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(manager->socket, (struct sockaddr *)&name,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)),
                     0);
    assert_int_equal(read_service(&manager->service, ENVIRONMENT(manager->variable, watchdog)), 0);
}

static void raze_manager(struct manager *manager)
{
    service_close(manager->service);
    close(manager->socket);
}

/* The next words, "" where there are none; and whether a descriptor came along. */
static const char *heard(struct manager *manager, bool *passed)
{
    static char words[1024];
    union {
        struct cmsghdr head;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = words, .iov_len = sizeof words - 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(manager->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    words[size > 0 ? size : 0] = '\0';
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (passed != NULL) {
        *passed = size > 0 && head != NULL;
    }
    if (size > 0 && head != NULL) {
        int descriptor;
        memcpy(&descriptor, CMSG_DATA(head), sizeof descriptor);
        close(descriptor);
    }
    return words;
}

/* Shows: P06 */
void a_manager_is_told(void **state)
{
    (void)state;
    struct manager manager;
    struct config config = {.listen_count = 2};
    bool passed;
    raise_manager(&manager, "WATCHDOG_USEC=1000000");
    struct plan plan = {.config = &config, .workers = 1, .upstreams_used = 3};
    struct boot boot = {.service = manager.service, .plan = &plan};
    service_ready(&boot);
    assert_string_equal(heard(&manager, NULL), "READY=1\nSTATUS=serving: 1 worker, 2 listeners, 3 upstreams");
    service_status(manager.service, "so %d", 7);
    assert_string_equal(heard(&manager, NULL), "STATUS=so 7");
    uint64_t before = clock_monotonic() / CLOCK_MICROSECOND;
    service_reloading(manager.service);
    uintmax_t moment = 0;
    assert_int_equal(sscanf(heard(&manager, NULL), "RELOADING=1\nMONOTONIC_USEC=%ju\nSTATUS=", &moment), 1);
    assert_in_range(moment, before, clock_monotonic() / CLOCK_MICROSECOND);
    service_watchdog(manager.service);
    assert_string_equal(heard(&manager, NULL), "WATCHDOG=1");
    assert_int_equal(service_store(manager.service, "cache", &manager.socket, 1), 0);
    assert_string_equal(heard(&manager, &passed), "FDSTORE=1\nFDPOLL=0\nFDNAME=dnseal-stored-cache");
    assert_true(passed);
    assert_int_equal(service_forget(manager.service, "cache"), 0);
    assert_string_equal(heard(&manager, &passed), "FDSTOREREMOVE=1\nFDNAME=dnseal-stored-cache");
    assert_false(passed);
    service_stopping(manager.service, 20 * CLOCK_SECOND);
    assert_string_equal(heard(&manager, NULL),
                        "STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000\nSTATUS=finishing what waits");
    raze_manager(&manager);
    raise_manager(&manager, "LANG=C"); /* without a watchdog it is not fed */
    service_watchdog(manager.service);
    assert_string_equal(heard(&manager, NULL), "");
    raze_manager(&manager);
}

void a_manager_without_room_is_waited_for_shortly(void **state)
{
    (void)state;
    struct manager manager;
    raise_manager(&manager, "WATCHDOG_USEC=1000000");
    for (unsigned i = 0; i < 100000; i++) {
        service_watchdog(manager.service);
    }
    uint64_t before = clock_monotonic();
    service_stopping(manager.service, 20 * CLOCK_SECOND);
    assert_in_range(clock_monotonic() - before, 90 * CLOCK_MILLISECOND, 20 * CLOCK_SECOND);
    assert_int_equal(service_store(manager.service, "cache", &manager.socket, 1), ERROR_AGAIN);
    assert_int_equal(service_forget(manager.service, "cache"), ERROR_AGAIN);
    while (heard(&manager, NULL)[0] != '\0') {}
    raze_manager(&manager);
}

/* ---- descriptors ---- */

void what_was_stored_comes_back(void **state)
{
    (void)state;
    struct service_passed passed[] = {
        {.descriptor = 70, .name = span_text("cache")},
        {.descriptor = 71, .name = span_text("dnseal-stored-cache"), .stored = true},
        {.descriptor = 72, .name = span_text("dnseal-stored-udp"), .stored = true},
        {.descriptor = 73, .name = span_text("dnseal-stored-udp"), .stored = true}};
    struct service service = {.notify = -1, .passed = passed, .passed_count = 4};
    assert_int_equal(service_take(&service, "udp"), 72);
    assert_int_equal(service_take(&service, "udp"), 73);
    assert_int_equal(service_take(&service, "udp"), -1);
    assert_int_equal(service_take(&service, "cache"), 71);
    assert_int_equal(service_take(&service, "cache"), -1);
}

static int open_activation(int descriptor)
{
    struct service_passed passed = {.descriptor = descriptor, .name = span_text("dns.socket")};
    struct service service = {.passed = &passed, .passed_count = 1};
    capture_begin();
    int error = activation_open(&service);
    capture_end();
    close(descriptor);
    return error;
}

void sockets_that_cannot_be_served_are_refused(void **state)
{
    (void)state;
    assert_int_equal(open_activation(bound(SOCK_DGRAM, "127.0.0.1:0")), 0);
    assert_int_equal(open_activation(bound(SOCK_STREAM, "127.0.0.1:0")), ERROR_INVALID);
    assert_non_null(strstr(printed, "(dns.socket) is neither a bound UDP socket nor a listening TCP socket"));
    assert_int_equal(open_activation(open("/dev/null", O_RDONLY)), ERROR_INVALID);
    assert_int_equal(open_activation(bound(SOCK_DGRAM, "[::]:0")), ERROR_INVALID);
    assert_non_null(strstr(printed, "BindIPv6Only=ipv6-only"));
    assert_int_equal(activation_open(NULL), 0);
}

static struct address address_of(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(span_text(text), 0, &address), 0);
    return address;
}

/* Two sockets for one address, one of TCP, one of another address, and one that was stored. */
static struct service *passed_service(void)
{
    static struct service_passed passed[5];
    static struct service service = {.notify = -1, .passed = passed, .passed_count = 5};
    passed[0] = (struct service_passed){.descriptor = 80, .udp = true, .address = address_of("127.0.0.1:53")};
    passed[1] =
        (struct service_passed){.descriptor = 81, .udp = false, .address = address_of("127.0.0.1:53")};
    passed[2] = (struct service_passed){.descriptor = 82, .udp = true, .address = address_of("127.0.0.1:53")};
    passed[3] = (struct service_passed){.descriptor = 83, .stored = true};
    passed[4] = (struct service_passed){.descriptor = 84, .udp = true, .address = address_of("127.0.0.2:53")};
    for (size_t i = 0; i < service.passed_count; i++) {
        passed[i].name = span_text("dns.socket");
    }
    return &service;
}

void passed_sockets_are_found_by_address(void **state)
{
    (void)state;
    struct service *service = passed_service();
    struct address first = address_of("127.0.0.1:53"), second = address_of("127.0.0.2:53"), none = {0};
    assert_int_equal(activation_count(service, &first, true), 2);
    assert_int_equal(activation_find(service, &first, true, 0), 80);
    assert_int_equal(activation_find(service, &first, true, 1), 82);
    assert_int_equal(activation_find(service, &first, true, 2), -1);
    assert_int_equal(activation_find(service, &first, false, 0), 81);
    assert_int_equal(activation_count(service, &second, false), 0);
    assert_int_equal(activation_count(service, &none, false), 0); /* not the one that was stored */
    assert_int_equal(activation_count(NULL, &first, true), 0);
    assert_true(activation_has(service, 84));
    assert_false(activation_has(service, 85));
    struct config_listen listen[CONFIG_LISTEN_MAX];
    assert_int_equal(activation_listeners(service, listen), 2);
    assert_true(address_equal(&listen[0].address, &first) && listen[0].udp && listen[0].tcp);
    assert_true(address_equal(&listen[1].address, &second) && listen[1].udp && !listen[1].tcp);
    assert_int_equal(activation_listeners(NULL, listen), 0);
}

/* Whatever their numbers are, no worker is idle and no socket is left alone; and none has two where all can
 * have one.
 */
void passed_sockets_are_shared_out(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 6; workers++) {
        for (size_t count = 1; count <= 6; count++) {
            unsigned of_worker[6] = {0}, of_socket[6] = {0};
            for (unsigned i = 0; i < workers * count; i++) {
                bool serves = activation_is_for_worker(i % count, count, i / (unsigned)count, workers);
                of_socket[i % count] += serves;
                of_worker[i / count] += serves;
            }
            for (size_t i = 0; i < count; i++) {
                assert_in_range(of_socket[i], 1, count >= workers ? 1 : workers);
            }
            for (unsigned i = 0; i < workers; i++) {
                assert_in_range(of_worker[i], 1, count <= workers ? 1 : count);
            }
        }
    }
}

static int check_passed(struct config_listen *listen, size_t count)
{
    struct config config = {.listen = listen, .listen_count = count};
    capture_begin();
    struct config_report report = complain_on_standard_error();
    int error = activation_check(passed_service(), &config, &report);
    capture_end();
    return error;
}

void passed_sockets_must_be_configured(void **state)
{
    (void)state;
    struct config_listen listen[] = {{.address = address_of("127.0.0.1:53"), .udp = true, .tcp = true},
                                     {.address = address_of("127.0.0.2:53"), .tcp = true},
                                     {.address = address_of("127.0.0.2:53"), .udp = true}};
    assert_int_equal(check_passed(listen, 3), 0);
    assert_int_equal(check_passed(listen, 2), ERROR_INVALID);
    assert_non_null(strstr(printed,
                           "the descriptor 84 (dns.socket) is a socket for 127.0.0.2:53 (udp), which is "
                           "not configured: add it to listen"));
    assert_null(strstr(printed, "the descriptor 83"));
    assert_null(strstr(printed, "127.0.0.1:53"));
    assert_int_equal(activation_check(NULL, NULL, NULL), 0);
}

/* ---- signs of life ---- */

/* Who waits for a pulse, with the loop that it waits in. */
struct patient {
    struct event_loop *loop;
    struct boot boot;
    struct service service;
    struct pulse_wait wait;
    unsigned asked, told;
    bool alive;
};

static void on_ask(void *owner)
{
    ((struct patient *)owner)->asked++;
}

static void on_told(struct pulse_wait *wait, bool alive)
{
    struct patient *patient = container_of(wait, struct patient, wait);
    patient->told++;
    patient->alive = alive;
}

static void open_patient(struct patient *patient, uint64_t watchdog, int notify)
{
    *patient = (struct patient){.service = {.notify = notify, .watchdog = watchdog}, .wait.told = on_told};
    list_init(&patient->wait.link);
    patient->boot.service = &patient->service;
    assert_int_equal(event_loop_open(&patient->loop), 0);
    assert_int_equal(pulse_open(&patient->boot, patient->loop, on_ask, patient), 0);
}

static void close_patient(struct patient *patient)
{
    pulse_close(patient->boot.pulse);
    event_loop_close(patient->loop);
}

void a_pulse_is_asked_for_and_told(void **state)
{
    (void)state;
    struct patient patient;
    open_patient(&patient, 0, -1);
    event_loop_turn(patient.loop, 20 * CLOCK_MILLISECOND);
    pulse_tell(patient.boot.pulse, true);
    assert_int_equal(patient.asked, 0); /* nothing beats by itself */
    pulse_ask(patient.boot.pulse, &patient.wait);
    assert_int_equal(patient.asked, 1);
    assert_int_equal(patient.told, 0);
    pulse_tell(patient.boot.pulse, true);
    pulse_tell(patient.boot.pulse, false);
    assert_int_equal(patient.told, 1);
    assert_true(patient.alive);
    pulse_ask(patient.boot.pulse, &patient.wait);
    pulse_forget(&patient.wait);
    pulse_tell(patient.boot.pulse, true);
    assert_int_equal(patient.told, 1);
    pulse_ask(patient.boot.pulse, &patient.wait);
    close_patient(&patient);
    assert_int_equal(patient.told, 2);
    assert_false(patient.alive);
}

void a_pulse_that_does_not_come_is_told(void **state)
{
    (void)state;
    struct patient patient;
    open_patient(&patient, 0, -1);
    uint64_t before = clock_monotonic();
    pulse_ask(patient.boot.pulse, &patient.wait);
    while (patient.told == 0) {
        event_loop_turn(patient.loop, UINT64_MAX);
    }
    assert_false(patient.alive);
    assert_in_range(clock_monotonic() - before, CLOCK_SECOND, 10 * CLOCK_SECOND);
    pulse_tell(patient.boot.pulse, true); /* too late */
    assert_int_equal(patient.told, 1);
    close_patient(&patient);
}

/* Asked for twice as often as the watchdog bites, and fed only by what comes back.
 * Shows: P06 */
void a_watchdog_is_fed_by_pulses(void **state)
{
    (void)state;
    struct manager manager;
    struct patient patient;
    raise_manager(&manager, "LANG=C");
    open_patient(&patient, 100 * CLOCK_MILLISECOND, manager.service->notify);
    uint64_t before = clock_monotonic();
    while (patient.asked < 4) {
        event_loop_turn(patient.loop, UINT64_MAX);
    }
    assert_in_range(clock_monotonic() - before, 200 * CLOCK_MILLISECOND, 10 * CLOCK_SECOND);
    assert_string_equal(heard(&manager, NULL), "");
    pulse_tell(patient.boot.pulse, false);
    assert_string_equal(heard(&manager, NULL), "");
    pulse_tell(patient.boot.pulse, true);
    assert_string_equal(heard(&manager, NULL), "WATCHDOG=1");
    close_patient(&patient);
    raze_manager(&manager);
}
