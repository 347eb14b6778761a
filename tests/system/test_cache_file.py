"""The cache over a restart: what was kept comes back older, from a file that is trusted in nothing."""
import os
import pathlib
import resource
import signal
import stat
import subprocess
import time

import pytest

import wire
from pace import taken
from program import children_of, run, scaled


def cache(place, **changes):
    return {"size": "1MiB", "file": str(place), **changes}


@pytest.fixture
def place(tmp_path):
    directory = tmp_path / "cache"
    directory.mkdir()
    return directory / "answers"


def again(program):
    """Stopped and started anew; the event that tells what was read, or why nothing was."""
    program.stop()
    return started(program)


def started(program):
    program.start()
    end = time.monotonic() + scaled(5)
    while time.monotonic() < end:
        told = program.seen("cache_file_read") + program.seen("cache_file")
        if told:
            assert len(told) == 1
            return told[0]
        time.sleep(0.01)
    raise AssertionError("not a word about the file: " + program.text())


def ttl_of(program, name):
    answer = program.query_udp(name)
    assert answer.rcode == 0
    return answer.answer[0].ttl


def refused(told, reason):
    assert (told["event"], told["action"], told["reason"]) == ("cache_file", "refused", reason), told
    assert told["hint"]


def asked_anew(program, server, name):
    before = server.count(name)
    program.query_udp(name)
    return server.count(name) == before + 1


def wait_for(seen, seconds=8):
    end = time.monotonic() + scaled(seconds)
    while not seen():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def test_a_restart_keeps_answers_and_counts_them_down(a, dnseal, place):
    """Shows: I1"""
    program = dnseal(a, workers=1, cache=cache(place))
    fresh = ttl_of(program, "www.x.test")
    begun = time.time()
    program.query_udp("nxdomain.x.test")
    program.stop()
    assert program.seen("cache_file_written")[0]["entries"] == 2
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    time.sleep(2.1)
    told = started(program)
    assert told["event"] == "cache_file_read" and told["entries"] == 2
    rest = ttl_of(program, "www.x.test")
    assert fresh - (time.time() - begun) - 1 <= rest <= fresh - 2
    assert program.query_udp("nxdomain.x.test").rcode == 3
    assert a.count("www.x.test") == 1 and a.count("nxdomain.x.test") == 1


def test_what_ran_out_meanwhile_is_asked_anew(a, dnseal, place):
    """Shows: I1"""
    program = dnseal(a, workers=1, cache=cache(place, max_ttl=1))
    program.query_udp("www.x.test")
    program.stop()
    time.sleep(1.1)
    program.start()
    assert asked_anew(program, a, "www.x.test")


def test_what_was_kept_for_longer_obeys_what_is_configured_now(a, dnseal, place):
    """Shows: I1, C01"""
    program = dnseal(a, workers=1, cache=cache(place))
    program.query_udp("www.x.test")
    program.query_udp("nxdomain.x.test")
    program.stop()
    time.sleep(1.1)
    shorter = dnseal(a, workers=1, cache=cache(place, max_ttl=1))
    wait_for(lambda: shorter.seen("cache_file_read"))
    assert asked_anew(shorter, a, "www.x.test")
    assert asked_anew(shorter, a, "nxdomain.x.test")


def test_it_is_off_by_default(a, dnseal, tmp_path):
    program = dnseal(a, workers=1, cache={"size": "1MiB"})
    program.query_udp("www.x.test")
    before = set(tmp_path.iterdir())
    program.stop()
    assert set(tmp_path.iterdir()) <= before
    program.start()
    assert asked_anew(program, a, "www.x.test")


def test_it_is_written_while_the_program_runs(a, dnseal, place):
    """Shows: I1"""
    program = dnseal(a, workers=1, cache=cache(place, file_interval="1s"))
    program.query_udp("www.x.test")
    wait_for(place.exists)
    first = place.stat().st_ino
    time.sleep(2.5)
    assert place.stat().st_ino == first, "written although nothing came"
    program.query_udp("other.x.test")
    wait_for(lambda: place.stat().st_ino != first)
    program.kill()
    assert started(program)["entries"] == 2
    assert not asked_anew(program, a, "www.x.test")


def writers(program, engines):
    return set(children_of(program.process.pid)) - set(engines)


