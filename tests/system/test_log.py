"""What the log says, how it is written, and what it must not say."""
import errno
import json
import os
import re
import signal
import subprocess
import time

import pytest

import wire
from clients import Flow, udp_exchange
from program import BINARY, Metrics, as_event, clean_environment, run, scaled

ODD = [b"line\nbreak", b"return\rhere", b"escape\x1b[31m", b'quote"quote', b"back\\slash", b"nul\x00nul", b"high\xff\xfe",
       b"equals=x event=forged", b"{brace}", b"tab\tdel\x7f", b"\xc3\xa4\xe2\x82\xac"]
LONGEST = wire.name_of([b"\n" * 63, b"\xff" * 63, b'"' * 63, b"\\" * 61])


def start_with_file(dnseal, a, tmp_path, **log):
    """The program logging to a file that it may write to; and the file."""
    folder = tmp_path / "log"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    for parent in list(tmp_path.parents)[:2] + [tmp_path]:
        parent.chmod(parent.stat().st_mode | 0o011)
    target = folder / "dnseal.log"
    program = dnseal(a, ready=False, log={"target": str(target), **log})
    end = time.monotonic() + scaled(10)
    while time.monotonic() < end and program.query_udp("ready.test", timeout=0.2) is None:
        assert program.running, program.text()
        time.sleep(0.05)
    return program, target


def ask_odd_names(program):
    names = [wire.name_of([label, b"test"]) for label in ODD] + [LONGEST]
    for name in names:
        assert program.query_udp(name, "TXT").rcode == 0
    assert program.query_tcp(LONGEST, "TXT").rcode == 0
    return len(names) + 1


def assert_lines_are_clean(raw):
    assert raw.endswith(b"\n")
    for line in raw[:-1].split(b"\n"):
        assert len(line) + 1 <= 2048
        assert all(32 <= byte < 127 for byte in line), line


@pytest.mark.parametrize("style", ["json", "text"])
def test_hostile_names_stay_in_their_line(dnseal, a, tmp_path, style):
    """Shows: P10, W7, regression 18"""
    program, target = start_with_file(dnseal, a, tmp_path, format=style, queries="full")
    count = ask_odd_names(program)
    program.stop()
    raw = target.read_bytes()
    assert_lines_are_clean(raw)
    lines = raw.decode().splitlines()
    if style == "json":
        events = [json.loads(line) for line in lines]
        names = [event["name"] for event in events if event["event"] == "query"]
    else:
        assert all(re.search(r"(^| )event=[a-z_]+( |$)", line) for line in lines)
        names = re.findall(r"(?:^| )event=query .*?name=(\S+)", "\n".join(lines))
        assert not any(re.search(r"(^| )event=forged", line) for line in lines)
    assert len([name for name in names if name != "ready.test."]) == count


@pytest.mark.parametrize("mode", ["off", "anonymous", "full"])
def test_query_log_modes(dnseal, a, address, mode):
    """Shows: W4, M8, I5"""
    client = address()
    program = dnseal(a, log={"queries": mode})
    program.query_udp("logged.test", source=client)
    program.query_tcp("logged.test", source=client)
    time.sleep(0.3)
    queries, answers = program.seen("query"), program.seen("answer")
    if mode == "off":
        assert not queries and not answers and "logged" not in program.text()
        return
    assert len(queries) == len(answers) == 2
    assert all("logged" in event["name"] and event["type"] == "A" for event in queries)
    assert {event["transport"] for event in queries} == {"udp", "tcp"}
    assert all(event["rcode"] == "NOERROR" for event in answers)
    shown = {event["client"] for event in queries}
    assert all((client in place) == (mode == "full") for place in shown)
    if mode == "anonymous":
        assert client not in program.text() and client.rpartition(".")[0] + ".0/24" in shown


def test_queries_and_answers_share_an_id(dnseal, a, b):
    """Shows: I5, M8"""
    program = dnseal(a, b, log={"queries": "full"})
    for number in range(10):
        assert program.query_udp("n%d.test" % number).rcode == 0
    time.sleep(0.3)
    queries = {event["id"]: event for event in program.seen("query")}
    answers = {event["id"]: event for event in program.seen("answer")}
    assert len(queries) == 10 and set(queries) == set(answers)
    assert all(a.name in str(event) or b.name in str(event) for event in answers.values())


