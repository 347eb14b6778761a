/*
 * The two lists of system calls: see calls.h. A thread that serves makes few, and those that are made for
 * each query stand without conditions, which the kernel decides without running the filter. Called by
 * filter.c, which makes filters of them, by trap.c for the names, and by the writer of docs/sandbox.md.
 */
#include "engine/calls.h"

#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum {
    ENGINE = CALLS_WORKER | CALLS_LOG | CALLS_MAIN,
    ASKING = CALLS_WORKER | CALLS_DIAL,
    EVERYBODY = ENGINE | CALLS_DIAL,
};

/* Types of sockets end where their flags begin. */
#define SOCKET_TYPE UINT64_C(0xf)

#define IS(number, wanted)                       \
    {                                            \
        (number), UINT32_MAX, (uint32_t)(wanted) \
    }
#define HAS(number, bits)        \
    {                            \
        (number), (bits), (bits) \
    }
#define LACKS(number, bits) \
    {                       \
        (number), (bits), 0 \
    }
#define ANONYMOUS(number)                                   \
    {                                                       \
        (number), MAP_ANONYMOUS | MAP_SHARED, MAP_ANONYMOUS \
    }
#define OWN_PROCESS(number)                     \
    {                                           \
        (number), UINT32_MAX, CALLS_OWN_PROCESS \
    }
#define OPTION(level, option) IS(1, level), IS(2, option)
#define QUIET(type)           ((type) | SOCK_NONBLOCK | SOCK_CLOEXEC)

#define CALL(name, threads, what)  \
    {                              \
        name, threads, NULL, what, \
        {                          \
            {                      \
                0                  \
            }                      \
        }                          \
    }
#define CALL_WHEN(name, threads, when, what, ...) \
    {                                             \
        name, threads, when, what,                \
        {                                         \
            __VA_ARGS__                           \
        }                                         \
    }
#define TRAP(name, what)     \
    {                        \
        name, 0, NULL, what, \
        {                    \
            {                \
                0            \
            }                \
        }                    \
    }
#define TRAP_WHEN(name, when, what, ...) \
    {                                    \
        name, 0, when, what,             \
        {                                \
            __VA_ARGS__                  \
        }                                \
    }

