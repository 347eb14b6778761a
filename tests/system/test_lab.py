"""A lab of network namespaces: servers at the ends of cables of their own, and what clients see when one is pulled."""
import time

import pytest

import wire
from clients import udp_exchange
from namespace import ip
from program import scaled

HOME = "127.0.0.1"


class Lab:
    """The program with two servers, each in a namespace of its own behind a cable."""

    def __init__(self, namespace, server, dnseal):
        self.middle = namespace()
        self.ends, self.servers, self.cables = [namespace(), namespace()], [], []
        for number, end in enumerate(self.ends):
            self.cables.append(self.middle.join(end, "10.53.%d.1/24" % number, "10.53.%d.2/24" % number))
            with end.entered():
                self.servers.append(server("ab"[number] + ".test", at="10.53.%d.2" % number, port=8853))
        with self.middle.entered():
            self.program = dnseal(*self.servers, listen=["127.0.0.1:5300"], workers=1)

    def ask(self, name):
        """The answer's code and how long it took."""
        begun = time.monotonic()
        with self.middle.entered():
            answer = udp_exchange(HOME, 5300, wire.query(name), timeout=scaled(6))
        return wire.parse(answer).rcode, time.monotonic() - begun

    def ask_for(self, seconds):
        """One question after the other; all codes, the longest time, and the last one."""
        codes, times, end = set(), [], time.monotonic() + seconds
        while time.monotonic() < end:
            code, took = self.ask("n%d.test" % len(times))
            codes.add(code)
            times.append(took)
            time.sleep(0.01)
        return codes, max(times), times[-1]

    def closes(self, reason):
        with self.middle.entered():
            return self.program.status().total("dnseal_upstream_closes_total", reason=reason)


@pytest.fixture
def lab(namespace, server, dnseal):
    return Lab(namespace, server, dnseal)


def test_address_that_vanishes(lab):
    """Shows: pain 1, pain 2, regression 9

    The server's address is gone: nothing is acknowledged, nothing is refused. One question pays, with 400 ms."""
    assert lab.ask("first.test")[0] == 0
    assert len(lab.servers[0].heard) == 1
    ip("-n", lab.ends[0].name, "address", "flush", "scope", "global")
    codes, longest, last = lab.ask_for(scaled(2))
    assert codes == {0} and longest < scaled(0.8) and last < scaled(0.1)
    assert lab.closes("dead_path") == 1
    assert len(lab.servers[0].heard) == 1


def test_cable_that_is_pulled(lab):
    """Shows: pain 3, regression 21

    Our end of the cable loses its address with its carrier: the kernel tells, and fresh links are asked for."""
    assert lab.ask("first.test")[0] == 0
    ip("-n", lab.middle.name, "link", "set", lab.cables[0], "down")
    codes, longest, last = lab.ask_for(scaled(2))
    assert codes == {0} and longest < scaled(0.8) and last < scaled(0.1)
    ip("-n", lab.middle.name, "link", "set", lab.cables[0], "up")
    heard = len(lab.servers[0].heard)
    codes, longest, _ = lab.ask_for(scaled(6))
    assert codes == {0} and longest < scaled(0.8)
    assert len(lab.servers[0].heard) > heard, "the first server is preferred again"


def test_address_of_our_own_changes(lab):
    """Shows: pain 3, pain 4, regression 21

    The machine moves: its address is another one, and what was connected from the old one is dead."""
    assert lab.ask("first.test")[0] == 0
    ip("-n", lab.middle.name, "address", "add", "10.53.0.7/24", "dev", lab.cables[0])
    ip("-n", lab.middle.name, "address", "delete", "10.53.0.1/24", "dev", lab.cables[0])
    codes, longest, last = lab.ask_for(scaled(2))
    assert codes == {0} and longest < scaled(0.8) and last < scaled(0.1)
    assert lab.closes("network") >= 1


def test_only_server_stalls_and_comes_back(namespace, server, dnseal):
    """Shows: F08, pain 3, pain 14

    The only server's address is away for two seconds: no question is lost, and it is used again at once."""
    middle, end = namespace(), namespace()
    middle.join(end, "10.53.9.1/24", "10.53.9.2/24")
    with end.entered():
        only = server("a.test", at="10.53.9.2", port=8853)
    with middle.entered():
        dnseal(only, listen=["127.0.0.1:5300"], workers=1)
        assert wire.parse(udp_exchange(HOME, 5300, wire.query("first.test"))).rcode == 0
        cable = [words.split()[1].split("@")[0].rstrip(":")
                 for words in ip("-n", end.name, "-o", "link").splitlines() if "veth" in words or "dsu" in words][0]
        ip("-n", end.name, "address", "delete", "10.53.9.2/24", "dev", cable)
        time.sleep(scaled(0.5))
        begun = time.monotonic()
        ip("-n", end.name, "address", "add", "10.53.9.2/24", "dev", cable)
        assert wire.parse(udp_exchange(HOME, 5300, wire.query("again.test"), timeout=scaled(6))).rcode == 0
        assert time.monotonic() - begun < scaled(4.5)