def test_numbers_and_truths_are_json_values(dnseal, a):
    """Shows: I5, P10"""
    program = dnseal(a)
    assert program.query_udp("x.test").rcode == 0
    program.signal(signal.SIGUSR2)
    assert program.wait_event("counter", scaled(3)) is not None
    assert all(type(event["value"]) in (int, float) for event in program.seen("counter"))
    assert program.wait_event("upstream_up", scaled(3))["resumed"] is False


def test_every_line_is_an_event(dnseal, a):
    """Shows: I5, P10"""
    program = dnseal(a, log={"level": "debug", "queries": "full"})
    program.query_udp("x.test")
    a.kill()
    program.query_udp("y.test", timeout=8)
    program.stop()
    assert not program.strangers
    assert all("event" in event for event in program.events)


def test_text_is_the_default_style(dnseal, a):
    """Shows: I5, M8"""
    program = dnseal(a, ready=False, log={"format": None, "queries": "full"})
    end = time.monotonic() + scaled(10)
    while "event=ready" not in program.text() and time.monotonic() < end:
        time.sleep(0.02)
    assert program.query_udp("x.test").rcode == 0
    program.stop()
    for word in ("event=start", "event=listening", "event=ready", "event=query", "event=answer", "event=stop"):
        assert word in program.text()
    assert not any(as_event(line) for line in program.output)


def test_log_file_is_opened_again(dnseal, a, tmp_path):
    """Shows: I5, P10"""
    program, target = start_with_file(dnseal, a, tmp_path, queries="full")
    moved = target.with_name("dnseal.log.1")
    os.rename(target, moved)
    program.query_udp("old.test")
    program.signal(signal.SIGUSR1)
    assert until(lambda: asked_and_logged(program, target, "turn"))
    assert until(lambda: asked_and_logged(program, target, "new"))
    assert "new" not in moved.read_text()
    assert target.stat().st_mode & 0o007 == 0
    holders = [pid for pid in [program.process.pid] + program.engines() if str(moved) in open_files(pid)]
    assert not holders, "the file that was moved away is still open"


def asked_and_logged(program, target, name):
    program.query_udp("%s.test" % name)
    time.sleep(0.02)
    return target.exists() and name in target.read_text()


def until(holds):
    end = time.monotonic() + scaled(3)
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def open_files(pid):
    folder = "/proc/%d/fd" % pid
    return [os.readlink(os.path.join(folder, name)) for name in os.listdir(folder)]


def fifo_config(write_config, a, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return write_config(a, log={"target": str(tmp_path / "pipe")})


def test_pipe_that_nobody_reads(a, write_config, tmp_path):
    """Shows: I5, pain 29"""
    file, _, _ = fifo_config(write_config, a, tmp_path)
    done = run(["-c", str(file)], timeout=scaled(5))
    assert done.returncode == 1
    assert "log.target: %s: cannot be opened: a pipe that nobody reads" % (tmp_path / "pipe") in done.stderr


def test_pipe_whose_reader_has_gone(dnseal, a, tmp_path):
    """Shows: I5, pain 29"""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    program = dnseal(a, log={"target": str(pipe)}, ready=False)
    assert until(lambda: program.query_udp("early.test", timeout=0.2).rcode == 0 if program.engines() else False)
    os.close(reader)
    program.signal(signal.SIGUSR1)
    (engine,) = program.engines()
    os.kill(engine, signal.SIGKILL)
    assert until(lambda: program.engines() not in ([], [engine]))
    assert program.query_udp("late.test").rcode == 0
    program.stop()


def test_log_file_is_no_link(dnseal, a, write_config, tmp_path):
    """Shows: W4"""
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "dnseal.log").symlink_to(tmp_path / "victim")
    file, _, _ = write_config(a, log={"target": str(tmp_path / "dnseal.log")})
    done = run(["-c", str(file)])
    assert done.returncode == 1
    assert (tmp_path / "victim").read_text() == "precious"


def test_stopped_reader_of_the_log_harms_nobody(dnseal, a, tmp_path):
    """Shows: O06, W5"""
    program = dnseal(a, log={"queries": "full"})
    program.pause_reading.set()
    for number in range(300):
        assert program.query_udp("%s.n%d.test" % ("l" * 60, number)).rcode == 0
    with Flow(program.address, program.port, 300, name="%s.f%%d.test" % ("l" * 60)) as flow:
        time.sleep(4)
        flow.finish(scaled(5))
    assert flow.lost == 0 and set(flow.rcodes()) == {0}
    program.pause_reading.clear()
    time.sleep(scaled(1))
    seen = len(program.seen("query"))
    assert program.query_udp("after.test").rcode == 0
    time.sleep(scaled(1))
    assert len(program.seen("query")) > seen