def send(pid, number):
    """False when it is gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def stop_a_writer(program, new):
    """Stopped with the new file begun and not yet in its place."""
    engines, number = program.engines(), 0
    end = time.monotonic() + scaled(20)
    while time.monotonic() < end:
        number += 1
        program.query_udp("m%d.x.test" % number)
        pause = time.monotonic() + 1.5
        while not new.exists() and time.monotonic() < pause:
            pass
        for child in writers(program, engines):
            if send(child, signal.SIGSTOP) and new.exists():
                return child
            send(child, signal.SIGCONT)
    raise AssertionError("no writer could be stopped in the middle")


def test_a_monitor_killed_while_it_writes_leaves_the_old_file(a, dnseal, place):
    program = dnseal(a, workers=1, cache=cache(place, file_interval="1s"))
    for number in range(200):
        program.query_udp("size-3000.n%d.x.test" % number, "TXT")
    new = place.parent / "answers.dnseal-new"
    stop_a_writer(program, new)
    old = place.read_bytes() if place.exists() else None
    assert not program.kill(), "a writer outlives its monitor"
    assert new.exists() and (place.read_bytes() if place.exists() else None) == old
    program.start()
    if old is not None:
        assert program.wait_event("cache_file_read")
    program.query_udp("last.x.test")
    program.stop()
    assert program.seen("cache_file_written") and not new.exists()


def test_a_writer_that_stands_still_holds_nothing_up(a, dnseal, place):
    program = dnseal(a, workers=1, cache=cache(place, file_interval="1s"))
    for number in range(200):
        program.query_udp("size-3000.n%d.x.test" % number, "TXT")
    engine = program.engines()[0]
    writer = stop_a_writer(program, place.parent / "answers.dnseal-new")
    for number in range(20):
        assert program.query_udp("late%d.x.test" % number).rcode == 0
    assert program.status().total("dnseal_cache_entries") > 200
    os.kill(engine, signal.SIGKILL)
    assert program.wait_event("ready", scaled(5), count=2)
    send(writer, signal.SIGCONT)
    wait_for(place.exists)


def test_a_writer_that_dies_costs_nothing_but_its_file(a, dnseal, place):
    """Its marks in the cache are taken away: everything can be stored again."""
    program = dnseal(a, workers=1, cache=cache(place, file_interval="1s"))
    engines, number, killed = program.engines(), 0, 0
    end = time.monotonic() + scaled(20)
    while killed < 3 and time.monotonic() < end:
        number += 1
        program.query_udp("n%d.x.test" % number)
        killed += sum(send(child, signal.SIGKILL) for child in writers(program, engines))
    wait_for(lambda: program.engines() == engines)
    assert killed >= 3 and not program.seen("engine_died")
    program.query_udp("last.x.test")
    assert not asked_anew(program, a, "last.x.test")
    program.stop()
    assert program.seen("cache_file_written")


def damaged(place):
    content = bytearray(place.read_bytes())
    content[-30] ^= 1
    place.write_bytes(content)


def torn(place):
    os.truncate(place, place.stat().st_size - 1)


def other_version(place):
    content = bytearray(place.read_bytes())
    content[8] += 1
    place.write_bytes(content)


def readable(place):
    place.chmod(0o640)


def emptied(place):
    os.truncate(place, 0)


@pytest.mark.parametrize("change, reason", [(damaged, "damaged"), (torn, "damaged"), (other_version, "version"),
                                            (readable, "mode"), (emptied, "damaged")])
def test_a_file_of_ours_that_is_not_sound_is_replaced(a, dnseal, place, change, reason):
    """Shows: W7"""
    program = dnseal(a, workers=1, cache=cache(place))
    program.query_udp("www.x.test")
    program.stop()
    change(place)
    refused(started(program), reason)
    assert asked_anew(program, a, "www.x.test")
    assert again(program)["entries"] == 1
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def symbolic_link(place, target):
    place.symlink_to(target)


def hard_directory(place, target):
    place.mkdir()


def pipe(place, target):
    os.mkfifo(place, 0o600)


def another_kind(place, target):
    place.write_bytes(b"something of somebody's, longer than the head of a file\n")
    place.chmod(0o600)


def other_owner(place, target):
    place.write_bytes(target.read_bytes())
    place.chmod(0o600)
    os.chown(place, 12345, 12345)


@pytest.mark.parametrize("make, reason", [(symbolic_link, "no_file"), (hard_directory, "no_file"), (pipe, "no_file"),
                                          (another_kind, "foreign"), (other_owner, "owner")])
def test_what_is_not_ours_is_left_alone(a, dnseal, place, make, reason):
    """Neither read nor replaced."""
    target = place.parent / "target"
    program = dnseal(a, workers=1, cache=cache(place))
    program.query_udp("www.x.test")
    program.stop()
    place.rename(target)
    kept = target.read_bytes()
    make(place, target)
    before = place.lstat()
    refused(started(program), reason)
    assert asked_anew(program, a, "www.x.test")
    program.stop()
    after = place.lstat()
    assert (before.st_ino, before.st_mode, before.st_mtime) == (after.st_ino, after.st_mode, after.st_mtime)
    assert target.read_bytes() == kept
    assert [event["reason"] for event in program.seen("cache_file", action="not_written")] == [reason]


def shift(place, seconds):
    """As if it had been written so much later; the checksums are what they would be then."""
    header = bytearray(place.read_bytes()[:40])
    written = int.from_bytes(header[16:24], "little") + int(seconds * 1000)
    header[16:24] = written.to_bytes(8, "little")
    header[32:40] = siphash13(bytes(header[:32])).to_bytes(8, "little")
    content = place.read_bytes()
    place.write_bytes(bytes(header) + content[40:])


def siphash13(data):
    """SipHash-1-3 under a key of zeros, for whole words."""
    mask = (1 << 64) - 1

    def turn(word, bits):
        return (word << bits | word >> (64 - bits)) & mask

    def mix(a, b, c, d):
        a = (a + b) & mask
        b, a = turn(b, 13) ^ a, turn(a, 32)
        c = (c + d) & mask
        d = turn(d, 16) ^ c
        a = (a + d) & mask
        d = turn(d, 21) ^ a
        c = (c + b) & mask
        b, c = turn(b, 17) ^ c, turn(c, 32)
        return a, b, c, d
    state = (0x736f6d6570736575, 0x646f72616e646f6d, 0x6c7967656e657261, 0x7465646279746573)
    words = [int.from_bytes(data[at:at + 8], "little") for at in range(0, len(data), 8)]
    for word in [*words, len(data) << 56 & mask]:
        a, b, c, d = state
        a, b, c, d = mix(a, b, c, d ^ word)
        state = (a ^ word, b, c, d)
    a, b, c, d = state
    state = (a, b, c ^ 0xff, d)
    for _ in range(3):
        state = mix(*state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


@pytest.mark.parametrize("seconds, reason", [(3600, "future"), (-2 * 86400, "old")])
def test_a_clock_that_is_wrong(a, dnseal, place, seconds, reason):
    program = dnseal(a, workers=1, cache=cache(place))
    program.query_udp("www.x.test")
    program.stop()
    shift(place, seconds)
    refused(started(program), reason)
    assert asked_anew(program, a, "www.x.test")
    assert again(program)["entries"] == 1


def test_answers_of_other_servers_are_not_taken(a, b, dnseal, place):
    program = dnseal(a, workers=1, cache=cache(place))
    program.query_udp("www.x.test")
    program.stop()
    other = dnseal(b, workers=1, cache=cache(place))
    refused(other.seen("cache_file")[0], "upstreams")
    assert asked_anew(other, b, "www.x.test")


def test_a_full_disk_is_told_once(a, dnseal, place):
    """Shows: O06"""
    program = dnseal(a, workers=1, cache=cache(place, file_interval="1s"))
    limits = resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (100, limits[1]))
    end = time.monotonic() + scaled(4)
    number = 0
    while time.monotonic() < end:
        number += 1
        assert program.query_udp("n%d.x.test" % number).rcode == 0
        time.sleep(0.05)
    told = program.seen("cache_file")
    assert len(told) == 1 and told[0]["action"] == "not_written" and "no room" in told[0]["reason"], told
    end = time.monotonic() + scaled(3)
    while list(place.parent.iterdir()) and time.monotonic() < end:
        time.sleep(0.01)  # somebody is just trying again
    assert list(place.parent.iterdir()) == []
    resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, limits)
    assert program.wait_event("cache_file_written", scaled(5))
    assert place.exists()


def test_a_disk_without_room(a, dnseal, place, tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "none", str(place.parent)], check=True)
    try:
        (place.parent / "filler").write_bytes(b"x" * 60 * 1024)
        program = dnseal(a, workers=1, cache=cache(place))
        for number in range(20):
            program.query_udp("size-3000.n%d.x.test" % number, "TXT")
        program.stop()
        told = program.seen("cache_file")
        assert len(told) == 1 and "no room" in told[0]["reason"], told
        assert [path.name for path in place.parent.iterdir()] == ["filler"]
    finally:
        subprocess.run(["umount", "-l", str(place.parent)], check=True)


def test_what_was_flushed_stays_away_without_room(a, dnseal, place):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "none", str(place.parent)], check=True)
    try:
        program = dnseal(a, workers=1, cache=cache(place, file_interval="1s"))
        for number in range(10):
            program.query_udp("size-1000.n%d.x.test" % number, "TXT")
        end = time.monotonic() + scaled(5)
        while not place.exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert place.exists()
        with open(place.parent / "filler", "wb", buffering=0) as filler:
            with pytest.raises(OSError):
                while True:
                    filler.write(b"x" * 4096)
        program.query_udp("size-3000.more.x.test", "TXT")
        flush(program)
        program.stop()
        again = dnseal(a, workers=1, cache=cache(place))
        assert asked_anew(again, a, "size-1000.n1.x.test")
    finally:
        subprocess.run(["umount", "-l", str(place.parent)], check=True)


def test_a_directory_that_went_away(a, dnseal, place):
    program = dnseal(a, workers=1, cache=cache(place))
    program.query_udp("www.x.test")
    place.parent.rename(str(place.parent) + ".away")
    program.stop()
    assert len(program.seen("cache_file", action="not_written")) == 1


@pytest.mark.parametrize("part, word", [("cache: { file: answers }", "absolute path"),
                                        ("cache: { file: /no/such/directory/answers }", "directory does not exist"),
                                        ("cache: { file: /tmp/answers, size: 0 }", "nothing to write"),
                                        ("cache: { file: /tmp/%s }" % ("n" * 245), "244 bytes"),
                                        ("cache: { file: /tmp }", "is not a file")])
def test_a_path_that_cannot_be(write_config, a, part, word):
    """Shows: P02"""
    file, _, _ = write_config(a, cache=None)
    file.write_text(file.read_text() + part + "\n")
    done = run(["-c", str(file), "--check"])
    assert done.returncode == 1 and word in done.stderr
    if "/tmp }" not in part:
        assert run(["-c", str(file)]).returncode == 1


def test_a_check_tells_of_open_rights(write_config, a, place):
    place.write_bytes(b"")
    place.chmod(0o644)
    file, _, _ = write_config(a, cache=cache(place))
    done = run(["-c", str(file), "--check"])
    assert done.returncode == 1 and "0600" in done.stderr
    place.chmod(0o600)
    assert run(["-c", str(file), "--check"]).returncode == 0


def test_a_second_signal_ends_the_last_writing(a, dnseal, place):
    """Shows: M10"""
    program = dnseal(a, workers=1, cache=cache(place))
    program.query_udp("www.x.test")
    engine = program.engines()[0]
    program.signal(signal.SIGTERM)
    end = time.monotonic() + scaled(5)
    new, stopped = place.parent / "answers.dnseal-new", False
    while not stopped and program.running and time.monotonic() < end:
        for child in writers(program, [engine]):
            stopped = send(child, signal.SIGSTOP) and new.exists()
            if not stopped:
                send(child, signal.SIGCONT)  # it was done, or a sanitizer's helper at the end
    if stopped:
        program.signal(signal.SIGTERM)
    assert program.wait(5) == 0
    told = program.seen("cache_file") + program.seen("cache_file_written")
    assert len(told) == 1, told


def flush(program, *words):
    done = run(["-c", program.file, "--control", " ".join(["flush", *words])])
    return done.returncode, done.stdout + done.stderr


def written_at(place):
    try:
        return place.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def test_what_is_forgotten_does_not_come_back(a, dnseal, place):
    program = dnseal(a, workers=1, cache=cache(place))
    program.query_udp("www.x.test")
    program.query_udp("www.y.test")
    assert again(program)["entries"] == 2
    first = written_at(place)
    assert flush(program, "x.test", "below") == (0, "1 entries forgotten\n")
    wait_for(lambda: written_at(place) not in (None, first))
    program.kill()
    assert started(program)["entries"] == 1
    assert asked_anew(program, a, "www.x.test")
    assert not asked_anew(program, a, "www.y.test")


def test_many_come_back(a, dnseal, place):
    """Shows: I1"""
    program = dnseal(a, workers=2, cache=cache(place, size="16MiB"))
    with program.tcp() as client:
        for number in range(2000):
            client.send(wire.query("n%d.x.test" % number))
            assert client.receive_raw()
    assert again(program)["entries"] == 2000
    assert not any(asked_anew(program, a, "n%d.x.test" % number) for number in range(0, 2000, 100))
    assert pathlib.Path(place).stat().st_size > 2000 * 40
