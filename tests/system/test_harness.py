"""The tests' own tools, driven by the ssl module and dnspython before anything is believed of them."""
import os
import pathlib
import select
import signal
import socket
import ssl
import subprocess
import sys
import time

import dns.message
import dns.query
import dns.rcode
import pytest

import pace
import scripts
import wire
import zone
from certificates import BAD, Certificates
from dot_server import Server
from namespace import Capture
from program import Metrics, yaml

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("harness"))


@pytest.fixture
def good(authority):
    return authority.good("h.test", addresses=["127.0.0.1"])


@pytest.fixture
def server(good):
    with Server("127.0.0.1", good.certificate, good.key, name="h.test") as running:
        yield running


def connect(server, authority, name="h.test", protocols=("dot",), session=None, context=None, **options):
    if context is None:
        context = ssl.create_default_context(cafile=authority.ca)
        context.set_alpn_protocols(list(protocols))
    for key, value in options.items():
        setattr(context, key, value)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    raw = socket.create_connection((server.address, server.port), timeout=5)
    return context.wrap_socket(raw, server_hostname=name, session=session, suppress_ragged_eofs=False)


def receive(link):
    deframer = wire.Deframer()
    while True:
        data = link.recv(65536)
        if not data:
            return None
        messages = deframer.push(data)
        if messages:
            return wire.parse(messages[0])


def ask(link, name, kind="A", **options):
    link.sendall(wire.frame(wire.query(name, kind, **options)))
    return receive(link)


def test_dnspython_asks_the_zone(server, authority):
    context = ssl.create_default_context(cafile=authority.ca)
    query = dns.message.make_query("a-192-0-2-7.x.test.", "A", use_edns=0)
    answer = dns.query.tls(query, "127.0.0.1", timeout=5, port=server.port, ssl_context=context,
                           server_hostname="h.test")
    assert answer.answer[0][0].to_text() == "192.0.2.7"
    assert server.heard[0].message.text() == "a-192-0-2-7.x.test."
    assert (server.full_handshakes, server.resumed_handshakes) == (1, 0)
    assert server.connections[0].hello.server_name == "h.test"


@pytest.mark.parametrize("size", [60, 511, 512, 1232, 3000, 16383, 65000, 65535])
def test_sizes_are_exact(server, authority, size):
    with connect(server, authority) as link:
        message = ask(link, "size-%d.x.test" % size, "TXT")
    assert len(message.raw) == size
    assert dns.message.from_wire(message.raw).answer or size < 60


def test_rules(server, authority):
    opt = wire.opt_record()
    with connect(server, authority) as link:
        assert ask(link, "rcode-refused.test").rcode == 5
        assert ask(link, "nxdomain.test").authority[0].type == wire.TYPES["SOA"]
        assert ask(link, "ede-6.test", opt=opt).extended_errors == [6]
        assert ask(link, "tc.test").has(wire.TC)
        assert ask(link, "anything.test").data == [zone.Zone.address("anything.test")]
        assert len(ask(link, "chain-5.test").answer) == 6
        assert ask(link, "secure.test", opt=wire.opt_record(flags=0x8000)).answer[1].type == wire.TYPES["RRSIG"]
        assert {code for code, _ in ask(link, "options.test", opt=opt).opt.options} == {10, 11, 3, 65001}
        middle = ask(link, "middle.test", opt=opt)
        assert [record.type for record in middle.additional] == [1, 41, 1, 1]
        assert middle.additional[2].name == middle.additional[3].name
        started = time.monotonic()
        ask(link, "delay-200.test")
        assert 0.19 < time.monotonic() - started < 1
        padded = ask(link, "anything.test", opt=wire.opt_record(options=[(wire.PADDING, bytes(5))]))
        assert len(padded.raw) == 468


def test_zone_lines():
    text = "www.example. 60 A 192.0.2.1\nalias.example. IN CNAME www.example. ; note\nbig.example. TXT \"one two\""
    served = zone.Zone(text)
    answer, _ = served.answer(wire.parse(wire.query("alias.example")))
    assert [record.type for record in wire.parse(answer).answer] == [5, 1]
    assert wire.parse(served.answer(wire.parse(wire.query("big.example", "TXT")))[0]).data == [b"\x07one two"]


def test_denials_come_from_the_zone_of_the_name():
    text = (HERE.parent.parent / "tools" / "offline.zone").read_text()
    served = zone.Zone(text)
    denials = {"nxdomain.example": (3, "example."), "nodata.some.example.org": (0, "org."),
               "nosuch.example.com": (3, "example.com."), "example.com": (0, "example.com."),
               "below.mail.EXAMPLE.com": (3, "example.com.")}
    for name, expected in denials.items():
        answer = wire.parse(served.answer(wire.parse(wire.query(name, "TXT")))[0])
        assert not answer.answer and [record.type for record in answer.authority] == [wire.TYPES["SOA"]]
        assert (answer.rcode, wire.name_text(answer.authority[0].name)) == expected
    assert wire.parse(served.answer(wire.parse(wire.query("elsewhere.example")))[0]).answer


