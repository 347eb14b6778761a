"""Under a service manager: what it is told, its watchdog, the sockets that it passes."""
import ctypes
import os
import pathlib
import signal
import socket
import threading
import time

import pytest

import wire
from clients import Flow
from conftest import find_port
from manager import bound
from pace import taken
from program import children_of, cpu_seconds, run, scaled

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17


class Held:
    """One thread of a process, held where it is as a debugger does; all others go on."""

    def __init__(self, thread):
        self.thread, self.library = thread, ctypes.CDLL(None, use_errno=True)
        self.freed, self.held = threading.Event(), threading.Event()
        self.holder = threading.Thread(target=self.hold)

    def call(self, request):
        return self.library.ptrace(request, self.thread, None, None)

    def hold(self):
        """All of it on one thread: that is who traces."""
        if self.call(SEIZE) == 0 and self.call(INTERRUPT) == 0:
            os.waitpid(self.thread, 0x40000000)
            self.held.set()
            self.freed.wait()
            self.call(DETACH)

    def __enter__(self):
        self.holder.start()
        assert self.held.wait(scaled(5)), "the thread cannot be held"
        return self

    def __exit__(self, *_):
        self.freed.set()
        self.holder.join()


def further_threads(program):
    """All threads of the engine but the main one: workers, and who writes the log."""
    engine, = program.engines()
    return sorted(int(entry) for entry in os.listdir("/proc/%d/task" % engine) if int(entry) != engine)


def health(program):
    return run(["-c", program.file, "--healthcheck"])


# ---- what it is told

def test_ready_is_told_when_it_serves(managed, a):
    """Shows: P06, I10"""
    program = managed(a)
    assert program.words.wait("READY=1")
    assert program.query_udp("now.test").rcode == 0
    assert program.words.heard[0][1] == "READY=1"
    assert program.words.wait("STATUS=serving: ")
    program.stop()
    assert program.words.wait("STOPPING=1")
    assert program.words.count("READY=1") == 1


def test_a_stop_that_takes_long_asks_for_the_time(managed, a):
    """As TimeoutStopSec of the unit may be shorter than what the configuration wants.
    Shows: P06, pain 29"""
    program = managed(a, limits={"drain_delay": "2s", "drain_timeout": "41s"})
    program.signal(signal.SIGTERM)
    assert program.words.wait("EXTEND_TIMEOUT_USEC=")
    told = [int(word.partition("=")[2]) for _, word in program.words.heard if word.startswith("EXTEND_TIMEOUT_USEC=")]
    assert len(told) == 1 and 45e6 <= told[0] <= 90e6
    assert program.wait(8) == 0


def test_ready_is_not_told_where_it_cannot_serve(managed, a, address, port):
    """Shows: P06"""
    home = address()
    number = port(home)
    with bound(home, number, socket.SOCK_DGRAM):
        program = managed(a, ready=False, listen=["%s:%d" % (home, number)])
        assert program.wait(10) == 1
    assert program.words.heard == []


def test_a_death_is_told(managed, a):
    """Shows: P06"""
    program = managed(a)
    os.kill(program.engines()[0], signal.SIGKILL)
    assert program.words.wait("STATUS=the engine died and is started anew")
    assert program.words.wait("STATUS=serving: ", count=2)


def test_without_a_manager_nothing_is_said(managed, a):
    """Shows: P06"""
    program = managed(a, notify=False)
    assert program.query_udp("quiet.test").rcode == 0


@pytest.mark.parametrize("env, word", [
    ({"NOTIFY_SOCKET": "/no/such/manager"}, "NOTIFY_SOCKET: /no/such/manager: no such file"),
    ({"WATCHDOG_USEC": "soon"}, "WATCHDOG_USEC: \"soon\": expected a number"),
])
def test_what_no_manager_gives_is_refused(managed, a, env, word):
    """Shows: P06"""
    program = managed(a, notify=False, env=env, ready=False)
    assert program.wait(10) == 1
    assert word in program.text()


def test_a_check_has_no_part_in_it(write_config, a):
    """ExecStartPre runs with the same environment."""
    file, _, _ = write_config(a)
    done = run(["-c", str(file), "--check"], env={"NOTIFY_SOCKET": "/no/such/manager", "WATCHDOG_USEC": "soon"})
    assert done.returncode == 0, done.stderr


# ---- the watchdog

