"""What can be seen on the line, and what the other side learns."""
import time

import pytest

import scripts
import wire
from clients import together
from namespace import Capture
from plain_server import PlainServer
from program import scaled

TCP, UDP = 6, 17


def looks_like_tls(packets):
    """Whether the data of each direction of each connection is a sequence of TLS records."""
    streams = {}
    for packet in packets:
        key = packet.source, packet.source_port, packet.destination, packet.destination_port
        streams[key] = streams.get(key, b"") + packet.payload
    for data in streams.values():
        at = 0
        while at + 5 <= len(data):
            if data[at] not in (20, 21, 22, 23) or data[at + 1] != 3:
                return False
            at += 5 + int.from_bytes(data[at + 3:at + 5], "big")
    return True


def test_nothing_leaves_but_tls(dnseal, server, namespace, authority):
    """Shows: V01, W2, M3"""
    proxy, outside = namespace(), namespace()
    egress = proxy.join(outside, "10.9.0.1/24", "10.9.0.2/24")
    home = "127.0.0.1"
    with outside.entered():
        upstream = server("a.test", at="10.9.0.2", port=853)
    with proxy.entered():
        capture = Capture(egress)
        with capture:
            program = dnseal({"url": "tls://10.9.0.2#a.test"}, listen=[home + ":5300"])
            program.address, program.port = home, 5300
            for number in range(50):
                assert program.query_udp("n%d.test" % number).rcode == 0
                assert program.query_tcp("size-3000.n%d.test" % number, "TXT").rcode == 0
            program.query_udp("_dns.resolver.arpa", "SVCB")
            upstream.kill()
            assert program.query_udp("down.test", timeout=8).rcode == wire.RCODES["SERVFAIL"]
            with outside.entered():
                upstream.start()
            program.stop()
            program.start()
            assert program.query_udp("again.test", timeout=8).rcode == 0
            program.stop()
    seen = [packet for packet in capture.stop() if packet.protocol in (TCP, UDP)]
    assert seen and all(packet.protocol == TCP for packet in seen)
    out = [packet for packet in seen if packet.source == "10.9.0.1"]
    assert {(packet.destination, packet.destination_port) for packet in out} == {("10.9.0.2", 853)}
    assert looks_like_tls(packet for packet in seen if packet.payload)
    assert not any(b"again" in packet.payload or b"down" in packet.payload for packet in seen)


def names_of_all_lengths():
    for size in range(1, 253, 4):
        labels, left = [], size
        while left > 0:
            labels.append(b"n" * min(left, 60))
            left -= 61
        yield wire.name_of(labels)


OPTS = {"without OPT": None, "with OPT": wire.opt_record(4096), "DO": wire.opt_record(1232, flags=0x8000),
        "options": wire.opt_record(options=[(wire.PADDING, bytes(77)), (wire.COOKIE, bytes(8)), (65001, b"x")])}


@pytest.mark.parametrize("case", OPTS)
def test_queries_are_padded(dnseal, a, case):
    """Shows: V02, RFC 8467 4.1, RFC 7830"""
    program = dnseal(a)
    for name in names_of_all_lengths():
        assert program.query_udp(name, "TXT", opt=OPTS[case]) is not None
    assert len(a.heard) >= 60
    for heard in a.heard:
        assert heard.size % 128 == 0 and heard.message.opts == 1
        padding, = heard.message.opt.get(wire.PADDING)
        assert not any(padding)
        assert heard.message.opt.dnssec_ok == (case == "DO")
        assert {code for code, _ in heard.message.opt.options} == {wire.KEEPALIVE, wire.PADDING}
        assert heard.message.has(wire.AD)


def test_padding_is_configured(dnseal, a, authority):
    """Shows: V02"""
    program = dnseal(a, tls={"padding": 0})
    program.query_udp("x.test")
    assert a.heard[0].size < 64 and not a.heard[0].message.opt.get(wire.PADDING)


def test_padding_of_answers_stays_on_its_leg(dnseal, a):
    """Shows: V03, pain 20, regression 13, RFC 7830 6"""
    program = dnseal(a)
    padded = wire.opt_record(options=[(wire.PADDING, bytes(30))])
    bare = len(a.zone.answer(wire.parse(wire.query("x.test")))[0])
    for record in (None, wire.opt_record(), padded):
        for answer in (program.query_udp("x.test", opt=record), program.query_tcp("x.test", opt=record)):
            assert len(answer.raw) <= bare + (11 if record else 0)
            assert (answer.opt is not None) == (record is not None)
            assert not (answer.opt and answer.opt.options)


