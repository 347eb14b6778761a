"""From one process of a service manager to the next: what it keeps meanwhile, that nothing is lost by that, and that
nothing is taken for what it is not."""
import os
import pathlib
import re
import signal
import socket
import threading
import time

import pytest

import scripts
import wire
from clients import Flow, Load
from conftest import find_port
from manager import bound
from pace import taken
from preload import preloaded
from program import children_of, is_sanitized, run, scaled
from zone import Zone

SLOW_DISK = pathlib.Path(__file__).with_name("slow_disk.c")
CACHE = {"size": "8MiB"}
KEPT = ["text", "cache", "total"]
OTHER = bytes([192, 0, 2, 2])


def wait_for(condition, seconds=5):
    end = time.monotonic() + scaled(seconds)
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def change(program, old, new):
    file = pathlib.Path(program.file)
    text = file.read_text()
    assert old in text, text
    file.write_text(text.replace(old, new))


def control(program, command):
    done = run(["-c", program.file, "--control", command], timeout=40)
    assert done.returncode == 0, done.stderr


def sockets_of(program, address=None):
    """The inodes of what is bound there, with the transport; read thrice, as a line is left out when sockets of others
    come and go meanwhile."""
    at = "%s:%04X" % (socket.inet_aton(address or program.address)[::-1].hex().upper(), program.port)
    out = set()
    for transport, state in (("udp", "07"), ("tcp", "0A")) * 3:
        for line in pathlib.Path("/proc/net", transport).read_text().splitlines()[1:]:
            fields = line.split()
            if (fields[1], fields[3]) == (at, state):
                out.add((transport, int(fields[9])))
    return out


def stored_for(*addresses, port, workers=1):
    return ["%s-%s_%d" % (transport, address.replace(":", "_"), port) for address in addresses
            for transport in ("tcp", "udp")] * workers


def assert_stored(program, *addresses, workers=None):
    """All that is open there is stored, and nothing else."""
    workers = workers or program.wait_event("ready")["workers"]
    wanted = sorted(KEPT + stored_for(*addresses, port=program.port, workers=workers))
    wait_for(lambda: program.words.names() == wanted)


def assert_kept(program, name="kept.test"):
    assert program.query_udp(name).data == [Zone.address(name)]


# ---- what is kept

def test_a_restart_keeps_sockets_cache_and_counters(managed, a):
    """Shows: P08, I1

    Answered without a server."""
    program = managed(a, cache=CACHE, workers=2)
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    before = sockets_of(program)
    assert len(before) == 4
    program.restart()
    assert sockets_of(program) == before
    a.stop()
    assert_kept(program)
    assert program.status().total("dnseal_queries_total", transport="udp") == 2
    assert program.status().total("dnseal_upstream_queries_total", upstream=a.url, outcome="answer") == 1
    assert not program.seen("store")
    assert_stored(program, program.address, "[::1]")


