"""The health of upstreams: dead, silent, slow and returning servers, and what a connection may cost."""
import contextlib
import time

import pytest

import scripts
import wire
from clients import Flow, together
from namespace import Capture
from pace import taken
from program import cpu_seconds, descriptors, is_sanitized, resident, scaled

SERVFAIL = wire.RCODES["SERVFAIL"]
SYN, ACK = 2, 16


def assert_fails(program, name, limit=4.5):
    started = time.monotonic()
    answer = program.query_udp(name, opt=wire.opt_record(), timeout=8)
    assert answer.rcode == SERVFAIL and set(answer.extended_errors) & {22, 23}
    assert taken(started) <= scaled(limit) + 0.3


def test_connections_are_reused(dnseal, a):
    """Shows: pain 7, pain 8, pain 13, M4, RFC 7858 3.4"""
    program = dnseal(a, workers=1)
    for number in range(200):
        assert program.query_udp("n%d.test" % number).rcode == 0
    assert a.accepts <= 2 and len(a.heard) == 200


def test_ids_are_unique_and_unpredictable(dnseal, a):
    """Shows: pain 25, RFC 5452 9"""
    program = dnseal(a, workers=1)
    gate = a.script = scripts.Gate()
    with program.tcp() as link:
        link.send(*[wire.query("n%d.test" % number, message_id=number) for number in range(90)])
        assert gate.wait(90, scaled(10)) == 90
        for connection in a.connections:
            ids = [heard.id for heard in connection.heard]
            assert len(ids) == len(set(ids))
        ids = [heard.id for heard in a.heard]
        steps = {(after - before) & 0xffff for before, after in zip(ids, ids[1:])}
        assert len(steps) > 60
        gate.open()
        assert all(answer.rcode == 0 for answer in link.receive_many(90))


ALL_IDS = 65536
AT_ONCE = 16384