def test_lost_events_are_counted_while_the_log_is_stuck(dnseal, a):
    """Shows: O06"""
    program = dnseal(a, workers=1, log={"queries": "full"})
    program.pause_reading.set()
    try:
        refused = wire.query("version.bind", "TXT", wire.CHAOS)
        for _ in range(4000):
            assert udp_exchange(program.address, program.port, refused) is not None
        assert program.status().total("dnseal_log_dropped_total") > 0
    finally:
        program.pause_reading.clear()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of half a mebibyte that anybody may write to."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=1777", "none", str(place)], check=True)
    for parent in list(tmp_path.parents)[:2] + [tmp_path]:
        parent.chmod(parent.stat().st_mode | 0o011)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place):
    with open(place / "ballast", "wb", buffering=0) as ballast:
        for size in (4096, 1):
            try:
                while ballast.write(bytes(size)):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC


def wait_for_line(target, text, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and text not in target.read_text():
        time.sleep(0.05)
    return text in target.read_text()


def test_full_disk_harms_nobody(dnseal, a, small_disk):
    """Shows: O06, W5, W8

    Clients notice nothing, what is lost is counted, and the log goes on by itself when there is room again, on a
    new line."""
    target = small_disk / "dnseal.log"
    program = dnseal(a, ready=False, workers=1, log={"target": str(target), "queries": "full"})
    end = time.monotonic() + scaled(10)
    while program.query_udp("ready.test", timeout=0.2) is None and time.monotonic() < end:
        time.sleep(0.05)
    assert wait_for_line(target, "ready.test", scaled(2))
    fill(small_disk)
    with Flow(program.address, program.port, 300) as flow:
        time.sleep(2)
        flow.finish(scaled(5))
    flow.assert_served(scaled(2))
    flow.assert_calm(0, limit=scaled(0.3), slow=6)
    lost = program.status().total("dnseal_log_dropped_total")
    assert lost > 0
    (small_disk / "ballast").unlink()
    assert program.query_udp("room-again.test").rcode == 0
    assert wait_for_line(target, "room-again.test", scaled(5))
    assert program.query_udp("and-on.test").rcode == 0
    assert wait_for_line(target, "and-on.test", scaled(2))
    program.stop()
    broken = [line for line in target.read_text().splitlines() if not as_event(line)]
    assert len(broken) <= 1, "more than the one that the disk had no room for: %s" % broken


@pytest.mark.parametrize("target", ["stdout", "stderr"])
def test_pipe_whose_reader_stops(write_config, a, target):
    """Shows: O06, W5

    The reader takes nothing for a while, and what it is then given begins with whole lines again."""
    file, address, port = write_config(a, workers=1, log={"target": target, "queries": "full"})
    process = subprocess.Popen([BINARY, "-c", str(file)], stdin=subprocess.DEVNULL, env=clean_environment(),
                               stdout=subprocess.PIPE if target == "stdout" else subprocess.DEVNULL,
                               stderr=subprocess.PIPE if target == "stderr" else subprocess.DEVNULL)
    pipe = process.stdout or process.stderr
    try:
        while b'"ready"' not in pipe.readline():
            assert process.poll() is None
        with Flow(address, port, 500, name="%s.f%%d.test" % ("l" * 60)) as flow:
            time.sleep(3)
            flow.finish(scaled(5))
        flow.assert_served(scaled(0.3))
        seen, end = b"", time.monotonic() + scaled(5)
        os.set_blocking(pipe.fileno(), False)
        while b"after.test" not in seen and time.monotonic() < end:
            udp_exchange(address, port, wire.query("after.test"))
            seen += pipe.read(1 << 20) or b""
        assert b"after.test" in seen
        status = run(["-c", str(file), "--control", "status"]).stdout
        assert Metrics(status).total("dnseal_log_dropped_total") > 0
        lines = seen[:seen.rindex(b"\n")].decode().splitlines()
        assert len(lines) > 100 and all(as_event(line) for line in lines[1:])
    finally:
        process.terminate()
        assert process.wait(scaled(10)) == 0
        pipe.close()


def test_counters_are_logged_on_request(dnseal, a):
    """Shows: I2, P01"""
    program = dnseal(a)
    program.query_udp("x.test")
    before = len(program.events)
    program.signal(signal.SIGUSR2)
    end = time.monotonic() + scaled(2)
    while len(program.events) == before and time.monotonic() < end:
        time.sleep(0.02)
    assert len(program.events) > before
