"""Another program in the place of the one that runs: nothing is lost, nothing is forgotten, and what does not work is
not taken."""
import os
import pathlib
import re
import shutil
import signal
import socket
import threading
import time

import pytest

import scripts
import wire
from clients import Flow, Load, udp_exchange
from manager import bound
from pace import taken
from program import BINARY, anonymous, descriptors, is_sanitized, run, scaled
from zone import Zone

CACHE = {"size": "8MiB"}


@pytest.fixture
def installed(tmp_path):
    """A program of its own place, as a package puts it there."""
    place = tmp_path / "installed" / "dnseal"
    place.parent.mkdir()
    shutil.copy2(BINARY, place)
    return place


def version():
    return re.match(r"dnseal (\S+)", run(["--version"]).stdout).group(1)


def install(place, source=BINARY, text=None):
    """Another file takes the place of the one that runs, as dpkg does it. `text`: in the place of the version."""
    new = place.with_suffix(".new")
    content = pathlib.Path(source).read_bytes()
    if text is not None:
        assert len(text) == len(version()) and version().encode() in content
        content = content.replace(version().encode(), text.encode())
    new.write_bytes(content)
    new.chmod(0o755)
    new.rename(place)


def upgrade(program, timeout=60):
    return run(["-c", program.file, "--control", "upgrade"], env=program.env, timeout=timeout)


def upgraded(program):
    done = upgrade(program)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_for(condition, seconds=5):
    end = time.monotonic() + scaled(seconds)
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def other_version():
    return version()[:-1] + "9"


# ---- what is kept

def test_the_new_program_runs_in_the_same_process(dnseal, a, installed):
    """Shows: P08, pain 29"""
    program = dnseal(a, binary=str(installed))
    assert program.query_udp("one.test").rcode == 0
    install(installed, text=other_version())
    assert upgraded(program) == "upgraded to %s\n" % other_version()
    assert program.query_udp("two.test").rcode == 0
    assert program.wait_event("upgrade", version=other_version())
    assert program.process.poll() is None
    assert pathlib.Path("/proc/%d/exe" % program.process.pid).resolve() == installed
    wait_for(lambda: len(program.engines()) == 1)
    status = program.status()
    assert status.total("dnseal_build_info", version=other_version()) == 1
    assert status.total("dnseal_queries_total", transport="udp") == 2
    assert status.total("dnseal_upstream_queries_total", upstream=a.url, outcome="answer") == 2


def test_the_cache_is_kept(dnseal, a, installed):
    """Shows: P08, I1"""
    program = dnseal(a, binary=str(installed), cache=CACHE)
    assert program.query_udp("kept.test").rcode == 0
    install(installed)
    upgraded(program)
    a.stop()
    assert program.query_udp("kept.test").data == [Zone.address("kept.test")]
    replace(program, "8MiB", "4MiB")
    upgraded(program)
    assert program.query_udp("kept.test").data == [Zone.address("kept.test")]


def replace(program, old, new):
    file = pathlib.Path(program.file)
    text = file.read_text()
    assert old in text, text
    file.write_text(text.replace(old, new))


def test_answers_of_other_servers_are_not(dnseal, server, installed):
    """Shows: P08, I1"""
    a, b = server("a.test"), server("b.test")
    b.zone = Zone("kept.test. 300 A 192.0.2.2")
    program = dnseal(a, binary=str(installed), cache=CACHE)
    assert program.query_udp("kept.test").data == [Zone.address("kept.test")]
    replace(program, a.url, b.url)
    upgraded(program)
    assert program.query_udp("kept.test").data == [bytes([192, 0, 2, 2])]


def test_questions_that_wait_are_answered(dnseal, a, installed):
    """Shows: P08, pain 29, regression 20"""
    gate = a.script = scripts.Gate()
    program = dnseal(a, binary=str(installed))
    with program.tcp() as stream:
        stream.send(wire.query("stream.test", message_id=5))
        assert gate.wait(1, scaled(10)) == 1
        answers = []
        asking = threading.Thread(target=lambda: answers.append(program.query_udp("datagram.test")))
        asking.start()
        assert gate.wait(2, scaled(10)) == 2
        upgraded(program)
        gate.open()
        assert stream.receive(scaled(3)).rcode == 0
        asking.join()
    assert answers[0].rcode == 0
    wait_for(lambda: len(program.engines()) == 1)