def test_reverse_order(server, authority):
    server.script = scripts.reverse(3)
    with connect(server, authority) as link:
        link.sendall(b"".join(wire.frame(wire.query("q%d.test" % n, message_id=n)) for n in range(3)))
        assert server.wait_heard(3)
        deframer, ids = wire.Deframer(), []
        while len(ids) < 3:
            ids += [wire.parse(raw).id for raw in deframer.push(link.recv(65536))]
    assert ids == [2, 1, 0]
    assert server.connections[0].data_records == 1


@pytest.mark.parametrize("kind", ["notify", "fin", "reset", "alert", "half_record", "half_frame"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_ends(server, authority, kind, version):
    server.script = scripts.close_at(1, kind)
    with connect(server, authority, maximum_version=version) as link:
        link.sendall(wire.frame(wire.query("x.test")))
        try:
            watch = select.poll()
            watch.register(link, select.POLLERR)
            was_reset = watch.poll(300)
            data = link.recv(65536)
            outcome = "half_frame" if data else "notify"
        except ssl.SSLEOFError:
            outcome = "fin"
        except ssl.SSLError as error:
            outcome = "alert" if "ALERT" in str(error).upper() else "fin"
        except ConnectionResetError:
            outcome = "reset"
    assert ("reset" if was_reset else outcome) == {"half_record": "fin"}.get(kind, kind)


def test_resumption_is_counted(server, authority):
    context = ssl.create_default_context(cafile=authority.ca)
    with connect(server, authority, context=context) as link:
        ask(link, "x.test")
        session = link.session
    with connect(server, authority, context=context, session=session) as link:
        ask(link, "x.test")
        assert link.session_reused
    assert (server.full_handshakes, server.resumed_handshakes) == (1, 1)
    first, second = [connection.hello for connection in server.connections]
    assert not first.offers_session and second.offers_session


@pytest.mark.parametrize("mode", ["silent", "garbage", "close", "reset", "plain", "drip"])
def test_no_handshake(good, authority, mode):
    with Server("127.0.0.1", good.certificate, good.key, mode=mode) as server:
        with pytest.raises((ssl.SSLError, OSError)):
            raw = socket.create_connection(("127.0.0.1", server.port), timeout=0.5)
            ssl.create_default_context(cafile=authority.ca).wrap_socket(raw, server_hostname="h.test")
        assert server.handshakes == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
def test_old_versions_work(good, authority, version):
    with Server("127.0.0.1", good.certificate, good.key, minimum=version, maximum=version) as server:
        context = ssl.create_default_context(cafile=authority.ca)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with connect(server, authority, context=context, minimum_version=version) as link:
            assert ask(link, "x.test").rcode == 0
        assert server.connections[0].version == {769: "TLSv1", 770: "TLSv1.1", 771: "TLSv1.2"}[version]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_alpn_can_be_forced(good, authority, version):
    """A protocol that was never offered: newer libraries refuse it themselves, older ones tell it."""
    with Server("127.0.0.1", good.certificate, good.key, force_alpn="h2", maximum=version) as server:
        try:
            with connect(server, authority) as link:
                assert link.selected_alpn_protocol() == "h2"
        except ssl.SSLError as error:
            assert "BAD_EXTENSION" in str(error)
        assert server.connections[0].hello.protocols == ["dot"]


def test_renegotiation_is_asked(good, authority):
    with Server("127.0.0.1", good.certificate, good.key, maximum=ssl.TLSVersion.TLSv1_2) as server:
        with connect(server, authority) as link:
            assert ask(link, "x.test").rcode == 0
            server.connections[0].later(0, server.connections[0].renegotiate)
            time.sleep(0.2)
            link.sendall(wire.frame(wire.query("y.test")))
            assert receive(link) is not None
        handshake = [kind for kind, _ in server.connections[0].records.records if kind == 22]
        assert len(handshake) > 2


@pytest.mark.parametrize("kind", sorted(BAD))
def test_bad_certificates_are_bad(authority, kind):
    """The strictest stranger refuses each; what only dnseal refuses is looked at in the certificate itself."""
    bad = authority.bad(kind)
    with Server("127.0.0.1", bad.certificate, bad.key) as server:
        context = ssl.create_default_context(cafile=authority.ca)
        context.hostname_checks_common_name = False
        with pytest.raises(ssl.SSLError):
            connect(server, authority, name="a.test", context=context)


def test_idle_close_and_deafness(server, authority):
    server.idle_close = (0.3, "notify")
    with connect(server, authority) as link:
        ask(link, "x.test")
        started = time.monotonic()
        assert link.recv(10) == b""
        assert time.monotonic() - started > 0.2
    server.idle_close, server.deaf = None, True
    with pytest.raises(OSError):
        raw = socket.create_connection(("127.0.0.1", server.port), timeout=0.5)
        ssl.create_default_context(cafile=authority.ca).wrap_socket(raw, server_hostname="h.test")


def test_killed_server_comes_back_on_its_port(server, authority):
    link = connect(server, authority)
    assert server.wait_until(lambda: server.handshakes == 1)
    server.kill()
    with pytest.raises(OSError):
        while link.recv(10):
            pass
    with pytest.raises(ConnectionRefusedError):
        connect(server, authority)
    server.start()
    with connect(server, authority) as again:
        assert ask(again, "x.test").rcode == 0


def test_wrong_answers(server, authority):
    for change, look in ((scripts.with_id(1), lambda m, q: m.id != q),
                         (scripts.with_question(name="evil.test"), lambda m, q: m.text() == "evil.test."),
                         (scripts.with_question(cls=3), lambda m, q: m.cls == 3),
                         (scripts.with_flags(clear=wire.QR), lambda m, q: not m.has(wire.QR)),
                         (scripts.without_question, lambda m, q: not m.question)):
        server.script = scripts.changed(change)
        with connect(server, authority) as link:
            assert look(ask(link, "x.test", message_id=77), 77)


def test_as_a_program(good, authority, tmp_path):
    (tmp_path / "zone").write_text("www.example. A 192.0.2.99\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-S", str(HERE / "dot_server.py"), "--listen", "127.0.0.1:%d" % port,
                                "--certificate", good.certificate, "--key", good.key,
                                "--zone", str(tmp_path / "zone")], stdout=subprocess.PIPE, text=True)
    try:
        assert "listening" in process.stdout.readline()
        query = dns.message.make_query("www.example.", "A")
        context = ssl.create_default_context(cafile=authority.ca)
        answer = dns.query.tls(query, "127.0.0.1", timeout=5, port=port, ssl_context=context, server_hostname="h.test")
        assert answer.rcode() == dns.rcode.NOERROR and answer.answer[0][0].to_text() == "192.0.2.99"
    finally:
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(5) == 0


def test_namespace_and_capture(namespace, good):
    """A server in another namespace is not reached from here, and its packets are seen there."""
    space = namespace()
    with space.entered():
        capture = Capture()
        server = Server("127.0.0.1", good.certificate, good.key, name="h.test").start()
    with capture:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=1)
        with space.entered():
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    server.stop()
    assert {packet.protocol for packet in capture.stop()} == {6}


