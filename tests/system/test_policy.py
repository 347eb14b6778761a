"""Several servers of a group: which one is asked, what is asked twice, and who knows that one is down."""
import os
import signal
import time

import pytest

import plain_server
import scripts
import wire
from clients import Flow
from program import run, scaled

RATE = 50
POLICIES = ("fastest", "round-robin", "random", "ordered", "hash")


def group(policy="fastest", hedge=True):
    return {"default": {"policy": policy, "hedge": hedge}}


def healthcheck(program):
    return run(["-c", program.file, "--healthcheck"], env=program.env)


def wait_health(program, code, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if healthcheck(program).returncode == code:
            return True
        time.sleep(0.05)
    return False


def share(first, second, seconds):
    """Of what both hear in this time, how much the first one hears."""
    before = len(first.heard), len(second.heard)
    time.sleep(seconds)
    heard = len(first.heard) - before[0], len(second.heard) - before[1]
    return heard[0] / sum(heard)


def test_the_fastest_is_asked(dnseal, a, b):
    """Shows: F11, I4

    What goes to the slower one to see how it does makes no client wait for it."""
    program = dnseal(a, b, groups=group(), workers=2)
    a.script, b.script = scripts.zone_after(0.5), scripts.zone_after(0.01)
    with Flow(program.address, program.port, RATE) as flow:
        time.sleep(100 / RATE + 2)
        calm = time.monotonic()
        heard = len(a.heard)
        assert share(b, a, 25) >= 0.9
        assert len(a.heard) > heard, "the slower one was forgotten"
        a.script, b.script = scripts.zone_after(0.01), scripts.zone_after(0.5)
        changed = time.monotonic()
        while share(a, b, 1) < 0.9:
            assert time.monotonic() < changed + 30
        flow.finish(scaled(5))
    flow.assert_served(scaled(2))
    flow.assert_calm(calm, until=changed, limit=scaled(0.3), slow=10)


def late_for_a_while(begin, end, late):
    """After so many answers at once, two of three come late: never so many in a row that others are preferred."""
    def script(connection, heard):
        count = len(connection.server.heard)
        is_late = begin <= count < end and count % 3 != 0
        scripts.zone_after(late if is_late else 0)(connection, heard)
    return script


@pytest.mark.parametrize("hedge", (True, False))
def test_copies_have_a_budget(dnseal, a, b, hedge):
    """Shows: I4

    For a moment one of them is late with more answers than the budget bears. Each question is answered once, whatever
    comes twice."""
    program = dnseal(a, b, groups=group("round-robin", hedge), workers=1)
    a.script = late_for_a_while(100, 160, 0.4)
    with Flow(program.address, program.port, 100) as flow:
        time.sleep(7)
        flow.finish(scaled(5))
    flow.assert_served(scaled(3))
    asked, heard = len(flow.sent), len(a.heard) + len(b.heard)
    status = program.status()
    copies = {result: status.total("dnseal_upstream_hedges_total", result=result)
              for result in ("won", "lost", "denied")}
    assert heard - asked <= 1 + asked * 0.05
    assert copies["won"] + copies["lost"] == heard - asked
    assert (copies["won"] > 2) == hedge and (copies["denied"] > 2) == hedge


@pytest.mark.parametrize("policy", POLICIES)
def test_a_server_that_goes_takes_nothing_along(dnseal, server_process, b, policy):
    """Shows: F01, I4

    Whatever the policy: no question fails, the other one serves, and the one that comes back is asked again."""
    killed = server_process("a.test")
    program = dnseal(killed, b, groups=group(policy), workers=2)
    with Flow(program.address, program.port, 200) as flow:
        time.sleep(1.5)
        killed.kill()
        assert program.wait_event("upstream_down", scaled(2), upstream=killed.url) is not None
        time.sleep(1.5)
        ups = len(program.seen("upstream_up", upstream=killed.url))
        killed.start()
        assert program.wait_event("upstream_up", scaled(5), count=ups + 1, upstream=killed.url) is not None
        assert policy == "fastest" or program.wait_answer_of(killed, 5)
        flow.finish(scaled(5))
    flow.assert_served(scaled(2))


@pytest.mark.parametrize("policy", ("fastest", "round-robin"))
def test_a_server_that_stands_still_is_left_at_once(dnseal, server_process, b, policy):
    """Shows: F01, I4, regression 9

    Its kernel takes connections and acknowledges everything. Hardly a question waits for a whole try, and though others
    answer what it leaves, it becomes known."""
    frozen = server_process("a.test")
    b.script = scripts.zone_after(0.05)  # else it may be the faster one, and the other is hardly asked
    program = dnseal(frozen, b, groups=group(policy), workers=1)
    with Flow(program.address, program.port, 200) as flow:
        time.sleep(2)
        frozen_at = time.monotonic()
        frozen.freeze()
        assert program.wait_event("upstream_down", scaled(30), upstream=frozen.url) is not None
        flow.finish(scaled(5))
    flow.assert_served(scaled(2))
    flow.assert_calm(frozen_at, limit=scaled(0.5), slow=12)


@pytest.mark.parametrize("kind", scripts.ENDS)
def test_connections_that_end_under_a_policy(dnseal, a, b, kind):
    """Shows: L06, F02"""
    program = dnseal(a, b, groups=group("round-robin"), workers=1)
    a.script = scripts.close_at(10, kind)
    with Flow(program.address, program.port, 100) as flow:
        time.sleep(2)
        flow.finish(scaled(5))
    flow.assert_served(scaled(1.6))


FAULTS = (scripts.rcode_only(wire.RCODES["SERVFAIL"]), scripts.duplicate, scripts.answer,
          scripts.changed(scripts.with_id(1), then_right=0.02), scripts.rcode_only(wire.RCODES["REFUSED"]),
          scripts.changed(scripts.with_flags(put=wire.TC)), scripts.changed(scripts.with_question(name="evil.test")))


def one_fault_after_the_other(connection, heard):
    FAULTS[len(connection.server.heard) % len(FAULTS)](connection, heard)


@pytest.mark.parametrize("policy", POLICIES)
def test_faulty_answers_under_each_policy(dnseal, a, b, policy):
    """Shows: F05, F07, I4

    Failures, what is cut, doubles, and answers to nothing: each question has the right answer once."""
    a.script = one_fault_after_the_other
    program = dnseal(a, b, groups=group(policy), workers=2)
    with Flow(program.address, program.port, 100) as flow:
        time.sleep(2)
        flow.finish(scaled(5))
    flow.assert_served(scaled(2))
    assert len(a.heard) > (1 if policy == "fastest" else 5)  # who finds the other one faster asks this one rarely


@pytest.mark.parametrize("policy", POLICIES)
def test_no_handshake_under_each_policy(dnseal, server, b, policy):
    """Shows: L07, I4

    Few connections, and after the first questions nobody waits for them."""
    dead = server("a.test", mode="silent")
    program = dnseal(dead, b, groups=group(policy), workers=1)
    with Flow(program.address, program.port, 50) as flow:
        begun = time.monotonic()
        time.sleep(6)
        flow.finish(scaled(5))
    flow.assert_served(scaled(3.5))
    flow.assert_calm(begun + 3.5, limit=scaled(0.3), slow=3)
    assert 1 <= dead.accepts <= 12


def ask_many(program, name, count=60):
    """From so many sockets, so that every worker has its part."""
    for number in range(count):
        assert program.query_udp("%s-%d.test" % (name, number)).rcode == 0


def test_what_one_worker_finds_out_is_told_once(dnseal, a, b):
    """Shows: F01, P02"""
    program = dnseal(a, b, groups=group("round-robin"), workers=4)
    ask_many(program, "before")
    assert len(program.seen("upstream_up", upstream=a.url)) == 1
    a.kill()
    ask_many(program, "while")
    time.sleep(2)
    ask_many(program, "still")
    down = program.seen("upstream_down", upstream=a.url)
    assert len(down) == 1 and down[0]["reason"] in ("refused", "reset")
    a.start()
    end = time.monotonic() + scaled(5)
    while not program.seen("upstream_up", upstream=a.url)[1:] and time.monotonic() < end:
        ask_many(program, "after", 20)
    time.sleep(1)
    ask_many(program, "again")
    assert len(program.seen("upstream_up", upstream=a.url)) == 2
    assert len(program.seen("upstream_down", upstream=a.url)) == 1


def test_what_one_worker_finds_out_over_udp_is_told_once(dnseal, plain):
    """Shows: F01, M7"""
    one, two = plain(), plain()
    program = dnseal(one.url, two.url, groups=group("round-robin"), workers=4)
    ask_many(program, "before")
    assert len(program.seen("upstream_up", upstream=one.url, transport="udp")) == 1
    assert program.status().total("dnseal_upstream_up", upstream=one.url) == 4
    one.stop()
    ask_many(program, "while")
    time.sleep(2)
    ask_many(program, "still")
    down = program.seen("upstream_down", upstream=one.url)
    assert [(line["transport"], line["reason"]) for line in down] == [("udp", "refused")]
    one.start()
    end = time.monotonic() + scaled(5)
    while not program.seen("upstream_up", upstream=one.url)[1:] and time.monotonic() < end:
        ask_many(program, "after", 20)
    time.sleep(1)
    ask_many(program, "again")
    assert len(program.seen("upstream_up", upstream=one.url)) == 2
    assert len(program.seen("upstream_down", upstream=one.url)) == 1


def test_the_fastest_over_udp_is_asked(dnseal, plain):
    """Shows: I4, M7"""
    one, two = plain(), plain()
    one.script = plain_server.after(0.05)
    program = dnseal(one.url, two.url, groups=group(), workers=1)
    ask_many(program, "first", 50)
    one.heard.clear()
    two.heard.clear()
    ask_many(program, "then")
    assert len(two.heard) > 10 * len(one.heard)


def test_ready_again_without_questions_over_udp(dnseal, plain):
    """Shows: F08, M7

    Who is not ready gets no questions: the server is looked at by one of ours."""
    server = plain()
    program = dnseal(server.url, workers=2)
    assert healthcheck(program).returncode == 0
    server.stop()
    program.query_udp("in-vain.test", timeout=6)
    assert "every upstream is down (group default)" in healthcheck(program).stderr
    server.start()
    assert wait_health(program, 0, scaled(45))
    assert [heard.name for heard in server.heard] == ["."]


def test_ready_is_who_can_ask_somebody(dnseal, a, b):
    """Shows: F08"""
    program = dnseal(a, b, groups=group(), workers=2)
    done = healthcheck(program)
    assert done.returncode == 0 and done.stdout == "ready\n"
    ask_many(program, "before")
    a.kill()
    with Flow(program.address, program.port, RATE):
        assert program.wait_event("upstream_down", scaled(5), upstream=a.url) is not None
        assert healthcheck(program).returncode == 0
        b.kill()
        assert wait_health(program, 1, scaled(5))
        assert "every upstream is down" in healthcheck(program).stderr
        time.sleep(2)
        b.start()
        assert wait_health(program, 0, scaled(2))


def test_what_is_known_outlives_an_engine(dnseal, a, b):
    """Shows: F08"""
    program = dnseal(a, b, groups=group(), workers=1)
    a.kill()
    b.kill()
    program.query_udp("in-vain.test")
    assert healthcheck(program).returncode == 1
    os.kill(program.engines()[0], signal.SIGKILL)
    assert program.wait_event("ready", scaled(3), count=2) is not None
    assert "every upstream is down" in healthcheck(program).stderr
    b.start()
    assert program.query_udp("again.test").rcode == 0
    assert healthcheck(program).returncode == 0


def test_one_client_shows_that_a_server_is_down(dnseal, a):
    """Shows: F08

    Its questions come to one worker of four; the others, which nobody asks, do not call the server up for it."""
    program = dnseal(a, workers=4, cache={"size": 0})
    ask_many(program, "before")
    assert program.status().total("dnseal_upstream_up", upstream=a.url) > 1
    a.kill()
    with Flow(program.address, program.port, 20) as flow:
        assert wait_health(program, 1, scaled(8))
        assert program.status().total("dnseal_upstream_up", upstream=a.url) == 0
        a.start()
        assert wait_health(program, 0, scaled(8))
        assert program.status().total("dnseal_upstream_up", upstream=a.url) >= 1
        flow.finish(0)


def test_who_is_told_to_stop_is_not_ready(dnseal, a):
    """Shows: P01"""
    program = dnseal(a, limits={"drain_delay": "2s"})
    assert healthcheck(program).returncode == 0
    program.signal(signal.SIGTERM)
    time.sleep(0.5)
    assert "is stopping" in healthcheck(program).stderr
    assert program.wait(5) == 0
    assert healthcheck(program).returncode == 1


def test_a_server_that_is_down_is_looked_at_without_questions(dnseal, a, b):
    """Shows: F08, pain 9

    Once in half a minute, by one worker for all; and a server that is up is left alone."""
    program = dnseal(a, b, groups=group("round-robin"), workers=4)
    ask_many(program, "before")
    a.mode = "close"
    a.end_all("reset")
    ask_many(program, "while")
    assert program.wait_event("upstream_down", scaled(5), upstream=a.url) is not None
    time.sleep(5)
    accepts = len(a.connections)
    time.sleep(65)
    assert 1 <= len(a.connections) - accepts <= 3
    ups = len(program.seen("upstream_up", upstream=a.url))
    a.mode = "tls"
    assert program.wait_event("upstream_up", 40, count=ups + 1, upstream=a.url) is not None
