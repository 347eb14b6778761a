"""Faults of upstreams: wrong answers, bad rcodes, ends of connections."""
import time

import pytest

import scripts
import wire
from clients import Flow, together, udp_socket
from pace import taken
from program import scaled
from zone import Zone

SERVFAIL = wire.RCODES["SERVFAIL"]


def ask_many(program, count, name="n%d.test"):
    """`count` questions on one TCP connection at once; the answers by number."""
    with program.tcp() as link:
        link.send(*[wire.query(name % number, message_id=number, opt=wire.opt_record()) for number in range(count)])
        return {answer.id: answer for answer in link.receive_many(count, scaled(8))}


def assert_right(answer, name):
    assert answer is not None and answer.rcode == 0, answer
    assert answer.name == wire.name_bytes(name) and answer.data == [Zone.address(name)]


# ---- connections that end with questions in flight

ENDS = ["notify", "fin", "reset", "alert", "half_record", "half_frame"]


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("alone", [True, False])
def test_end_with_queries_outstanding(dnseal, a, b, kind, alone):
    """Shows: L06, pain 6, regression 3, RFC 7858 3.4"""
    count = 20
    program = dnseal(a, workers=1) if alone else dnseal(a, b, workers=1)
    assert program.query_udp("warm.test").rcode == 0
    for upstream in (a, b):
        upstream.script = scripts.close_at(count if alone else 5, kind)
    started = time.monotonic()
    answers = ask_many(program, count)
    took = taken(started)
    assert sorted(answers) == list(range(count))
    for number, answer in answers.items():
        assert_right(answer, "n%d.test" % number)
    assert took <= scaled(1.6)
    for number in range(count):
        assert a.count("n%d.test" % number) + b.count("n%d.test" % number) <= 3


def test_nothing_is_answered_twice(dnseal, a):
    """Shows: L06, F05, regression 3"""
    program = dnseal(a, workers=1)
    a.script = scripts.duplicate
    with program.tcp() as link:
        for number in range(5):
            assert_right(link.ask(wire.query("n%d.test" % number)), "n%d.test" % number)
        with pytest.raises(TimeoutError):
            link.receive(0.5)


def test_close_when_idle_is_normal(dnseal, a):
    """Shows: pain 5, F02"""
    a.script = scripts.close_after(1)
    program = dnseal(a, workers=1)
    for number in range(8):
        assert_right(program.query_udp("n%d.test" % number), "n%d.test" % number)
        time.sleep(0.25)
    assert not program.seen("upstream_down") and not program.seen("tls_failure")
    assert a.count("n3.test") == 1


@pytest.mark.parametrize("kind", ["notify", "fin", "reset"])
def test_close_just_when_a_query_is_written(dnseal, a, kind):
    """Shows: F02, pain 6, regression 10"""
    a.idle_close = (0.25, kind)
    program = dnseal(a, workers=1)
    for number in range(20):
        assert_right(program.query_udp("n%d.test" % number), "n%d.test" % number)
        time.sleep(0.23 + (number % 10) * 0.004)


CLOSES = 500
CLOSERS = 4


def race_a_close(program, server, kind):
    """A question 5 ms before to 5 ms after each close, and an answer 3 ms after it; how long each took."""
    took, server.script = [], scripts.zone_after(0.003)
    with udp_socket(None, program.address) as link:
        link.connect((program.address, program.port))
        link.settimeout(scaled(6))
        for number in range(CLOSES):
            offset, name = (number % 21 - 10) / 2000, "r%d.test" % number
            message, closing = wire.query(name), time.monotonic() + 0.006
            for connection in server.open_connections():
                connection.later(0.006, connection.close, kind)
            time.sleep(max(0, closing + offset - time.monotonic()))
            begun = time.monotonic()
            link.send(message)
            answer = wire.parse(link.recv(65536))
            took.append(taken(begun))
            assert answer.raw[:2] == message[:2]
            assert_right(answer, name)
    return took