def test_unanswered_queries_do_not_use_up_ids(dnseal, a):
    """Shows: pain 10, pain 25, pain 26, regression 1, W5

    As many questions as there are ids are never answered: each gets its SERVFAIL in time, nothing spins, nothing is
    kept, and the next question is answered."""
    program = dnseal(a, workers=1, upstream={"in_flight": 4096},
                     limits={"pending": AT_ONCE, "pending_per_client": AT_ONCE, "tcp_output": "2MiB"})
    assert program.query_udp("warm.test").rcode == 0
    a.script, a.forgetful = scripts.silent, True
    engine, = program.engines()
    held, begun = [], time.monotonic()
    cpu = cpu_seconds(engine)
    for turn in range(ALL_IDS // AT_ONCE):
        with program.tcp() as link:
            link.send(*[wire.query("lost.test", message_id=turn * AT_ONCE + number) for number in range(AT_ONCE)])
            answers = [link.receive_raw(scaled(8)) for _ in range(AT_ONCE)]
        assert {answer[3] & 15 for answer in answers} == {SERVFAIL}
        assert {answer[:2] for answer in answers} == {number.to_bytes(2, "big") for number in range(
            turn * AT_ONCE, (turn + 1) * AT_ONCE)}
        held.append((resident(engine), descriptors(engine)))
    assert cpu_seconds(engine) - cpu <= 0.25 * (time.monotonic() - begun) * scaled(1)
    assert held[-1][1] <= held[0][1] + 4 and (held[-1][0] <= held[0][0] + (1 << 20) or is_sanitized())
    a.script, a.forgetful = scripts.answer, False
    begun = time.monotonic()
    while program.query_udp("found-%d.test" % int(1000 * (time.monotonic() - begun)), timeout=8).rcode:
        assert taken(begun) < scaled(6)
    for number in range(50):
        assert program.query_udp("n%d.test" % number).rcode == 0
    assert program.status().total("dnseal_pending_queries") == 0


@pytest.mark.parametrize("mode", ["silent", "drip"])
def test_server_that_never_shakes_hands(dnseal, server, b, mode):
    """Shows: L07, pain 12"""
    dead = server("a.test", mode=mode)
    program = dnseal(dead, b, workers=1)
    started = time.monotonic()
    assert program.query_udp("first.test").rcode == 0
    assert taken(started) <= scaled(3.5)
    time.sleep(3)
    slow = 0
    for number in range(50):
        started = time.monotonic()
        assert program.query_udp("n%d.test" % number).rcode == 0
        slow += taken(started) > scaled(0.05)
        time.sleep(0.05)
    assert slow <= 3
    assert dead.accepts <= 12


def test_silent_server_is_left(dnseal, a, b):
    """Shows: pain 1, pain 2, regression 9"""
    program = dnseal(a, b, workers=1)
    assert program.query_udp("warm.test").rcode == 0
    a.script = scripts.silent
    with Flow(program.address, program.port, 100) as flow:
        time.sleep(4)
        flow.finish(scaled(6))
    assert flow.lost == 0 and set(flow.rcodes()) == {0}


def test_deadline_is_the_clients(dnseal, a):
    """Shows: pain 2, pain 12, F08"""
    a.script = scripts.silent
    program = dnseal(a, workers=1)
    with Flow(program.address, program.port, 20, name="later-%d.test"):
        assert_fails(program, "x.test")


def test_timeouts_are_configured(dnseal, a, b):
    """Shows: pain 12"""
    program = dnseal(a, b, limits={"query_timeout": "3s"}, upstream={"attempt_timeout": "2s"}, workers=1)
    assert program.query_udp("warm.test").rcode == 0 and a.count("warm.test") == 1
    a.script = scripts.silent
    started = time.monotonic()
    assert program.query_udp("x.test").rcode == 0
    assert 1.9 <= time.monotonic() - started and taken(started) <= scaled(2.5)
    b.script = scripts.silent
    started = time.monotonic()
    assert_fails(program, "y.test", 3)
    assert time.monotonic() - started >= 2.9


def test_connects_are_bounded_while_all_is_down(dnseal, a, b):
    """Shows: F08, pain 10, pain 9, regression 8"""
    program = dnseal(a, b, workers=1)
    assert program.query_udp("warm.test").rcode == 0
    a.mode = b.mode = "reset"
    for upstream in (a, b):
        for connection in upstream.open_connections():
            connection.later(0, connection.close, "reset")
    time.sleep(0.3)
    before, started = a.accepts + b.accepts, time.monotonic()
    engines, cpu = program.engines(), sum(cpu_seconds(pid) for pid in program.engines())
    with Flow(program.address, program.port, 50, name="down-%d.test") as flow:
        time.sleep(6)
        used = sum(cpu_seconds(pid) for pid in engines) - cpu
        took = time.monotonic() - started
        a.mode = b.mode = "tls"
        flow.finish(scaled(8))
    assert a.accepts + b.accepts - before <= 2 * 5 * took + 10
    assert used <= scaled(1.5)
    assert SERVFAIL in flow.rcodes() and flow.lost == 0
    started = time.monotonic()
    while program.query_udp("back-%d.test" % int(1000 * (time.monotonic() - started)), timeout=8).rcode:
        assert taken(started) < scaled(6)


def test_refused_connects_are_bounded_and_recovery_is_quick(dnseal, a):
    """Shows: F08, pain 3, regression 8"""
    program = dnseal(a, workers=1)
    a.kill()
    engines, cpu = program.engines(), sum(cpu_seconds(pid) for pid in program.engines())
    assert_fails(program, "down.test")
    with Flow(program.address, program.port, 50, name="down-%d.test") as flow:
        time.sleep(3)
        assert sum(cpu_seconds(pid) for pid in engines) - cpu <= scaled(1.0)
        a.start()
        back = time.monotonic()
        assert a.wait_until(lambda: a.heard and a.heard[-1].at > back, scaled(2))
        flow.finish(scaled(6))
    assert program.query_udp("up.test").rcode == 0


@pytest.mark.parametrize("workers", (1, 4))
def test_workers_take_turns_at_a_server_that_refuses(dnseal, server, namespace, workers):
    """Shows: F08, pain 9, pain 10

    Four connections a second, however many workers have questions for it, but for each one's first; and all of them
    notice when it is back."""
    space = namespace()
    with space.entered():
        a = server("a.test")
        program = dnseal(a, workers=workers)
        a.kill()
        assert_fails(program, "down.test")
        flows = [Flow(program.address, program.port, 20, name="down-%%d-%d.test" % number) for number in range(8)]
        with contextlib.ExitStack() as stack:
            capture, began = stack.enter_context(Capture("lo")), time.monotonic()
            for flow in flows:
                stack.enter_context(flow)
            time.sleep(5)
            packets, took = list(capture.packets), time.monotonic() - began
            a.start()
            back = time.monotonic()
            time.sleep(2)
            for flow in flows:
                flow.finish(scaled(6))
    connects = [packet for packet in packets if packet.protocol == 6 and packet.destination_port == a.port
                and packet.flags & (SYN | ACK) == SYN]
    assert 2 * took <= len(connects) <= 4 * took + 2 * workers
    for flow in flows:
        assert flow.lost == 0
        flow.assert_calm(back + 1, limit=scaled(0.3))


def test_start_without_any_upstream(dnseal, a):
    """Shows: regression 22, F08, pain 30"""
    a.kill()
    program = dnseal(a)
    assert_fails(program, "x.test")
    a.start()
    started = time.monotonic()
    while program.query_udp("n%d.test" % int(1000 * (time.monotonic() - started)), timeout=8).rcode:
        assert taken(started) < scaled(6)


def test_no_descriptors_are_lost(dnseal, a):
    """Shows: pain 4, pain 10, regression 14"""
    a.script = scripts.close_after(1, "fin")
    program = dnseal(a, workers=1, upstream={"handshakes_per_second": 100})
    assert program.query_udp("warm.test").rcode == 0
    time.sleep(0.3)
    before = {pid: descriptors(pid) for pid in program.engines()}
    for number in range(100):
        assert program.query_udp("n%d.test" % number).rcode == 0
        time.sleep(0.03)
    time.sleep(0.5)
    for pid, count in before.items():
        assert abs(descriptors(pid) - count) <= 2
    assert a.accepts >= 50
    up = program.status().total("dnseal_upstream_connections")
    assert 0 <= up <= 4


def test_attempts_are_bounded(dnseal, a, b):
    """Shows: A07, RFC 9520"""
    a.script = b.script = scripts.silent
    program = dnseal(a, b, workers=1)
    assert_fails(program, "x.test")
    assert a.count("x.test") <= 3 and b.count("x.test") <= 3


def test_flood_beyond_the_limit_is_shed_with_an_answer(dnseal, a):
    """Shows: O01, pain 26, W5"""
    a.script = scripts.by_name({"held": scripts.silent})
    program = dnseal(a, workers=1, limits={"pending": 100, "query_timeout": "2s"})
    with program.tcp() as link:
        link.send(*[wire.query("held-%d.test" % number, message_id=number, opt=wire.opt_record())
                    for number in range(300)])
        answers = link.receive_many(300, scaled(8))
    assert {answer.rcode for answer in answers} == {SERVFAIL}
    assert len({answer.id for answer in answers}) == 300
    assert len(a.heard) <= 300
    assert program.query_udp("x.test").rcode == 0


def test_upstream_meters(dnseal, a, b):
    """Shows: F07, I2, M4"""
    program = dnseal(a, b)
    together([lambda n=n: program.query_udp("n%d.test" % n) for n in range(20)])
    status = program.status()
    assert status.total("dnseal_queries_total", transport="udp") == 20
    assert status.total("dnseal_responses_total", transport="udp", rcode="NOERROR") == 20
    assert status.total("dnseal_upstream_queries_total") >= 20
    assert status.total("dnseal_pending_queries") == 0
    assert status.has("dnseal_upstream_up") and status.has("dnseal_build_info")