def test_another_configuration_comes_with_it(dnseal, a, address, installed):
    """Shows: P08

    Listeners that are gone are closed, and those that stay are the same sockets."""
    program = dnseal(a, binary=str(installed))
    home, other = program.address, address()
    replace(program, home, other)
    upgraded(program)
    assert program.query_udp("one.test", address=other).rcode == 0
    wait_for(lambda: len(program.engines()) == 1)
    assert program.query_udp("one.test", timeout=0.3) is None


# ---- under load

@pytest.mark.parametrize("mode", ["udp", "tcp"])
def test_ten_thousand_a_second_see_nothing(dnseal, a, installed, tmp_path, mode):
    """Shows: P08, pain 29, regression 20

    Three upgrades in the middle of a load test of cached names: none is lost, none fails, and the version changes with
    each; connections stay."""
    program = dnseal(a, binary=str(installed), cache=CACHE, access={"allow": ["127.0.0.0/8"]})
    load = Load(program, tmp_path, 1000 if is_sanitized() else 10000, scaled(4), mode)
    for number in range(3):
        time.sleep(scaled(0.8))
        install(installed, text=version()[:-1] + str(7 + number))
        assert upgraded(program) == "upgraded to %s\n" % (version()[:-1] + str(7 + number))
    load.assert_served(scaled(30))
    assert len(a.names()) == len(load.names)


def test_nothing_is_left_behind(dnseal, a, installed):
    """Shows: P08, pain 10"""
    program = dnseal(a, binary=str(installed))
    upgraded(program)
    wait_for(lambda: len(program.engines()) == 1)
    time.sleep(0.2)
    before = descriptors(program.process.pid), anonymous(program.process.pid)
    with Flow(program.address, program.port, 100) as flow:
        for _ in range(20):
            upgraded(program)
        flow.finish(scaled(6))
        flow.assert_served(scaled(1))
    wait_for(lambda: len(program.engines()) == 1)
    wait_for(lambda: descriptors(program.process.pid) <= before[0])
    assert is_sanitized() or anonymous(program.process.pid) < before[1] + (1 << 20)


# ---- what does not work

def test_a_program_that_is_none(dnseal, a, installed):
    """Shows: P08"""
    program = dnseal(a, binary=str(installed))
    engines = program.engines()
    for other in ("/bin/false", "/bin/true"):
        install(installed, other)
        done = upgrade(program)
        assert done.returncode == 1 and "is it dnseal?" in done.stderr
    assert program.wait_event("upgrade_failed", program=str(installed))
    installed.unlink()
    done = upgrade(program)
    assert done.returncode == 1 and "No such file" in done.stderr
    install(installed)
    installed.chmod(0o644)
    assert upgrade(program).returncode == 1
    assert program.engines() == engines and program.query_udp("one.test").rcode == 0
    installed.chmod(0o755)
    upgraded(program)


def test_a_program_that_says_much(dnseal, a, installed):
    """Shows: P08"""
    program = dnseal(a, binary=str(installed))
    installed.unlink()
    installed.write_text("#!/bin/sh\nseq 5000 >&2\necho the reason >&2\nexit 1\n")
    installed.chmod(0o755)
    done = upgrade(program)
    assert done.returncode == 1 and done.stderr.endswith(" the reason\n"), done.stderr
    assert program.query_udp("one.test").rcode == 0


def test_a_configuration_that_it_does_not_take(dnseal, a, installed):
    """Shows: P08, P02"""
    program = dnseal(a, binary=str(installed))
    good = pathlib.Path(program.file).read_text()
    pathlib.Path(program.file).write_text(good + "nonsense: 1\n")
    done = upgrade(program)
    assert done.returncode == 1 and "nonsense: unknown key" in done.stderr
    assert "nonsense: unknown key" in program.wait_event("upgrade_failed")["reason"]
    assert program.query_udp("one.test").rcode == 0
    pathlib.Path(program.file).write_text(good)
    upgraded(program)


