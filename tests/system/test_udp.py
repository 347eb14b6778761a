"""Datagrams: where answers come from, and how large they are."""
import pytest

import wire
from clients import udp_socket
from namespace import Capture
from program import scaled


def answered_from(address, port, asked):
    with udp_socket(None, asked) as link:
        link.settimeout(scaled(6))
        link.sendto(wire.query("x.test"), (asked, port))
        data, source = link.recvfrom(65536)
        assert wire.parse(data).rcode == 0
        return source[:2]


def test_wildcard_answers_from_the_asked_address(dnseal, a, address, port):
    """Shows: U01, RFC 2181 4"""
    places = [address(), address(), "127.0.0.1", "::1"]
    number = port("0.0.0.0", "::")
    dnseal(a, listen=["0.0.0.0:%d" % number, "[::]:%d" % number])
    for place in places * 3:
        assert answered_from(place, number, place) == (place, number)


def test_truncated_then_tcp(dnseal, a):
    """Shows: U02, pain 21"""
    program = dnseal(a)
    short = program.query_udp("size-3000.x.test", "TXT", opt=wire.opt_record(1232))
    assert short.has(wire.TC) and len(short.raw) <= 1232
    whole = program.query_tcp("size-3000.x.test", "TXT", opt=wire.opt_record(1232))
    assert not whole.has(wire.TC) and 3000 <= len(whole.raw) <= 3011


def test_transport_of_one_udp_only_listener(dnseal, a, address, port):
    """Shows: M2"""
    home = address()
    number = port(home)
    program = dnseal(a, listen=[{"address": "%s:%d" % (home, number), "transport": ["udp"]}])
    program.address, program.port = home, number
    assert program.query_udp("x.test").rcode == 0
    with pytest.raises(ConnectionRefusedError):
        program.tcp()


def ask_sizes(program, sizes, source):
    with udp_socket(source, program.address) as link:
        link.settimeout(scaled(6))
        link.connect((program.address, program.port))
        for index, size in enumerate(sizes):
            link.send(wire.query("size-%d.n%d.test" % (size, index), "TXT", opt=wire.opt_record(65535)))
            answer = wire.parse(link.recv(65536))
            assert answer.rcode == 0 and answer.has(wire.TC) == (size + 11 > 1232)


@pytest.mark.parametrize("mtu", [1280, 1500])
def test_no_fragments(dnseal, server, namespace, mtu):
    """Shows: U03, RFC 9715"""
    proxy, client = namespace(), namespace()
    interface = proxy.join(client, "198.51.100.1/24", "198.51.100.2/24", mtu=mtu)
    sizes = [100 + (step * 64900) // 500 for step in range(500)]
    with proxy.entered():
        upstream = server("a.test", at="127.0.0.2")
        program = dnseal(upstream, listen=["198.51.100.1:5300"], access={"allow": ["198.51.100.0/24"]})
        program.address, program.port = "198.51.100.1", 5300
        capture = Capture(interface)
    with capture, client.entered():
        ask_sizes(program, sizes, None)
    out = [packet for packet in capture.stop() if packet.source == "198.51.100.1" and packet.protocol == 17]
    assert len(out) == len(sizes)
    assert not any(packet.fragment for packet in capture.packets)
    assert max(len(packet.payload) for packet in out) <= 1232


def test_burst_of_datagrams_is_all_answered(dnseal, a):
    """Shows: M2, M4"""
    program = dnseal(a)
    with udp_socket(None, program.address) as link:
        link.connect((program.address, program.port))
        link.settimeout(scaled(6))
        for number in range(150):
            link.send(wire.query("burst-%d.test" % number, message_id=number))
        answers = [wire.parse(link.recv(65536)) for _ in range(150)]
    assert {answer.id for answer in answers} == set(range(150))
    assert all(answer.text() == "burst-%d.test." % answer.id for answer in answers)
