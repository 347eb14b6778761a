"""Another configuration while running: everything in it can change, nothing is lost, and what does not pass changes
nothing."""
import contextlib
import os
import pathlib
import signal
import threading
import time

import pytest

import scripts
import wire
from clients import Flow, StreamFlow
from conftest import new_address
from pace import taken
from program import anonymous, descriptors, is_sanitized, run, scaled
from zone import Zone


def rewrite(program, write_config, *servers, **changes):
    """The file anew, at the same address, with other words in it."""
    file, _, _ = write_config(*servers, at=program.address, **changes)
    text = pathlib.Path(file).read_text()
    before = pathlib.Path(program.file).read_text()
    for key in ("socket", "listen"):
        if key not in changes and key not in changes.get("control", {}):
            text = keep_line(text, before, key)
    pathlib.Path(program.file).write_text(text)


def keep_line(text, before, key):
    """The block that begins with this key, as it was."""
    return text.replace(block(text, key), block(before, key))


def block(text, key):
    lines = text.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.strip().startswith(key + ":"))
    depth = len(lines[at]) - len(lines[at].lstrip())
    end = at + 1
    while end < len(lines) and (len(lines[end]) - len(lines[end].lstrip()) > depth or lines[end].startswith("- ")):
        end += 1
    return "".join(lines[at:end])


def reload(program, timeout=30):
    return run(["-c", program.file, "--control", "reload"], env=program.env, timeout=timeout)


