"""The cache from outside: what is asked again is answered without a server, whichever worker has it, and after the
death of an engine."""
import os
import signal

import pytest

import wire
from program import run

ON = {"size": "1MiB"}


def ask_often(program, name, times):
    """From ports of their own, so that the kernel hands them to different workers."""
    return [program.udp_raw(wire.query(name), timeout=3) for _ in range(times)]


def test_workers_share_what_is_kept(a, dnseal):
    """Shows: I1, C06"""
    program = dnseal(a, workers=2, cache=ON)
    first = program.udp_raw(wire.query("www.x.test"))
    for answer in ask_often(program, "www.x.test", 40):
        assert answer[2:] == first[2:]
    assert a.count("www.x.test") == 1
    status = program.status()
    assert status.total("dnseal_cache_lookups_total", result="hit") >= 40
    assert status.total("dnseal_cache_entries") >= 1
    assert status.total("dnseal_cache_bytes") > 0


def test_large_answers_are_cut_for_udp_and_whole_for_tcp(a, dnseal):
    """Shows: U02"""
    program = dnseal(a, workers=1, cache=ON)
    cut = program.udp_raw(wire.query("size-3000.x.test", "TXT", opt=wire.opt_record(1232)))
    assert len(cut) <= 1232 and cut[2] & 2
    with program.tcp() as client:
        client.send(wire.query("size-3000.x.test", "TXT"))
        whole = client.receive_raw()
    assert len(whole) > 2900 and not whole[2] & 2
    assert a.count("size-3000.x.test") == 1


def test_an_engine_that_dies_leaves_the_cache(a, dnseal):
    """Shows: I1"""
    program = dnseal(a, workers=1, cache=ON)
    first = program.udp_raw(wire.query("www.x.test"))
    os.kill(program.engines()[0], signal.SIGKILL)
    assert program.wait_event("ready", count=2)
    a.kill()
    a.stop_listening()
    again = program.udp_raw(wire.query("www.x.test"))
    assert again[2:] == first[2:]


@pytest.mark.parametrize("part, word", [("cache: { size: 1KiB }", "1KiB"), ("cache: { size: 1GiB }", "limits.memory"),
                                        ("cache: { min_ttl: 10, max_ttl: 5 }", "max_ttl")])
def test_sizes_and_times_that_cannot_be(write_config, a, part, word):
    """Shows: P02"""
    file, _, _ = write_config(a, cache=None)
    file.write_text(file.read_text() + part + "\n")
    done = run(["-c", str(file), "--check"])
    assert done.returncode == 1 and word in done.stderr