def test_an_engine_that_cannot_start(dnseal, a, installed):
    """Shows: P08

    The old engine serves on, whatever happens to the new ones, until one of them serves."""
    program = dnseal(a, binary=str(installed), files=200)
    old = program.engines()
    good = pathlib.Path(program.file).read_text()
    pathlib.Path(program.file).write_text(good + "workers: 32\n")
    replace(program, "limits:", "limits:\n  memory: 2GiB")
    done = upgrade(program)
    assert done.returncode == 1 and "limit of open files" in done.stderr
    assert program.query_udp("one.test").rcode == 0
    assert set(old) <= set(program.engines())
    pathlib.Path(program.file).write_text(good)
    done = run(["-c", program.file, "--control", "reload"])
    assert done.returncode == 0, done.stderr
    assert program.query_udp("two.test").rcode == 0
    wait_for(lambda: len(program.engines()) == 1, 10)
    assert program.engines() != old


def stop_the_next(program, count=1):
    """The engine of the next program is stopped before it serves."""
    assert program.wait_event("start", scaled(10), count=1 + count)
    known = set(program.known)
    wait_for(lambda: set(program.engines()) - known)
    new = (set(program.engines()) - known).pop()
    os.kill(new, signal.SIGSTOP)
    program.known.append(new)
    return new


@pytest.fixture
def slow(dnseal, a, authority, installed, tmp_path):
    """The program, and a configuration with which an engine needs some tenths of a second to serve."""
    many = tmp_path / "many.pem"
    many.write_text(pathlib.Path("/etc/ssl/certs/ca-certificates.crt").read_text() * 15
                    + pathlib.Path(authority.ca).read_text())
    program = dnseal(a, binary=str(installed))
    replace(program, authority.ca, str(many))
    program.known = program.engines()
    return program


def test_an_engine_that_never_serves(slow):
    """Shows: P08, P02

    It is given up after half a minute; till then the old engine serves, and the next one takes its place."""
    done = []
    asking = threading.Thread(target=lambda: done.append(upgrade(slow)))
    asking.start()
    stop_the_next(slow)
    assert slow.query_udp("one.test").rcode == 0
    asking.join(scaled(35))
    assert done[0].returncode == 1 and "does not serve after 30 s" in done[0].stderr
    assert slow.wait_event("upgrade", scaled(10))
    wait_for(lambda: len(slow.engines()) == 1)
    assert slow.query_udp("two.test").rcode == 0


def test_an_upgrade_before_the_last_one_serves(slow):
    """Shows: P08

    The engine that was to serve is told to go, and goes as soon as it hears of it."""
    asking = threading.Thread(target=lambda: upgrade(slow))
    asking.start()
    first = stop_the_next(slow)
    upgraded(slow)
    asking.join()
    os.kill(first, signal.SIGCONT)
    wait_for(lambda: len(slow.engines()) == 1)
    assert slow.query_udp("one.test").rcode == 0 and not slow.seen("engine_died")


def test_an_address_that_is_taken(dnseal, a, installed):
    """Shows: P08, P02

    No check of the configuration sees it: the old engine serves on, and the address is taken when it is free."""
    program, other = dnseal(a, binary=str(installed)), dnseal(a)
    old, free = program.engines(), "%s:%d" % (other.address, other.port)
    replace(program, "listen:\n", "listen:\n  - %s\n" % free)
    done = upgrade(program)
    assert done.returncode == 1 and program.wait_event("upgrade_failed")
    assert "cannot listen on %s" % free in program.text()
    assert program.process.poll() is None and program.engines() == old
    assert program.query_udp("one.test").rcode == 0
    other.stop()
    assert program.wait_event("upgrade", scaled(10))
    assert udp_exchange(other.address, other.port, wire.query("two.test"), scaled(6)) is not None


