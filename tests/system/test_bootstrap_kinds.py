"""Servers that are known by name, of every kind: in clear text, chosen by a policy, looked at, under a wrong clock."""
import os
import signal
import time

import pytest

import plain_server
import scripts
import wire
from pace import taken
from program import run, scaled
from shifted_clock import ShiftedClock
from test_bootstrap import asks, boot, host_of, names  # noqa: F401
from zone import Zone


@pytest.fixture
def plain_boot(plain):
    """Who is asked for addresses in clear text."""
    server = plain()
    server.zone = names()
    return server


def plain_host(server, transport="udp", name="a.test"):
    return "%s://%s:%d" % (transport, name, server.port)


def healthcheck(program):
    return run(["-c", program.file, "--healthcheck"], env=program.env)


def wait_health(program, code, seconds):
    end = time.monotonic() + scaled(seconds)
    while healthcheck(program).returncode != code:
        assert time.monotonic() < end, "it stays as it was"
        time.sleep(0.05)


# ---- in clear text ----

@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_addresses_are_asked_for_in_clear_text(a, plain_boot, dnseal, transport):
    """Shows: pain 30, M7, RFC7830-6

    The log tells of it, and the server that is found is asked over TLS all the same."""
    plain_boot.zone = names(a=[a.address])
    url = plain_boot.url.replace("udp", transport)
    program = dnseal(host_of(a), bootstrap=[url], workers=1)
    assert program.query_udp("www.x.test").rcode == 0
    assert a.count("www.x.test") == 1 and a.dns_bytes > 0
    assert {(heard.name.lower(), heard.transport) for heard in plain_boot.heard} == {("a.test.", transport)}
    assert all(code not in (11, 12) or (code, transport) == (11, "tcp")
               for heard in plain_boot.heard for code, _ in heard.message.opt.options)
    told, = program.seen("clear_text")
    assert told["bootstrap"] == url and told["names"] == "a.test" and "tls://" in told["hint"]


def test_nothing_is_told_of_clear_text_where_there_is_none(a, boot, dnseal):  # noqa: F811
    """Shows: M7"""
    boot.zone = names(a=[a.address])
    program = dnseal(host_of(a), **asks(boot))
    assert program.query_udp("www.x.test").rcode == 0
    assert not program.seen("clear_text")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_servers_in_clear_text_by_name(plain, boot, dnseal, transport):  # noqa: F811
    """Shows: pain 30, M7

    Nobody listens at the first address; the second one serves, also what fits no datagram."""
    far = plain()
    far.zone = Zone("large.test. 300 TXT %s" % " ".join("\"%s\"" % (letter * 200) for letter in "abcdefghij"))
    boot.zone = names(a=[far.other_address, far.address])
    program = dnseal(plain_host(far, transport), **asks(boot))
    begun = time.monotonic()
    assert program.query_udp("large.test", 16, opt=wire.opt_record(4096)) is not None
    assert program.query_tcp("large.test", 16).rcode == 0
    assert taken(begun) < scaled(1)
    assert {heard.transport for heard in far.of("large.test")} == {transport, "tcp"}
    assert not program.seen("upstream_down")


def test_another_address_answers_where_datagrams_are_lost(plain, boot, dnseal):  # noqa: F811
    """Shows: pain 30, M7

    Each question that is lost costs 400 ms, and the address that answers is kept."""
    far = plain()
    dead = plain()
    far.stop()
    far.port = dead.port
    far.start()
    dead.script = plain_server.silent
    boot.zone = names(a=[dead.address, far.address])
    program = dnseal(plain_host(far), **asks(boot))
    assert program.wait_event("bootstrap")
    begun = time.monotonic()
    assert program.query_udp("one.x.test").rcode == 0
    assert 0.35 <= time.monotonic() - begun and taken(begun) < scaled(1)
    for number in range(5):
        begun = time.monotonic()
        assert program.query_udp("then-%d.x.test" % number).rcode == 0
        assert taken(begun) < scaled(0.35)
    assert [heard.name.lower() for heard in dead.heard] == ["one.x.test."]


