"""Who an upstream must prove to be, and what is never sent to one that does not."""
import pathlib
import socket
import ssl
import threading
import time

import pytest

import scripts
import wire
from certificates import BAD, pin_of
from namespace import Capture
from pace import taken
from program import run, scaled

UNREACHABLE = {22, 23}
BAD_PIN = "sha256/" + "A" * 43 + "="
FAILS = wire.RCODES["SERVFAIL"]


def assert_fails(program, name="x.test", within=4.5):
    """SERVFAIL with extended error 22 or 23, in time."""
    started = time.monotonic()
    answer = program.query_udp(name, opt=wire.opt_record(), timeout=8)
    assert answer is not None and answer.rcode == FAILS
    assert UNREACHABLE & set(answer.extended_errors)
    assert taken(started) <= scaled(within) + 0.3


def assert_refuses(program, upstream, words):
    """Nothing of DNS reached the server; the log and the meters say why."""
    assert_fails(program)
    event = program.wait_event("tls_failure", scaled(2))
    assert event is not None and event["reason"] in words, event
    assert upstream.dns_bytes == 0 and not upstream.heard
    failures = program.status().by_label("dnseal_upstream_tls_failures_total", "reason")
    assert failures.get(event["reason"], 0) >= 1
    return event


@pytest.mark.parametrize("kind", sorted(BAD))
def test_bad_certificates(dnseal, server, authority, kind):
    """Shows: L01, W2, pain 16, RFC 8310 8"""
    shown = authority.bad(kind)
    upstream, down = server("a.test", identity=shown), server("b.test")
    down.kill()
    program = dnseal(upstream, down)
    event = assert_refuses(program, upstream, BAD[kind])
    text = str(event)
    assert "a.test" in text and upstream.address in text
    assert event["not_after"] and event["not_before"]


def test_failure_tells_the_end_of_validity(dnseal, server, authority):
    """Shows: L01, pain 19"""
    shown = authority.bad("expired")
    upstream = server("a.test", identity=shown)
    event = assert_refuses(dnseal(upstream), upstream, {"expired"})
    year_to_day = time.strftime("%Y-%m-%d", time.gmtime(shown.not_after))
    assert str(event["not_after"]) == str(shown.not_after) or str(event["not_after"]).startswith(year_to_day)


def test_address_that_the_certificate_does_not_bear(dnseal, server, authority, address):
    """Shows: L01, RFC 8310 8"""
    home = address()
    shown = authority.good("a.test", addresses=["127.255.255.1"], file="other-address")
    upstream = server(None, identity=shown, at=home)
    program = dnseal(upstream)
    assert_refuses(program, upstream, {"wrong_name"})
    assert upstream.connections[0].hello.server_name is None


def test_address_in_the_certificate(dnseal, server, authority, address):
    """Shows: L01, RFC 8310 8"""
    home = address()
    upstream = server(None, identity=authority.good("a.test", addresses=[home], file="own-address"), at=home)
    assert dnseal(upstream).query_udp("x.test").rcode == 0


def test_chain_with_its_intermediate(dnseal, server, authority):
    """Shows: L01"""
    upstream = server("a.test", identity=authority.with_intermediate("a.test"))
    assert dnseal(upstream).query_udp("x.test").rcode == 0


def test_star_of_one_label_is_fine(dnseal, server, authority):
    """Shows: L01"""
    upstream = server("dns.a.test", identity=authority.good("*.a.test", file="star"))
    assert dnseal(upstream).query_udp("x.test").rcode == 0


def test_good_server_beside_a_bad_one(dnseal, server, authority, b):
    """Shows: L01, L07"""
    upstream = server("a.test", identity=authority.bad("expired"))
    program = dnseal(upstream, b)
    for number in range(10):
        assert program.query_udp("n%d.test" % number).rcode == 0
    assert upstream.dns_bytes == 0


# ---- pins

def test_right_pin(dnseal, a, identities):
    """Shows: L01, W9, RFC 7858 4.2"""
    upstream = {"url": a.url, "pins": [BAD_PIN, identities["a.test"].pin]}
    assert dnseal(upstream).query_udp("x.test").rcode == 0


def test_wrong_pin(dnseal, a):
    """Shows: L01, W9, RFC 7858 4.2"""
    assert_refuses(dnseal({"url": a.url, "pins": [BAD_PIN]}), a, {"pin"})


def test_pin_does_not_replace_the_name(dnseal, server, authority):
    """Shows: L01, pain 16"""
    shown = authority.bad("wrong_name")
    upstream = server("a.test", identity=shown)
    assert_refuses(dnseal({"url": upstream.url, "pins": [shown.pin]}), upstream, {"wrong_name"})