@pytest.mark.parametrize("kind", ["notify", "fin", "reset"])
def test_closes_around_a_question(dnseal, server, kind):
    """Shows: F02, pain 5, pain 6, regression 10

    2,000 closes in each way, and a question within 5 ms of each; 1,000 a second is a limit out of the way."""
    servers = [server("a.test") for _ in range(CLOSERS)]
    programs = [dnseal(one, workers=1, upstream={"handshakes_per_second": 1000}) for one in servers]
    took = sorted(sum(together([lambda pair=pair: race_a_close(*pair, kind) for pair in zip(programs, servers)]), []))
    assert len(took) == CLOSES * CLOSERS
    assert took[int(len(took) * 0.99)] <= scaled(0.2)
    for program, one in zip(programs, servers):
        closes = program.status().by_label("dnseal_upstream_closes_total", "reason")
        assert closes["in_flight"] > 20 and closes["idle"] > 20, closes
        assert one.accepts <= CLOSES + 10 and not program.seen("upstream_down")


def test_server_that_wants_no_idle_links(dnseal, a):
    """Shows: F02, pain 5, RFC 7828

    Its keepalive time is 0 and it closes when idle for a second; who asks steadily hardly connects, and never fails."""
    a.script = scripts.changed(scripts.with_keepalive(0))
    a.idle_close = (1.0, "notify")
    program = dnseal(a, workers=1)
    with Flow(program.address, program.port, 200) as flow:
        time.sleep(4)
        flow.finish(scaled(5))
    flow.assert_served(scaled(0.3))
    assert a.accepts <= max(5 * 4 + 10, len(flow.sent) / 10)
    assert not program.seen("upstream_down")


IDLE_TIMES = {2.0: 12, 9.0: 3, 10.0: 3}


def ask_when_idle(program, seconds, rounds):
    """A question exactly when the server is about to close, and a few milliseconds around it."""
    for number in range(rounds):
        begun = time.monotonic()
        name = "idle-%d.test" % number
        assert_right(program.query_udp(name), name)
        assert taken(begun) < scaled(0.2)
        time.sleep(max(0, begun + seconds + (number % 5 - 2) / 500 - time.monotonic()))


def test_idle_close_just_when_a_query_is_written(dnseal, server):
    """Shows: F02, pain 5, pain 6, regression 10

    Servers that close after 2, 9 and 10 s, at the same time; with 30 s it is a play."""
    jobs = []
    for seconds, rounds in IDLE_TIMES.items():
        closing = server("a.test")
        closing.idle_close = (seconds, "notify")
        jobs.append((dnseal(closing, workers=1), seconds, rounds))
    together([lambda job=job: ask_when_idle(*job) for job in jobs])
    assert not any(program.seen("upstream_down") for program, _, _ in jobs)


# ---- answers that are wrong

QUESTION_CHANGES = {
    "name": scripts.with_question(name="evil.test"),
    "type": scripts.with_question(kind=wire.TYPES["AAAA"]),
    "class": scripts.with_question(cls=wire.CHAOS),
    "no question": scripts.without_question,
}
OTHER_CHANGES = {
    "id": scripts.with_id(1),
    "not an answer": scripts.with_flags(clear=wire.QR),
}


@pytest.mark.parametrize("case", QUESTION_CHANGES)
def test_wrong_question_is_never_delivered(dnseal, a, b, case):
    """Shows: F05, regression 2, pain 25, RFC 7858 3.3"""
    a.script = b.script = scripts.by_name({"bad": scripts.changed(QUESTION_CHANGES[case], then_right=0.2)})
    program = dnseal(a, b, workers=1)
    answer = program.query_udp("bad.test", opt=wire.opt_record())
    if answer.rcode == 0:
        assert_right(answer, "bad.test")
    else:
        assert answer.rcode == SERVFAIL and answer.name == wire.name_bytes("bad.test") and not answer.answer
    outcomes = program.status().by_label("dnseal_upstream_queries_total", "outcome")
    assert any("match" in (word or "") for word in outcomes), outcomes
    assert a.connections[0].closed or b.connections[0].closed
    assert_right(program.query_udp("good.test"), "good.test")


@pytest.mark.parametrize("case", OTHER_CHANGES)
def test_wrong_answer_does_not_end_the_wait(dnseal, a, case):
    """Shows: F05, regression 2, RFC 5452 9"""
    a.script = scripts.by_name({"bad": scripts.changed(OTHER_CHANGES[case], then_right=0.2)})
    assert_right(dnseal(a, workers=1).query_udp("bad.test"), "bad.test")