/* By what they are for. */
static const struct calls_rule allowed[] = {
    CALL("epoll_wait", EVERYBODY, "the loop sleeps"),
    CALL("epoll_pwait", EVERYBODY, "the same, where there is no other"),
    CALL("epoll_ctl", EVERYBODY, "sockets come and go"),
    CALL("epoll_create1", CALLS_DIAL, "opens its loop"),
    CALL("eventfd2", CALLS_DIAL, "opens its loop"),
    CALL("read", EVERYBODY, "the bell between threads; bytes of TLS"),
    CALL("write", EVERYBODY, "the bell between threads; bytes of TLS; lines"),
    CALL("clock_gettime", EVERYBODY, "where the clock cannot be read without a call"),
    CALL("clock_nanosleep", CALLS_MAIN, "waits for the log's thread to end"),

    CALL("recvmmsg", CALLS_WORKER, "queries over UDP"),
    CALL("sendmmsg", CALLS_WORKER | CALLS_MAIN, "answers over UDP, the last of them when a worker is closed"),
    CALL("accept4", CALLS_WORKER, "clients over TCP"),
    CALL("recvfrom", ASKING, "bytes of a stream; news of the network"),
    CALL("recvmsg", ASKING | CALLS_MAIN, "answers over UDP; letters of the monitor"),
    CALL("sendmsg", EVERYBODY, "bytes of a stream; queries over UDP; letters to the monitor"),
    CALL("close", EVERYBODY, "connections, old log files"),
    CALL("dup3", CALLS_MAIN, "connections of clients go to a newer engine"),

    CALL_WHEN("socket", ASKING, "IPv4, a stream", "connections to servers", IS(0, AF_INET),
              IS(1, QUIET(SOCK_STREAM)), IS(2, 0)),
    CALL_WHEN("socket", ASKING, "IPv6, a stream", "connections to servers", IS(0, AF_INET6),
              IS(1, QUIET(SOCK_STREAM)), IS(2, 0)),
    CALL_WHEN("socket", ASKING, "IPv4, datagrams", "queries over UDP", IS(0, AF_INET),
              IS(1, QUIET(SOCK_DGRAM)), IS(2, 0)),
    CALL_WHEN("socket", ASKING, "IPv6, datagrams", "queries over UDP", IS(0, AF_INET6),
              IS(1, QUIET(SOCK_DGRAM)), IS(2, 0)),
    CALL("connect", ASKING, "to servers"),
    CALL("bind", ASKING, "a port drawn by chance, for a query over UDP"),
    CALL_WHEN("setsockopt", ASKING, "IPV6_V6ONLY", "sockets to servers", OPTION(IPPROTO_IPV6, IPV6_V6ONLY)),
    CALL_WHEN("setsockopt", ASKING, "IPV6_MTU_DISCOVER", "no fragments of ours",
              OPTION(IPPROTO_IPV6, IPV6_MTU_DISCOVER)),
    CALL_WHEN("setsockopt", ASKING, "IP_MTU_DISCOVER", "no fragments of ours",
              OPTION(IPPROTO_IP, IP_MTU_DISCOVER)),
    CALL_WHEN("setsockopt", ASKING, "SO_KEEPALIVE", "connections to servers",
              OPTION(SOL_SOCKET, SO_KEEPALIVE)),
    CALL_WHEN("setsockopt", ASKING, "TCP_NODELAY", "connections", OPTION(IPPROTO_TCP, TCP_NODELAY)),
    CALL_WHEN("setsockopt", ASKING, "TCP_KEEPIDLE", "connections to servers",
              OPTION(IPPROTO_TCP, TCP_KEEPIDLE)),
    CALL_WHEN("setsockopt", ASKING, "TCP_KEEPINTVL", "connections to servers",
              OPTION(IPPROTO_TCP, TCP_KEEPINTVL)),
    CALL_WHEN("setsockopt", ASKING, "TCP_KEEPCNT", "connections to servers",
              OPTION(IPPROTO_TCP, TCP_KEEPCNT)),
    CALL_WHEN("setsockopt", ASKING, "TCP_USER_TIMEOUT", "connections to servers",
              OPTION(IPPROTO_TCP, TCP_USER_TIMEOUT)),
    CALL_WHEN("getsockopt", ASKING, "SO_ERROR", "what became of a connection", OPTION(SOL_SOCKET, SO_ERROR)),
    CALL_WHEN("getsockopt", ASKING, "TCP_INFO", "whether a path is dead", OPTION(IPPROTO_TCP, TCP_INFO)),
    CALL("getsockname", CALLS_MAIN, "the line `listening`"),

    CALL_WHEN("mmap", EVERYBODY, "anonymous, of this process, not to be executed", "memory of the heap",
              LACKS(2, PROT_EXEC), ANONYMOUS(3)),
    CALL_WHEN("mprotect", EVERYBODY, "not to be executed", "the heap grows", LACKS(2, PROT_EXEC)),
    CALL("mremap", EVERYBODY, "the heap grows"),
    CALL("munmap", EVERYBODY, "memory given back"),
    CALL_WHEN("madvise", EVERYBODY, "MADV_DONTNEED", "memory given back", IS(2, MADV_DONTNEED)),
    CALL("brk", EVERYBODY, "the heap of the first thread"),
    CALL("futex", EVERYBODY, "locks of the C library and of OpenSSL; the end of a thread"),
    CALL("getrandom", ASKING, "ids, ports, keys"),
    CALL("getpid", EVERYBODY, "OpenSSL looks whether it was forked"),

    CALL("rt_sigprocmask", EVERYBODY, "a thread ends; `abort`"),
    CALL("gettid", EVERYBODY, "`abort`"),
    CALL_WHEN("tgkill", EVERYBODY, "itself, SIGABRT", "`abort`", OWN_PROCESS(0), IS(2, SIGABRT)),
    CALL("writev", EVERYBODY, "the last words of the C library"),
    CALL("restart_syscall", EVERYBODY, "a wait goes on after SIGSTOP and SIGCONT"),
    CALL("exit", EVERYBODY, "a thread ends"),
    CALL("exit_group", EVERYBODY, "the process ends"),

    /* Machines of 32 bits have other names for some of these. */
    CALL_WHEN("mmap2", EVERYBODY, "anonymous, of this process, not to be executed", "as mmap",
              LACKS(2, PROT_EXEC), ANONYMOUS(3)),
    CALL("recv", ASKING, "as recvfrom"),
    CALL("recvmmsg_time64", CALLS_WORKER, "as recvmmsg"),
    CALL("futex_time64", EVERYBODY, "as futex"),
    CALL("clock_gettime64", EVERYBODY, "as clock_gettime"),
    CALL("clock_nanosleep_time64", CALLS_MAIN, "as clock_nanosleep"),
};