def test_watchdog_is_fed(managed, a):
    """Shows: P06"""
    program = managed(a, watchdog=0.4, workers=2)
    assert program.words.wait("WATCHDOG=1", count=6)
    times = program.words.times("WATCHDOG=1")
    assert max(taken(earlier, later) for earlier, later in zip(times, times[1:])) < scaled(0.4)


def test_without_a_watchdog_nothing_beats(managed, a):
    """Shows: P06"""
    program = managed(a, workers=2)
    time.sleep(1)
    before = sum(cpu_seconds(pid) for pid in [program.process.pid, *program.engines()])
    time.sleep(2)
    assert program.words.count("WATCHDOG=1") == 0
    assert sum(cpu_seconds(pid) for pid in [program.process.pid, *program.engines()]) - before <= 0.05


def test_a_worker_that_hangs_starves_the_watchdog(managed, a):
    """One of two workers stands still: the other one goes on, and so do the main threads of both processes. Of all
    threads that may stand still, two are workers.
    Shows: P06"""
    program = managed(a, watchdog=0.4, workers=2)
    assert program.words.wait("WATCHDOG=1")
    starving = 0
    for thread in further_threads(program):
        with Held(thread):
            time.sleep(scaled(0.3))
            before = program.words.count("WATCHDOG=1")
            time.sleep(scaled(1))
            is_fed = program.words.count("WATCHDOG=1") > before
            asked = health(program)
            assert is_fed == (asked.returncode == 0) == ("the engine does not answer" not in asked.stderr)
            starving += not is_fed
        assert program.words.wait("WATCHDOG=1", count=before + 2)
    assert starving == 2
    assert health(program).returncode == 0


def test_an_engine_that_hangs_is_not_healthy(managed, a):
    """Shows: P06, W8"""
    program = managed(a)
    assert health(program).returncode == 0
    engine, = program.engines()
    os.kill(engine, signal.SIGSTOP)
    try:
        started = time.monotonic()
        done = health(program)
        assert done.returncode == 1 and done.stderr == "not ready: the engine does not answer\n"
        assert 0.9 <= time.monotonic() - started and taken(started) <= scaled(3)
    finally:
        os.kill(engine, signal.SIGCONT)
    assert health(program).returncode == 0


def test_many_ask_for_health_at_once(managed, a):
    """None takes another's place, also while an answer is waited for."""
    program = managed(a)
    engine, = program.engines()
    codes = []
    askers = [threading.Thread(target=lambda: codes.append(health(program).returncode)) for _ in range(3)]
    os.kill(engine, signal.SIGSTOP)
    try:
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
    finally:
        os.kill(engine, signal.SIGCONT)
    assert codes == [1, 1, 1]
    assert health(program).returncode == 0


# ---- sockets that are passed

def passed_pair(address):
    port = find_port(address)
    return port, [bound(address, port, socket.SOCK_DGRAM), bound(address, port, socket.SOCK_STREAM)]


def assert_served(program, address, port, name="x.test"):
    program.address, program.port = address, port
    assert program.query_udp(name).rcode == 0
    assert program.query_tcp(name).rcode == 0


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_passed_sockets_are_served(managed, a, address, workers):
    """Whichever worker takes them: one socket is for all of them.
    Shows: P06, S01"""
    home = address()
    port, sockets = passed_pair(home)
    program = managed(a, sockets=sockets, names="dnseal.socket:dnseal.socket", listen=None, workers=workers)
    for number in range(20):
        assert_served(program, home, port, "n%d.test" % number)
    with Flow(home, port, 200, name="f-%d.test") as flow:
        time.sleep(1)
        flow.finish(scaled(3))
    assert flow.rcodes() == {0: len(flow.sent)}
    assert program.seen("listening", address="%s:%d" % (home, port), transport="udp")
    assert program.seen("listening", address="%s:%d" % (home, port), transport="tcp")


def test_passed_sockets_take_the_place_of_configured_ones(managed, a, address):
    """Shows: P06"""
    home, other = address(), address()
    port, sockets = passed_pair(home)
    beside = find_port(other)
    program = managed(a, sockets=sockets, listen=["%s:%d" % (home, port), "%s:%d" % (other, beside)])
    assert_served(program, home, port)
    assert_served(program, other, beside)


def test_several_sockets_for_one_address(managed, a, address):
    """Shows: P06"""
    home = address()
    port = find_port(home)
    sockets = [bound(home, port, socket.SOCK_DGRAM, reuse_port=True) for _ in range(5)]
    program = managed(a, sockets=sockets, listen=None, workers=2)
    program.address, program.port = home, port
    for number in range(60):  # the kernel chooses a socket by the port of each
        assert program.query_udp("n%d.test" % number, timeout=2) is not None


