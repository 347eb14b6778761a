"""Servers in clear text, over UDP and TCP: asked where the configuration says so, and believed as far as can be."""
import pathlib
import resource
import subprocess
import time

import dns.message
import dns.query
import dns.rcode
import pytest

import plain_server
import scripts
import wire
from clients import together
from pace import taken
from program import run, scaled
from test_scarcity import outcome

UNBOUND = """
server:
  interface: %(address)s@%(port)d
  port: %(port)d
  do-daemonize: no
  use-syslog: no
  username: ""
  chroot: ""
  directory: "%(directory)s"
  pidfile: ""
  access-control: 127.0.0.0/8 allow
  local-zone: "zone.test." static
  local-data: "www.zone.test. 300 IN A 192.0.2.80"
%(more)s
remote-control:
  control-enable: no
"""
SERVFAIL = wire.RCODES["SERVFAIL"]


def address_of(server, name):
    """The last record of the zone's answer: an address."""
    return server.zone.answer(wire.parse(wire.query(name)))[0]


def is_right(answer, name, server):
    right = wire.parse(address_of(server, name))
    return answer is not None and answer.rcode == 0 and answer.data == right.data


def outcomes(program, outcome):
    return program.status().total("dnseal_upstream_queries_total", outcome=outcome)


# ---- what is asked, and how