def test_what_is_asked_meanwhile_is_answered(managed, a):
    """Shows: P08, regression 20

    Datagrams wait, and so do connections that the kernel has accepted and nobody has taken."""
    program = managed(a, cache=CACHE)
    assert_stored(program, program.address, "[::1]")
    program.stop()
    program.words.settle()
    home = (program.address, program.port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, socket.create_connection(home) as stream:
        client.settimeout(scaled(6))
        stream.settimeout(scaled(6))
        client.sendto(wire.query("early.test", message_id=7), home)
        message = wire.query("early.test", message_id=8)
        stream.sendall(len(message).to_bytes(2, "big") + message)
        program.start()
        assert wire.parse(client.recv(4096)).id == 7
        assert wire.parse(stream.recv(4096)[2:]).id == 8


def test_ten_thousand_a_second_see_no_restart(managed, a, tmp_path):
    """Shows: P08, pain 29, regression 20

    Two restarts in the middle of a load test of cached names: none is lost, none fails, and no server is asked again."""
    program = managed(a, cache=CACHE, access={"allow": ["127.0.0.0/8"]}, workers=2)
    load = Load(program, tmp_path, 1000 if is_sanitized() else 10000, scaled(4))
    for _ in range(2):
        time.sleep(scaled(1))
        program.restart()
    load.assert_served(scaled(30))
    assert len(a.names()) == len(load.names)
    total = program.status().total("dnseal_queries_total", transport="udp")
    assert total >= scaled(4) * load.rate * 0.5


@pytest.mark.parametrize("workers", [(1, 3), (3, 1)])
def test_another_number_of_workers(managed, a, workers):
    """Shows: P08"""
    program = managed(a, cache=CACHE, workers=workers[0])
    with Flow(program.address, program.port, 200, name="w-%d.test") as flow:
        time.sleep(0.3)
        assert_stored(program, program.address, "[::1]", workers=workers[0])
        change(program, "workers: %d" % workers[0], "workers: %d" % workers[1])
        program.restart()
        time.sleep(0.3)
        flow.finish(scaled(6))
    assert flow.rcodes() == {0: len(flow.sent)}
    assert_stored(program, program.address, "[::1]", workers=max(workers))


def test_killed_under_load(managed, a, tmp_path):
    """Shows: P08, P01

    What the engine had read when it was killed is lost, and all that comes later is answered."""
    program = managed(a, cache=CACHE, workers=2)
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    before = sockets_of(program)
    with Flow(program.address, program.port, 300, name="k-%d.test") as flow:
        time.sleep(0.5)
        killed = time.monotonic()
        assert program.restart(stop=program.kill) is program
        time.sleep(0.5)
        flow.finish(scaled(6))
    late = [number for number, at in flow.sent.items() if at > killed + scaled(0.1)]
    assert late and all(number in flow.answers for number in late)
    assert sockets_of(program) == before
    a.stop()
    assert_kept(program)
    assert not program.seen("store")


# In a cache of one part: the era in which that was begun, and who writes to it.
PART_ERA, PART_HOLDER = 128, 192


def test_a_process_that_died_while_it_stored(managed, a):
    """Shows: P08

    Whoever it was that held a part of the cache, it can be stored into."""
    program = managed(a, cache={"size": "1MiB"}, workers=1)
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    memory = next(descriptor for name, descriptor in program.words.stored if "-cache-" in name)
    program.kill()
    assert os.pread(memory, 8, PART_ERA) != bytes(8) and os.pread(memory, 4, PART_HOLDER) == bytes(4)
    os.pwrite(memory, (12345).to_bytes(4, "little"), PART_HOLDER)
    program.words.settle()
    program.start()
    assert_kept(program, "new.test")
    a.stop()
    assert_kept(program, "new.test")


def test_sockets_that_block(managed, a):
    """Shows: P08

    Whatever the manager has made of them."""
    program = managed(a, cache=CACHE, workers=2)
    assert_stored(program, program.address, "[::1]")
    program.stop()
    for name, descriptor in program.words.stored:
        if "-tcp-" in name or "-udp-" in name:
            os.set_blocking(descriptor, True)
    program.words.settle()
    program.start()
    for number in range(20):
        assert program.query_udp("n%d.test" % number).rcode == 0
        assert program.query_tcp("n%d.test" % number).rcode == 0


# ---- another configuration, another program

def test_a_reload_is_followed(managed, a, address):
    """Shows: P08, pain 28

    What is bound for another configuration is stored, and what it has not is forgotten: an address that is listened on
    again later is bound anew, and nobody else has its datagrams."""
    program = managed(a, cache=CACHE)
    home, other = program.address, address()
    one, two = ('"%s:%d"' % (at, program.port) for at in (home, other))
    assert_stored(program, home, "[::1]")
    change(program, one, "%s\n  - %s" % (one, two))
    control(program, "reload")
    assert_stored(program, home, "[::1]", other)
    before = sockets_of(program, other)
    program.restart()
    assert sockets_of(program, other) == before and len(before) >= 2
    change(program, "%s\n  - %s" % (one, two), one)
    control(program, "reload")
    assert_stored(program, home, "[::1]")
    wait_for(lambda: not sockets_of(program, other))
    change(program, one, "%s\n  - %s" % (one, two))
    control(program, "reload")
    for number in range(20):
        assert program.query_udp("n%d.test" % number, address=other).rcode == 0


def test_another_size_of_the_cache(managed, a):
    """Shows: P08

    By a reload, and between two processes."""
    program = managed(a, cache=CACHE)
    assert_kept(program)
    change(program, "8MiB", "4MiB")
    control(program, "reload")
    assert_stored(program, program.address, "[::1]")
    program.restart()
    a.stop()
    assert_kept(program)
    change(program, "4MiB", "6MiB")
    program.restart()
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    program.restart()
    assert_kept(program)
    assert not program.seen("store")


def test_other_listeners_in_the_next_process(managed, a, address):
    """Shows: P08

    What is not configured any more is closed and forgotten."""
    program = managed(a, cache=CACHE)
    assert_kept(program)
    home, other = program.address, address()
    assert_stored(program, home, "[::1]")
    change(program, home, other)
    program.restart()
    assert_stored(program, other, "[::1]")
    a.stop()
    assert program.query_udp("kept.test", address=other).data == [Zone.address("kept.test")]
    wait_for(lambda: not sockets_of(program))


def test_other_servers_in_the_next_process(managed, server):
    """Shows: P08, I1

    No answer of a server that is not asked any more."""
    a, b = server("a.test"), server("b.test")
    b.zone = Zone("kept.test. 300 A 192.0.2.2")
    program = managed(a, cache=CACHE)
    assert_kept(program)
    change(program, a.url, b.url)
    program.restart()
    assert program.query_udp("kept.test").data == [OTHER]
    program.restart()
    b.stop()
    assert program.query_udp("kept.test").data == [OTHER]


def test_killed_while_two_configurations_store(managed, server):
    """Shows: P08, I1

    An engine of before may still store what its servers say where the next one looks: then nothing of it is taken."""
    a, b = server("a.test"), server("b.test")
    b.zone = Zone("kept.test. 300 A 192.0.2.2\nlate.test. 300 A 192.0.2.2")
    program = managed(a, cache=CACHE)
    assert_kept(program)
    gate = a.script = scripts.Gate()
    asking = threading.Thread(target=lambda: program.query_udp("late.test"), daemon=True)
    asking.start()
    assert gate.wait(1, scaled(10)) == 1
    change(program, a.url, b.url)
    control(program, "reload")
    program.restart(stop=program.kill)
    assert program.seen("store", piece="text", reason="unreadable")
    for name in ("kept.test", "late.test"):
        assert program.query_udp(name).data == [OTHER]
    program.restart()
    b.stop()
    assert program.query_udp("kept.test").data == [OTHER] and not program.seen("store"), program.text()


def empty_for(program, body):
    """For how long there was no text while that went on."""
    done, text, since, longest = threading.Event(), text_of(program), None, 0
    worker = threading.Thread(target=lambda: (body(), done.set()))
    worker.start()
    while not done.is_set():
        now = time.monotonic()
        since = (since or now) if os.fstat(text).st_size == 0 else None
        longest = max(longest, now - since if since is not None else 0)
        time.sleep(0.0002)
    worker.join()
    return longest


@pytest.mark.parametrize("command", ["reload", "upgrade"])
def test_nothing_is_said_before_it_is_true(managed, server, command):
    """Shows: P08, I1

    From before the next engine can store what the servers of a new group say, until the text says so too; and where the
    groups are the same, the text stays."""
    a, b, c = server("a.test"), server("b.test"), server("a.test")
    program = managed(a, {"url": b.url, "group": "default"}, {"url": c.url, "group": "office"}, cache=CACHE,
                      routes={"office.test": "office"})
    assert_stored(program, program.address, "[::1]")
    if command == "reload":
        written = os.fstat(text_of(program)).st_mtime_ns
        assert empty_for(program, lambda: control(program, command)) == 0
        assert os.fstat(text_of(program)).st_mtime_ns == written
    change(program, 'group: "default"', 'group: "office"')
    assert empty_for(program, lambda: control(program, command)) > 0.001
    assert os.pread(text_of(program), 65536, 0).endswith(b"\nend\n")


def test_a_reload_that_fails_leaves_what_is_stored(managed, server, tmp_path):
    """Shows: P08, pain 28

    Its engine was started, and found no authority."""
    a, b = server("a.test"), server("b.test")
    program = managed(a, cache=CACHE)
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    good = pathlib.Path(program.file).read_text()
    (tmp_path / "none.pem").write_text("nothing\n")
    change(program, a.url, b.url)
    file = pathlib.Path(program.file)
    file.write_text(re.sub(r"(?m)^  ca: .*$", '  ca: "%s"' % (tmp_path / "none.pem"), file.read_text()))
    done = run(["-c", program.file, "--control", "reload"], timeout=40)
    assert done.returncode == 1 and "holds no certificate" in done.stderr
    file.write_text(good)
    program.restart(stop=program.kill)
    a.stop()
    assert_kept(program)
    assert not program.seen("store")


def test_a_restart_after_the_engine_of_before_is_gone(managed, server):
    """Shows: P08, I1

    The same without the kill: once there is one configuration again, its cache is kept."""
    a, b = server("a.test"), server("b.test")
    b.zone = Zone("kept.test. 300 A 192.0.2.2")
    program = managed(a, cache=CACHE)
    assert_kept(program)
    change(program, a.url, b.url)
    control(program, "reload")
    wait_for(lambda: len(program.engines()) == 1)
    time.sleep(0.1)  # until it is buried as well: what it may have stored is forgotten then
    assert program.query_udp("kept.test").data == [OTHER]
    program.restart()
    b.stop()
    assert program.query_udp("kept.test").data == [OTHER]


def test_an_upgrade_knows_what_is_stored(managed, a, address):
    """Shows: P08

    Nothing is stored twice, what goes is forgotten, and the next process has all of it."""
    program = managed(a, cache=CACHE)
    assert_kept(program)
    home, other = program.address, address()
    assert_stored(program, home, "[::1]")
    before = sockets_of(program)
    told = program.words.count("FDSTORE=1")
    control(program, "upgrade")
    assert_stored(program, home, "[::1]")
    change(program, home, other)
    change(program, "8MiB", "4MiB")
    control(program, "upgrade")
    assert_stored(program, other, "[::1]")
    assert program.words.count("FDSTORE=1") == told + 3  # of what is new: cache, UDP, TCP
    program.restart()
    a.stop()
    assert program.query_udp("kept.test", address=other).data == [Zone.address("kept.test")]
    assert before and not sockets_of(program) and not program.seen("store")


def test_passed_sockets_are_not_stored(managed, a, address):
    """Shows: P08, P06

    They are the manager's."""
    home = address()
    port = find_port(home)
    sockets = [bound(home, port, socket.SOCK_DGRAM), bound(home, port, socket.SOCK_STREAM)]
    program = managed(a, sockets=sockets, listen=None, cache=CACHE)
    program.address, program.port = home, port
    assert_kept(program)
    wait_for(lambda: program.words.names() == sorted(KEPT))
    program.restart()
    a.stop()
    assert_kept(program)
    assert program.query_tcp("kept.test").rcode == 0


# ---- a manager that keeps little, or is busy

def test_without_a_store(managed, a):
    """Shows: P08, P02"""
    program = managed(a, cache=CACHE, most=0)
    assert_kept(program)
    control(program, "reload")
    program.restart()
    assert_kept(program)
    assert a.names() == ["kept.test."] * 2 and not program.seen("store")


def test_a_store_that_is_too_small(managed, a):
    """Shows: P08, P02

    What comes back is taken, and the rest is told."""
    program = managed(a, cache=CACHE, most=2)
    assert_kept(program)
    wait_for(lambda: program.words.names() == ["cache", "text"])
    program.restart()
    assert {(told["piece"], told["reason"]) for told in program.seen("store")} == {
        ("total", "missing"), ("socket", "missing")}
    assert all("FileDescriptorStoreMax" in told["hint"] for told in program.seen("store"))
    a.stop()
    assert_kept(program)


def test_a_manager_that_does_not_listen(managed, a, address):
    """Shows: P08, P06

    Hundreds of sockets, and nobody who takes them: everything goes on, and when somebody does, all of it is told."""
    homes = [address() for _ in range(4)]
    port = find_port(*homes)
    program = managed(a, cache=CACHE, ready=False, workers=32, limits={"memory": "3GiB"},
                      listen=["%s:%d" % (home, port) for home in homes])
    program.port = port
    program.words.paused.set()
    try:
        assert program.wait_event("ready", scaled(20))
        for number in range(50):
            started = time.monotonic()
            assert run(["-c", program.file, "--control", "status"]).returncode == 0
            assert taken(started) < scaled(1)
            assert program.query_udp("n%d.test" % number, address=homes[number % 4]).rcode == 0
    finally:
        program.words.paused.clear()
    wanted = sorted(KEPT + stored_for(*homes, port=port, workers=32))
    wait_for(lambda: program.words.names() == wanted, 20)
    before = sockets_of(program, homes[3])
    program.restart()
    assert sockets_of(program, homes[3]) == before and len(before) == 64
    assert program.words.wait("READY=1", count=2)


def test_what_matters_more_has_room(managed, a, address):
    """Shows: P08, P06

    A manager that is busy may hold no more than ten messages: the end of a reload is among them."""
    homes = [address() for _ in range(60)]
    port = find_port(*homes)
    program = managed(a, cache=CACHE, workers=2, listen=["%s:%d" % (homes[0], port)])
    program.port = port
    lines = "".join('\n  - "%s:%d"' % (home, port) for home in homes[1:])
    change(program, '"%s:%d"' % (homes[0], port), '"%s:%d"%s' % (homes[0], port, lines))
    assert_stored(program, homes[0])
    program.words.paused.set()
    try:
        done = run(["-c", program.file, "--control", "reload"], timeout=40)
        time.sleep(0.5)
    finally:
        program.words.paused.clear()
    assert done.returncode == 0, done.stderr
    wait_for(lambda: program.words.names() == sorted(KEPT + stored_for(*homes, port=port, workers=2)), 10)
    told = [word for _, word in program.words.heard if word in ("RELOADING=1", "READY=1", "FDSTORE=1")]
    begun = told.index("RELOADING=1")
    assert "READY=1" in told[begun:begun + 10] and len(told) > 120


def test_stopped_before_a_busy_manager_was_told(managed, a, address):
    """Shows: P08

    What the manager has not been told by then, it is told at the end."""
    homes = [address() for _ in range(8)]
    port = find_port(*homes)
    program = managed(a, cache=CACHE, workers=2, ready=False, listen=["%s:%d" % (home, port) for home in homes])
    program.port = port
    program.words.paused.set()
    try:
        assert program.wait_event("ready", scaled(10))
        time.sleep(1)
    finally:
        program.words.paused.clear()
    program.restart()
    assert_stored(program, *homes)
    assert not program.seen("store")


@pytest.mark.parametrize("delay", [0, 0.01, 0.02, 0.03, 0.05])
def test_stopped_before_it_serves(managed, a, delay):
    """Shows: P08, P01

    What was stored before is."""
    program = managed(a, cache=CACHE)
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    stored = program.words.names()
    program.stop()
    program.words.settle()
    program.start(ready=False)
    wait_for(lambda: program.engines())
    time.sleep(delay)
    program.signal(signal.SIGTERM)
    program.wait(10)
    program.words.settle()
    assert program.words.names() == stored
    program.start()
    a.stop()
    assert_kept(program)


# ---- what is stored makes no sense

def text_of(program):
    return next(descriptor for name, descriptor in program.words.stored if name.endswith("-text"))


def write_text(program, text):
    os.ftruncate(text_of(program), 0)
    os.pwrite(text_of(program), text, 0)


def replace(program, beginning, descriptor):
    """Another descriptor under the same name."""
    stored = program.words.stored
    at = next(at for at, (name, _) in enumerate(stored) if name.startswith("dnseal-stored-" + beginning))
    os.close(stored[at][1])
    stored[at] = (stored[at][0], descriptor)


def zeros(size):
    made = os.memfd_create("zeros")
    os.ftruncate(made, size)
    return made


def assert_begun_anew(program, a, piece):
    """A warning with its name, everything served, and what is stored is whole again."""
    assert {(told["piece"], told["reason"]) for told in program.seen("store")} == {(piece, "unreadable")}
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    program.restart()
    assert not program.seen("store")
    a.stop()
    assert_kept(program)


@pytest.mark.parametrize("text", [
    b"", b"\n", b"dnseal store 9\nend\n", b"dnseal store 1\n", b"dnseal store 1\ncache\nend\n", b"\0" * 100,
    b"dnseal store 1\nengine 1 2 3 4 1\nend\n", b"dnseal store 1\nsocket text\nend\n", b"x" * 2000000,
    b"dnseal handover 1 1\nend\n", b"dnseal store 1\ncache x 99999999999999999999 1\nend\n",
    b"dnseal store 1\nfuture 1\nend\n"], ids=range(12))
def test_a_text_of_nonsense(managed, a, text):
    """Shows: P08, P02"""
    program = managed(a, cache=CACHE)
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    before = sockets_of(program)
    program.stop()
    write_text(program, text)
    program.start()
    assert sockets_of(program) == before
    assert_begun_anew(program, a, "text")


def test_a_text_that_is_cut_off(managed, a):
    """Shows: P08, P02

    Wherever that is."""
    program = managed(a, cache=CACHE)
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    whole = os.pread(text_of(program), 65536, 0)
    assert whole.endswith(b"\nend\n")
    for size in (1, len(whole) // 3, whole.index(b"total") + 6, len(whole) - 5, len(whole) - 2):
        program.stop()
        write_text(program, whole[:size])
        program.start()
        assert {told["piece"] for told in program.seen("store")} == {"text"}, whole[:size]
    assert_begun_anew(program, a, "text")


def test_no_text_at_all(managed, a):
    """Shows: P08, P02"""
    program = managed(a, cache=CACHE)
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    program.stop()
    program.words.forget("dnseal-stored-text")
    program.start()
    assert {(told["piece"], told["reason"]) for told in program.seen("store")} == {("text", "missing")}
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")


@pytest.mark.parametrize("piece, made", [
    ("cache", lambda: zeros(8 << 20)), ("cache", lambda: zeros(4096)), ("cache", lambda: os.open("/dev/null", os.O_RDWR)),
    ("total", lambda: zeros(4096)), ("total", lambda: os.pipe()[0]),
    ("text", lambda: os.open("/dev/null", os.O_RDWR)), ("text", lambda: os.pipe()[0]),
    ("socket", lambda: os.pipe()[0]), ("socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach())])
def test_a_piece_of_nonsense(managed, a, piece, made):
    """Shows: P08, P02"""
    program = managed(a, cache=CACHE)
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    program.stop()
    replace(program, "udp" if piece == "socket" else piece, made())
    program.start()
    assert_begun_anew(program, a, piece)


def test_a_cache_of_another_form(managed, a):
    """Shows: P08, P02

    What another version keeps in its own way is not read."""
    program = managed(a, cache=CACHE)
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    program.stop()
    whole = os.pread(text_of(program), 65536, 0)
    write_text(program, re.sub(rb"(?m)^(cache \S+ \d+) \d+$", rb"\1 99", whole))
    program.start()
    assert_begun_anew(program, a, "cache")


def test_what_nobody_knows_is_forgotten(managed, a):
    """Shows: P08

    A piece of a later version."""
    program = managed(a, cache=CACHE)
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    program.stop()
    program.words.stored.append(("dnseal-stored-future", zeros(10)))
    program.start()
    held = [os.readlink(entry) for entry in pathlib.Path("/proc/%d/fd" % program.process.pid).iterdir()]
    assert held and not [name for name in held if "zeros" in name]
    assert_stored(program, program.address, "[::1]")
    a.stop()
    assert_kept(program)
    assert not program.seen("store")


# ---- what else is kept

def test_the_file_of_the_cache(managed, a, tmp_path):
    """Shows: P08

    It is written at each stop, and read where nothing was stored."""
    file = tmp_path / "cache"
    program = managed(a, cache={**CACHE, "file": str(file)})
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    program.restart()
    a.stop()
    assert_kept(program)
    assert not program.seen("cache_file_read")
    program.stop()
    assert program.seen("cache_file_written") and file.exists()
    program.words.forget()
    program.start()
    assert program.seen("cache_file_read")[0]["entries"] == 1
    assert_kept(program)
    program.stop()
    write_text(program, b"nonsense")
    program.start()
    assert program.seen("store") and program.seen("cache_file_read")[0]["entries"] == 1
    assert_kept(program)


def test_the_file_is_written_while_it_serves(managed, a, tmp_path):
    """Shows: P08

    A slow disk makes the time longer in which nobody serves where nothing is stored, and only there."""
    file, slow = tmp_path / "cache", preloaded(SLOW_DISK, tmp_path)
    program = managed(a, cache={**CACHE, "file": str(file)}, workers=1, env=slow)
    assert program.query_udp("early.test").rcode == 0
    assert_stored(program, program.address, "[::1]")
    program.signal(signal.SIGTERM)
    for number in range(3):
        time.sleep(0.2)
        assert program.query_udp("late%d.test" % number, timeout=0.5).rcode == 0
    assert program.wait(10) == 0
    assert program.seen("cache_file_written")
    program.words.settle()
    program.start()
    a.stop()
    assert_kept(program, "late2.test")


def test_addresses_of_servers_are_kept(managed, a, server):
    """Shows: P08, pain 30

    Nobody has to be asked for them."""
    boot = server("b.test", zone=Zone("a.test. 300 A %s\ntest. 300 TXT nothing" % a.address))
    program = managed("tls://a.test:%d" % a.port, bootstrap=[boot.url], workers=1)
    assert program.query_udp("one.x.test").rcode == 0
    wait_for(lambda: "text" in program.words.names())
    wait_for(lambda: b"known a.test" in os.pread(text_of(program), 65536, 0))
    boot.stop()
    program.restart()
    begun = time.monotonic()
    assert program.query_udp("two.x.test").rcode == 0
    assert taken(begun) < scaled(1)


@pytest.mark.parametrize("delay", [0.002, 0.004, 0.008, 0.012])
@pytest.mark.parametrize("number", [signal.SIGHUP, None])
def test_stopped_in_the_middle(managed, a, number, delay):
    """Shows: P08, P01, M10

    Of a reload, or an upgrade: what the engine that was just coming has read is answered as well."""
    program = managed(a, cache=CACHE, workers=2)
    a.script = scripts.zone_after(0.05)
    with Flow(program.address, program.port, 300, name="m-%d.test") as flow:
        for _ in range(3):
            time.sleep(0.2)
            if number is not None:
                program.signal(number)
            else:
                threading.Thread(target=lambda: run(["-c", program.file, "--control", "upgrade"], timeout=40)).start()
                assert program.wait_event("start", scaled(5), count=2)
            time.sleep(delay)
            program.restart()
        time.sleep(0.2)
        flow.finish(scaled(6))
    assert flow.rcodes() == {0: len(flow.sent)}


def test_a_start_that_is_refused(managed, a, address):
    """Shows: P08, P02

    What is stored waits for the one that is not."""
    program = managed(a, cache=CACHE)
    assert_kept(program)
    assert_stored(program, program.address, "[::1]")
    other = address()
    program.stop()
    with bound(other, program.port, socket.SOCK_DGRAM):
        change(program, "listen:\n", "listen:\n  - %s:%d\n" % (other, program.port))
        program.words.settle()
        program.start(ready=False)
        assert program.wait(10) == 1 and program.text().count("cannot listen on %s" % other) == 1
    program.start()
    a.stop()
    assert_kept(program)


def test_nothing_grows(managed, a):
    """Shows: P08, pain 10"""
    program = managed(a, cache=CACHE)
    assert_stored(program, program.address, "[::1]")
    before = None
    for _ in range(6):
        program.restart()
        assert_stored(program, program.address, "[::1]")
        now = [len(os.listdir("/proc/%d/fd" % pid)) for pid in (program.process.pid, *children_of(program.process.pid))]
        assert before in (None, now)
        before = now
