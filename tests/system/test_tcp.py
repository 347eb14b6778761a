"""Client connections over TCP."""
import socket
import time

import pytest

import scripts
import wire
from clients import Tcp, together
from namespace import Capture
from pace import taken
from program import resident, scaled


def frames_begin_whole(payloads):
    """Whether the first byte of every message's body stands in the segment of its length prefix."""
    stream, edges = b"".join(payloads), set()
    at = 0
    for payload in payloads:
        at += len(payload)
        edges.add(at)
    at = 0
    while at < len(stream):
        if edges & {at + 1, at + 2}:
            return False
        at += 2 + int.from_bytes(stream[at:at + 2], "big")
    return True


def test_pipelined_and_out_of_order(dnseal, server, namespace):
    """Shows: T01, M1, M4, RFC 7766 6.2.1.1, RFC 7766 8, pain 8"""
    space, count, step = namespace(), 100, 0.010
    with space.entered():
        upstream = server("a.test")
        upstream.script = scripts.reverse(count, step)
        program = dnseal(upstream)
        capture = Capture("lo")
    with capture, space.entered(), program.tcp() as link:
        started = time.monotonic()
        link.send(*[wire.query("q%d.test" % number, message_id=number) for number in range(count)])
        answers = link.receive_many(count, scaled(6))
        took = taken(started)
    assert sorted(answer.id for answer in answers) == list(range(count))
    assert all(answer.text() == "q%d.test." % answer.id for answer in answers)
    assert answers[0].id > answers[-1].id
    assert took <= count * step + scaled(0.1) + 0.1
    sent = [packet.payload for packet in capture.stop() if packet.payload and packet.protocol == 6
            and (packet.source, packet.source_port) == (program.address, program.port)]
    assert frames_begin_whole(sent)


def drip(program, seconds):
    """Writes one byte a second; the time after which the connection was closed."""
    with program.tcp() as link:
        message, started = wire.frame(wire.query("x.test")), time.monotonic()
        for number in range(int(seconds)):
            try:
                link.socket.send(message[number:number + 1])
            except OSError:
                return time.monotonic() - started
            closed = link.closed_after(1.0)
            if closed:
                return time.monotonic() - started
        return None


def test_dripping_clients_are_closed(dnseal, a):
    """Shows: T02"""
    program = dnseal(a, limits={"tcp_connections": 300, "tcp_connections_per_client": 250})
    normal = []

    def serve():
        for number in range(int(scaled(500))):
            started = time.monotonic()
            assert program.query_tcp("n%d.test" % number).rcode == 0
            normal.append(taken(started))
            time.sleep(0.01)
    results = together([lambda: drip(program, scaled(12))] * 100 + [serve])
    assert all(took is not None and 4.5 <= took <= scaled(5.5) + 0.5 for took in results[:100])
    assert sorted(normal)[int(len(normal) * 0.99)] < scaled(0.2)
    reasons = program.status().by_label("dnseal_tcp_closes_total", "reason")
    assert reasons.get("message_timeout") == 100


def test_idle_connection_is_closed_by_fin(dnseal, a):
    """Shows: T03, RFC 7766 6.2.3"""
    program = dnseal(a)
    with program.tcp() as link:
        assert link.ask(wire.query("x.test")).rcode == 0
        took, kind = link.closed_after(scaled(12))
    assert kind == "fin" and 9.5 <= took <= scaled(10.5)


def test_idle_time_is_configured(dnseal, a):
    """Shows: T03"""
    program = dnseal(a, limits={"tcp_idle": "1s"})
    with program.tcp() as link:
        assert link.ask(wire.query("x.test")).rcode == 0
        took, kind = link.closed_after(scaled(3))
    assert kind == "fin" and 0.5 <= took <= scaled(1.5)


def test_slow_answer_is_not_idle(dnseal, a):
    """Shows: T03"""
    program = dnseal(a, limits={"tcp_idle": "1s"}, upstream={"attempt_timeout": "4s"})
    assert program.query_tcp("delay-2500.test").rcode == 0


def test_keepalive(dnseal, a):
    """Shows: T03, RFC 7828, pain 20"""
    program = dnseal(a)
    empty = wire.opt_record(options=[(wire.KEEPALIVE, b"")])
    over_tcp = program.query_tcp("x.test", opt=empty)
    assert over_tcp.opt.get(wire.KEEPALIVE) == [(100).to_bytes(2, "big")]
    assert program.query_udp("x.test", opt=empty).opt.get(wire.KEEPALIVE) == []
    assert program.query_tcp("x.test", opt=wire.opt_record()).opt.get(wire.KEEPALIVE) == []
    length_2 = wire.opt_record(options=[(wire.KEEPALIVE, b"\x00\x64")])
    assert program.query_tcp("x.test", opt=length_2).rcode == wire.RCODES["FORMERR"]
    assert all(heard.message.opt.get(wire.KEEPALIVE) == [b""] for heard in a.heard), "ours, whatever the client sent"