def test_right_answer_of_another_server(dnseal, a, b):
    """Shows: F05, F07"""
    a.script = scripts.changed(scripts.with_question(name="evil.test"))
    program = dnseal(a, b, workers=1)
    for number in range(6):
        assert_right(program.query_udp("n%d.test" % number), "n%d.test" % number)


def test_case_of_the_question_does_not_matter(dnseal, a):
    """Shows: regression 2, RFC 4343"""
    a.script = scripts.changed(scripts.with_question(name="X.tEsT"))
    answer = dnseal(a).query_udp("x.test")
    assert answer.rcode == 0 and answer.name == wire.name_bytes("x.test")


def test_late_answer_of_a_timed_out_query(dnseal, a, b):
    """Shows: F05, regression 3, pain 25"""
    a.script = scripts.by_name({"late": scripts.zone_after(2.5)})
    b.script = scripts.by_name({"late": scripts.zone_after(2.5)})
    program = dnseal(a, b, workers=1, limits={"query_timeout": "2s"})
    assert program.query_udp("late.test").rcode == SERVFAIL
    for number in range(50):
        assert_right(program.query_udp("n%d.test" % number), "n%d.test" % number)
        time.sleep(0.05)
    assert program.status().total("dnseal_upstream_queries_total", outcome="late") >= 1


def test_transfer_cannot_park_a_connection(dnseal, a):
    """Shows: regression 16"""
    def many(connection, heard):
        right, _ = connection.server.zone.answer(heard.message)
        for _ in range(50):
            connection.send(right)
    a.script = scripts.by_name({"many": many})
    program = dnseal(a, workers=1)
    assert_right(program.query_udp("many.test"), "many.test")
    for number in range(5):
        assert_right(program.query_udp("n%d.test" % number), "n%d.test" % number)


