"""The cache from outside: what is asked again is answered without a server, whichever worker has it, and after the
death of an engine."""
import concurrent.futures
import os
import signal
import time

import pytest

import wire
from pace import taken
from program import Weight, run, scaled
from zone import Zone

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


def flush(program, *words):
    done = run(["-c", program.file, "--control", " ".join(["flush", *words])])
    return done.returncode, done.stdout + done.stderr


def is_kept(program, server, name, kind="A", **options):
    before = server.count(name)
    program.query_udp(name, kind, **options)
    return server.count(name) == before


def fill(program):
    for name in ("x.test", "www.x.test", "nxdomain.x.test", "rcode-servfail.x.test", "www.y.test"):
        program.query_udp(name)
    program.query_udp("www.x.test", "AAAA")
    program.query_udp("www.x.test", "TXT", flags=wire.RD | wire.CD)


def test_flush_of_everything(a, dnseal):
    program = dnseal(a, workers=2, cache=ON)
    fill(program)
    assert flush(program) == (0, "7 entries forgotten\n")
    assert program.seen("cache_flush")[0]["entries"] == 7
    assert not is_kept(program, a, "www.x.test")
    assert flush(program) == (0, "1 entries forgotten\n")


def test_flush_of_a_name(a, dnseal):
    program = dnseal(a, workers=2, cache=ON)
    fill(program)
    assert flush(program, "WWW.x.test.") == (0, "3 entries forgotten\n")
    assert is_kept(program, a, "x.test") and is_kept(program, a, "nxdomain.x.test")
    assert not is_kept(program, a, "www.x.test") and not is_kept(program, a, "www.x.test", "AAAA")
    assert flush(program, "nxdomain.x.test") == (0, "1 entries forgotten\n")
    assert flush(program, "rcode-servfail.x.test") == (0, "1 entries forgotten\n")
    assert flush(program, "no.such.name") == (0, "0 entries forgotten\n")


def test_flush_of_all_below_a_name(a, dnseal):
    program = dnseal(a, workers=2, cache=ON)
    fill(program)
    assert flush(program, "x.test", "below") == (0, "6 entries forgotten\n")
    assert is_kept(program, a, "www.y.test")
    assert not is_kept(program, a, "x.test")
    assert flush(program, ".", "below") == (0, "2 entries forgotten\n")


@pytest.mark.parametrize("words", [(), ("delay-700.x.test",), ("x.test", "below")])
def test_flush_while_an_answer_is_on_its_way(a, dnseal, words):
    """Whoever asked before the flush gets it, and nobody else.

    Shows: I1
    """
    program = dnseal(a, workers=1, cache=ON)
    name = "delay-700.x.test"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(program.query_udp, name)
        assert a.wait_until(lambda: a.count(name) == 1)
        assert flush(program, *words) == (0, "0 entries forgotten\n")
        assert not first.done() and first.result().rcode == 0
    assert program.status().total("dnseal_cache_entries") == 0
    assert not is_kept(program, a, name) and is_kept(program, a, name)


@pytest.mark.parametrize("words", [("a..b",), ("x.test", "above"), ("",), ("\\",), ("a" * 64,), ("\u00e9.test",),
                                   ("x.test", "", "below")])
def test_flush_of_no_name(a, dnseal, words):
    program = dnseal(a, workers=1, cache=ON)
    program.query_udp("x.test")
    code, said = flush(program, *words)
    assert code == 2 and "flush NAME below" in said
    assert is_kept(program, a, "x.test")


def test_flush_of_names_with_escapes(a, dnseal):
    program = dnseal(a, workers=1, cache=ON)
    names = [r"x\032below", "x", "y.x", r"w.x\092"]
    for name in names:
        program.query_udp(name)
    for words, entries, lost in (([r"x\ below"], 1, names[0]), ([r"x\032below", "below"], 1, names[0]),
                                 ([r"x\\", "below"], 1, names[3]), ([r"\120", "below"], 2, "y.x")):
        assert flush(program, *words) == (0, "%d entries forgotten\n" % entries), words
        assert not is_kept(program, a, lost)
        assert all(is_kept(program, a, name) for name in names if name not in (lost, "x"))
    for words in (["x\\"], ["x", "\\"], [r"\ below", "\\"], ["x\\", "below", "above"]):
        code, said = flush(program, *words)
        assert code == 2 and said.startswith("not a name "), words


def test_flush_without_a_cache(a, dnseal):
    code, said = flush(dnseal(a, workers=1))
    assert code == 1 and "cache.size" in said


def test_one_question_for_many_clients(a, dnseal):
    """Shows: C01, I1"""
    program = dnseal(a, workers=1, cache=ON)
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: program.query_udp("delay-300.x.test"), range(40)))
    assert all(answer.rcode == 0 and answer.answer for answer in answers)
    assert len({answer.id for answer in answers}) > 30
    assert a.count("delay-300.x.test") == 1
    assert program.status().total("dnseal_joined_queries_total") == 39


def test_old_answers_while_no_server_answers(server, dnseal):
    """Shows: C09, RFC8767"""
    upstream = server("a.test", zone=Zone("www.x.test 1 A 192.0.2.1\n"))
    program = dnseal(upstream, workers=1, cache=ON)
    assert program.query_udp("www.x.test").answer
    upstream.stop_listening()
    upstream.end_all("reset")
    time.sleep(1.2)
    begun = time.monotonic()
    late = program.query_udp("www.x.test", opt=wire.opt_record(1232))
    assert 1.7 < time.monotonic() - begun and taken(begun) < 1.8 + scaled(0.4)
    assert late.rcode == 0 and late.answer
    assert late.extended_errors == [3]
    begun = time.monotonic()
    assert program.query_udp("www.x.test").answer and taken(begun) < scaled(0.5)
    upstream.start()
    assert program.wait_answer_of(upstream, 6)
    assert program.query_udp("www.x.test", opt=wire.opt_record(1232)).extended_errors == []


def test_a_flood_of_large_answers_finds_its_bound(a, dnseal):
    """Shows: C11, pain 26, W5"""
    program = dnseal(a, workers=1, cache=ON)
    hot = ["hot-%d.x.test" % number for number in range(50)]
    for _ in range(3):
        assert all(program.query_udp(name).rcode == 0 for name in hot)
    weight, most, asked = Weight(program), 0, [a.count(name) for name in hot]
    for number in range(400):
        assert program.query_udp("size-20000.n%d.x.test" % number, "TXT").rcode == 0
        assert program.query_udp(hot[number % len(hot)]).rcode == 0
        if number % 20 == 0:
            most = max(most, program.status().total("dnseal_cache_bytes"))
    assert 0 < most <= 1 << 20
    missed = sum(a.count(name) for name in hot) - sum(asked)
    assert missed <= 400 * 0.2
    assert program.status().total("dnseal_cache_evictions_total") > 100
    weight.assert_flat(further_links=1, memory=4 << 20)