@pytest.mark.parametrize("size", [0, 1, 2, 11])
def test_impossible_lengths_close(dnseal, a, size):
    """Shows: T06"""
    with dnseal(a).tcp() as link:
        link.socket.sendall(size.to_bytes(2, "big") + bytes(size))
        assert link.closed_after(scaled(1)) is not None
    assert not a.heard


def test_header_alone_is_answered(dnseal, a):
    """Shows: T06"""
    with dnseal(a).tcp() as link:
        answer = link.ask(wire.header(9, 0, (0, 0, 0, 0)))
        assert (answer.id, answer.rcode) == (9, wire.RCODES["FORMERR"])
        assert link.ask(wire.query("x.test")).rcode == 0


def engine_memory(program):
    return sum(resident(pid) for pid in program.engines())


def test_announced_sizes_cost_nothing(dnseal, a):
    """Shows: T06"""
    program = dnseal(a, limits={"tcp_connections": 1100, "tcp_connections_per_client": 1100})
    assert program.query_tcp("x.test").rcode == 0
    before = engine_memory(program)
    links = [program.tcp() for _ in range(1000)]
    try:
        started = time.monotonic()
        for link in links:
            link.socket.sendall(b"\xff\xff")
        time.sleep(1)
        assert engine_memory(program) - before <= 16 << 20
        assert program.query_udp("x.test").rcode == 0
        for link in (links[0], links[500], links[-1]):
            assert link.closed_after(scaled(7)) is not None
        assert time.monotonic() - started >= 4.5
    finally:
        for link in links:
            link.socket.close()


def test_connections_of_one_client_are_limited(dnseal, a, address):
    """Shows: T08, RFC 9210 4"""
    program = dnseal(a, upstream={"attempt_timeout": "4s"})
    first, other = address(), address()
    links = [program.tcp(first) for _ in range(20)]
    try:
        for number, link in enumerate(links):
            link.send(wire.query("delay-2000.n%d.test" % number))
        a.wait_heard(20)
        with Tcp(program.address, program.port, first) as one_more:
            assert one_more.closed_after(scaled(0.1) + 0.2) is not None
        with Tcp(program.address, program.port, other) as stranger:
            assert stranger.ask(wire.query("x.test")).rcode == 0
        assert all(link.receive(scaled(6)).rcode == 0 for link in links)
    finally:
        for link in links:
            link.socket.close()


def test_idle_connections_make_room(dnseal, a, address):
    """Shows: T08"""
    program = dnseal(a, workers=1, limits={"tcp_connections": 30}, upstream={"attempt_timeout": "4s"})
    busy_client, idle_client, third = address(), address(), address()
    busy = [program.tcp(busy_client) for _ in range(15)]
    for number, link in enumerate(busy):
        link.send(wire.query("delay-2000.n%d.test" % number))
    a.wait_heard(15)
    idle = [program.tcp(idle_client) for _ in range(15)]
    for link in idle:
        assert link.ask(wire.query("x.test")).rcode == 0
    fresh = [program.tcp(third) for _ in range(5)]
    try:
        assert all(link.ask(wire.query("y.test")).rcode == 0 for link in fresh)
        assert all(link.receive(scaled(6)).rcode == 0 for link in busy)
        assert sum(1 for link in idle if link.closed_after(0.05)) >= 5
    finally:
        for link in busy + idle + fresh:
            link.socket.close()


def test_client_that_does_not_read_is_closed(dnseal, a):
    """Shows: T02, RFC 7766 6.2.4"""
    program = dnseal(a, limits={"tcp_write_timeout": "2s"})
    with program.tcp() as link:
        link.socket.setblocking(False)
        started = time.monotonic()
        sent = 0
        while time.monotonic() - started < scaled(20):
            try:
                sent += link.socket.send(wire.frame(wire.query("size-60000.n%d.test" % sent, "TXT")))
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:
                break
            if program.status().by_label("dnseal_tcp_closes_total", "reason").get("write_timeout"):
                break
    reasons = program.status().by_label("dnseal_tcp_closes_total", "reason")
    assert reasons.get("write_timeout") == 1, reasons
    assert program.query_tcp("x.test").rcode == 0


def test_half_close_still_gets_the_answer(dnseal, a):
    """Shows: RFC 7766 6.2.4"""
    with dnseal(a).tcp() as link:
        link.send(wire.query("delay-300.test"))
        link.socket.shutdown(socket.SHUT_WR)
        assert link.receive(scaled(6)).rcode == 0
        assert link.closed_after(scaled(2)) is not None


def test_client_that_goes_away_harms_nobody(dnseal, a):
    """Shows: RFC 7766 6.2.4, T01"""
    program = dnseal(a, limits={"tcp_connections_per_client": 100})
    for number in range(50):
        with program.tcp() as link:
            link.send(wire.query("delay-50.n%d.test" % number))
    assert program.query_tcp("x.test").rcode == 0
    assert program.status().total("dnseal_engine_restarts_total") == 0