def reloaded(program):
    done = reload(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "reloaded\n"


def replace(program, old, new):
    file = pathlib.Path(program.file)
    text = file.read_text()
    assert old in text, text
    file.write_text(text.replace(old, new))


def wait_for(condition, seconds=5):
    end = time.monotonic() + scaled(seconds)
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# ---- what can change ----

def test_upstreams_change(dnseal, write_config, a, b):
    """Shows: pain 28"""
    program = dnseal(a)
    assert program.query_udp("one.test").rcode == 0 and len(a.names()) == 1
    rewrite(program, write_config, b)
    reloaded(program)
    assert program.query_udp("two.test").rcode == 0 and (len(a.names()), len(b.names())) == (1, 1)
    assert program.wait_event("reload", cause="control")
    assert program.status().total("dnseal_config_reloads_total", result="ok") == 1
    assert not program.status().by_label("dnseal_upstream_up", "upstream").get(a.url)


def test_a_signal_reloads(dnseal, write_config, a, b):
    """Shows: pain 28"""
    program = dnseal(a)
    rewrite(program, write_config, b)
    program.signal(signal.SIGHUP)
    assert program.wait_event("reload", scaled(10), cause="signal")
    wait_for(lambda: len(program.engines()) == 1)
    assert program.query_udp("two.test").rcode == 0 and (len(a.names()), len(b.names())) == (0, 1)


def test_listeners_change(dnseal, write_config, a):
    """Shows: pain 28, regression 19

    One address goes, one comes, one stays; what stays keeps its sockets."""
    program = dnseal(a)
    home, other = program.address, new_address()
    kept = sockets_of(program, home)
    replace(program, block(pathlib.Path(program.file).read_text(), "listen"),
            "listen:\n- %s:%d\n- %s:%d\n" % (home, program.port, other, program.port))
    reloaded(program)
    assert program.query_udp("one.test", address=other).rcode == 0
    assert program.query_tcp("one.test").rcode == 0
    assert sockets_of(program, home) == kept
    replace(program, "- %s:%d\n" % (home, program.port), "")
    reloaded(program)
    assert program.query_udp("two.test", address=other).rcode == 0
    wait_for(lambda: not sockets_of(program, home))
    assert program.query_udp("two.test", timeout=0.3) is None


def sockets_of(program, address):
    """The inodes of the UDP sockets at this address, as the kernel tells them; read thrice, as a line is left out when
    sockets of others come and go meanwhile."""
    wanted = "".join("%02X" % int(part) for part in reversed(address.split(".")))
    found = set()
    for line in [line for _ in range(3) for line in pathlib.Path("/proc/net/udp").read_text().splitlines()[1:]]:
        fields = line.split()
        if fields[1] == "%s:%04X" % (wanted, program.port):
            found.add(fields[9])
    return found


@pytest.mark.parametrize("before,after", [(1, 3), (3, 1)])
def test_workers_change(dnseal, write_config, a, before, after):
    """Shows: pain 28, regression 19

    Many sockets of clients, so that each worker has some of them; none may wait at a socket that nobody reads."""
    program = dnseal(a, workers=before)
    rewrite(program, write_config, a, workers=after)
    with contextlib.ExitStack() as stack:
        flows = [stack.enter_context(Flow(program.address, program.port, 50, "f%d-%%d.test" % number))
                 for number in range(8)]
        time.sleep(0.3)
        reloaded(program)
        time.sleep(0.5)
        for flow in flows:
            flow.finish(scaled(6))
            flow.assert_served(scaled(1))
    assert program.wait_event("ready", workers=after)


@pytest.mark.parametrize("size", ["1MiB", "32MiB"])
def test_the_size_of_the_cache_changes(dnseal, write_config, a, size):
    """Shows: pain 28, I1

    What was kept is there, in a cache of another size."""
    program = dnseal(a, cache={"size": "8MiB"})
    assert program.query_udp("kept.test").rcode == 0
    rewrite(program, write_config, a, cache={"size": size})
    reloaded(program)
    a.stop()
    assert program.query_udp("kept.test").data == [Zone.address("kept.test")]


def test_the_cache_goes_and_comes(dnseal, write_config, a):
    """Shows: pain 28, I1"""
    program = dnseal(a)
    for size in ("0", "8MiB", "0"):
        rewrite(program, write_config, a, cache={"size": size})
        reloaded(program)
        assert program.query_udp("x%s.test" % size).rcode == 0


def test_the_cache_stays(dnseal, write_config, a):
    """Shows: pain 28, I1"""
    program = dnseal(a, cache={"size": "8MiB"})
    assert program.query_udp("kept.test").rcode == 0
    reloaded(program)
    a.stop()
    assert program.query_udp("kept.test").data == [Zone.address("kept.test")]


def test_answers_of_other_servers_are_forgotten(dnseal, write_config, server):
    """Shows: pain 28, I1, I4

    What was kept was said by servers that are asked no more: nobody is given it. A server more in a group changes
    nothing about what the others said."""
    a, b, c = server("a.test"), server("b.test"), server("a.test")
    b.zone = Zone("kept.test. 300 A 192.0.2.2")
    program = dnseal(a, cache={"size": "8MiB"})
    right = [Zone.address("kept.test")]
    assert program.query_udp("kept.test").data == right
    rewrite(program, write_config, a, c, cache={"size": "8MiB"})
    reloaded(program)
    assert program.query_udp("kept.test").data == right and len(a.names() + c.names()) == 1
    rewrite(program, write_config, b, cache={"size": "8MiB"})
    reloaded(program)
    assert program.query_udp("kept.test").data == [bytes([192, 0, 2, 2])]
    assert program.wait_event("cache_flush", what="groups")


def test_groups_that_change_places(dnseal, write_config, a, b):
    """Shows: pain 28, I1, I11

    Each group finds what it kept, and nothing of another's, wherever it stands in the file."""
    b.zone = Zone("kept.test. 300 A 192.0.2.2")
    first, second = {"url": a.url}, {"url": b.url, "group": "second"}
    words = {"cache": {"size": "8MiB"}}
    program = dnseal(a, upstreams=[first, second], routes={"x.test": "second"}, **words)
    assert program.query_udp("kept.test").data == [Zone.address("kept.test")]
    rewrite(program, write_config, a, upstreams=[second, first], routes={"x.test": "second"}, **words)
    reloaded(program)
    a.stop()
    assert program.query_udp("kept.test").data == [Zone.address("kept.test")]
    rewrite(program, write_config, a, upstreams=[second, first], routes={".": "second", "x.test": "default"}, **words)
    reloaded(program)
    assert program.query_udp("kept.test").data == [bytes([192, 0, 2, 2])]


def test_the_log_changes(dnseal, write_config, a, tmp_path):
    """Shows: pain 28, M8"""
    program = dnseal(a)
    target = tmp_path / "moved.log"
    rewrite(program, write_config, a, log={"target": str(target), "format": "text", "queries": "full"})
    reloaded(program)
    assert program.query_udp("seen.test").rcode == 0
    wait_for(lambda: "event=reload " in target.read_text() and "seen.test" in target.read_text())


def test_the_control_socket_moves(dnseal, write_config, a, tmp_path):
    """Shows: pain 28

    Who asked for the reload has the answer at the old path; then the new one is asked."""
    program = dnseal(a)
    old = pathlib.Path(block(pathlib.Path(program.file).read_text(), "socket").split(":", 1)[1].strip().strip('"'))
    socket_before = ["-c", str(tmp_path / "before.yaml")]
    pathlib.Path(socket_before[1]).write_text(pathlib.Path(program.file).read_text())
    new = tmp_path / "moved"
    replace(program, str(old), str(new))
    done = run([*socket_before, "--control", "reload"])
    assert done.returncode == 0, done.stderr
    wait_for(lambda: not old.exists())
    assert run(["-c", program.file, "--healthcheck"]).returncode == 0
    assert run([*socket_before, "--healthcheck"]).returncode == 1


def test_authorities_change(dnseal, write_config, authority, server, tmp_path):
    """Shows: pain 28, W9, pain 32"""
    a = server("a.test")
    file = tmp_path / "authorities.pem"
    file.write_text(pathlib.Path(authority.ca).read_text())
    program = dnseal(a, tls={"ca": str(file)})
    assert program.query_udp("one.test").rcode == 0
    before = file.read_text()
    file.write_text("nothing that is a certificate\n")
    done = reload(program)
    assert done.returncode == 1 and "tls.ca: %s: holds no certificate" % file in done.stderr
    assert program.query_udp("two.test").rcode == 0
    file.write_text(before)
    reloaded(program)
    assert program.query_udp("three.test").rcode == 0


# ---- files that are renewed ----

def renew(file, text, way):
    """As editors write in place, as most programs put another file there, as a ConfigMap is swapped."""
    if way == "written":
        file.write_text(text)
    elif way == "renamed":
        new = file.with_suffix(".new")
        new.write_text(text)
        new.rename(file)
    else:
        data = file.parent / ("..data-%d" % time.monotonic_ns())
        data.mkdir()
        (data / file.name).write_text(text)
        link = file.parent / "..new"
        link.symlink_to(data.name)
        link.rename(file.parent / "..data")


@pytest.mark.parametrize("way", ["written", "renamed", "swapped"])
def test_renewed_authorities_are_taken(dnseal, authority, other_authority, server, tmp_path, way):
    """Shows: pain 32, W9, W2

    The server has another chain from one day to the next, and nobody says so to the program."""
    a = server("a.test", identity=other_authority.good("a.test"))
    file = tmp_path / "certificates" / "ca.pem"
    file.parent.mkdir()
    old, new = (pathlib.Path(one.ca).read_text() for one in (authority, other_authority))
    if way == "swapped":
        renew(file, old, way)
        file.symlink_to("..data/ca.pem")
    else:
        file.write_text(old)
    program = dnseal(a, tls={"ca": str(file)})
    assert program.query_udp("one.test").rcode == 2
    renew(file, new, way)
    assert program.wait_event("reload", scaled(5), cause="files")
    wait_for(lambda: program.query_udp("two.test").rcode == 0)
    renew(file, old, way)
    assert program.wait_event("reload", scaled(5), cause="files", count=2)
    wait_for(lambda: len(program.engines()) == 1)
    assert program.query_udp("three.test").rcode == 2


def test_authorities_that_are_written_slowly(dnseal, authority, a, tmp_path):
    """Shows: pain 32

    Half a file is refused and told; the whole one is taken when it is there."""
    file = tmp_path / "ca.pem"
    text = pathlib.Path(authority.ca).read_text()
    file.write_text(text)
    program = dnseal(a, tls={"ca": str(file)})
    with file.open("w") as out:
        out.write(text[:len(text) // 2])
        out.flush()
        os.utime(file)
        assert program.wait_event("reload_failed", scaled(5), cause="files")
        assert program.query_udp("one.test").rcode == 0
        out.write(text[len(text) // 2:])
    assert program.wait_event("reload", scaled(5), cause="files")
    file.unlink()
    time.sleep(scaled(0.8))
    assert len(program.seen("reload_failed")) == 1
    assert program.query_udp("two.test").rcode == 0
    file.write_text(text)
    assert program.wait_event("reload", scaled(5), cause="files", count=2)


# ---- what does not pass ----

def test_a_bad_file_changes_nothing(dnseal, a):
    """Shows: pain 28, P02"""
    program = dnseal(a)
    engines = program.engines()
    good = pathlib.Path(program.file).read_text()
    pathlib.Path(program.file).write_text(good + "wrkers: 3\ncache: nothing\n")
    done = reload(program)
    line = good.count("\n") + 1
    assert done.returncode == 1 and done.stdout == ""
    assert "%s:%d:1: wrkers: unknown key" % (program.file, line) in done.stderr
    failed = [event["reason"] for event in program.seen("reload_failed", cause="control")]
    assert any("%s:%d:1: wrkers: unknown key" % (program.file, line) in reason for reason in failed)
    assert program.engines() == engines
    assert program.query_udp("one.test").rcode == 0
    assert program.status().total("dnseal_config_reloads_total", result="failed") == 1
    pathlib.Path(program.file).unlink()
    program.signal(signal.SIGHUP)
    assert program.wait_event("reload_failed", scaled(5), cause="signal")
    assert "cannot be read" in program.seen("reload_failed", cause="signal")[0]["reason"]
    assert program.engines() == engines
    pathlib.Path(program.file).write_text(good)
    reloaded(program)


def test_an_address_that_is_taken(dnseal, write_config, a, tmp_path):
    """Shows: pain 28, P02

    What was opened on the way is closed again: the address that was free is free."""
    program, other = dnseal(a), dnseal(a)
    free = new_address()
    good = pathlib.Path(program.file).read_text()
    replace(program, block(good, "listen"), "listen:\n- %s:%d\n- %s:%d\n- %s:%d\n" % (
        program.address, program.port, free, program.port, other.address, other.port))
    done = reload(program)
    assert done.returncode == 1
    assert "cannot listen on %s:%d (udp): address already in use" % (other.address, other.port) in done.stderr
    assert program.query_udp("one.test").rcode == 0
    wait_for(lambda: len(program.engines()) == 1)
    time.sleep(0.2)
    before = descriptors(program.process.pid)
    for _ in range(5):
        assert reload(program).returncode == 1
    wait_for(lambda: descriptors(program.process.pid) == before)
    pathlib.Path(program.file).write_text(good)
    reloaded(program)


def test_an_engine_that_cannot_start(dnseal, write_config, a):
    """Shows: pain 28, W5"""
    program = dnseal(a, files=200)
    engines = program.engines()
    rewrite(program, write_config, a, workers=32, limits={"memory": "2GiB"})
    done = reload(program)
    assert done.returncode == 1 and "limit of open files" in done.stderr
    assert program.query_udp("one.test").rcode == 0
    assert program.engines() == engines


# ---- what is under way ----

def test_questions_that_wait_are_answered(dnseal, write_config, a, b):
    """Shows: pain 28, regression 19

    The server that they wait for is in the configuration no more."""
    gate = a.script = scripts.Gate()
    program = dnseal(a)
    with program.tcp() as stream:
        stream.send(wire.query("stream.test", message_id=5))
        assert gate.wait(1, scaled(10)) == 1
        answers = []
        asking = threading.Thread(target=lambda: answers.append(program.query_udp("datagram.test")))
        asking.start()
        assert gate.wait(2, scaled(10)) == 2
        rewrite(program, write_config, b)
        reloaded(program)
        assert len(program.engines()) == 2
        assert program.query_udp("new.test").rcode == 0
        gate.open()
        assert stream.receive(scaled(3)).rcode == 0
        asking.join()
    assert answers[0].rcode == 0
    wait_for(lambda: len(program.engines()) == 1)


@pytest.mark.parametrize("workers", [(1, 1), (3, 2)])
def test_connections_of_clients_stay(dnseal, write_config, a, b, workers):
    """Shows: pain 28, regression 19

    One that has never asked, one that has, and one in the middle of a question go on with the new engine."""
    program = dnseal(a, workers=workers[0])
    message = wire.frame(wire.query("half.test"))
    with program.tcp() as idle, program.tcp() as asked, program.tcp() as half:
        assert asked.ask(wire.query("one.test")).data == [Zone.address("one.test")]
        half.socket.sendall(message[:7])
        rewrite(program, write_config, b, workers=workers[1])
        reloaded(program)
        wait_for(lambda: len(program.engines()) == 1)
        half.socket.sendall(message[7:])
        assert half.receive(scaled(3)).data == [Zone.address("half.test")]
        for number, stream in enumerate((idle, asked, half)):
            assert stream.ask(wire.query("x%d.test" % number)).data == [Zone.address("x%d.test" % number)]
        assert a.names() == ["one.test."] and b.names() == ["half.test.", "x0.test.", "x1.test.", "x2.test."]
        status = program.status()
        assert status.total("dnseal_tcp_passed_total") == 3
        assert status.total("dnseal_tcp_connections") == 3
        assert status.total("dnseal_tcp_closes_total", reason="drain") == 0


def test_a_connection_goes_when_its_question_is_answered(dnseal, write_config, a, b):
    """Shows: pain 28, regression 19

    What it asks meanwhile is for the new engine, through reloads that come in between."""
    gate = a.script = scripts.Gate()
    program = dnseal(a)
    with program.tcp() as stream:
        stream.send(wire.query("waits.test", message_id=1))
        assert gate.wait(1, scaled(10)) == 1
        rewrite(program, write_config, b)
        reloaded(program)
        reloaded(program)
        stream.send(wire.query("later.test", message_id=2))
        time.sleep(0.2)
        gate.open()
        first, second = stream.receive_many(2, scaled(3))
        assert (first.id, first.data) == (1, [Zone.address("waits.test")])
        assert (second.id, second.data) == (2, [Zone.address("later.test")])
        assert a.names() == ["waits.test."] and b.names() == ["later.test."]
        wait_for(lambda: len(program.engines()) == 1)
        assert stream.ask(wire.query("last.test")).rcode == 0
    assert program.status().total("dnseal_tcp_passed_total") == 1


def test_connections_to_an_address_that_is_gone(dnseal, write_config, a, address):
    """Shows: pain 28"""
    program = dnseal(a)
    with program.tcp() as stream:
        assert stream.ask(wire.query("one.test")).rcode == 0
        replace(program, program.address, address())
        reloaded(program)
        assert stream.closed_after(scaled(2))
    assert program.status().total("dnseal_tcp_closes_total", reason="drain") == 1


def test_more_connections_than_pass_at_once(dnseal, a):
    """Shows: pain 28, O01"""
    program = dnseal(a, limits={"tcp_connections": 800, "tcp_connections_per_client": 800})
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(program.tcp()) for _ in range(600)]
        wait_for(lambda: program.status().total("dnseal_tcp_connections") == len(streams))
        reloaded(program)
        wait_for(lambda: program.status().total("dnseal_tcp_passed_total") == len(streams))
        wait_for(lambda: len(program.engines()) == 1)
        for stream in streams[::50]:
            assert stream.ask(wire.query("one.test")).rcode == 0
        assert program.status().total("dnseal_tcp_connections") == len(streams)


def test_connections_of_an_engine_that_was_held_up(dnseal, a):
    """Shows: pain 28, P01

    It hears of its drain when the engine after it drains as well: the connections go on with the third."""
    program = dnseal(a, limits={"tcp_connections_per_client": 60})
    held_up = program.engines()
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(program.tcp()) for _ in range(50)]
        for stream in streams:
            assert stream.ask(wire.query("one.test")).rcode == 0
        os.kill(held_up[0], signal.SIGSTOP)
        for count in (1, 2):
            program.signal(signal.SIGHUP)
            assert program.wait_event("reload", scaled(10), count=count)
        time.sleep(0.2)
        os.kill(held_up[0], signal.SIGCONT)
        for stream in streams:
            assert stream.ask(wire.query("two.test")).data == [Zone.address("two.test")]
        wait_for(lambda: len(program.engines()) == 1)
        status = program.status()
        assert status.total("dnseal_tcp_connections") == len(streams)
        assert status.total("dnseal_tcp_closes_total", reason="drain") == 0


def test_counters_never_go_back(dnseal, write_config, a, b):
    """Shows: pain 28"""
    program = dnseal(a)
    for number in range(10):
        assert program.query_udp("x%d.test" % number).rcode == 0
    reloaded(program)
    rewrite(program, write_config, a, b)
    reloaded(program)
    wait_for(lambda: len(program.engines()) == 1)
    status = program.status()
    assert status.total("dnseal_queries_total", transport="udp") == 10
    assert status.total("dnseal_request_duration_seconds_count", transport="udp") == 10
    assert status.total("dnseal_upstream_queries_total", upstream=a.url, outcome="answer") == 10
    assert status.total("dnseal_upstream_queries_total", upstream=b.url, outcome="answer") == 0


def test_reloads_that_overtake_each_other(dnseal, a):
    """Shows: pain 28

    Each that asks has an answer, and the file is read again after the last one asked."""
    program = dnseal(a)
    done = []
    threads = [threading.Thread(target=lambda: done.append(reload(program))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.returncode for result in done] == [0] * 6, [result.stderr for result in done]
    for _ in range(20):
        program.signal(signal.SIGHUP)
    assert program.query_udp("one.test").rcode == 0
    wait_for(lambda: len(program.engines()) == 1, 20)


def test_a_stop_in_the_middle(dnseal, a):
    """Shows: pain 28, P01, M10"""
    for delay in (0, 0.005, 0.02, 0.05):
        program = dnseal(a)
        program.signal(signal.SIGHUP)
        time.sleep(delay)
        program.stop()


@pytest.mark.parametrize("victim", ["old", "new"])
def test_an_engine_dies_in_the_middle(dnseal, a, victim):
    """Shows: pain 28, P01

    Whichever of the two it is, one serves, and soon only one is there."""
    gate = a.script = scripts.Gate()
    program = dnseal(a)
    with program.tcp() as stream:
        stream.send(wire.query("waits.test"))
        assert gate.wait(1, scaled(10)) == 1
        old = program.engines()
        reloaded(program)
        new = [pid for pid in program.engines() if pid not in old]
        assert len(old) == len(new) == 1
        os.kill((old if victim == "old" else new)[0], signal.SIGKILL)
        assert program.wait_event("engine_died", scaled(5))
        gate.open()
        wait_for(lambda: program.query_udp("one.test", timeout=0.5) is not None)
    wait_for(lambda: len(program.engines()) == 1)
    restarts = program.status().total("dnseal_engine_restarts_total")
    assert restarts == (1 if victim == "new" else 0)


@pytest.fixture
def slow_start(authority, tmp_path):
    """Authorities that an engine needs some tenths of a second to read."""
    file = tmp_path / "many.pem"
    file.write_text(pathlib.Path("/etc/ssl/certs/ca-certificates.crt").read_text() * 15
                    + pathlib.Path(authority.ca).read_text())
    return {"ca": str(file)}


def test_the_new_engine_dies_before_it_serves(dnseal, write_config, a, slow_start):
    """Shows: pain 28, P01"""
    program = dnseal(a)
    old = program.engines()
    rewrite(program, write_config, a, tls=slow_start)
    program.signal(signal.SIGHUP)
    wait_for(lambda: len(program.engines()) == 2)
    os.kill(next(pid for pid in program.engines() if pid not in old), signal.SIGKILL)
    failed = program.wait_event("reload_failed", scaled(5))
    assert "killed by signal 9" in failed["reason"]
    assert program.query_udp("one.test").rcode == 0
    assert program.engines() == old


def test_both_engines_die(dnseal, write_config, a, slow_start):
    """Shows: pain 28, P01

    The old configuration serves again, since the new one never did."""
    program = dnseal(a)
    rewrite(program, write_config, a, tls=slow_start)
    program.signal(signal.SIGHUP)
    wait_for(lambda: len(program.engines()) == 2)
    for pid in program.engines():
        os.kill(pid, signal.SIGKILL)
    assert program.wait_event("ready", scaled(5), count=2)
    assert program.query_udp("one.test").rcode == 0
    assert program.seen("reload_failed") and not program.seen("reload")


# ---- under load ----

def test_a_hundred_reloads_under_load(dnseal, write_config, a, b):
    """Shows: pain 28, regression 19

    1,000 questions a second over UDP and TCP, good and bad files by turns: none lost, none failed, no connection
    closed, and nothing is left behind."""
    program = dnseal(a, b)
    good = pathlib.Path(program.file).read_text()
    reloaded(program)
    wait_for(lambda: len(program.engines()) == 1, 10)
    time.sleep(0.2)
    before = descriptors(program.process.pid), anonymous(program.process.pid)
    rounds = 20 if is_sanitized() else 100
    with contextlib.ExitStack() as stack:
        kinds = [Flow, Flow, Flow, StreamFlow, StreamFlow]
        flows = [stack.enter_context(kind(program.address, program.port, 200 / scaled(1),
                                          "f%d-%%d.test" % number)) for number, kind in enumerate(kinds)]
        for number in range(rounds):
            is_good = number % 2 == 0
            pathlib.Path(program.file).write_text(good if is_good else good + "nonsense: 1\n")
            assert reload(program).returncode == (0 if is_good else 1)
        for flow in flows:
            flow.finish(scaled(6))
            flow.assert_served(scaled(1))
    status = program.status()
    assert status.total("dnseal_config_reloads_total", result="ok") == rounds / 2 + 1
    assert status.total("dnseal_config_reloads_total", result="failed") == rounds / 2
    wait_for(lambda: len(program.engines()) == 1, 10)
    wait_for(lambda: descriptors(program.process.pid) <= before[0])
    assert is_sanitized() or anonymous(program.process.pid) < before[1] + (1 << 20)