def test_pin_of_the_authority(dnseal, a, authority):
    """Shows: RFC 7858 4.2"""
    assert dnseal({"url": a.url, "pins": [pin_of(authority.root.key)]}).query_udp("x.test").rcode == 0


def test_right_pin_on_a_resumed_session(dnseal, a, identities):
    """Shows: pain 17, pain 18, regression 11"""
    a.script = scripts.close_after(1)
    program = dnseal({"url": a.url, "pins": [identities["a.test"].pin]}, workers=1)
    ask_apart(program, 4)
    assert a.resumed_handshakes >= 1


def test_wrong_pin_gets_no_session(dnseal, server, identities):
    """Shows: pain 17, pain 18, regression 11"""
    upstream = server("a.test", maximum=ssl.TLSVersion.TLSv1_2)
    program = dnseal({"url": upstream.url, "pins": [BAD_PIN]}, workers=1)
    for number in range(3):
        assert_fails(program, "n%d.test" % number)
    assert upstream.dns_bytes == 0
    assert not any(connection.hello and connection.hello.offers_session for connection in upstream.connections)


# ---- resumption

def ask_apart(program, count, pause=0.3):
    for number in range(count):
        assert program.query_udp("apart-%d.test" % number).rcode == 0
        time.sleep(pause)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed(dnseal, server, version):
    """Shows: RFC 7858 3.4, pain 7"""
    upstream = server("a.test", maximum=version)
    upstream.script = scripts.close_after(1)
    program = dnseal(upstream, workers=1)
    ask_apart(program, 5)
    assert upstream.full_handshakes <= 2 and upstream.resumed_handshakes >= 3
    connects = program.status().by_label("dnseal_upstream_connects_total", "resumed")
    assert sum(connects.values()) >= 5 and len(connects) >= 2
    assert not any(connection.hello.early_data for connection in upstream.connections)


def test_two_names_share_nothing(dnseal, server, authority):
    """Shows: pain 17, pain 18, regression 11"""
    both = authority.good("a.test", "b.test", file="both-names")
    upstream = server("a.test", identity=both)
    other = upstream.url.replace("#a.test", "#b.test")
    state = {"n": 0}

    def script(connection, heard):
        state["n"] += 1
        if state["n"] % 2:
            return connection.close("notify", after=0.01)
        return scripts.answer(connection, heard)
    upstream.script = script
    program = dnseal(upstream.url, other, workers=1)
    for number in range(10):
        assert program.query_udp("n%d.test" % number).rcode == 0
        time.sleep(0.3)
    hellos = [connection.hello for connection in upstream.connections if connection.hello]
    assert {hello.server_name for hello in hellos} == {"a.test", "b.test"}
    tickets = {name: {ticket for hello in hellos if hello.server_name == name for ticket in hello.tickets}
               for name in ("a.test", "b.test")}
    assert not tickets["a.test"] & tickets["b.test"]
    for name in tickets:
        assert not next(hello for hello in hellos if hello.server_name == name).offers_session


# ---- no way around

class Port53:
    """Plain DNS on the upstream's address, where nothing may ever arrive."""

    def __init__(self, address):
        self.heard, self.sockets = [], []
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            link = socket.socket(socket.AF_INET, kind)
            link.bind((address, 53))
            self.sockets.append(link)
        self.sockets[1].listen(5)
        for work in (self.datagrams, self.streams):
            threading.Thread(target=work, daemon=True).start()

    def datagrams(self):
        while True:
            data, peer = self.sockets[0].recvfrom(4096)
            self.heard.append(data)
            self.sockets[0].sendto(data[:2] + b"\x81\x80" + data[4:], peer)

    def streams(self):
        while True:
            self.heard.append(self.sockets[1].accept())


@pytest.mark.parametrize("mode", ["closed", "filtered", "garbage", "plain", "reset", "close"])
def test_never_port_53(dnseal, server, namespace, mode):
    """Shows: L02, W2, pain 15, pain 16, RFC 7858 3.1"""
    space = namespace()
    with space.entered():
        upstream = server("a.test", mode="silent" if mode in ("closed", "filtered") else mode)
        plain = Port53(upstream.address)
        if mode == "closed":
            upstream.kill()
        program = dnseal(upstream)
        capture = Capture("lo")
    with capture, space.entered():
        assert_fails(program)
        program.stop()
        program.start()
        assert_fails(program, "again.test")
    assert not plain.heard and upstream.dns_bytes == 0
    assert not any(53 in (packet.source_port, packet.destination_port) for packet in capture.stop())


