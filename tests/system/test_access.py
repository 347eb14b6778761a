"""Who may ask, and loops."""
import time

import pytest

import wire
from clients import Tcp, udp_exchange
from pace import taken
from program import run, scaled

REFUSED = wire.RCODES["REFUSED"]
PROHIBITED = 18


def assert_refused(answer, message):
    assert answer.rcode == REFUSED and not answer.answer and not answer.authority
    assert PROHIBITED in answer.extended_errors
    assert len(answer.raw) <= len(message) + 15


def test_denied_client(dnseal, a, address):
    """Shows: A01, W6, I3"""
    denied = address()
    program = dnseal(a, access={"allow": ["127.0.0.0/8"], "deny": [denied + "/32"]})
    assert program.query_udp("x.test").rcode == 0
    message = wire.query("x.test", opt=wire.opt_record())
    assert_refused(wire.parse(program.udp_raw(message, source=denied)), message)
    plain = program.query_udp("x.test", source=denied)
    assert plain.rcode == REFUSED and plain.opt is None
    with program.tcp(source=denied) as link:
        assert_refused(link.ask(message), message)
    assert a.count("x.test") == 1


def test_client_that_is_not_allowed(dnseal, a, address):
    """Shows: A01, W6, I3"""
    allowed, other = address(), address()
    program = dnseal(a, access={"allow": [allowed]})
    assert program.query_udp("x.test", source=allowed).rcode == 0
    assert program.query_udp("x.test", source=other).rcode == REFUSED


def test_access_comes_before_everything(dnseal, a, address):
    """Shows: A01"""
    program = dnseal(a, access={"allow": [address()]})
    source = address()
    for message in (wire.query("version.bind", "TXT", cls=wire.CHAOS),
                    wire.query("x.test", opt=wire.opt_record(version=1)),
                    wire.query("x.test", flags=15 << 11),
                    wire.query("x.test", "AXFR")):
        answer = wire.parse(program.udp_raw(message, source=source))
        assert answer.rcode == REFUSED
    assert not a.heard


@pytest.mark.parametrize("network,answers", [("198.51.100", False), ("100.64.7", False), ("10.7.7", True),
                                             ("172.20.1", True), ("192.168.9", True), ("169.254.7", True)])
def test_default_access_serves_private_networks_only(dnseal, server, namespace, network, answers):
    """Shows: A01, W6, RFC 5625 6.2"""
    proxy, client = namespace(), namespace()
    proxy.join(client, network + ".1/24", network + ".2/24")
    home = network + ".1"
    with proxy.entered():
        upstream = server("a.test", at="127.0.0.2")
        dnseal(upstream, listen=["0.0.0.0:5300"], access=None)
    message = wire.query("x.test", opt=wire.opt_record())
    with client.entered():
        over_udp = wire.parse(udp_exchange(home, 5300, message))
        with Tcp(home, 5300) as link:
            over_tcp = link.ask(message)
    for answer in (over_udp, over_tcp):
        if answers:
            assert answer.rcode == 0
        else:
            assert_refused(answer, message)
    assert bool(upstream.heard) == answers


@pytest.mark.parametrize("prefix,answers", [("2001:db8:7", False), ("fd00:7", True)])
def test_default_access_over_ipv6(dnseal, server, namespace, prefix, answers):
    """Shows: A01, RFC 5625 6.2"""
    proxy, client = namespace(), namespace()
    proxy.join(client, prefix + "::1/64", prefix + "::2/64")
    with proxy.entered():
        upstream = server("a.test", at="127.0.0.2")
        dnseal(upstream, listen=["[::]:5300"], access=None)
    with client.entered():
        answer = wire.parse(udp_exchange(prefix + "::1", 5300, wire.query("x.test", opt=wire.opt_record())))
    assert answer.rcode == (0 if answers else REFUSED)


# ---- loops

def test_own_listener_as_upstream_is_refused(write_config, address, port):
    """Shows: A07"""
    home = address()
    number = port(home)
    here = "%s:%d" % (home, number)
    file, _, _ = write_config("tls://%s#a.test" % here, listen=[here])
    for words in (["--check"], []):
        done = run(["-c", str(file), *words])
        assert done.returncode == 1 and here in done.stderr


def test_own_wildcard_listener_as_upstream(write_config, dnseal, address, port):
    """Shows: A07"""
    home = address()
    number = port("0.0.0.0")
    url = "tls://%s:%d#a.test" % (home, number)
    file, _, _ = write_config(url, listen=["0.0.0.0:%d" % number])
    if run(["-c", str(file), "--check"]).returncode == 1:
        return
    program = dnseal(url, listen=["0.0.0.0:%d" % number])
    program.port = number
    started = time.monotonic()
    assert program.query_udp("x.test").rcode == wire.RCODES["SERVFAIL"]
    assert taken(started) <= scaled(4.5) + 0.3
