"""Servers that stall at every stage, end their connections in every way, and come back: what clients see meanwhile."""
import socket
import struct
import time

import pytest

import scripts
import wire
from clients import Flow
from pace import taken
from program import Weight, scaled

RATE = 100
ATTEMPT = 1.5  # upstream.attempt_timeout


class Stage:
    """How a server stalls and how that ends. Where it stalls before TLS, it ends what is open."""

    def __init__(self, begin, end):
        self.begin, self.end = begin, end


def in_mode(mode):
    def begin(server):
        server.mode = mode
        server.end_all("reset")
    return begin


def back_to_tls(server):
    server.mode = "tls"


def no_handshake_of_tcp(server):
    server.listen_in_vain()
    server.end_all("reset")


def following(script):
    def begin(server):
        server.script = script
    return begin


def deafen(server):
    server.deaf = True


def back_to_hearing(server):
    server.deaf = False


STAGES = {
    "tcp": Stage(no_handshake_of_tcp, lambda server: server.start()),
    "client hello": Stage(in_mode("silent"), back_to_tls),
    "server hello drips": Stage(in_mode("drip"), back_to_tls),
    "first answer": Stage(following(scripts.silent), following(scripts.answer)),
    "half a record": Stage(following(scripts.half_record), following(scripts.answer)),
    "half an answer": Stage(following(scripts.half_answer), following(scripts.answer)),
    "answer drips": Stage(following(scripts.dripping(0.5)), following(scripts.answer)),
    "reads nothing": Stage(deafen, back_to_hearing),
}


def warmed(program, *servers):
    """The state from which all is measured: one link to the first server, and what a first answer costs."""
    for number in range(20):
        assert program.query_udp("warm-%d.test" % number).rcode == 0
    return Weight(program)


def assert_stall_is_borne(program, server, begin, end):
    """Nobody waits longer than for one attempt that stalls, hardly anybody once that is known, and nobody at all once
    it is over."""
    weight = warmed(program)
    with Flow(program.address, program.port, RATE) as flow:
        time.sleep(0.5)
        begin()
        time.sleep(4.5)
        known = time.monotonic()
        time.sleep(1)
        end()
        assert program.wait_answer_of(server, 8)
        time.sleep(0.5)
        over = time.monotonic()
        time.sleep(0.5)
        flow.finish(scaled(5))
    flow.assert_served(scaled(ATTEMPT + 0.8))
    flow.assert_calm(known - 1, known + 1, scaled(0.3), slow=8)
    flow.assert_calm(over, limit=scaled(0.3))
    weight.assert_flat(further_links=2)


@pytest.mark.parametrize("stage", STAGES)
def test_stall(dnseal, a, b, stage):
    """Shows: L07, F01, pain 1, pain 2, pain 9, pain 10, regression 9, W8"""
    program = dnseal(a, b, workers=1)
    assert_stall_is_borne(program, a, lambda: STAGES[stage].begin(a), lambda: STAGES[stage].end(a))


def test_process_that_is_frozen(dnseal, server_process, b):
    """Shows: L07, pain 1, pain 2, regression 9

    Its kernel takes connections and acknowledges everything; nothing is read and nothing is said."""
    frozen = server_process("a.test")
    program = dnseal(frozen, b, workers=1)
    assert_stall_is_borne(program, frozen, frozen.freeze, frozen.thaw)


def test_process_that_is_killed_and_comes_back(dnseal, server_process, b):
    """Shows: F01, pain 3, pain 6, I4, W8"""
    killed = server_process("a.test")
    program = dnseal(killed, b, workers=1)
    weight = warmed(program)
    with Flow(program.address, program.port, 500) as flow:
        time.sleep(1)
        at = time.monotonic()
        killed.kill()
        down = program.wait_event("upstream_down", scaled(2))
        assert down is not None and down["upstream"] == killed.url
        assert down["reason"] in ("refused", "reset")  # a connection may have been on its way
        time.sleep(2)
        killed.start()
        assert program.wait_answer_of(killed, 5)
        assert program.wait_event("upstream_up", scaled(1), count=2, upstream=killed.url) is not None
        time.sleep(1)
        flow.finish(scaled(5))
    flow.assert_served(scaled(2))
    flow.assert_calm(at + 2, limit=scaled(0.3))
    weight.assert_flat(further_links=2, share_of_cpu=0.4)


LONG = "%s.%s.%s" % ("a" * 60, "b" * 60, "c" * 60)
SMALL_BUFFERS = {"tcp_wmem": "4096 4096 8192", "tcp_rmem": "4096 4096 8192"}


def ask_and_leave(program, count):
    """Long questions that fill the way to a server that does not read. Who asked the first half goes at once."""
    leaving, staying = program.tcp(), program.tcp()
    for link in (leaving, staying):
        link.send(*[wire.query("n%d.%s.test" % (number, LONG), message_id=number) for number in range(count)])
    time.sleep(0.5)
    leaving.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    leaving.socket.close()
    return staying


def test_questions_that_go_while_they_are_written(namespace, server, dnseal):
    """Shows: regression 15, pain 10, pain 26, W8

    Their bytes wait for a server that reads nothing, with buffers of a few thousand bytes; their clients go, or get
    SERVFAIL in time; then the server reads on, and what comes out is whole."""
    space = namespace()
    with space.entered():
        for key, value in SMALL_BUFFERS.items():
            with open("/proc/sys/net/ipv4/" + key, "w") as setting:
                setting.write(value)
        only = server("a.test", at="127.0.0.2", port=8853)
        program = dnseal(only, listen=["127.0.0.1:5300"], workers=1)
        program.address, program.port = "127.0.0.1", 5300
        weight = warmed(program)
        only.deaf = True
        staying = ask_and_leave(program, 300)
        answers = staying.receive_many(300, scaled(6))
        assert sorted(answer.id for answer in answers) == list(range(300))
        assert {answer.rcode for answer in answers} == {wire.RCODES["SERVFAIL"]}
        only.deaf = False
        begun = time.monotonic()
        while program.query_udp("back-%d.test" % int(1000 * (time.monotonic() - begun)), timeout=8).rcode:
            assert taken(begun) < scaled(6)
        for number in range(50):
            assert program.query_udp("after-%d.test" % number).rcode == 0
        assert all(heard.message is not None for heard in only.heard) and len(only.heard) > 70
        staying.socket.close()
        time.sleep(0.5)
        weight.assert_flat(further_links=2, memory=4 << 20)  # 600 questions have never waited here before


# ---- every way to end a connection, again and again under a steady stream

ENDS = ["notify", "fin", "reset", "alert", "half_record", "half_frame"]


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("alone", [True, False])
def test_ends_again_and_again(dnseal, a, b, kind, alone):
    """Shows: L06, F01, pain 6, pain 10, regression 3, regression 14, W8"""
    program = dnseal(a, workers=1) if alone else dnseal(a, b, workers=1)
    weight = warmed(program)
    with Flow(program.address, program.port, RATE) as flow:
        for _ in range(9):
            time.sleep(0.35)
            a.end_all(kind)
        time.sleep(0.5)
        flow.finish(scaled(5))
    flow.assert_served(scaled(0.8))
    assert not program.seen("upstream_down") and a.accepts >= 9
    assert wire.RCODES["SERVFAIL"] not in flow.rcodes()
    weight.assert_flat(further_links=2)