def test_filtered_means_no_syn_is_answered(dnseal, address):
    """Shows: L02"""
    home = address()
    with socket.socket() as full:
        full.bind((home, 0))
        full.listen(0)
        extra = [socket.socket() for _ in range(4)]
        for link in extra:
            link.setblocking(False)
            link.connect_ex(full.getsockname())
        assert_fails(dnseal("tls://%s:%d#a.test" % full.getsockname()))
        for link in extra:
            link.close()


# ---- versions, ciphers, ALPN

OLD = {
    "TLS 1.0": ({"minimum": ssl.TLSVersion.TLSv1, "maximum": ssl.TLSVersion.TLSv1}, {"version", "alert"}),
    "TLS 1.1": ({"minimum": ssl.TLSVersion.TLSv1_1, "maximum": ssl.TLSVersion.TLSv1_1}, {"version", "alert"}),
    "CBC": ({"maximum": ssl.TLSVersion.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA"},
            {"cipher", "alert"}),
}


@pytest.mark.parametrize("case", OLD)
def test_old_tls_is_refused(dnseal, server, case):
    """Shows: L03, RFC 9325"""
    options, words = OLD[case]
    upstream = server("a.test", **options)
    assert_refuses(dnseal(upstream), upstream, words)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_new_tls_works(dnseal, server, version):
    """Shows: L03, I6"""
    upstream = server("a.test", minimum=version, maximum=version)
    assert dnseal(upstream).query_udp("x.test").rcode == 0
    hello = upstream.connections[0].hello
    assert hello.server_name == "a.test" and hello.protocols == ["dot"]
    assert min(hello.versions) >= 0x0303 and hello.compressions == b"\0"


def test_insisting_on_1_3(dnseal, server):
    """Shows: I6, L03"""
    upstream = server("a.test", maximum=ssl.TLSVersion.TLSv1_2)
    assert_refuses(dnseal(upstream, tls={"min_version": "1.3"}), upstream, {"version", "alert"})


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_other_protocol_is_refused(dnseal, server, version):
    """Shows: L03"""
    upstream = server("a.test", force_alpn="h2", maximum=version)
    assert_refuses(dnseal(upstream), upstream, {"alpn", "other"})


def test_no_protocol_is_fine(dnseal, server):
    """Shows: L03"""
    assert dnseal(server("a.test", protocols=())).query_udp("x.test").rcode == 0


def test_renegotiation_is_refused(dnseal, server):
    """Shows: L03, RFC 9325"""
    upstream = server("a.test", maximum=ssl.TLSVersion.TLSv1_2)
    program = dnseal(upstream, workers=1)
    assert program.query_udp("first.test").rcode == 0
    gate = upstream.script = scripts.Gate()
    with program.tcp() as link:
        link.send(wire.query("held.test"))
        assert gate.wait(1, scaled(10)) == 1
        connection = upstream.connections[0]
        connection.later(0, connection.renegotiate)
        time.sleep(0.3)
        gate.open()
        assert link.receive(scaled(5)).rcode == 0
    hellos = [kind for kind, size in connection.records.records if kind == 22 and size > 150]
    assert len(hellos) <= 1


def test_one_record_for_all_of_a_turn(dnseal, a):
    """Shows: RFC 7766 8, pain 13"""
    program = dnseal(a, workers=1)
    assert program.query_udp("warm.test").rcode == 0
    records = a.connections[0].data_records
    with program.tcp() as link:
        link.send(*[wire.query("n%d.test" % number) for number in range(50)])
        assert len(link.receive_many(50)) == 50
    assert a.connections[0].data_records - records <= 10


# ---- the file of authorities

@pytest.mark.parametrize("content", [None, b"", b"no certificate here\n",
                                     b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_authorities_that_are_not_there(write_config, a, tmp_path, content):
    """Shows: regression 12, pain 16, P02"""
    ca = tmp_path / "authorities.pem"
    if content is not None:
        ca.write_bytes(content)
    file, _, _ = write_config(a, tls={"ca": str(ca)})
    done = run(["-c", str(file)])
    assert done.returncode == 1 and "authorities.pem" in done.stderr
    assert a.accepts == 0


def test_authorities_that_cannot_be_read(write_config, a, tmp_path):
    """Shows: regression 12"""
    file, _, _ = write_config(a, tls={"ca": str(pathlib.Path(tmp_path))})
    assert run(["-c", str(file)]).returncode == 1
