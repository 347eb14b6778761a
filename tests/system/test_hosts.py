"""Programs in front of dnseal, with the configurations of deploy/: dnsmasq and unbound, run for real. systemd-resolved and
resolv.conf are run by ./dev package --test."""
import pathlib
import subprocess
import time

import pytest

import scripts
import wire
from clients import Tcp, udp_exchange
from program import ROOT, scaled
from signed_zone import SignedZone

DEPLOY = ROOT / "deploy"


class Front:
    """A program that takes questions at an address of its own and asks dnseal."""

    def __init__(self, command, address, port, log):
        self.address, self.port, self.log = address, port, log
        with open(log, "w") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)

    def ask(self, name, kind="A", timeout=6, opt=None):
        raw = udp_exchange(self.address, self.port, wire.query(name, kind, opt=opt), scaled(timeout))
        return None if raw is None else wire.parse(raw)

    def ask_tcp(self, name, kind="A"):
        with Tcp(self.address, self.port) as link:
            return link.ask(wire.query(name, kind), scaled(6))

    def wait(self):
        end = time.monotonic() + scaled(10)
        while time.monotonic() < end and self.process.poll() is None:
            answer = self.ask("ready.example.net", timeout=1)
            if answer is not None and answer.rcode == 0:
                return self
            time.sleep(0.05)
        raise AssertionError("it does not answer: " + pathlib.Path(self.log).read_text())


@pytest.fixture
def front():
    running = []

    def start(*arguments):
        running.append(Front(*arguments))
        return running[-1].wait()
    yield start
    for one in running:
        one.stop()


@pytest.fixture
def dnsmasq(front, address, port, tmp_path):
    def start(program, *further):
        text = (DEPLOY / "dnsmasq" / "dnseal.conf").read_text()
        line = "server=127.0.0.1#5300"
        assert text.count(line) == 1
        file = tmp_path / "dnsmasq.conf"
        file.write_text(text.replace(line, "server=%s#%d" % (program.address, program.port)))
        home = address()
        number = port(home)
        return front(["dnsmasq", "--keep-in-foreground", "--conf-file=%s" % file, "--port=%d" % number,
                      "--listen-address=" + home, "--bind-interfaces", "--no-hosts", "--user=", "--group=",
                      "--pid-file=", "--log-facility=-", *further], home, number, tmp_path / "dnsmasq.log")
    return start


@pytest.fixture
def unbound(front, address, port, tmp_path):
    def start(program, *anchors):
        text = (DEPLOY / "unbound" / "dnseal.conf").read_text()
        line = "forward-addr: 127.0.0.1@5300"
        assert text.count(line) == 1
        home = address()
        number = port(home)
        file = tmp_path / "unbound.conf"
        trusted = "".join('  trust-anchor: "%s"\n' % anchor for anchor in anchors)
        file.write_text(text.replace(line, "forward-addr: %s@%d" % (program.address, program.port)) +
                        'server:\n  interface: %s\n  port: %d\n  access-control: 127.0.0.0/8 allow\n  username: ""\n'
                        '  chroot: ""\n  directory: "%s"\n  pidfile: ""\n  use-syslog: no\n  num-threads: 1\n'
                        '%s' % (home, number, tmp_path, trusted))
        return front(["unbound", "-d", "-c", str(file)], home, number, tmp_path / "unbound.log")
    return start


def check_front(front, server):
    """Addresses, denials, what does not fit a datagram, over UDP and TCP; and all of it went over TLS."""
    answer = front.ask("a-192-0-2-7.example.net")
    assert answer.rcode == 0 and answer.answer[-1].rdata == bytes([192, 0, 2, 7])
    assert front.ask_tcp("a-192-0-2-8.example.net").answer[-1].rdata == bytes([192, 0, 2, 8])
    assert front.ask("nxdomain.example.net").rcode == 3
    assert front.ask("nodata.example.net", "AAAA").rcode == 0
    large = front.ask("size-3000.example.net", "TXT")
    assert large.has(wire.TC)
    assert len(front.ask_tcp("size-3000.example.net", "TXT").raw) > 2900
    for number in range(50):
        assert front.ask("n%d.example.net" % number).rcode == 0
    assert "n49.example.net." in {name.rstrip(".") + "." for name in server.names()}


def test_dnsmasq_in_front(dnseal, dnsmasq, a):
    """Shows: I13, I11"""
    program = dnseal(a)
    check_front(dnsmasq(program), a)


def test_unbound_in_front(dnseal, unbound, a):
    """Shows: I11"""
    program = dnseal(a)
    check_front(unbound(program), a)