def test_unbound_in_clear_text(dnseal, address, port, tmp_path):
    """Shows: M7, RFC7766-5"""
    home = address()
    number = port(home)
    file = tmp_path / "unbound.conf"
    more = '  local-data: "big.zone.test. 300 IN TXT %s"\n' % " ".join("'%s'" % ("x" * 250) for _ in range(12))
    file.write_text(UNBOUND % {"address": home, "port": number, "directory": tmp_path, "more": more})
    process = subprocess.Popen(["unbound", "-d", "-c", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        program = dnseal("udp://%s:%d" % (home, number))

        def answer_to(name, kind, ask=dns.query.tcp):
            query = dns.message.make_query(name, kind, use_edns=0)
            return ask(query, program.address, port=program.port, timeout=scaled(6))
        assert answer_to("www.zone.test.", "A").answer[0][0].to_text() == "192.0.2.80"
        assert answer_to("www.zone.test.", "A", dns.query.udp).answer[0][0].to_text() == "192.0.2.80"
        assert answer_to("missing.zone.test.", "A").rcode() == dns.rcode.NXDOMAIN
        assert len(answer_to("big.zone.test.", "TXT").answer[0][0].strings) == 12
        assert outcomes(program, "truncated") == 1
    finally:
        process.terminate()
        process.wait(10)


def test_each_transport_of_clients_has_its_own_server(dnseal, plain, a):
    """Shows: M7"""
    server = plain()
    program = dnseal(a, {"url": server.url, "group": "office"}, routes={"office.test": "office"})
    program.stop()
    home = '{ address: "%s:%d", transport: ' % (program.address, program.port)
    file = pathlib.Path(program.file)
    text = file.read_text()
    doors = "listen:\n- %s[tcp] }\n- %s[udp], upstreams: office }\n" % (home, home)
    file.write_text(doors + text[text.index("upstreams:"):])
    program.start()
    program.query_udp("www.x.test")
    program.query_tcp("www.y.test")
    assert (server.count("www.x.test"), a.count("www.x.test")) == (1, 0)
    assert (server.count("www.y.test"), a.count("www.y.test")) == (0, 1)


def test_what_leaves_in_clear_text_is_told(dnseal, plain, a):
    """Shows: M7, V01"""
    server = plain()
    program = dnseal(a, {"url": server.url, "group": "office"}, routes={"office.test": "office", "consul": "office"})
    told, = program.seen("clear_text")
    assert told["group"] == "office" and told["upstreams"] == server.url
    assert told["routes"] == "office.test,consul" and told["listeners"] == ""


def test_a_mixed_group_stops_the_start(write_config, a):
    """Shows: M7, V01"""
    file, _, _ = write_config(a, "udp://127.0.0.9")
    done = run(["-c", str(file), "--check"])
    assert done.returncode == 1
    assert "udp://127.0.0.9:53 is asked in clear text, and others of the group default are not" in done.stderr
    line = next(number for number, text in enumerate(file.read_text().split("\n"), 1) if "udp://" in text)
    assert "%s:%d:" % (file, line) in done.stderr


def test_no_authorities_are_needed(dnseal, write_config, plain, a, identities):
    """Shows: M7"""
    server, missing = plain(), {"ca": "/no/such/file.pem"}
    pinned = {"url": "tls://%s:%d" % (a.address, a.port), "pins": [identities["a.test"].pin], "group": "pinned"}
    changes = {"tls": missing, "routes": {"pinned.test": "pinned"}}
    program = dnseal(server.url, pinned, **changes)
    assert program.query_udp("www.x.test").rcode == program.query_udp("www.pinned.test").rcode == 0
    assert (server.count("www.x.test"), a.count("www.pinned.test")) == (1, 1)
    assert run(["-c", program.file, "--check", "--connect"]).returncode == 0
    file, _, _ = write_config(server.url, {"url": a.url, "group": "pinned"}, **changes)
    for words in ([], ["--check"], ["--check", "--connect"]):
        refused = run(["-c", str(file), *words])
        assert refused.returncode == 1 and "tls.ca: \"/no/such/file.pem\": " in refused.stderr


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_what_a_question_looks_like(dnseal, plain, transport):
    """Shows: M7, V02, RFC7830-6, RFC7828, RFC9715"""
    server = plain()
    program = dnseal(server.url.replace("udp", transport))
    answer = program.query_udp("Www.Example.TEST", opt=wire.opt_record(4096))
    assert is_right(answer, "Www.Example.TEST", server)
    assert answer.name == wire.name_bytes("Www.Example.TEST")
    heard, = server.heard
    assert heard.transport == transport and heard.message.opt.size == 1232
    codes = {code for code, _ in heard.message.opt.options}
    assert codes == ({wire.KEEPALIVE} if transport == "tcp" else set())


def test_nothing_can_be_foreseen(dnseal, plain):
    """Shows: RFC5452-9"""
    server = plain()
    program = dnseal(server.url)
    name = "a-name-of-many-letters-%d.example.test"
    together([lambda number=number: program.query_udp(name % number) for number in range(200)])
    assert len(server.heard) == 200
    ports, ids = [heard.port for heard in server.heard], [heard.message.id for heard in server.heard]
    letters = {"".join("1" if letter.isupper() else "0" for letter in heard.name[:22]) for heard in server.heard}
    assert len(set(ports)) > 190 and len(set(ids)) > 190 and len(letters) > 190
    assert min(ports) < 12000 and max(ports) > 54000
    assert len({(b - a) % 65536 for a, b in zip(ports, ports[1:])}) > 150


# ---- what is believed

WRONGS = {"id": scripts.with_id(1), "name": scripts.with_question("forged.test"),
          "type": scripts.with_question(kind="AAAA"), "class": scripts.with_question(cls=3),
          "query": scripts.with_flags(clear=wire.QR), "garbage": lambda message: message[:-3],
          "short": lambda message: message[:7]}


@pytest.mark.parametrize("wrong", WRONGS)
def test_a_wrong_answer_does_not_end_the_wait(dnseal, plain, wrong):
    """Shows: F05, RFC5452-9"""
    server = plain()
    server.script = plain_server.changed(WRONGS[wrong], right_after=0.1)
    program = dnseal(server.url)
    assert is_right(program.query_udp("www.example.test"), "www.example.test", server)
    assert server.count("www.example.test") == 1
    assert outcomes(program, "malformed" if wrong == "garbage" else "mismatch") == 1


def test_nobody_else_is_heard(dnseal, plain):
    """Shows: F05, RFC5452-9"""
    server = plain()
    server.script = plain_server.from_elsewhere
    program = dnseal(server.url)
    for number in range(20):
        name = "n%d.example.test" % number
        assert is_right(program.query_udp(name), name, server)
    assert outcomes(program, "answer") == 20


def test_letters_that_do_not_come_back(dnseal, plain):
    """Shows: RFC5452-9"""
    server = plain()
    server.script = plain_server.folded
    program = dnseal(server.url, workers=1)
    names = ["n%d.letters-of-example.test" % number for number in range(6)]
    for name in names:
        assert is_right(program.query_udp(name), name, server)
    assert [server.count(name, "tcp") for name in names] == [1, 1, 0, 0, 0, 0]
    assert program.wait_event("case_folded")
    assert len(program.seen("case_folded")) == 1
    assert [heard.name == heard.name.lower() for heard in server.heard if heard.transport == "udp"] \
        == [False] * 3 + [True] * 3


def test_truncated_answers_are_asked_over_tcp(dnseal, plain):
    """Shows: M7, RFC9715"""
    server = plain()
    program = dnseal(server.url, workers=1)
    answer = program.query_tcp("size-3000.example.test", "TXT")
    assert answer.rcode == 0 and len(answer.raw) > 2500
    assert program.query_udp("size-3000.example.test", "TXT").has(wire.TC)
    server.script = plain_server.truncated
    names = ["n%d.example.test" % number for number in range(50)]
    answers = together([lambda name=name: program.query_udp(name) for name in names])
    assert all(is_right(answer, name, server) for answer, name in zip(answers, names))
    assert program.status().total("dnseal_upstream_connections") == 1


def test_nothing_is_answered_twice(dnseal, plain):
    """Shows: F05"""
    server = plain()
    server.script = plain_server.twice
    program = dnseal(server.url)
    names = ["n%d.example.test" % number for number in range(50)]
    answers = together([lambda name=name: program.query_udp(name) for name in names])
    assert all(is_right(answer, name, server) for answer, name in zip(answers, names))
    assert outcomes(program, "answer") == 50


# ---- what is lost

def test_a_late_answer_to_an_earlier_try(dnseal, plain):
    """Shows: F05, M7"""
    server = plain()
    server.script = plain_server.after(0.6)
    program = dnseal(server.url)
    assert is_right(program.query_udp("www.example.test"), "www.example.test", server)
    assert server.count("www.example.test") == 2
    assert len({heard.port for heard in server.heard}) == 2


def test_lost_datagrams(dnseal, plain):
    """Shows: M7, RFC9520"""
    one, two = plain(), plain()
    losses = plain_server.losing(lambda name: {"0": 1, "5": 2}.get(name.split(".")[0][-1], 0))
    for server in (one, two):
        server.script = losses
    program = dnseal(one.url, two.url)
    names = ["n%d.example.test" % number for number in range(200)]
    answers = together([lambda name=name: program.query_udp(name, timeout=6) for name in names])
    assert all(is_right(answer, name, one) for answer, name in zip(answers, names))
    assert max(server.count(name, "udp") for server in (one, two) for name in names) <= 3
    assert outcomes(program, "answer") == 200


def test_a_server_that_goes_and_comes_back(dnseal, plain):
    """Shows: F01, M7"""
    server = plain()
    program = dnseal(server.url)
    assert is_right(program.query_udp("a.example.test"), "a.example.test", server)
    server.stop()
    begun = time.monotonic()
    server.later(1.5, server.start)
    names = ["n%d.example.test" % number for number in range(20)]
    answers = together([lambda name=name: program.query_udp(name, timeout=6) for name in names])
    assert time.monotonic() - begun > 1.4
    assert all(is_right(answer, name, server) for answer, name in zip(answers, names))
    assert program.seen("upstream_down")[0]["reason"] == "refused"
    assert program.seen("upstream_up")[-1]["transport"] == "udp"


def test_a_silent_server_costs_two_questions(dnseal, plain):
    """Shows: F01, M7"""
    silent, good = plain(), plain()
    silent.script = plain_server.silent
    program = dnseal(silent.url, good.url, workers=1)
    slow = 0
    for number in range(20):
        begun = time.monotonic()
        assert program.query_udp("n%d.example.test" % number).rcode == 0
        slow += taken(begun) > 0.35
    assert slow <= 2
    assert program.wait_event("upstream_down", scaled(6))["reason"] == "silent"
    silent.script = plain_server.answer
    end = time.monotonic() + scaled(8)
    number = 100
    while time.monotonic() < end and not program.status().total("dnseal_upstream_up", upstream=silent.url):
        program.query_udp("n%d.example.test" % number)
        number += 1
        time.sleep(0.1)
    assert program.status().total("dnseal_upstream_up", upstream=silent.url) == 1


def test_nobody_answers(dnseal, plain):
    """Shows: M7, RFC9520"""
    server = plain()
    server.script = plain_server.silent
    answer = dnseal(server.url).query_udp("www.example.test", timeout=6, opt=wire.opt_record())
    assert answer.rcode == SERVFAIL and answer.extended_errors == [22]
    assert server.count("www.example.test") == 3


def test_more_questions_than_sockets(dnseal, plain):
    """Shows: W5, M7"""
    server = plain()
    server.script = plain_server.after(0.05)
    program = dnseal(server.url, upstream={"in_flight": 8})
    names = ["n%d.example.test" % number for number in range(100)]
    answers = together([lambda name=name: program.query_udp(name, timeout=6) for name in names])
    assert all(is_right(answer, name, server) for answer, name in zip(answers, names))


def test_sockets_of_questions_count_as_descriptors(plain, write_config):
    """Shows: W5, M7"""
    server = plain()
    file, address, port = write_config(server.url, workers=1)
    limits = [outcome(resource.RLIMIT_NOFILE, count, file, address, port) for count in (300, 500, 600)]
    assert limits == ["refused", "refused", "served"]
    file, address, port = write_config(server.url, workers=1, upstream={"in_flight": 16})
    assert outcome(resource.RLIMIT_NOFILE, 100, file, address, port) == "served"