def test_configuration_text():
    text = yaml({"listen": ["1.2.3.4:5", {"address": "a", "transport": ["udp"]}], "access": {"deny": []}, "workers": 2})
    assert text == ('listen:\n  - "1.2.3.4:5"\n  - { address: "a", transport: ["udp"] }\n'
                    'access:\n  deny: []\nworkers: 2\n')


def test_exposition_is_read():
    metrics = Metrics('# TYPE x_total counter\nx_total{a="b\\"c",d="e"} 3\nx_total{a="q"} 4.5\ny 1e3\n')
    assert metrics.total("x_total") == 7.5 and metrics.total("x_total", a='b"c') == 3
    assert metrics.by_label("x_total", "a") == {'b"c': 3, "q": 4.5}
    with pytest.raises(AssertionError):
        Metrics("not a series")


def test_a_standstill_is_nobodys_fault():
    """Stopped for 0.6 s, it seems to have taken no time; asleep for as long, it took the time that it took."""
    pause = "kill -STOP %d; sleep 0.6; kill -CONT %d" % (os.getpid(), os.getpid())
    begun = time.monotonic()
    subprocess.run(["sh", "-c", pause], check=True)
    ended = time.monotonic()
    assert ended - begun >= 0.6 and pace.taken(begun, ended) < 0.2
    still = pace.STANDSTILLS.between(begun, ended)
    assert 0.5 < still <= ended - begun
    assert pace.STANDSTILLS.between(begun - 5, begun - 4.9) <= 0.1


def test_of_a_standstill_counts_what_lies_within():
    seen = pace.Standstills()
    seen.begins, seen.ends = [1.0, 3.0], [1.5, 3.2]
    assert seen.between(0, 0.9) == 0 and seen.between(1.6, 2.9) == 0
    for (begun, ended), share in {(0, 9): 0.7, (1.2, 1.3): 0.1, (1.4, 3.1): 0.2, (1.5, 3.0): 0}.items():
        assert abs(seen.between(begun, ended) - share) < 1e-9