def test_what_waits_in_a_passed_socket_is_answered(managed, a, address):
    """Questions from before the start, as while the service is restarted.
    Shows: P06"""
    home = address()
    port, sockets = passed_pair(home)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, socket.create_connection((home, port)) as stream:
        client.settimeout(scaled(6))
        stream.settimeout(scaled(6))
        client.sendto(wire.query("early.test", message_id=7), (home, port))
        message = wire.query("early.test", message_id=8)
        stream.sendall(len(message).to_bytes(2, "big") + message)
        managed(a, sockets=sockets, listen=None)
        assert wire.parse(client.recv(4096)).id == 7
        assert wire.parse(stream.recv(4096)[2:]).id == 8


def test_a_new_engine_gets_the_passed_sockets(managed, a, address):
    """Shows: P06"""
    home = address()
    port, sockets = passed_pair(home)
    program = managed(a, sockets=sockets, listen=None)
    os.kill(program.engines()[0], signal.SIGKILL)
    assert program.wait_event("ready", scaled(5), count=2)
    assert_served(program, home, port)


def test_passed_wildcard_answers_from_the_address_that_was_asked(managed, a, address):
    """Shows: P06, U01"""
    home = address()
    port = find_port("0.0.0.0", home)
    program = managed(a, sockets=[bound("0.0.0.0", port, socket.SOCK_DGRAM)], listen=None)
    program.address, program.port = home, port
    assert program.query_udp("x.test").rcode == 0


def test_a_passed_socket_that_nobody_configured_is_refused(managed, a, address):
    """Shows: P06"""
    home = address()
    port, sockets = passed_pair(home)
    program = managed(a, sockets=sockets, names="a.socket:b.socket", ready=False)
    assert program.wait(10) == 1
    for number, (name, transport) in enumerate((("a.socket", "udp"), ("b.socket", "tcp"))):
        assert ("the descriptor %d (%s) is a socket for %s:%d (%s), which is not configured: add it to listen"
                % (3 + number, name, home, port, transport)) in program.text()


def test_what_is_no_socket_to_serve_is_refused(managed, a, tmp_path):
    """Shows: P06"""
    left, right = socket.socketpair()
    program = managed(a, sockets=[left], names="odd.socket", ready=False)
    assert program.wait(10) == 1
    assert "the descriptor 3 (odd.socket) is neither a bound UDP socket nor a listening TCP socket" in program.text()
    right.close()


def test_a_socket_for_both_families_is_refused(managed, a, port):
    """Its clients of IPv4 would come under other names, and past the access list.
    Shows: P06, W6"""
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind(("::", port("0.0.0.0", "::1")))
    program = managed(a, sockets=[made], ready=False, listen=None)
    assert program.wait(10) == 1
    assert "BindIPv6Only=ipv6-only" in program.text()


def test_one_datagram_wakes_one_worker(managed, a, address):
    """A socket that all workers share does not wake them all for each question.
    Shows: P06"""
    home = address()
    port, sockets = passed_pair(home)
    program = managed(a, sockets=sockets, listen=None, workers=4)
    engine, = program.engines()

    def switches():
        total = 0
        for task in pathlib.Path("/proc/%d/task" % engine).iterdir():
            for line in (task / "status").read_text().splitlines():
                total += int(line.split()[1]) if line.startswith("voluntary_ctxt") else 0
        return total
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        time.sleep(0.5)
        before = switches()
        for _ in range(100):
            client.sendto(b"x" * 20, (home, port))  # no message: dropped, and nothing else happens
            time.sleep(0.01)
        time.sleep(0.2)
        woken = switches() - before
    assert 50 <= woken <= 250, "%d wake-ups for 100 datagrams" % woken
    assert children_of(program.process.pid) == [engine]


# ---- another configuration

def reload_of(program):
    return run(["-c", program.file, "--control", "reload"])