MALFORMED = {
    "cut": lambda message: message[:-3],
    "trailing": lambda message: message + b"junk",
    "counts": lambda message: message[:6] + b"\xff\xff" + message[8:],
    "pointer loop": lambda message: message[:-16] + b"\xc0\xff" + message[-14:],
    "two opts": lambda message: message[:10] + b"\0\2" + message[12:] + wire.opt_record(),
    "option overruns": lambda message: message[:10] + b"\0\2" + message[12:] + wire.opt_record()[:-2] + b"\0\4\0\3\xff\xff",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_answer(dnseal, a, case):
    """Shows: F05, regression 17, RFC 5625 6.3"""
    a.zone.pad = False
    a.script = scripts.by_name({"bad": scripts.changed(MALFORMED[case])})
    program = dnseal(a, workers=1)
    answer = program.query_udp("bad.test", opt=wire.opt_record())
    assert answer.rcode == SERVFAIL and not answer.answer
    assert set(answer.extended_errors) & {22, 23, 24}
    assert_right(program.query_udp("good.test"), "good.test")


@pytest.mark.parametrize("size", [0, 1, 11])
def test_impossible_length_from_upstream(dnseal, a, b, size):
    """Shows: F05, L06"""
    def script(connection, heard):
        connection.send_stream(size.to_bytes(2, "big") + bytes(size))
    a.script = script
    assert_right(dnseal(a, b, workers=1).query_udp("x.test"), "x.test")


# ---- rcodes

@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"])
def test_bad_rcode_is_tried_once_elsewhere(dnseal, a, b, code):
    """Shows: F07, pain 24"""
    a.script = scripts.rcode_only(wire.RCODES[code])
    program = dnseal(a, b, workers=1)
    for number in range(6):
        assert_right(program.query_udp("n%d.test" % number), "n%d.test" % number)
    for number in range(6):
        assert a.count("n%d.test" % number) <= 1 and b.count("n%d.test" % number) == 1


def test_truncated_answer_is_tried_elsewhere(dnseal, a, b):
    """Shows: F07"""
    a.script = scripts.changed(scripts.with_flags(put=wire.TC))
    program = dnseal(a, b, workers=1)
    for number in range(4):
        answer = program.query_udp("n%d.test" % number)
        assert_right(answer, "n%d.test" % number)
        assert not answer.has(wire.TC)


@pytest.mark.parametrize("label,code", [("nxdomain", 3), ("nodata", 0)])
def test_negative_answers_are_answers(dnseal, a, b, label, code):
    """Shows: F07"""
    program = dnseal(a, b, workers=1)
    answer = program.query_udp("%s.x.test" % label)
    assert answer.rcode == code and not answer.answer
    assert answer.authority[0].type == wire.TYPES["SOA"]
    assert len(a.heard) + len(b.heard) == 1


def test_all_bad_keeps_the_upstreams_error(dnseal, a, b):
    """Shows: F07, RFC 8914"""
    program = dnseal(a, b, workers=1)
    answer = program.query_udp("ede-6.test", opt=wire.opt_record())
    assert answer.rcode == SERVFAIL and 6 in answer.extended_errors
    assert len(answer.opt.get(wire.EXTENDED_ERROR)[0]) <= 2 + 128
    assert program.query_udp("ede-6.y.test").opt is None


def test_long_extra_text_is_cut(dnseal, a):
    """Shows: F07, RFC 8914"""
    a.script = scripts.rcode_only(SERVFAIL, (wire.EXTENDED_ERROR, b"\0\6" + b"t" * 900))
    answer = dnseal(a).query_udp("x.test", opt=wire.opt_record())
    assert answer.extended_errors == [6]
    assert len(answer.opt.get(wire.EXTENDED_ERROR)[0]) == 2 + 128


def test_all_refuse(dnseal, a, b):
    """Shows: F07"""
    a.script = b.script = scripts.rcode_only(wire.RCODES["REFUSED"])
    assert dnseal(a, b).query_udp("x.test").rcode in (wire.RCODES["REFUSED"], SERVFAIL)


# ---- what passes through, and what stays on its hop

def test_options_of_the_hop_stay_there(dnseal, a):
    """Shows: pain 20, regression 13, RFC 6891 6.1.1"""
    program = dnseal(a)
    sent = [(wire.COOKIE, b"12345678"), (wire.PADDING, bytes(40)), (65001, b"mine"), (wire.NSID, b"")]
    answer = program.query_udp("options.test", opt=wire.opt_record(options=sent))
    assert {code for code, _ in answer.opt.options} <= {wire.EXTENDED_ERROR}
    assert program.query_udp("options.y.test").opt is None
    for heard in a.heard:
        assert {code for code, _ in heard.message.opt.options} <= {wire.KEEPALIVE, wire.PADDING}
        assert heard.message.opts == 1 and heard.message.opt.size == 1232


def test_opt_in_the_middle(dnseal, a):
    """Shows: RFC 6891 6.1.1, pain 20, regression 17"""
    program = dnseal(a)
    for record in (None, wire.opt_record()):
        answer = program.query_udp("middle.x%d.test" % bool(record), opt=record)
        names = [entry.name for entry in answer.additional if entry.type == wire.TYPES["A"]]
        assert names == [wire.name_bytes("before.test")] + [wire.name_bytes("after.test")] * 2
        assert answer.opts == bool(record)


def test_authentic_data_only_for_those_who_ask(dnseal, a):
    """Shows: F07, regression 5, RFC 6840 5.7"""
    program = dnseal(a)
    assert not program.query_udp("secure.n1.test").has(wire.AD)
    assert program.query_udp("secure.n2.test", flags=wire.RD | wire.AD).has(wire.AD)
    signed = program.query_udp("secure.n3.test", opt=wire.opt_record(flags=0x8000))
    assert signed.has(wire.AD) and signed.answer[1].type == wire.TYPES["RRSIG"]


@pytest.mark.parametrize("size", [512, 4096, 16384, 65000, 65535])
def test_big_answers_over_tcp(dnseal, a, size):
    """Shows: M1, T01"""
    answer = dnseal(a).query_tcp("size-%d.test" % size, "TXT")
    assert len(answer.raw) in (size, size - 11) and not answer.has(wire.TC)


def test_long_chain_is_passed(dnseal, a):
    """Shows: C11"""
    assert len(dnseal(a).query_tcp("chain-100.test").answer) == 101


def test_many_clients_at_once(dnseal, a, b):
    """Shows: M4, pain 8"""
    program = dnseal(a, b)
    answers = together([lambda n=n: program.query_udp("delay-100.n%d.test" % n) for n in range(100)])
    assert all(answer.rcode == 0 for answer in answers)
    assert a.accepts + b.accepts <= 16