SUBNET = (wire.CLIENT_SUBNET, b"\x00\x01\x18\x00\xc0\x00\x02")


def test_client_subnet_is_taken_out(dnseal, a):
    """Shows: V02, pain 20, RFC 7871"""
    answer = dnseal(a).query_udp("x.test", opt=wire.opt_record(options=[SUBNET]))
    assert answer.rcode == 0
    assert not a.heard[0].message.opt.get(wire.CLIENT_SUBNET)


def test_client_subnet_passes_where_it_is_wanted(dnseal, a):
    """Shows: RFC 7871"""
    dnseal(a, privacy={"strip_client_subnet": False}).query_udp("x.test", opt=wire.opt_record(options=[SUBNET]))
    assert a.heard[0].message.opt.get(wire.CLIENT_SUBNET) == [SUBNET[1]]


def test_letter_case_is_not_passed_on(dnseal, a):
    """Shows: V02, RFC 4343"""
    program = dnseal(a)
    for name in ("SeCrEt.TeSt", "sEcReT.test"):
        assert program.query_udp(name).name == wire.name_bytes(name)
    assert {heard.message.name for heard in a.heard} == {wire.name_bytes("secret.test")}


def test_no_client_learns_of_another(dnseal, a, address):
    """Shows: V03, T01"""
    a.script = scripts.zone_after(0.05)
    program = dnseal(a)
    clients = [address() for _ in range(20)]

    def ask(number):
        name = "Private-%d.Test" % number
        answer = program.query_udp(name, source=clients[number], message_id=7)
        assert answer.name == wire.name_bytes(name) and answer.id == 7
        return answer.rcode
    assert together([lambda n=n: ask(n) for n in range(20)]) == [0] * 20
    time.sleep(scaled(0.1))
    assert program.status().total("dnseal_pending_queries") == 0


def names_in_clear_text(packets):
    """The names, in lower case, of the DNS messages in datagrams and bare streams to port 53."""
    for packet in packets:
        data = packet.payload if packet.protocol == UDP else packet.payload[2:]
        if len(data) > 12:
            yield wire.name_text(wire.read_name(data, 12)[0]).lower()


def test_only_routed_names_leave_in_clear_text(dnseal, server, namespace, authority):
    """Shows: V01, M7"""
    proxy, outside = namespace(), namespace()
    egress = proxy.join(outside, "10.9.0.1/24", "10.9.0.2/24")
    home = "127.0.0.1"
    with outside.entered():
        upstream = server("a.test", at="10.9.0.2", port=853)
        plain = PlainServer("10.9.0.2", port=53).start()
    with proxy.entered():
        capture = Capture(egress)
        with capture:
            program = dnseal({"url": "tls://10.9.0.2#a.test"}, {"url": "udp://10.9.0.2", "group": "office"},
                             listen=[home + ":5300"], routes={"office.test": "office"})
            program.address, program.port = home, 5300
            for number in range(20):
                assert program.query_udp("n%d.secret.test" % number).rcode == 0
                assert program.query_tcp("n%d.office.test" % number).rcode == 0
                assert program.query_tcp("size-3000.n%d.office.test" % number, "TXT").rcode == 0
            upstream.kill()
            assert program.query_udp("down.secret.test", timeout=8).rcode == wire.RCODES["SERVFAIL"]
            assert program.query_udp("up.office.test").rcode == 0
            plain.stop()
            assert program.query_udp("down.office.test", timeout=8).rcode == wire.RCODES["SERVFAIL"]
            program.stop()
    seen = [packet for packet in capture.stop() if packet.protocol in (TCP, UDP)]
    out = [packet for packet in seen if packet.source == "10.9.0.1"]
    assert {(packet.protocol, packet.destination_port) for packet in out} == {(TCP, 853), (TCP, 53), (UDP, 53)}
    assert looks_like_tls(packet for packet in seen if 853 in (packet.source_port, packet.destination_port))
    names = set(names_in_clear_text(packet for packet in out if packet.destination_port == 53))
    assert {"n0.office.test.", "size-3000.n0.office.test.", "down.office.test."} <= names
    assert all(name.endswith(".office.test.") for name in names)
    assert not any(b"secret" in packet.payload.lower() for packet in seen)
