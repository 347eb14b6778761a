"""Starting, stopping, dying and coming back."""
import os
import pathlib
import resource
import shutil
import signal
import socket
import stat
import subprocess
import time

import pytest

import scripts
import wire
from clients import Flow, Tcp, family_of, udp_socket
from pace import taken
from program import BINARY, children_of, clean_environment, cpu_seconds, run, scaled


def begin_in_flight(program, upstream, count):
    """Half of `count` questions over UDP and half over TCP, all held by the upstream."""
    gate = upstream.script = scripts.Gate()
    datagrams, stream = udp_socket(None, program.address), program.tcp()
    datagrams.connect((program.address, program.port))
    datagrams.settimeout(scaled(6))
    for number in range(count // 2):
        datagrams.send(wire.query("u%d.test" % number, message_id=number))
    stream.send(*[wire.query("t%d.test" % number, message_id=number) for number in range(count // 2)])
    assert gate.wait(count, scaled(10)) == count
    return gate, datagrams, stream


def finish_in_flight(datagrams, stream, count):
    ids = sorted(wire.parse(datagrams.recv(65536)).id for _ in range(count // 2))
    assert ids == list(range(count // 2))
    answers = stream.receive_many(count // 2)
    assert sorted(answer.id for answer in answers) == ids and {answer.rcode for answer in answers} == {0}
    datagrams.close()
    stream.socket.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_with_queries_in_flight(dnseal, a, number):
    """Shows: P01, M10, pain 29"""
    program = dnseal(a)
    gate, datagrams, stream = begin_in_flight(program, a, 100)
    started = time.monotonic()
    program.signal(number)
    time.sleep(0.4)
    with pytest.raises(OSError):
        with Tcp(program.address, program.port, timeout=1) as late:
            late.send(wire.query("late.test"))
            if late.receive(1) is None:
                raise ConnectionResetError
    gate.open()
    finish_in_flight(datagrams, stream, 100)
    assert program.wait(5) == 0
    assert taken(started) <= scaled(5)
    assert program.seen("stop")


def test_stop_does_not_wait_for_ever(dnseal, a):
    """Shows: P01"""
    a.script = scripts.silent
    program = dnseal(a, limits={"drain_timeout": "1s", "query_timeout": "30s"})
    with program.tcp() as link:
        link.send(wire.query("x.test"))
        a.wait_heard(1)
        started = time.monotonic()
        program.signal(signal.SIGTERM)
        assert program.wait(4) == 0
        assert 0.5 <= time.monotonic() - started and taken(started) <= scaled(2)


def test_second_signal_stops_at_once(dnseal, a):
    """Shows: P01, M10"""
    a.script = scripts.silent
    program = dnseal(a, limits={"query_timeout": "30s", "drain_timeout": "30s"})
    with program.tcp() as link:
        link.send(wire.query("x.test"))
        a.wait_heard(1)
        program.signal(signal.SIGTERM)
        time.sleep(0.5)
        assert program.running
        program.signal(signal.SIGTERM)
        assert program.wait(2) == 0


def test_delay_before_the_drain(dnseal, a):
    """Shows: P01, pain 29"""
    program = dnseal(a, limits={"drain_delay": "2s"})
    program.signal(signal.SIGTERM)
    time.sleep(1)
    assert program.query_udp("still.test").rcode == 0
    assert program.query_tcp("still.test").rcode == 0
    assert program.wait(5) == 0


def control(program, command):
    return run(["-c", program.file, "--control", command])


def test_a_stop_is_told_to_who_asks(dnseal, a):
    """Shows: P01, pain 29

    While everybody is served still, and at once: a load balancer looks elsewhere, a person need not wait."""
    program = dnseal(a, limits={"drain_delay": "4s"})
    program.signal(signal.SIGTERM)
    assert program.wait_event("stop")
    health = run(["-c", program.file, "--healthcheck"])
    assert health.returncode == 1 and health.stderr == "not ready: the program is stopping\n"
    for command in ("reload", "upgrade"):
        done = control(program, command)
        assert done.returncode == 1 and done.stderr == "dnseal: the program is stopping\n", (command, done.stderr)
    assert program.query_udp("still.test").rcode == 0
    assert program.running and not program.seen("reload")
    assert program.wait(8) == 0


def test_who_waits_for_a_reload_is_told_of_a_stop(dnseal, a):
    """Every place for an engine is taken by one that finishes what it has.
    Shows: P01, P08, pain 28"""
    a.script = scripts.silent
    program = dnseal(a, limits={"query_timeout": "30s", "drain_timeout": "20s"})
    with udp_socket() as client:
        for turn in range(3):
            client.sendto(wire.query("waits-%d.test" % turn), (program.address, program.port))
            a.wait_heard(turn + 1)
            assert control(program, "reload").returncode == 0
        client.sendto(wire.query("waits-3.test"), (program.address, program.port))
        a.wait_heard(4)
        asking = subprocess.Popen([BINARY, "-c", program.file, "--control", "reload"], env=clean_environment(),
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)
        assert asking.poll() is None
        program.signal(signal.SIGTERM)
        _, words = asking.communicate(timeout=scaled(5))
        assert program.running, "it was told no sooner than at the end"
        assert asking.returncode == 1 and words == "dnseal: the program is stopping\n"
        program.signal(signal.SIGTERM)
        assert program.wait(5) == 0


def test_kill_and_restart(dnseal, a):
    """Shows: P01, W5"""
    program = dnseal(a)
    for turn in range(50):
        with Flow(program.address, program.port, 200, name="k%d-%%d.test" % turn) as flow:
            time.sleep(0.1)
            assert program.kill() == [], "an engine lived on"
            flow.finish(0)
        started = time.monotonic()
        program.start()
        assert program.query_udp("back-%d.test" % turn).rcode == 0
        assert taken(started) <= scaled(1) + 0.2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_killed_engine_is_replaced(dnseal, a, number):
    """Shows: P01, I10, W8"""
    program = dnseal(a)
    assert program.query_udp("before.test").rcode == 0
    engine, = program.engines()
    os.kill(engine, number)
    assert program.wait_event("engine_died", scaled(2)) is not None
    assert program.wait_event("ready", scaled(3), count=2) is not None
    assert program.query_udp("after.test").rcode == 0 and program.query_tcp("after.test").rcode == 0
    assert program.engines() != [engine]
    assert program.status().total("dnseal_engine_restarts_total") == 1


def test_engine_that_keeps_dying(dnseal, a):
    """Shows: P01, I10"""
    program = dnseal(a)
    for turn in range(4):
        end = time.monotonic() + scaled(10)
        while not program.engines() and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(program.engines()[0], signal.SIGKILL)
        assert program.wait_event("engine_died", scaled(2), count=turn + 1) is not None
        assert program.wait_event("ready", scaled(10), count=turn + 2) is not None
    assert program.query_udp("after.test", timeout=8).rcode == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_engine_that_dies_before_it_serves(dnseal, a, authority, tmp_path, number):
    """Shows: P01, I10"""
    slow = tmp_path / "slow.pem"  # reading so many takes longer than finding the engine
    slow.write_text(pathlib.Path(authority.ca).read_text() * 10000)
    program = dnseal(a, ready=False, tls={"ca": str(slow)})
    end = time.monotonic() + scaled(10)
    while not program.engines() and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(program.engines()[0], number)
    assert program.wait(5) == 1
    assert "killed by signal %d " % number in program.text() and "before it served" in program.text()


def full_pipe():
    """A pipe that takes no byte more; writing to it waits."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while os.write(writer, bytes(4096)):
            pass
    except BlockingIOError:
        os.set_blocking(writer, True)
    return reader, writer


def lines_of(log, event):
    return [line for line in log.read_text().splitlines() if "event=%s " % event in line] if log.exists() else []


def wait_for_lines(log, event, count, seconds=5):
    end = time.monotonic() + scaled(seconds)
    while len(lines_of(log, event)) < count:
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)
    return lines_of(log, event)


def test_engines_that_cannot_start_hold_nothing_up(write_config, a, tmp_path):
    """With nobody who reads standard error; the log tells why they cannot, and one that can serves again.

    Shows: P01, I10
    """
    log = tmp_path / "log"
    file, address, port = write_config(a, workers=1, user="", log={"target": str(log), "format": "text"})
    reader, writer = full_pipe()
    process = subprocess.Popen([BINARY, "-c", str(file)], stderr=writer, stdout=writer, env=clean_environment())
    try:
        wait_for_lines(log, "ready", 1)
        limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        highest = max(int(number) for number in os.listdir("/proc/%d/fd" % process.pid))
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (highest + 3, limits[1]))  # for a channel, and no engine
        os.kill(children_of(process.pid)[0], signal.SIGKILL)
        died = wait_for_lines(log, "engine_died", 3)
        assert "signal=9" in died[0] and all("code=1" in line and "reason=" in line for line in died[1:])
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
        wait_for_lines(log, "ready", 2, 10)
        process.terminate()
        assert process.wait(scaled(10)) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)
        os.close(writer)


def test_a_letter_that_no_memory_was_there_for_is_read_later(write_config, a, tmp_path):
    """The engine says that it serves while the monitor is refused memory to read that: nobody has gone.

    Shows: P01
    """
    assert shutil.which("strace"), "strace is missing; ./dev test installs it"
    log, calls = tmp_path / "log", tmp_path / "calls"
    file, _, _ = write_config(a, log={"target": str(log), "format": "text"})
    process = subprocess.Popen(["strace", "-o", str(calls), "-e", "trace=recvmsg",
                                "-e", "inject=recvmsg:error=ENOMEM:when=1..3", BINARY, "-c", str(file)],
                               env=clean_environment({"ASAN_OPTIONS": "detect_leaks=0"}))  # not under strace
    try:
        wait_for_lines(log, "ready", 1)
        monitor, = children_of(process.pid)
        engine, = children_of(monitor)
        os.kill(engine, signal.SIGKILL)  # another one comes only when it is known that one has served
        wait_for_lines(log, "ready", 2)
        os.kill(monitor, signal.SIGTERM)
        assert process.wait(scaled(10)) == 0
        assert calls.read_text().count("ENOMEM") == 3
    finally:
        process.kill()
        process.wait()


def test_start_without_a_reader_of_the_words(tmp_path):
    """Shows: P01, P02"""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([BINARY, "-c", str(tmp_path / "nowhere.yaml")], stderr=writer, stdout=writer,
                          env=clean_environment(), timeout=scaled(10))
    os.close(writer)
    assert done.returncode == 1


def status_of(pid):
    lines = pathlib.Path("/proc/%d/status" % pid).read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_engine_is_not_root(dnseal, a):
    """Shows: W1"""
    for pid in dnseal(a).engines():
        status = status_of(pid)
        assert "0" not in status["Uid"].split() and "0" not in status["Gid"].split()
        assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0
        assert not status["Groups"].split()


def test_privileged_port(dnseal, a, address):
    """Shows: W1, M6"""
    home = address()
    program = dnseal(a, listen=[home + ":53"])
    program.address, program.port = home, 53
    assert program.query_udp("x.test").rcode == 0


def raise_own_limit(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count, hard)), hard))


def connect_many(program, count):
    """Connections that are begun; those that the kernel does not complete stay half open."""
    links = []
    for _ in range(count):
        links.append(socket.socket(family_of(program.address), socket.SOCK_STREAM))
        links[-1].setblocking(False)
        links[-1].connect_ex((program.address, program.port))
    return links


def test_few_descriptors(dnseal, a, b):
    """Shows: O03, pain 10, W5"""
    raise_own_limit(4096)
    program = dnseal(a, b, files=64, workers=1, limits={"tcp_connections": 1000, "tcp_connections_per_client": 1000})
    assert program.query_udp("warm.test").rcode == 0
    with Flow(program.address, program.port, 50) as flow:
        links = connect_many(program, 1000)
        before, started = sum(cpu_seconds(pid) for pid in program.engines()), time.monotonic()
        a.kill()
        time.sleep(0.5)
        a.start()
        b.kill()
        time.sleep(3)
        used = sum(cpu_seconds(pid) for pid in program.engines()) - before
        assert used / (time.monotonic() - started) <= scaled(0.2)
        flow.finish(scaled(5))
    assert flow.lost == 0 and set(flow.rcodes()) == {0}
    assert len(program.seen("fd_limit")) <= 1
    for link in links:
        link.close()
    time.sleep(scaled(1))
    assert program.query_tcp("after.test").rcode == 0


# ---- the program's own words

def test_wrong_usage():
    """Shows: P02, I8"""
    for words in (["--no-such-option"], ["-c"], ["stray"], ["--listen", "nonsense:port"]):
        done = run(words)
        assert done.returncode == 2 or (done.returncode == 1 and words[0] == "--listen")
        assert done.stderr


def test_version_and_help():
    """Shows: I8"""
    version, words = run(["--version"]), run(["--help"])
    assert version.returncode == 0 and "dnseal" in version.stdout
    assert words.returncode == 0
    for option in ("--listen", "--upstream", "--check", "--print-config", "--control", "--version"):
        assert option in words.stdout


def test_help_tells_all_kinds_of_servers():
    """Shows: I8"""
    words = run(["--help"]).stdout
    for kind in ("tls://ADDRESS[:853]#NAME", "tls://HOST", "udp://", "tcp://", "cloudflare", "policy"):
        assert kind in words, kind
    assert "preference" not in words, "the policy that is set without a word has none"


def test_address_in_use(dnseal, write_config, a):
    """Shows: W8, P01"""
    first = dnseal(a)
    here = "%s:%d" % (first.address, first.port)
    blocker = udp_socket()
    blocker.bind((first.address, 0))
    taken = "%s:%d" % blocker.getsockname()
    file, _, _ = write_config(a, listen=[taken])
    done = run(["-c", str(file)])
    blocker.close()
    assert done.returncode == 1 and taken in done.stderr
    assert first.query_udp("x.test").rcode == 0, here


def test_control_socket_is_private(dnseal, a, tmp_path):
    """Shows: W4, I8"""
    path = tmp_path / "private.socket"
    program = dnseal(a, control={"socket": str(path)})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run(["-c", program.file, "--control", "no-such-command"]).returncode != 0


@pytest.mark.parametrize("command", ["", "no-such-command", "flush " + 100000 * "x"], ids=["empty", "unknown", "long"])
def test_commands_that_are_none(dnseal, a, command):
    """Shows: P02, I8"""
    program = dnseal(a)
    done = run(["-c", program.file, "--control", command])
    assert done.returncode == 2 and "unknown command" in done.stderr and "flush NAME" in done.stderr, done.stderr[:400]
    assert program.query_udp("still.test").rcode == 0


def test_command_line_listens_and_asks(dnseal, a, b, address, port):
    """Shows: I8, M6"""
    home = address()
    number = port(home)
    program = dnseal(a, arguments=["--listen", "%s:%d" % (home, number), "--upstream", b.url])
    program.address, program.port = home, number
    assert program.query_udp("x.test").rcode == 0
    assert len(b.heard) == 1 and not a.heard
    listening = {event["address"] for event in program.seen("listening")}
    assert listening == {"%s:%d" % (home, number)}


def test_start_is_told(dnseal, a):
    """Shows: M8, I5"""
    program = dnseal(a)
    assert program.seen("start") and len(program.seen("ready")) == 1
    places = {(event["address"], event["transport"]) for event in program.seen("listening")}
    assert ("%s:%d" % (program.address, program.port), "udp") in places or \
        any(program.address in place and "udp" in words for place, words in places)
