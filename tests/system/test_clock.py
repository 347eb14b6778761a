"""A machine that starts with a clock which cannot be right: what it is told, and how it comes back."""
import signal
import time

import pytest

import wire
from program import scaled
from shifted_clock import ShiftedClock

IN_1970 = 12


@pytest.fixture
def clock(tmp_path):
    made = ShiftedClock(tmp_path)
    made.set_to(IN_1970)
    return made


def pinned(upstream, identities, **more):
    return {"url": upstream.url, "pins": [identities["a.test"].pin], **more}


def ask(program, name):
    return program.query_udp(name, opt=wire.opt_record(), timeout=8)


def explanation(answer):
    """The words of the extended error."""
    return b" ".join(data[2:] for code, data in answer.opt.options if code == 15).decode()


def test_a_wrong_clock_is_named_and_heals(dnseal, a, clock):
    """Shows: pain 19, regression 22"""
    program = dnseal(a, env=clock.environment, workers=1)
    answer = ask(program, "early.test")
    assert answer.rcode == wire.RCODES["SERVFAIL"] and {22, 23} & set(answer.extended_errors)
    assert "wrong_clock" in explanation(answer) and "clock is before" in explanation(answer)
    failure = program.wait_event("tls_failure", scaled(2))
    assert failure["reason"] == "wrong_clock" and "1970-01-01T" in failure["detail"]
    down = program.wait_event("upstream_down", scaled(2))
    assert down["reason"] == "wrong_clock" and "set it" in down["hint"]
    failures = program.status().by_label("dnseal_upstream_tls_failures_total", "reason")
    assert failures["wrong_clock"] >= 1 and a.dns_bytes == 0
    clock.set_right()
    assert ask(program, "right.test").rcode == 0
    assert program.wait_event("upstream_up", scaled(2)) is not None


def test_no_backoff_outlives_a_wrong_clock(dnseal, a, b, clock, identities):
    """Shows: pain 19"""
    beside = {"url": b.url, "pins": [identities["b.test"].pin], "without_clock": True}
    program = dnseal(a.url, beside, env=clock.environment, workers=1, groups={"default": {"policy": "ordered"}},
                     upstream={"backoff_min": "1m", "backoff_max": "1m"})
    assert ask(program, "early.test").rcode == 0 and b.heard
    assert program.wait_event("tls_failure", scaled(2))["reason"] == "wrong_clock"
    clock.set_right()
    end = time.monotonic() + scaled(5)
    while not a.heard and time.monotonic() < end:
        assert ask(program, "right-%f.test" % time.monotonic()).rcode == 0
    assert a.heard


def test_pins_do_without_a_clock(dnseal, a, clock, identities):
    """Shows: pain 19, W9"""
    program = dnseal(pinned(a, identities, without_clock=True), env=clock.environment, workers=1)
    assert ask(program, "early.test").rcode == 0
    warning = program.wait_event("wrong_clock", scaled(2))
    assert warning["upstream"] == a.url and warning["clock"].startswith("1970-01-01T") and "set it" in warning["hint"]
    early = [connection for connection in a.connections if connection.heard]
    clock.set_right()
    assert ask(program, "turn.test").rcode == 0
    assert ask(program, "right.test").rcode == 0
    assert a.wait_until(lambda: all(connection.closed for connection in early), scaled(2))
    last = next(connection for connection in reversed(a.connections) if connection.heard)
    assert last not in early and last.heard[-1].name.startswith("right.")
    assert len(program.seen("wrong_clock")) == 1


def test_pins_need_the_clock_where_nothing_is_said(dnseal, a, clock, identities):
    """Shows: pain 19, L01"""
    program = dnseal(pinned(a, identities), env=clock.environment)
    assert ask(program, "early.test").rcode == wire.RCODES["SERVFAIL"]
    assert program.wait_event("tls_failure", scaled(2))["reason"] == "wrong_clock"
    assert a.dns_bytes == 0


def test_the_end_of_a_certificate_counts_once_the_clock_is_right(dnseal, server, clock, authority):
    """Shows: pain 19, L01"""
    shown = authority.bad("expired")
    upstream = server("a.test", identity=shown)
    entry = {"url": upstream.url, "pins": [shown.pin], "without_clock": True}
    program = dnseal(entry, env=clock.environment, workers=1)
    assert ask(program, "early.test").rcode == 0
    clock.set_right()
    ask(program, "turn.test")
    assert ask(program, "right.test").rcode == wire.RCODES["SERVFAIL"]
    assert program.wait_event("tls_failure", scaled(2))["reason"] == "expired"


def test_a_jump_of_the_clock_costs_no_line_of_the_log(dnseal, a, clock):
    """The program waits for its log at the stop, whatever the time of day. Shows: M8, pain 19"""
    clock.set_right()
    program = dnseal(a, env=clock.environment, workers=1, log={"queries": "full"})
    program.pause_reading.set()
    with program.tcp() as link:
        for first in range(0, 600, 50):
            names = ["line-%d.test" % number for number in range(first, first + 50)]
            link.send(*[wire.query(name) for name in names])
            assert len(link.receive_many(50)) == 50
    clock.set_to(IN_1970)
    program.signal(signal.SIGTERM)
    time.sleep(0.5)
    program.pause_reading.clear()
    assert program.wait(7) == 0
    assert len(program.seen("answer")) == 600
