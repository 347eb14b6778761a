"""What is done with messages that are wrong, odd or merely new."""
import struct
import time

import pytest

import wire
from clients import udp_socket
from pace import taken
from program import scaled
from zone import Zone

QUICK = 0.010


def timed(program, message):
    """The parsed answer, the best of three tries (other work shares the machine), and its time in seconds."""
    best, answer = None, None
    for _ in range(3):
        started = time.monotonic()
        raw = program.udp_raw(message, 2)
        took = taken(started)
        assert raw is not None, "no answer"
        answer = wire.parse(raw)
        best = took if best is None else min(best, took)
    return answer, best


def test_short_datagrams_are_dropped(dnseal, a):
    """Shows: W01"""
    program = dnseal(a)
    before = program.status().total("dnseal_dropped_total")
    with udp_socket() as link:
        link.connect((program.address, program.port))
        for size in range(12):
            link.send(bytes(size))
        link.settimeout(0.5)
        with pytest.raises(OSError):
            link.recv(100)
    status = program.status()
    assert status.total("dnseal_dropped_total") - before == 12
    assert status.by_label("dnseal_dropped_total", "reason").get("short") == 12
    assert program.query_udp("after.test").rcode == 0
    assert len(a.heard) == 1


def test_answers_are_never_answered(dnseal, a):
    """Shows: W02"""
    program = dnseal(a)
    before = program.status().total("dnseal_dropped_total")
    rounds, batch = 100, 100
    with udp_socket() as link, udp_socket() as from_port_53:
        from_port_53.bind((program.address, 53))
        for source in (link, from_port_53):
            source.connect((program.address, program.port))
        for _ in range(rounds // 2):
            for source in (link, from_port_53):
                for _ in range(batch):
                    source.send(wire.query("loop.test", flags=wire.QR | wire.RD))
            assert program.query_udp("pace.test").rcode == 0
        for source in (link, from_port_53):
            source.settimeout(0.3)
            with pytest.raises(OSError):
                source.recv(100)
    assert program.status().total("dnseal_dropped_total") - before == rounds * batch
    assert a.count("loop.test") == 0


@pytest.mark.parametrize("count", [0, 2, 65535])
def test_question_count(dnseal, a, count):
    """Shows: W03, RFC 9619"""
    program = dnseal(a)
    body = wire.question("x.test") * min(count, 2)
    message = wire.header(0x1234, wire.RD, (count, 0, 0, 0)) + body
    answer, took = timed(program, message)
    assert (answer.id, answer.rcode, answer.counts[1]) == (0x1234, wire.RCODES["FORMERR"], 0)
    assert took < scaled(QUICK)
    assert not a.heard


def opt(**options):
    return wire.opt_record(4096, **options)


GOOD = {
    "plain": None,
    "edns0": opt(),
    "option 100": opt(options=[(100, b"x")]),
    "flag z": opt(flags=0x4000),
    "dnssec ok": opt(flags=0x8000),
    "bufsize 512 dnssec ok": wire.opt_record(512, flags=0x8000),
    "known options": opt(options=[(wire.NSID, b""), (wire.COOKIE, b"12345678"), (wire.PADDING, bytes(8))]),
}


@pytest.mark.parametrize("case", GOOD)
def test_edns_that_is_fine(dnseal, a, case):
    """Shows: W06, RFC 8906, RFC 6891"""
    program = dnseal(a)
    answer, _ = timed(program, wire.query("x.test", opt=GOOD[case]))
    assert answer.rcode == 0 and answer.data == [Zone.address("x.test")]
    assert (answer.opts == 1) == (GOOD[case] is not None)
    if answer.opt:
        assert answer.opt.version == 0
        assert not answer.opt.get(100)
        assert not answer.opt.flags & 0x7fff
        assert answer.opt.dnssec_ok == ("dnssec ok" in case)


@pytest.mark.parametrize("version", [1, 100])
@pytest.mark.parametrize("extra", ["", "option", "dnssec ok"])
def test_edns_version(dnseal, a, version, extra):
    """Shows: W06, RFC 6891 6.1.3"""
    program = dnseal(a)
    record = opt(version=version, options=[(100, b"x")] if extra == "option" else [],
                 flags=0x8000 if extra == "dnssec ok" else 0)
    answer, took = timed(program, wire.query("x.test", opt=record))
    assert answer.rcode == wire.RCODES["BADVERS"] and answer.opt.version == 0
    assert not answer.answer and not answer.opt.get(100)
    assert took < scaled(QUICK) and not a.heard


@pytest.mark.parametrize("flag", ["AD", "CD", "Z"])
def test_header_flags(dnseal, a, flag):
    """Shows: W06, RFC 5625 4.1"""
    program = dnseal(a)
    answer, _ = timed(program, wire.query("x.test", flags=wire.RD | getattr(wire, flag)))
    assert answer.rcode == 0 and not answer.has(wire.Z)
    assert answer.has(wire.CD) == (flag == "CD")
    asked = a.heard[0].message
    assert asked.has(wire.CD) == (flag == "CD") and not asked.has(wire.Z)


@pytest.mark.parametrize("opcode", [1, 2, 4, 5, 6, 15])
def test_opcodes(dnseal, a, opcode):
    """Shows: W06"""
    program = dnseal(a)
    answer, took = timed(program, wire.query("x.test", flags=opcode << 11, opt=opt()))
    assert answer.rcode == wire.RCODES["NOTIMP"] and answer.opcode == opcode
    assert 21 in answer.extended_errors
    assert took < scaled(QUICK) and not a.heard


def test_unknown_type_of_rfc_8906(dnseal, a):
    """Shows: W06"""
    answer = dnseal(a).query_udp("x.test", 1000)
    assert answer.rcode == 0 and answer.data == [Zone.data("x.test", 1000)]


def message_with(counts, *parts):
    return wire.header(7, wire.RD, counts) + wire.question("x.test") + b"".join(parts)


WRONG = {
    "two opts": message_with((1, 0, 0, 2), opt(), opt()),
    "opt owner": message_with((1, 0, 0, 1), opt(owner=b"\x01x\0")),
    "opt in answer": message_with((1, 1, 0, 0), opt()),
    "opt in authority": message_with((1, 0, 1, 0), opt()),
    "answer record": message_with((1, 1, 0, 0), wire.record("x.test", "A", b"1234")),
    "trailing bytes": message_with((1, 0, 0, 0), b"junk"),
    "count too high": message_with((1, 0, 0, 1)),
    "option overruns": message_with((1, 0, 0, 1), wire.opt_record()[:-2] + struct.pack("!HHH", 4, 10, 9)),
    "label type": wire.header(7, wire.RD, (1, 0, 0, 0)) + b"\x81x\0" + b"\0\1\0\1",
    "pointer to itself": wire.header(7, wire.RD, (1, 0, 0, 0)) + b"\xc0\x0c" + b"\0\1\0\1",
    "name of 256": wire.header(7, wire.RD, (1, 0, 0, 0)) + b"\x3f" * 256 + b"\0" + b"\0\1\0\1",
    "cookie of 9": message_with((1, 0, 0, 1), opt(options=[(wire.COOKIE, bytes(9))])),
    "keepalive of 2": message_with((1, 0, 0, 1), opt(options=[(wire.KEEPALIVE, bytes(2))])),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_messages(dnseal, a, case):
    """Shows: W06, T03, regression 17"""
    program = dnseal(a)
    answer, took = timed(program, WRONG[case])
    assert (answer.id, answer.rcode) == (7, wire.RCODES["FORMERR"])
    assert took < scaled(QUICK) and not a.heard
    with program.tcp() as link:
        assert link.ask(WRONG[case]).rcode == wire.RCODES["FORMERR"]


SIZES = {None: 512, 0: 512, 100: 512, 511: 512, 512: 512, 1232: 1232, 4096: 1232, 65535: 1232}


@pytest.mark.parametrize("advertised", SIZES)
def test_udp_answers_are_cut(dnseal, a, advertised):
    """Shows: W08, pain 21, regression 13"""
    program = dnseal(a)
    record = None if advertised is None else wire.opt_record(advertised)
    answer = program.query_udp("size-3000.x.test", "TXT", opt=record)
    assert len(answer.raw) <= SIZES[advertised]
    assert answer.has(wire.TC) and answer.question == wire.question("size-3000.x.test", "TXT")
    assert answer.answer == [] and answer.opts == (record is not None)


def test_large_udp_query_is_served(dnseal, a):
    """Shows: W08, RFC 5625 4.4.3"""
    message = wire.query("x.test")
    padded = wire.query("x.test", opt=wire.opt_record(options=[(wire.PADDING, bytes(4096 - len(message) - 15))]))
    assert len(padded) == 4096
    answer = wire.parse(dnseal(a).udp_raw(padded))
    assert answer.rcode == 0 and not answer.opt.get(wire.PADDING)
    assert a.heard[0].size <= 512


@pytest.mark.parametrize("kind", range(65280, 65291))
def test_unknown_types_pass(dnseal, a, kind):
    """Shows: W10, RFC 3597"""
    answer = dnseal(a).query_udp("Odd.Example.test", kind)
    assert answer.data == [Zone.data("odd.example.test", kind)]
    assert answer.question == wire.question("Odd.Example.test", kind)


@pytest.mark.parametrize("cls", [wire.CHAOS, 65000])
def test_other_classes_pass(dnseal, a, cls):
    """Shows: W10, RFC 5625 4.3"""
    answer = dnseal(a).query_udp("x.test", "TXT", cls=cls)
    assert answer.rcode == 0 and answer.data == [Zone.data("x.test", "TXT")]
    assert answer.cls == cls and a.heard[0].message.cls == cls


@pytest.mark.parametrize("name", ["version.bind", "id.server", "hostname.bind", "VERSION.bind"])
def test_names_of_servers_are_refused(dnseal, a, name):
    """Shows: W10"""
    assert dnseal(a).query_udp(name, "TXT", cls=wire.CHAOS).rcode == wire.RCODES["REFUSED"]
    assert not a.heard


def test_names_of_any_bytes(dnseal, a):
    """Shows: W10, RFC 4343"""
    odd = wire.name_of([b"\x00\x0a\x22\x5c\x7f\xffAbC", b"Test"])
    program = dnseal(a)
    for answer in (program.query_udp(odd, "TXT"), program.query_tcp(odd, "TXT")):
        assert answer.question == wire.question(odd, "TXT")
        assert answer.data == [Zone.data(odd, "TXT")]
    assert a.heard[0].message.name == odd.lower()


def test_case_and_id_are_the_clients(dnseal, a):
    """Shows: W10, regression 4, pain 22"""
    program = dnseal(a)
    for name, number in (("CaSe.Test", 1), ("cAsE.tEST", 65535)):
        answer = program.query_udp(name, message_id=number)
        assert answer.id == number and answer.name == wire.name_bytes(name)
    assert {heard.message.name for heard in a.heard} == {wire.name_bytes("case.test")}


@pytest.mark.parametrize("kind", ["AXFR", "IXFR"])
def test_transfers_are_refused(dnseal, a, kind):
    """Shows: pain 20, regression 16"""
    program = dnseal(a)
    for answer in (program.query_udp("x.test", kind, opt=wire.opt_record()),
                   program.query_tcp("x.test", kind, opt=wire.opt_record())):
        assert answer.rcode in (wire.RCODES["NOTIMP"], wire.RCODES["REFUSED"])
        assert 21 in answer.extended_errors
    assert not a.heard
