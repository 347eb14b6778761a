"""--check --connect: every server dialled and explained, as a person reads it."""
import os
import pty
import re
import ssl
import subprocess
import time

import pytest

import plain_server
import scripts
import wire
from certificates import BAD, make_authority, make_leaf
from pace import taken
from program import BINARY, clean_environment, run, scaled
from shifted_clock import ShiftedClock
from zone import Zone

BAD_PIN = "sha256/" + "A" * 43 + "="


class Report:
    """What was told: for each server its head and its lines by label."""

    def __init__(self, done):
        self.code, self.text, self.errors = done.returncode, done.stdout, done.stderr
        self.heads, self.lines = [], []
        for line in done.stdout.splitlines():
            found = re.match(r"    (\S.{11}) (.*)", line)
            if found and self.lines:
                self.lines[-1].setdefault(found.group(1).strip(), []).append(found.group(2))
            elif ": " in line and not line.startswith("dnseal: "):
                self.heads.append(line)
                self.lines.append({})

    def one(self, label, server=0):
        return "\n".join(self.lines[server].get(label, []))


@pytest.fixture
def connect(write_config):
    """connect(*servers, **changes of R0) runs the check and gives its report."""
    def make(*servers, env=None, **changes):
        file, _, _ = write_config(*servers, **changes)
        return Report(run(["-c", str(file), "--check", "--connect"], env=env, timeout=20))
    return make


def assert_fails(report, word, *parts, server=0):
    """The word, the parts of the sentence (patterns), and a way out that is not empty."""
    assert report.code == 1, report.text
    head = report.heads[server]
    assert ": FAILS: %s: " % word in head, head
    assert all(re.search(part, head) for part in parts), head
    assert report.one("way out", server)


def test_a_server_that_works(connect, server, authority):
    """Shows: I6"""
    shown = authority.with_intermediate("a.test")
    upstream = server("a.test", identity=shown)
    report = connect(upstream)
    assert report.code == 0 and report.heads == [upstream.url + ": works"], report.text
    assert "configuration is valid" in report.text and "the upstream works" in report.text
    assert "%s:%d, TCP in " % (upstream.address, upstream.port) in report.one("address")
    assert re.search(r"in [\d.]+ ms, TLSv1\.3, TLS_\w+, X25519\w*, ALPN dot", report.one("tls"))
    assert report.one("identity") == "a.test, which the certificate bears"
    assert report.one("certificate").startswith("CN=server, ") and re.search("(29|30) days left", report.one("certificate"))
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(shown.not_after))
    assert ends in report.one("certificate")
    assert report.one("names") == "a.test" and report.one("pin") == shown.pin
    issuers = report.one("issuer").splitlines()
    assert [line.split(",")[0] for line in issuers] == ["CN=Test Intermediate", "CN=Test Root"]
    assert "resumed" in report.one("resumption") and upstream.wait_until(lambda: upstream.resumed_handshakes == 1)
    assert "not told" in report.one("keepalive")
    assert "multiple of 468" in report.one("padding")
    assert "8 queries at once, all answered" in report.one("pipelining")
    assert "in the order of the queries" in report.one("pipelining")
    assert "the middle of 5," in report.one("latency")
    assert len(upstream.heard) == 13 and all(heard.size % 128 == 0 for heard in upstream.heard)


def test_a_report_that_nobody_can_read(write_config, a):
    """Shows: P02"""
    file, _, _ = write_config(a)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([BINARY, "-c", str(file), "--check", "--connect"], env=clean_environment(None), stdout=full,
                              stderr=subprocess.PIPE, timeout=scaled(20))
    assert done.returncode == 1 and b"standard output" in done.stderr


def test_what_a_server_does_otherwise(connect, server):
    """Shows: I6"""
    upstream = server("a.test", maximum=ssl.TLSVersion.TLSv1_2, protocols=(), tickets=0)
    upstream.context.options |= ssl.OP_NO_TICKET
    held = scripts.reverse(8)

    def script(connection, heard):
        if len(upstream.heard) <= 5:
            return scripts.changed(scripts.with_keepalive(125))(connection, heard)
        return held(connection, heard)
    upstream.script, upstream.zone.pad = script, False
    report = connect(upstream)
    assert report.code == 0, report.text
    assert "TLSv1.2" in report.one("tls") and "no protocol chosen" in report.one("tls")
    assert "12.5 s" in report.one("keepalive") and "out of order" in report.one("pipelining")
    assert "not padded" in report.one("padding")


