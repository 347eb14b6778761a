"""The programs that people use: dig, kdig, dnspython, dnsperf; and unbound as the server behind."""
import os
import re
import signal
import socket
import subprocess
import time

import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from clients import udp_socket
from program import scaled
from wire import query
from zone import Zone

ADDRESS = ".".join(str(byte) for byte in Zone.address("www.test"))
UNBOUND = """server:
  interface: %(address)s@%(port)d
  tls-port: %(port)d
  tls-service-key: "%(key)s"
  tls-service-pem: "%(certificate)s"
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  use-syslog: no
  logfile: ""
  pidfile: ""
  username: ""
  chroot: ""
  directory: "%(directory)s"
  module-config: "iterator"
  incoming-num-tcp: 100
  local-zone: "zone.test." static
  local-data: "zone.test. 300 IN SOA ns.zone.test. host.zone.test. 1 3600 600 86400 60"
  local-data: "www.zone.test. 300 IN A 192.0.2.80"
  local-data: "www.zone.test. 300 IN AAAA 2001:db8::80"
  local-data: 'text.zone.test. 300 IN TXT "a text"'
%(more)s
remote-control:
  control-enable: no
"""


@pytest.fixture
def unbound(address, port, identities, tmp_path):
    """unbound as a DNS over TLS server with a small zone; its URL."""
    home = address()
    number = port(home)
    more = "".join('  local-data: "n%d.zone.test. 300 IN A 192.0.2.%d"\n' % (n, n % 250) for n in range(100))
    shown = identities["a.test"]
    file = tmp_path / "unbound.conf"
    file.write_text(UNBOUND % {"address": home, "port": number, "key": shown.key, "certificate": shown.certificate,
                               "directory": tmp_path, "more": more})
    process = subprocess.Popen(["unbound", "-d", "-c", str(file)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection((home, number), timeout=1).close()
            break
        except OSError:
            time.sleep(0.05)
    assert process.poll() is None, process.stderr.read().decode()
    yield "tls://%s:%d#a.test" % (home, number)
    process.send_signal(signal.SIGTERM)
    process.wait(10)


def command(*words, timeout=60):
    done = subprocess.run(words, capture_output=True, text=True, timeout=scaled(timeout))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dig(program, *words):
    return command("dig", "@" + program.address, "-p", str(program.port), "+tries=1", "+timeout=%d" % scaled(6), *words)


def kdig(program, *words):
    return command("kdig", "@" + program.address, "-p", str(program.port), "+retry=0", "+timeout=%d" % scaled(6), *words)


@pytest.mark.parametrize("words", [[], ["+tcp"], ["+noedns"], ["+tcp", "+noedns"], ["+dnssec"], ["+cookie"],
                                   ["+keepalive", "+tcp"], ["+nsid"], ["+ednsopt=65001:00ff"], ["+bufsize=4096"]])
def test_dig(dnseal, a, words):
    """Shows: M1, M2, M6, W06, RFC 5625 4.4.1, RFC 7766 5"""
    text = dig(dnseal(a), "www.test", *words)
    assert "status: NOERROR" in text and ADDRESS in text
    assert "warning" not in text.lower() and "malformed" not in text.lower() and "PAD" not in text


def test_dig_other_types(dnseal, a):
    """Shows: M6"""
    program = dnseal(a)
    assert "2001:db8:" in dig(program, "www.test", "AAAA")
    assert "status: NXDOMAIN" in dig(program, "nxdomain.test")
    assert "TYPE65280" in dig(program, "www.test", "TYPE65280")
    assert "status: REFUSED" in dig(program, "version.bind", "CH", "TXT")


def test_dig_goes_to_tcp_by_itself(dnseal, a):
    """Shows: M1, U02, pain 21"""
    program = dnseal(a)
    text = dig(program, "size-3000.test", "TXT")
    assert "retrying in TCP mode" in text and "status: NOERROR" in text
    assert "Truncated" in dig(program, "size-3000.test", "TXT", "+ignore") or \
        " tc " in dig(program, "size-3000.test", "TXT", "+ignore").replace(";", " ")


def test_dig_over_ipv6(dnseal, a):
    """Shows: M6, U01"""
    program = dnseal(a)
    program.address = "::1"
    assert ADDRESS in dig(program, "www.test") and ADDRESS in dig(program, "www.test", "+tcp")


@pytest.mark.parametrize("words", [[], ["+tcp"], ["+tcp", "+keepopen"], ["+padding=100"], ["+dnssec"], ["+noedns"]])
def test_kdig(dnseal, a, words):
    """Shows: M1, M2, V03"""
    text = kdig(dnseal(a), *words, "www.test", "A")
    assert "NOERROR" in text and ADDRESS in text and "PADDING" not in text
    assert "WARNING" not in text


def test_kdig_several_on_one_connection(dnseal, a):
    """Shows: M1, T01"""
    program = dnseal(a)
    text = kdig(program, "+tcp", "+keepopen", "one.test", "two.test", "three.test")
    assert text.count("NOERROR") == 3


def test_dnspython_pipelines(dnseal, a):
    """Shows: M1, M4, T01"""
    program = dnseal(a)
    queries = [dns.message.make_query("n%d.test." % number, "A", use_edns=0, id=number) for number in range(50)]
    with socket.create_connection((program.address, program.port), timeout=scaled(6)) as link:
        for query in queries:
            dns.query.send_tcp(link, query)
        answers = [dns.query.receive_tcp(link)[0] for _ in queries]
    by_id = {answer.id: answer for answer in answers}
    for query in queries:
        answer = by_id[query.id]
        assert query.is_response(answer) and answer.rcode() == dns.rcode.NOERROR
        assert answer.answer[0].rdtype == dns.rdatatype.A


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_unbound_behind(dnseal, unbound, transport):
    """Shows: M1, M2, G7"""
    program = dnseal(unbound)
    ask = dns.query.udp if transport == "udp" else dns.query.tcp

    def answer_to(name, kind):
        query = dns.message.make_query(name, kind, use_edns=0)
        return ask(query, program.address, port=program.port, timeout=scaled(6))
    assert answer_to("www.zone.test.", "A").answer[0][0].to_text() == "192.0.2.80"
    assert answer_to("www.zone.test.", "AAAA").answer[0][0].to_text() == "2001:db8::80"
    assert answer_to("text.zone.test.", "TXT").answer[0][0].to_text() == '"a text"'
    assert answer_to("missing.zone.test.", "A").rcode() == dns.rcode.NXDOMAIN
    nodata = answer_to("www.zone.test.", "MX")
    assert nodata.rcode() == dns.rcode.NOERROR and not nodata.answer


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_dnsperf_through_unbound(dnseal, unbound, tmp_path, transport):
    """Shows: M2, M4, pain 8, pain 10"""
    program = dnseal(unbound)
    names = tmp_path / "names"
    names.write_text("".join("n%d.zone.test A\n" % number for number in range(100)))
    text = command("dnsperf", "-s", program.address, "-p", str(program.port), "-d", str(names), "-m", transport,
                   "-n", "20", "-c", "10", "-q", "80", "-t", str(int(scaled(6))))
    sent = int(re.search(r"Queries sent:\s+(\d+)", text).group(1))
    completed = int(re.search(r"Queries completed:\s+(\d+)", text).group(1))
    lost = int(re.search(r"Queries lost:\s+(\d+)", text).group(1))
    assert (sent, completed, lost) == (2000, 2000, 0)
    assert re.search(r"NOERROR 2000 \(100", text), text
    assert program.status().total("dnseal_upstream_connects_total") <= 20
    assert program.status().total("dnseal_pending_queries") == 0


def test_saturated_records_carry_many_queries(dnseal, a):
    """Shows: M4

    A turn's questions leave in one TLS record: with more at once than one turn takes, records are full."""
    program = dnseal(a, workers=1, limits={"pending_per_client": 4096})
    with udp_socket(None, program.address) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        link.connect((program.address, program.port))
        os.kill(program.engines()[0], signal.SIGSTOP)
        for number in range(256):
            link.send(query("n%d.test" % number, message_id=number))
        os.kill(program.engines()[0], signal.SIGCONT)
        link.settimeout(scaled(5))
        assert len({link.recv(65536)[:2] for _ in range(256)}) == 256
    records = program.status().total("dnseal_upstream_records_total")
    assert program.status().total("dnseal_upstream_queries_total", outcome="answer") == 256
    assert 0 < records <= 256 / 8