def test_a_log_that_cannot_be_opened(dnseal, a, installed, tmp_path):
    """Shows: P08, O06

    It says so where it said things before, and serves."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = dnseal(a, binary=str(installed))
    replace(program, "target: \"stderr\"", "target: %s" % pipe)
    upgraded(program)
    failed = program.wait_event("log_reopen_failed", scaled(5))
    assert failed["target"] == str(pipe) and failed["reason"] == "a pipe that nobody reads"
    assert program.query_udp("one.test").rcode == 0
    upgraded(program)
    assert program.query_udp("two.test").rcode == 0


def test_a_handover_that_is_none(dnseal, a):
    """Shows: P08, P02"""
    for value in ("9", "x", "-1", "2", ""):
        program = dnseal(a, ready=False, env={"DNSEAL_HANDOVER": value})
        assert program.wait(5) == 1
        assert "DNSEAL_HANDOVER" in program.text()


FROM_A_NEWER_ONE = """
import os, sys
text = os.memfd_create("handover", 0)
os.write(text, b"dnseal handover 1 %d\\nfuture 5 what nobody knows yet\\nend\\n" % os.getpid())
os.environ["DNSEAL_HANDOVER"] = str(text)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_newer_program_hands_over_more(dnseal, a):
    """Shows: P08

    The way back to an older program must not end in none."""
    program = dnseal(a, prefix=["/usr/bin/python3", "-c", FROM_A_NEWER_ONE])
    assert program.query_udp("one.test").rcode == 0


# ---- what else goes on

@pytest.mark.parametrize("delay", [0, 0.01, 0.05, 0.1])
def test_a_stop_in_the_middle(dnseal, a, installed, delay):
    """Shows: P08, P01, M10"""
    program = dnseal(a, binary=str(installed))
    asking = threading.Thread(target=lambda: upgrade(program))
    asking.start()
    time.sleep(0.05 + delay)
    program.stop()
    asking.join()


def test_upgrades_and_reloads_at_once(dnseal, a, installed):
    """Shows: P08, pain 28"""
    program = dnseal(a, binary=str(installed))
    done = []
    jobs = [threading.Thread(target=lambda word=word: done.append(
        run(["-c", program.file, "--control", word], timeout=60))) for word in ["reload", "upgrade"] * 3]
    with Flow(program.address, program.port, 300) as flow:
        for job in jobs:
            job.start()
            time.sleep(0.02)
        for job in jobs:
            job.join()
        flow.finish(scaled(6))
        flow.assert_served(scaled(1))
    wait_for(lambda: len(program.engines()) == 1, 10)
    assert program.query_udp("last.test").rcode == 0


def test_reloads_while_the_next_program_looks(dnseal, a, installed, tmp_path):
    """Shows: P08, pain 28

    Too many engines finish what they have for one more: the upgrade waits until one of them has."""
    gate = a.script = scripts.Gate()
    program = dnseal(a, binary=str(installed))
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\n[ \"$3\" = --check ] && touch %s && sleep 1\nexec %s \"$@\"\n"
                    % (tmp_path / "looks", BINARY))
    asking = []

    def reload_in_use(number):
        asking.append(threading.Thread(target=lambda: program.query_udp("held-%d.test" % number)))
        asking[-1].start()
        assert gate.wait(number, scaled(10)) == number
        assert run(["-c", program.file, "--control", "reload"]).returncode == 0
    for number in (1, 2):
        reload_in_use(number)
    install(installed, slow)
    done = []
    upgrading = threading.Thread(target=lambda: done.append(upgrade(program)))
    upgrading.start()
    wait_for((tmp_path / "looks").exists)
    reload_in_use(3)
    time.sleep(scaled(1.2))
    assert not done
    gate.open()
    for thread in (upgrading, *asking):
        thread.join()
    assert done[0].returncode == 0, done[0].stderr
    assert program.status().total("dnseal_engine_restarts_total") == 0


