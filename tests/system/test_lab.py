"""What clients see when packets vanish, cables are pulled, addresses and routes change, under a steady stream."""
import time

import pytest

from lab import DEAD_PATH, Lab
from namespace import Capture, ip
from program import scaled


@pytest.fixture
def lab(namespace, server, dnseal):
    return Lab(namespace, server, dnseal)


WAYS = {"to": ["to"], "from": ["from"], "both": ["to", "from"]}


@pytest.mark.parametrize("ways", WAYS)
def test_packets_that_vanish(lab, ways):
    """Shows: F01, pain 1, pain 2, pain 10, regression 9, W8

    On the way to the server, on the way back, or both: nothing is acknowledged, nothing is refused."""
    lab.assert_borne(lambda: lab.lose(0, *WAYS[ways]), lambda: lab.lose_no_more(0, *WAYS[ways]))
    assert lab.closes("dead_path") == 1


def test_router_that_says_unreachable(lab):
    """Shows: F01, pain 1, regression 9, W8"""
    lab.assert_borne(lambda: lab.lose(0, "to", how="unreachable"),
                     lambda: lab.lose_no_more(0, "to", how="unreachable"))


def test_address_that_vanishes(lab):
    """Shows: pain 1, pain 2, regression 9"""
    heard = len(lab.servers[0].heard)
    lab.assert_borne(lambda: ip("-n", lab.ends[0].name, "address", "flush", "scope", "global"))
    assert lab.closes("dead_path") == 1 and len(lab.servers[0].heard) > heard


def test_both_servers_vanish_for_a_while(lab):
    """Shows: F08, pain 1, pain 3, regression 9

    Whoever asks in between waits until they are back, and gets an answer."""
    def both(change):
        change(0, "to", "from")
        change(1, "to", "from")
    lab.warm_up()
    with lab.flow() as flow:
        time.sleep(0.5)
        both(lab.lose)
        time.sleep(1)
        both(lab.lose_no_more)
        time.sleep(2.5)
        over = time.monotonic()
        time.sleep(0.5)
        flow.finish(scaled(6))
    flow.assert_served(scaled(3))
    flow.assert_calm(over, limit=scaled(0.3))


def test_cable_that_is_pulled(lab):
    """Shows: F01, pain 3, regression 21, W8

    Our end of the cable loses its address with its carrier: the kernel tells, and fresh links are asked for."""
    lab.assert_borne(lambda: lab.set_cable(0, "down"), lambda: lab.set_cable(0, "up"))


def test_cable_that_flaps(lab):
    """Shows: pain 3, pain 4, pain 10, regression 21

    Each time all links are given up; there are never more of them, and never more connections than are allowed."""
    def flap():
        for _ in range(5):
            lab.set_cable(1, "down")
            time.sleep(0.15)
            lab.set_cable(1, "up")
            time.sleep(0.35)
    begun, before = time.monotonic(), lab.servers[0].accepts
    lab.assert_borne(flap)
    assert lab.servers[0].accepts - before <= 5 * (time.monotonic() - begun) + 5
    assert lab.closes("network") >= 5
    assert lab.program.status().total("dnseal_upstream_connections") <= 2


def test_address_of_our_own_changes(lab):
    """Shows: pain 3, pain 4, regression 21

    The machine moves: its address is another one, and what was connected from the old one is dead."""
    def move():
        cable = lab.cables[0]
        ip("-n", lab.middle.name, "address", "delete", "10.54.0.1/24", "dev", cable)
        ip("-n", lab.middle.name, "address", "add", "10.54.0.7/24", "dev", cable)
        lab.route(lab.middle, "10.53.0.0/24", "10.54.0.254")
    lab.assert_borne(move, lambda: None)
    assert lab.closes("network") >= 1
    assert lab.servers[0].open_connections()[-1].peer[0] == "10.54.0.7"


def test_default_route_changes(lab):
    """Shows: pain 3, regression 21

    The old way out is dead, and the default route points at another one: links are made over it at once."""
    ip("-n", lab.middle.name, "route", "delete", "10.53.0.0/24")
    lab.route(lab.middle, "default", "10.54.0.254")

    def change():
        ip("-n", lab.routers[0].name, "rule", "add", "from", "10.54.0.1", "blackhole")
        lab.route(lab.middle, "default", "10.54.1.254")
    flow = lab.assert_borne(change, lambda: None, back=2)
    assert lab.closes("network") >= 1 and lab.closes("dead_path") == 0
    assert flow.latencies[-1] < scaled(DEAD_PATH), "nobody had to wait for silence"
    assert lab.servers[0].open_connections()[-1].peer[0] == "10.54.1.1"


def test_only_server_stalls_and_comes_back(namespace, server, dnseal):
    """Shows: F08, pain 3, regression 9

    Packets to the only server vanish for a second: no question is lost, and it is used again at once."""
    lab = Lab(namespace, server, dnseal, servers=1)
    lab.assert_borne(lambda: lab.lose(0, "to", "from"), lambda: lab.lose_no_more(0, "to", "from"), seconds=1,
                     slowest=3, back=3)


# ---- the first packet of a connection

SYN, ACK, FAST_OPEN = 2, 16, (34, 254)


def options_of(packet):
    """The kinds of the options of a TCP header."""
    kinds, at = [], 0
    while at < len(packet.options) and packet.options[at] != 0:
        kinds.append(packet.options[at])
        at += 1 if packet.options[at] == 1 else packet.options[at + 1]
    return kinds


def test_no_fast_open(namespace, server, dnseal):
    """Shows: pain 14

    Even where the kernel would do it for whoever asks: the first packet carries neither data nor the option."""
    space = namespace()
    with space.entered():
        with open("/proc/sys/net/ipv4/tcp_fastopen", "w") as setting:
            setting.write("3")
        only = server("a.test", at="127.0.0.2", port=8853)
        program = dnseal(only, listen=["127.0.0.1:5300"], workers=1)
        program.address, program.port = "127.0.0.1", 5300
        with Capture() as capture:
            for number in range(4):
                assert program.query_udp("n%d.test" % number).rcode == 0
                only.end_all("fin")
                time.sleep(scaled(0.3))
        first = [packet for packet in capture.stop() if packet.protocol == 6 and packet.destination_port == 8853
                 and packet.flags & (SYN | ACK) == SYN]
    assert len(first) >= 4
    for packet in first:
        assert not packet.payload and not set(options_of(packet)) & set(FAST_OPEN)
        assert 2 in options_of(packet), "the segment size is there: options are read"