def test_padding_that_is_not_asked_for(connect, a):
    """Shows: I6"""
    report = connect(a, tls={"padding": 0})
    assert report.code == 0 and "tls.padding is 0" in report.one("padding")


def test_a_server_that_closes_after_an_answer_works(connect, a):
    """Shows: I6"""
    def script(connection, heard):
        scripts.answer(connection, heard)
        connection.close("notify")
    a.script = script
    report = connect(a)
    assert report.code == 0 and "closed after 1 answer" in report.one("pipelining")


def test_pins_to_copy_and_pins_that_match(connect, a, identities, authority):
    """Shows: W9"""
    copied = connect(a).one("pin")
    assert copied == identities["a.test"].pin
    report = connect({"url": a.url, "pins": [copied]})
    assert report.code == 0 and report.one("pin") == copied + ", which is pinned"
    assert "a pinned key" in report.one("identity")
    alone = connect({"url": a.url.split("#")[0], "pins": [copied]})
    assert alone.code == 0 and alone.one("identity") == "a pinned key, and nothing else"


SENTENCES = {
    "expired": ("ended 20", r"6\d minutes ago", "this machine's clock"),
    "not_yet_valid": ("begins 20", "1[12] hours from now", "this machine's clock"),
    "wrong_name": ("bears other.test, and not a.test",),
    "common_name_only": ("no name at all",),
    "self_signed": ("signed by itself", "ca.pem"),
    "unknown_ca": ("ends at CN=Unknown Root", "ca.pem"),
    "missing_intermediate": ("lacks CN=Test Intermediate",),
    "intermediate_not_ca": (": CN=Not An Authority",),
    "small_key": (r"\(1024 bits\)",),
    "address_mismatch": ("bears 127.255.255.1, and not a.test",),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_bad_certificates_are_explained(connect, server, authority, kind):
    """Shows: L01, W2"""
    shown = authority.bad(kind)
    upstream = server("a.test", identity=shown)
    report = connect(upstream)
    word = re.search(r"FAILS: (\w+)", report.heads[0]).group(1)
    assert word in BAD[kind]
    assert_fails(report, word, *SENTENCES.get(kind, ()))
    assert report.one("pin") == shown.pin and report.one("certificate") and "latency" not in report.text
    assert upstream.dns_bytes == 0 and upstream.handshakes == 0
    if kind == "wrong_name":
        assert report.one("way out").endswith("tls://%s:%d#other.test" % (upstream.address, upstream.port))


def test_a_certificate_that_bears_the_address_and_not_the_name(connect, server, authority, address):
    """Shows: L01"""
    home = address()
    upstream = server("a.test", at=home, identity=authority.good("*.b.test", addresses=[home], file="address"))
    report = connect(upstream)
    assert_fails(report, "wrong_name", "and not a.test")
    assert "without a name, as tls://%s:%d, that is enough" % (home, upstream.port) in report.one("way out")


def test_a_long_chain_is_seen_to_its_end(connect, server, authority):
    """Shows: L01"""
    links = [make_authority("Link 0", authority.stranger)]
    for number in range(1, 8):
        links.insert(0, make_authority("Link %d" % number, links[0]))
    upstream = server("a.test", identity=authority.write("long", make_leaf(links[0], ["a.test"]), links))
    report = connect(upstream)
    assert_fails(report, "unknown_ca", "lacks CN=Unknown Root")
    assert [line.split(",")[0] for line in report.one("issuer").splitlines()] == \
        ["CN=Link %d" % number for number in range(7, -1, -1)] + ["CN=Unknown Root"]


def test_an_address_that_the_certificate_does_not_bear(connect, server):
    """Shows: L01"""
    upstream = server("a.test")
    report = connect(upstream.url.split("#")[0])
    assert_fails(report, "wrong_name", "bears a.test, and not " + upstream.address)
    assert report.one("way out").endswith(upstream.url)


def test_a_wrong_pin_tells_the_right_one(connect, a, identities):
    """Shows: L01, W9"""
    assert_fails(connect({"url": a.url, "pins": [BAD_PIN]}), "pin", re.escape(identities["a.test"].pin))
    alone = connect({"url": a.url.split("#")[0], "pins": [BAD_PIN]})
    assert_fails(alone, "pin", re.escape(identities["a.test"].pin))
    assert a.dns_bytes == 0


MODES = {
    "silent": ("handshake_timeout", "never finished"),
    "garbage": ("not_tls", "is not TLS"),
    "plain": ("not_tls", "is not TLS"),
    "close": ("closed", "during the TLS handshake"),
    "reset": ("reset", "resets"),
}


@pytest.mark.parametrize("mode", MODES)
def test_what_is_no_dns_over_tls(connect, server, mode):
    """Shows: L01, L03"""
    report = connect(server("a.test", mode=mode))
    assert_fails(report, *MODES[mode])
    assert "TCP in" in report.one("address")


def test_nobody_there(connect, a):
    """Shows: L01"""
    a.kill()
    report = connect(a)
    assert_fails(report, "refused", "nothing listens")
    assert report.one("address") == "%s:%d" % (a.address, a.port)


def test_no_answer_to_the_connection(connect, a):
    """Shows: L01"""
    a.listen_in_vain()
    assert_fails(connect(a), "connect_timeout", "no answer to the TCP connection")


def test_no_route(connect, namespace, a):
    """Shows: L01"""
    space = namespace()
    with space.entered():
        report = connect("tls://192.0.2.1#a.test")
    assert_fails(report, "unreachable", "no route")


FORBIDDEN = {"prohibit": ("forbidden", "does not allow"), "blackhole": ("failed", "refuses to send")}


@pytest.mark.parametrize("scheme", ["tls", "udp"])
@pytest.mark.parametrize("kind", FORBIDDEN)
def test_a_route_that_goes_nowhere(connect, namespace, kind, scheme):
    """Shows: L01, W8

    As whoever tunnels everything sets them, so that nothing leaves beside the tunnel."""
    space = namespace()
    with space.entered():
        subprocess.run(["ip", "route", "add", kind, "192.0.2.1/32"], check=True)
        report = connect(scheme + "://192.0.2.1")
    assert_fails(report, *FORBIDDEN[kind])
    assert "routes" in report.one("way out")


def test_what_a_preset_has_and_the_machine_does_not_reach_is_left_out(connect, namespace):
    """Shows: I6"""
    space = namespace()
    with space.entered():
        for address in ("9.9.9.9", "149.112.112.112"):
            subprocess.run(["ip", "address", "add", address + "/32", "dev", "lo"], check=True)
        report = connect("quad9")
    assert [re.search("FAILS: refused|left out", head)[0] for head in report.heads] == ["FAILS: refused"] * 2 + ["left out"] * 2
    assert "2 of 2 upstreams fail" in report.text and report.code == 1


OLD = {
    "version": {"minimum": ssl.TLSVersion.TLSv1_1, "maximum": ssl.TLSVersion.TLSv1_1},
    "cipher": {"maximum": ssl.TLSVersion.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES128-SHA256"},
}


@pytest.mark.parametrize("word", OLD)
def test_old_tls(connect, server, word):
    """Shows: L03, RFC 9325"""
    assert_fails(connect(server("a.test", **OLD[word])), word, "that both speak")


def test_another_protocol(connect, server):
    """Shows: L03"""
    assert_fails(connect(server("a.test", force_alpn="h2")), "alpn", "other than dot")


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_client_certificate_is_wanted(connect, server, authority, version):
    """Shows: L01"""
    report = connect(server("a.test", client_ca=authority.ca, maximum=ssl.TLSVersion[version]))
    assert_fails(report, "alert", "alert")
    assert ("certificate required" if version == "TLSv1_3" else "handshake failure") in report.one("detail")


ANSWERS = {
    "no_answer": scripts.silent,
    "hung_up": lambda connection, heard: connection.close("notify"),
    "rcode": scripts.rcode_only(5),
    "mismatch": scripts.changed(scripts.with_id(1)),
    "malformed": scripts.changed(lambda message: message[:-3]),
}


@pytest.mark.parametrize("word", ANSWERS)
def test_tls_without_dns(connect, a, word):
    """Shows: L01"""
    a.script = ANSWERS[word]
    report = connect(a, limits={"query_timeout": "1500ms"})
    assert_fails(report, word, "TLS is fine")
    assert "REFUSED" in report.heads[0] or word != "rcode"
    assert report.one("tls") and report.one("pin")


def test_servers_in_clear_text(connect, plain):
    """Shows: I6, M7"""
    server = plain()
    report = connect(server.url, "office=tcp" + server.url[3:], routes={"office.test": "office"})
    assert report.code == 0 and all(": works" in head for head in report.heads), report.text
    assert report.one("address") == "%s:%d, UDP" % (server.address, server.port)
    assert "TCP in " in report.one("address", server=1)
    for i in range(2):
        assert "can read and change" in report.one("clear text", server=i)
        assert "the middle of 5," in report.one("latency", server=i)
        assert not any(report.one(label, server=i) for label in ("tls", "identity", "certificate", "resumption", "padding"))
    assert re.match(r"in [\d.]+ ms .*for what no datagram carries", report.one("tcp"))
    assert "8 queries at once, all answered" in report.one("pipelining", server=1)
    udp, tcp = server.of("."), server.of("office.test", "tcp")
    assert [heard.transport for heard in udp] == ["udp"] * 5
    assert len({heard.port for heard in udp}) == 5, "a socket for each question"
    assert len(tcp) == 5 + 7 and not any(heard.message.opt.get(wire.PADDING) for heard in udp + tcp)


def test_udp_without_tcp(connect, plain):
    """Shows: I6, M7

    It works, as far as datagrams carry."""
    report = connect(plain(transports=["udp"]).url)
    assert report.code == 0 and ": works" in report.heads[0]
    assert report.one("tcp").startswith("fails (refused): ")
    silent = plain()
    silent.script = lambda server, heard, reply: heard.transport == "udp" and plain_server.answer(server, heard, reply)
    assert connect(silent.url).one("tcp").startswith("fails (no_answer): ")


def test_lost_datagrams_are_sent_again(connect, plain):
    """Shows: M7"""
    server = plain()
    server.script = plain_server.losing(lambda name: 1)
    report = connect(server.url)
    assert report.code == 0, report.text
    assert server.count(".", "udp") == 6


PLAIN_FAILURES = {
    "no_answer": (plain_server.silent, "no answer to a DNS query"),
    "rcode": (plain_server.changed(scripts.with_flags(rcode=5)), "REFUSED"),
    "mismatch": (plain_server.changed(scripts.with_id(1)), "was not asked"),
    "malformed": (plain_server.changed(lambda message: message[:-3]), "no DNS answer"),
}


@pytest.mark.parametrize("word", PLAIN_FAILURES)
def test_clear_text_without_dns(connect, plain, word):
    """Shows: L01"""
    server = plain()
    server.script = PLAIN_FAILURES[word][0]
    report = connect(server.url, limits={"query_timeout": "1500ms"})
    assert_fails(report, word, PLAIN_FAILURES[word][1])
    assert "TLS" not in report.heads[0] and "tcp" not in report.lines[0]


def test_nobody_there_in_clear_text(connect, plain):
    """Shows: L01"""
    server = plain()
    server.stop()
    assert_fails(connect(server.url), "refused", "nothing listens there: a message of the network")
    assert_fails(connect("tcp" + server.url[3:]), "refused", "the connection was refused")


def test_a_wrong_clock(connect, a, tmp_path, identities):
    """Shows: pain 19"""
    clock = ShiftedClock(tmp_path)
    clock.set_to(12)
    report = connect(a, env=clock.environment)
    assert_fails(report, "wrong_clock", "clock says 1970-01-01T", "was made after 20")
    assert "set it" in report.one("way out")
    pinned = {"url": a.url, "pins": [identities["a.test"].pin], "without_clock": True}
    report = connect(pinned, env=clock.environment)
    assert report.code == 0 and "dates below were not looked at" in report.one("clock")


def test_all_at_once_and_each_for_itself(connect, server, a):
    """Shows: L01, I6"""
    slow = [server("a.test", mode="silent") for _ in range(4)]
    started = time.monotonic()
    report = connect(a, *slow, "office=" + server("b.test").url, routes={"office.test": "office"})
    assert taken(started) < scaled(8), "each alone takes 4 s"
    assert [": works" in head for head in report.heads] == [True, False, False, False, False, True]
    assert report.heads[-1].startswith("office/tls://") and report.code == 1
    assert "4 of 6 upstreams fail" in report.text


def test_a_group_is_asked_for_its_own_names(connect, server, a):
    """Shows: I6"""
    office = server("b.test")
    assert connect(a, "office=" + office.url, routes={"office.test": "office"}).code == 0
    assert all(name.endswith("office.test.") for name in office.names())
    assert set(a.names()) - {"."} and all(name == "." or name.endswith(".example.com.") for name in a.names())


def test_the_dialler_has_no_rights(write_config, a, tmp_path):
    """Shows: L02"""
    if os.geteuid() != 0:
        pytest.skip("only root has rights to give up")
    seen = []

    def script(connection, heard):
        for pid in subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split():
            seen.append(open("/proc/%s/status" % pid).read())
        scripts.answer(connection, heard)
    a.script = script
    file, _, _ = write_config(a)
    process = subprocess.Popen([BINARY, "-c", str(file), "--check", "--connect"], env=clean_environment(),
                               stdout=subprocess.DEVNULL)
    assert process.wait(scaled(20)) == 0 and seen
    for status in seen:
        assert re.search(r"^Uid:\t0\t", status, re.MULTILINE) is None
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE) and "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status


def on_terminal(file, **environment):
    """What a person would see at a terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen([BINARY, "-c", str(file), "--check", "--connect"], stdout=follower,
                               env=clean_environment({"TERM": "xterm", **environment}))
    os.close(follower)
    text = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        text += part
    os.close(leader)
    process.wait(scaled(20))
    return text.decode()


def test_red_on_a_terminal_alone(write_config, connect, a):
    """Shows: L01"""
    a.kill()
    file, _, _ = write_config(a)
    assert "\033[31m%s: FAILS" % a.url in on_terminal(file)
    assert "\033[" not in on_terminal(file, NO_COLOR="1")
    assert "\033[" not in on_terminal(file, TERM="dumb")
    assert "\033[" in on_terminal(file, NO_COLOR="")
    assert "\033[" not in connect(a).text


@pytest.mark.parametrize("arguments", [["--connect"], ["--connect", "--print-config"], ["--connect", "--version"]])
def test_connect_goes_with_check(arguments):
    """Shows: P02"""
    done = run(arguments)
    assert done.returncode == 2 and "--connect goes with --check" in done.stderr


def test_nothing_is_dialled_where_the_check_fails(write_config, a, tmp_path):
    """Shows: P02"""
    file, _, _ = write_config(a, tls={"ca": str(tmp_path / "missing.pem")})
    done = run(["-c", str(file), "--check", "--connect"])
    assert done.returncode == 1 and "missing.pem" in done.stderr and a.accepts == 0


# ---- servers that are known by name ----

def names(**hosts):
    """A zone with the addresses of hosts: names(a=["127.0.0.1"]) is about a.test."""
    return Zone("\n".join(["test. 300 TXT nothing"] + [
        "%s.test. 300 %s %s" % (host, "AAAA" if ":" in address else "A", address)
        for host, addresses in hosts.items() for address in addresses]))


def host_of(server, name="a.test"):
    return "tls://%s:%d" % (name, server.port)


def test_a_server_by_name_is_told_at_each_address(connect, server, b, plain):
    """Shows: I6, pain 30

    Who was asked and what each said; one address works, nobody listens at the other: that is told in red, and the
    upstream works."""
    a, asked = server("a.test"), plain()
    dead = server("a.test", port=a.port)
    dead.kill()
    b.zone, asked.zone = names(a=[dead.address, a.address]), names(a=[a.address])
    report = connect(host_of(a), bootstrap=[b.url, asked.url])
    url = host_of(a)
    assert report.heads[0] == "%s: is at %s %s" % (url, dead.address, a.address), report.text
    told = report.lines[0]["asked"]
    assert re.fullmatch(re.escape("%s: %s %s, in " % (b.url, dead.address, a.address)) + r"[\d.]+ ms", told[0])
    assert re.fullmatch(re.escape("%s: %s, in " % (asked.url, a.address)) + r"[\d.]+ ms", told[1])
    assert report.heads[1] == "%s at %s: FAILS: refused: nothing listens there: the connection was refused" % (
        url, dead.address)
    assert report.heads[2] == "%s at %s: works" % (url, a.address)
    assert report.one("identity", 2) == "a.test, which the certificate bears"
    assert report.one("address", 2).startswith("%s:%d, TCP in" % (a.address, a.port))
    assert "the upstream works" in report.text and report.code == 0
    assert len(report.heads) == 3 and len(a.heard) == 13


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_server_in_clear_text_by_name(connect, plain, b, transport):
    """Shows: I6, M7, pain 30"""
    far = plain()
    b.zone = names(a=[far.address])
    report = connect("%s://a.test:%d" % (transport, far.port), bootstrap=[b.url])
    assert report.code == 0, report.text
    assert report.heads[1].endswith(" at %s: works" % far.address) and report.one("clear text", 1)


def test_a_name_that_nobody_knows(connect, server, b, plain):
    """Shows: L01, pain 30

    The red line says who was asked, and why each of them told nothing."""
    down, asked, wrong = plain(), plain(), server("a.test", identity=None)
    down.stop()
    wrong_url = wrong.url.replace("#a.test", "#other.test")
    b.zone, asked.zone = names(), Zone("b.test. 300 A 127.0.0.1\ntest. 300 SOA a. b. 1 2 3 4 5")
    report = connect("tls://a.test", bootstrap=[b.url, down.url, wrong_url], limits={"query_timeout": "2s"})
    assert_fails(report, "unresolved", "nobody who was asked told an address of a.test: ",
                 re.escape("%s (no_address), %s (refused), %s (wrong_name)" % (b.url, down.url, wrong_url)))
    told = report.lines[0]["asked"]
    assert len(told) == 3 and "check the host name" in told[0] and "nothing listens" in told[1]
    assert "certificate bears another name" in told[2]
    assert "1 of 1 upstreams fails" in report.text and len(report.heads) == 1


def test_an_address_of_our_own_is_not_dialled(connect, a, b, address):
    """Shows: pain 30, P02"""
    home = address()
    b.zone = names(a=[home])
    report = connect("tls://a.test:%d" % a.port, bootstrap=[b.url], listen=["%s:%d" % (home, a.port)])
    assert_fails(report, "unresolved", re.escape("%s (own_address)" % b.url))
    assert "in a circle" in report.one("asked")


def test_an_address_without_a_route_is_left_out(connect, namespace, server):
    """Shows: I6, pain 30"""
    with namespace().entered():
        a, b = server("a.test"), server("b.test")
        b.zone = names(a=["2001:db8::1", a.address])
        report = connect(host_of(a), bootstrap=[b.url])
    assert report.heads[0] == "%s: is at 2001:db8::1 %s" % (host_of(a), a.address)
    assert "at 2001:db8::1: left out: this machine has no route" in report.heads[1], report.text
    assert report.heads[2].endswith("works") and report.code == 0


def test_a_name_with_another_certificate(connect, server, b):
    """Shows: L01, pain 30"""
    other = server("b.test")
    b.zone = names(a=[other.address])
    report = connect(host_of(other), bootstrap=[b.url])
    assert_fails(report, "wrong_name", "bears b.test, and not a.test", server=1)
    assert report.one("way out", 1).endswith("write tls://a.test:%d#b.test" % other.port)