/* No part of this program, of the C library or of OpenSSL makes one of these while it serves. */
static const struct calls_rule trapped[] = {
    TRAP("execve", "another program"),
    TRAP("execveat", "another program"),
    TRAP("fork", "another process"),
    TRAP("vfork", "another process"),
    TRAP("clone", "another process or thread"),
    TRAP("clone3", "another process or thread"),
    TRAP_WHEN("mmap", "to be executed", "code of its own", HAS(2, PROT_EXEC)),
    TRAP_WHEN("mprotect", "to be executed", "code of its own", HAS(2, PROT_EXEC)),
    TRAP_WHEN("mmap2", "to be executed", "code of its own", HAS(2, PROT_EXEC)),
    TRAP("pkey_mprotect", "code of its own"),

    TRAP_WHEN("open", "for writing", "a file", {1, O_ACCMODE, O_WRONLY}),
    TRAP_WHEN("open", "for reading and writing", "a file", {1, O_ACCMODE, O_RDWR}),
    TRAP_WHEN("openat", "for writing", "a file", {2, O_ACCMODE, O_WRONLY}),
    TRAP_WHEN("openat", "for reading and writing", "a file", {2, O_ACCMODE, O_RDWR}),
    TRAP("openat2", "a file"),
    TRAP("creat", "a file"),
    TRAP("name_to_handle_at", "a file around the root"),
    TRAP("open_by_handle_at", "a file around the root"),

    TRAP_WHEN("socket", "AF_UNIX", "services of this machine", IS(0, AF_UNIX)),
    TRAP_WHEN("socket", "AF_NETLINK", "the kernel's settings", IS(0, AF_NETLINK)),
    TRAP_WHEN("socket", "AF_PACKET", "other people's packets", IS(0, AF_PACKET)),
    TRAP_WHEN("socket", "AF_VSOCK", "the host of this machine", IS(0, AF_VSOCK)),
    TRAP_WHEN("socket", "AF_ALG", "rarely used code of the kernel", IS(0, AF_ALG)),
    TRAP_WHEN("socket", "IPv4, SOCK_RAW", "forged packets", IS(0, AF_INET), {1, SOCKET_TYPE, SOCK_RAW}),
    TRAP_WHEN("socket", "IPv6, SOCK_RAW", "forged packets", IS(0, AF_INET6), {1, SOCKET_TYPE, SOCK_RAW}),
    TRAP("socketpair", "sockets beyond those"),
    TRAP("listen", "a door of its own"),

    TRAP("ptrace", "another process's memory"),
    TRAP("process_vm_readv", "another process's memory"),
    TRAP("process_vm_writev", "another process's memory"),
    TRAP("process_madvise", "another process's memory"),
    TRAP("pidfd_open", "another process"),
    TRAP("pidfd_getfd", "another process's descriptors"),
    TRAP("pidfd_send_signal", "another process"),
    TRAP("kill", "another process"),
    TRAP("tkill", "another process"),
    TRAP("rt_sigqueueinfo", "another process"),
    TRAP("rt_tgsigqueueinfo", "another process"),

    TRAP("setuid", "somebody else's rights"),
    TRAP("setgid", "somebody else's rights"),
    TRAP("setreuid", "somebody else's rights"),
    TRAP("setregid", "somebody else's rights"),
    TRAP("setresuid", "somebody else's rights"),
    TRAP("setresgid", "somebody else's rights"),
    TRAP("setfsuid", "somebody else's rights"),
    TRAP("setfsgid", "somebody else's rights"),
    TRAP("setgroups", "somebody else's rights"),
    TRAP("capset", "somebody else's rights"),
    TRAP("keyctl", "the kernel's keys"),
    TRAP("add_key", "the kernel's keys"),
    TRAP("request_key", "the kernel's keys"),

    TRAP("unshare", "another view of the machine"),
    TRAP("setns", "another view of the machine"),
    TRAP("chroot", "another view of the machine"),
    TRAP("pivot_root", "another view of the machine"),
    TRAP("mount", "another view of the machine"),
    TRAP("umount2", "another view of the machine"),
    TRAP("move_mount", "another view of the machine"),
    TRAP("open_tree", "another view of the machine"),
    TRAP("fsopen", "another view of the machine"),
    TRAP("fsmount", "another view of the machine"),
    TRAP("mount_setattr", "another view of the machine"),

    TRAP("bpf", "code in the kernel"),
    TRAP("init_module", "code in the kernel"),
    TRAP("finit_module", "code in the kernel"),
    TRAP("delete_module", "code in the kernel"),
    TRAP("kexec_load", "another kernel"),
    TRAP("kexec_file_load", "another kernel"),
    TRAP("reboot", "the machine's end"),
    TRAP("perf_event_open", "rarely used code of the kernel"),
    TRAP("userfaultfd", "rarely used code of the kernel"),
    TRAP("io_uring_setup", "calls around this list"),
    TRAP("io_uring_enter", "calls around this list"),
    TRAP("io_uring_register", "calls around this list"),
    TRAP("iopl", "the machine's ports"),
    TRAP("ioperm", "the machine's ports"),
    TRAP("settimeofday", "the machine's clock"),
    TRAP("clock_settime", "the machine's clock"),
    TRAP("clock_adjtime", "the machine's clock"),
    TRAP("adjtimex", "the machine's clock"),
};

struct calls_list calls_allowed(void)
{
    return (struct calls_list){allowed, sizeof allowed / sizeof allowed[0]};
}

struct calls_list calls_trapped(void)
{
    return (struct calls_list){trapped, sizeof trapped / sizeof trapped[0]};
}