def test_a_group_in_clear_text_by_name_stays_alone(write_config, a, boot):  # noqa: F811
    """Shows: M7, V01"""
    file, _, _ = write_config(host_of(a), "udp://dns.test", **asks(boot))
    done = run(["-c", str(file), "--check"])
    assert done.returncode == 1
    assert "udp://dns.test:53 is asked in clear text, and others of the group default are not" in done.stderr


# ---- as any other server ----

def test_the_fastest_of_servers_by_name_is_asked(a, b, boot, dnseal):  # noqa: F811
    """Shows: F11, I4, pain 30

    What the workers know of a server outlives the engine, whatever its address."""
    boot.zone = names(a=[a.address], b=[b.address])
    program = dnseal(host_of(a), host_of(b, "b.test"), groups={"default": {"policy": "fastest", "hedge": True}},
                     **asks(boot))
    a.script, b.script = scripts.zone_after(0.2), scripts.zone_after(0.01)
    for number in range(40):
        assert program.query_udp("first-%d.test" % number).rcode == 0
    os.kill(program.engines()[0], signal.SIGKILL)
    assert program.wait_event("ready", count=2)
    a.heard.clear()
    b.heard.clear()
    for number in range(40):
        assert program.query_udp("then-%d.test" % number).rcode == 0
    assert len(b.heard) > 4 * len(a.heard), (len(a.heard), len(b.heard))


def test_ready_is_who_found_a_server(a, boot, dnseal):  # noqa: F811
    """Shows: F08, pain 30

    No question comes meanwhile."""
    boot.zone = names(a=[a.address])
    boot.kill()
    program = dnseal(host_of(a), **asks(boot))
    assert healthcheck(program).returncode == 0, "nothing speaks against it yet"
    wait_health(program, 1, 10)
    assert "every upstream is down" in healthcheck(program).stderr
    boot.start()
    wait_health(program, 0, 20)
    assert not a.heard


def test_a_server_by_name_that_was_down_is_looked_at(a, boot, dnseal):  # noqa: F811
    """Shows: F08, pain 30"""
    boot.zone = names(a=[a.address])
    program = dnseal(host_of(a), **asks(boot))
    assert program.query_udp("one.test").rcode == 0
    a.kill()
    program.query_udp("in-vain.test", timeout=6)
    wait_health(program, 1, 2)
    a.start()
    wait_health(program, 0, 45)
    assert a.count("in-vain.test") == 0


# ---- a wrong clock ----

@pytest.fixture
def clock(tmp_path):
    made = ShiftedClock(tmp_path)
    made.set_to(12)
    return made


def test_a_wrong_clock_is_named_for_look_ups(a, boot, dnseal, clock):  # noqa: F811
    """Shows: pain 19, pain 30

    Whoever is asked for addresses over TLS cannot be believed; the log and the extended error say why, and all comes
    right with the clock, before a client asks again."""
    boot.zone = names(a=[a.address])
    program = dnseal(host_of(a), env=clock.environment, **asks(boot))
    told = program.wait_event("bootstrap_failed", scaled(8))
    assert told["reason"] == "wrong_clock" and "udp://" in told["hint"] and told["kept"] == 0
    assert program.wait_event("upstream_down", upstream="bootstrap:" + boot.url)["reason"] == "wrong_clock"
    answer = program.query_udp("early.test", opt=wire.opt_record(), timeout=8)
    assert answer.rcode == wire.RCODES["SERVFAIL"]
    text = b" ".join(data[2:] for code, data in answer.opt.options if code == 15).decode()
    assert "wrong_clock" in text and "clock is before" in text, text
    clock.set_right()
    assert program.query_udp("right.test").rcode == 0


def test_in_clear_text_no_clock_is_needed(a, plain_boot, dnseal, clock, identities):
    """Shows: pain 19, pain 30

    A server that is believed by its pins is found and asked, although this machine does not know the time."""
    plain_boot.zone = names(a=[a.address])
    pinned = {"url": host_of(a), "pins": [identities["a.test"].pin], "without_clock": True}
    program = dnseal(pinned, env=clock.environment, bootstrap=[plain_boot.url], workers=1)
    assert program.query_udp("early.test").rcode == 0
    assert program.wait_event("wrong_clock", scaled(2))["upstream"] == host_of(a)