@pytest.mark.parametrize("orders", [("upgrade", "reload"), ("reload", "upgrade")])
def test_an_engine_that_is_held_up(dnseal, a, installed, orders):
    """Shows: P08, pain 28

    Whoever asks is told, although it never says that it reads no more."""
    program = dnseal(a, binary=str(installed))
    held_up = program.engines()[0]
    os.kill(held_up, signal.SIGSTOP)
    done = {}
    jobs = [threading.Thread(target=lambda word=word: done.update(
        {word: run(["-c", program.file, "--control", word], timeout=30)})) for word in orders]
    for job, word in zip(jobs, orders):
        job.start()
        assert program.wait_event(word, scaled(10))
    for job in jobs:
        job.join(scaled(4))
    assert {word: end.returncode for word, end in done.items()} == {"upgrade": 0, "reload": 0}
    os.kill(held_up, signal.SIGCONT)
    wait_for(lambda: len(program.engines()) == 1, 10)


def test_the_program_is_replaced_while_it_starts(dnseal, a, installed):
    """Shows: P08

    The next upgrade finds the program all the same."""
    program = dnseal(a, binary=str(installed))
    over = threading.Event()

    def replace_again():
        while not over.is_set():
            install(installed)
    replacing = threading.Thread(target=replace_again)
    replacing.start()
    try:
        for _ in range(10):
            upgraded(program)
    finally:
        over.set()
        replacing.join()
    install(installed, text=other_version())
    assert upgraded(program) == "upgraded to %s\n" % other_version()


def test_health_all_along(dnseal, a, installed):
    """Shows: P06, P08

    Whoever asks in the middle waits for the next program."""
    program = dnseal(a, binary=str(installed))
    told, over = [], threading.Event()

    def look():
        while not over.is_set():
            told.append(run(["-c", program.file, "--healthcheck"]))
    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(10):
        upgraded(program)
    over.set()
    looking.join()
    assert len(told) > 10 and {(done.returncode, done.stderr) for done in told} == {(0, "")}


def test_the_control_socket_stays(dnseal, a, installed, tmp_path):
    """Shows: P08, P02

    A directory in which nothing can be made any more does not matter; a path that is not there any more does."""
    place = tmp_path / "place"
    place.mkdir()
    program = dnseal(a, binary=str(installed), control={"socket": str(place / "socket")})
    inode = (place / "socket").stat().st_ino
    upgraded(program)
    assert (place / "socket").stat().st_ino == inode
    before = pathlib.Path(program.file).read_text()
    replace(program, str(place / "socket"), str(tmp_path / "other"))
    pathlib.Path(tmp_path / "before.yaml").write_text(before)
    assert run(["-c", str(tmp_path / "before.yaml"), "--control", "upgrade"], timeout=60).returncode == 0
    assert not (place / "socket").exists()
    (tmp_path / "other").rename(tmp_path / "lost")
    replace(program, str(tmp_path / "other"), str(tmp_path / "lost"))
    moved = pathlib.Path(program.file).read_text()
    replace(program, str(tmp_path / "lost"), str(tmp_path / "other"))
    pathlib.Path(tmp_path / "before.yaml").write_text(moved)
    assert run(["-c", str(tmp_path / "before.yaml"), "--control", "upgrade"], timeout=60).returncode == 0
    upgraded(program)


def test_under_a_service_manager(managed, a, address, port, installed):
    """Shows: P08, P06

    What was passed is served on, and the manager hears of the beginning and the end."""
    home = address()
    number = port(home)
    with bound(home, number, socket.SOCK_DGRAM) as datagrams, bound(home, number, socket.SOCK_STREAM) as streams:
        program = managed(a, binary=str(installed), sockets=[datagrams, streams], watchdog=1,
                          listen=["%s:%d" % (home, number)])
        program.address, program.port = home, number
        for count in (2, 3):
            upgraded(program)
            assert program.words.wait("READY=1", count=count)
            assert program.query_udp("x%d.test" % count).rcode == 0
            assert program.query_tcp("y%d.test" % count).rcode == 0
        fed = program.words.count("WATCHDOG=1")
        assert program.words.wait("WATCHDOG=1", count=fed + 2)
    told = [word for _, word in program.words.heard if word in ("READY=1", "RELOADING=1")]
    assert told == ["READY=1"] + ["RELOADING=1", "READY=1"] * 2