def test_a_reload_is_told(managed, a):
    """Shows: P06, pain 28

    Its beginning and its end, whether it passes or not."""
    program = managed(a)
    assert program.words.wait("READY=1")
    assert reload_of(program).returncode == 0
    assert program.words.wait("READY=1", count=2)
    with open(program.file, "a") as file:
        file.write("nonsense: 1\n")
    assert reload_of(program).returncode == 1
    assert program.words.wait("READY=1", count=3)
    told = [word for _, word in program.words.heard if word in ("READY=1", "RELOADING=1")]
    assert told == ["READY=1"] + ["RELOADING=1", "READY=1"] * 2
    assert program.words.count("RELOADING=1") == 2 and program.words.wait("MONOTONIC_USEC=")


def test_passed_sockets_stay(managed, a, address, port):
    """Shows: P06, pain 28, regression 19"""
    home = address()
    number = port(home)
    with bound(home, number, socket.SOCK_DGRAM) as datagrams, bound(home, number, socket.SOCK_STREAM) as streams:
        program = managed(a, sockets=[datagrams, streams], listen=["%s:%d" % (home, number)], workers=3)
        with Flow(home, number, 200) as flow:
            for _ in range(3):
                assert reload_of(program).returncode == 0
                time.sleep(0.1)
            flow.finish(scaled(6))
            flow.assert_served(scaled(1))
        text = pathlib.Path(program.file).read_text()
        pathlib.Path(program.file).write_text(text.replace("%s:%d" % (home, number), "%s:%d" % (address(), number)))
        done = reload_of(program)
        assert done.returncode == 1 and "which is not configured" in done.stderr


def test_the_watchdog_is_fed_through_reloads(managed, a):
    """Shows: P06"""
    program = managed(a, watchdog=0.6)
    for _ in range(5):
        assert reload_of(program).returncode == 0
        time.sleep(0.3)
    times = program.words.times("WATCHDOG=1")
    assert len(times) > 3 and max(taken(earlier, later) for earlier, later in zip(times, times[1:])) < scaled(0.6)


# ---- sockets that are passed, while the program changes

def control(program, command):
    return run(["-c", program.file, "--control", command], timeout=40)


def write(program, **keys):
    """The configuration without and with some keys."""
    kept = [line for line in pathlib.Path(program.file).read_text().splitlines() if not line.startswith(tuple(keys))]
    pathlib.Path(program.file).write_text("\n".join([*kept, *("%s: %s" % item for item in keys.items() if item[1])]) + "\n")


@pytest.mark.parametrize("command", ["reload", "upgrade"])
def test_passed_sockets_outlive_what_is_served_by(managed, a, address, command):
    """Another configuration with more workers, or another program, on the same sockets.
    Shows: P06, P08"""
    home = address()
    port, sockets = passed_pair(home)
    program = managed(a, sockets=sockets, listen=None, workers=1)
    with Flow(home, port, 200, name="c-%d.test") as flow:
        for workers in (2, 1, 3):
            write(program, workers=workers)
            time.sleep(0.3)
            done = control(program, command)
            assert done.returncode == 0, done.stderr
        time.sleep(0.3)
        flow.finish(scaled(6))
    assert flow.rcodes() == {0: len(flow.sent)}
    assert_served(program, home, port)


def test_a_reload_cannot_leave_a_passed_socket_alone(managed, a, address):
    """Shows: P06"""
    home, other = address(), address()
    port, sockets = passed_pair(home)
    program = managed(a, sockets=sockets, names="a.socket:b.socket", listen=None)
    write(program, listen='["%s:%d"]' % (other, find_port(other)))
    done = control(program, "reload")
    assert done.returncode == 1 and "the descriptor 3 (a.socket) is a socket for %s:%d (udp)" % (home, port) in done.stderr
    assert_served(program, home, port)
    assert program.words.count("STOPPING=1") == 0


def test_a_reload_is_told(managed, a):
    """Shows: P06"""
    program = managed(a)
    assert control(program, "reload").returncode == 0
    assert program.words.wait("RELOADING=1") and program.words.wait("MONOTONIC_USEC=")
    assert program.words.wait("READY=1", count=2)
    order = [word for _, word in program.words.heard if word in ("READY=1", "RELOADING=1")]
    assert order == ["READY=1", "RELOADING=1", "READY=1"]


def test_health_costs_the_servers_nothing(managed, a):
    """Shows: P06, I10"""
    program = managed(a, watchdog=0.2)
    assert program.query_udp("once.test").rcode == 0
    heard, connections = len(a.heard), len(a.connections)
    for _ in range(10):
        assert health(program).returncode == 0
    assert program.words.wait("WATCHDOG=1", count=5)
    assert (len(a.heard), len(a.connections)) == (heard, connections)