def test_unbound_validates(dnseal, unbound, a):
    """What a server says and signs reaches it unchanged, keys and signatures. Of the world's anchor it is the same, with
    more zones in between; no test has that, because nobody outside is asked.
    Shows: I11"""
    zone = SignedZone("signed.example.net.")
    a.script = zone
    front = unbound(dnseal(a), zone.trust_anchor)
    secure = front.ask("www.signed.example.net", opt=wire.opt_record(flags=0x8000))
    assert secure.rcode == 0 and secure.has(wire.AD) and secure.answer[0].rdata == bytes([192, 0, 2, 7])
    assert front.ask("forged.signed.example.net", opt=wire.opt_record(flags=0x8000)).rcode == 2
    assert not front.ask("elsewhere.example.net", opt=wire.opt_record(flags=0x8000)).has(wire.AD)


@pytest.mark.parametrize("failure", ["silent", "gone"])
def test_a_failure_behind_unbound(dnseal, unbound, a, failure):
    """A client of it hears of the failure as soon as dnseal says so, and it needs no help afterwards.
    Shows: I11"""
    front = unbound(dnseal(a))
    if failure == "gone":
        a.stop()
    else:
        a.script = scripts.silent
    assert front.ask("nobody.example.net", timeout=8).rcode == 2
    a.script = scripts.answer
    if failure == "gone":
        a.start()
    assert front.ask("again.example.net", timeout=8).rcode == 0


def test_a_slow_answer_behind_unbound(dnseal, unbound, a):
    """It is waited for, and asked for once.
    Shows: I11"""
    program = dnseal(a)
    front = unbound(program)
    before = program.status().total("dnseal_queries_total")
    assert front.ask("delay-3000.example.net").rcode == 0
    assert program.status().total("dnseal_queries_total") - before == 1


def test_unbound_finds_dnseal_again(dnseal, unbound, a):
    """Shows: I11"""
    program = dnseal(a)
    front = unbound(program)
    program.stop()
    assert front.ask("away.example.net", timeout=8).rcode == 2
    program.start()
    end = time.monotonic() + scaled(40)
    while (answer := front.ask("back.example.net", timeout=8)) is None or answer.rcode != 0:
        assert time.monotonic() < end
        time.sleep(0.5)


def test_a_failure_passes_and_ends(dnseal, dnsmasq, a):
    """dnsmasq asks a second time before it believes a failure, and needs no help afterwards.
    Shows: I13"""
    program = dnseal(a)
    front = dnsmasq(program)
    a.script = scripts.silent
    assert front.ask("nobody.example.net", timeout=15).rcode == 2
    a.script = scripts.answer
    assert front.ask("again.example.net", timeout=8).rcode == 0


def test_how_often_dnsmasq_asks_what_fails(dnseal, dnsmasq, a):
    """Once more, but not over TCP, and not with an EDNS option; what docs/operations.md says of the wait rests on it.
    Shows: I13"""
    program = dnseal(a, limits={"query_timeout": "2s"})
    front = dnsmasq(program)
    a.script = scripts.silent
    cookie = wire.opt_record(1232, ((10, b"12345678"),))

    def ask(name, opt):
        return wire.parse(udp_exchange(front.address, front.port, wire.query(name, opt=opt), scaled(6)))

    def asked(exchange, name, *options):
        before = program.status().total("dnseal_queries_total")
        assert exchange(name, *options).rcode == 2
        return program.status().total("dnseal_queries_total") - before
    assert asked(front.ask, "plain.example.net") == 2
    assert asked(ask, "edns.example.net", wire.opt_record(1232)) == 2
    assert asked(ask, "cookie.example.net", cookie) == 1
    assert asked(front.ask_tcp, "stream.example.net") == 1


def switches(program):
    """Of each thread of the engine, how often it has woken up."""
    engine, = program.engines()
    found = {}
    for task in pathlib.Path("/proc/%d/task" % engine).iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt"):
                found[task.name] = int(line.split()[1])
    return found


def busy_workers(program, front):
    """How many threads wake up for questions: the main one and that of the log do not."""
    before = switches(program)
    for number in range(100):
        assert front.ask("p%d.example.net" % number).rcode == 0
    after = switches(program)
    return sum(1 for task in after if after[task] - before.get(task, 0) >= 20)


def test_one_source_port_meets_one_worker(dnseal, dnsmasq, a):
    """Answers come from the cache, so that nothing but the clients' sockets wakes a worker. It is what docs/operations.md
    warns of.
    Shows: I13"""
    program = dnseal(a, workers=2, cache={"size": "16MiB"})
    first = dnsmasq(program)
    for number in range(100):
        first.ask("p%d.example.net" % number)
    assert busy_workers(program, first) == 2
    fixed = dnsmasq(program, "--query-port=%d" % (40000 + first.port % 1000))
    assert busy_workers(program, fixed) == 1
