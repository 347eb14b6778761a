"""Servers that are known by name: looked up, kept, looked up again, and reached at whichever address works."""
import os
import signal
import socket
import stat
import time

import pytest

import wire
import zone as zones
from namespace import ip
from pace import taken
from program import merged, run, scaled


def names(**hosts):
    """A zone with the addresses of hosts, names(a=["127.0.0.1", "::1"]) is about a.test; others have none."""
    lines = ["test. 300 TXT nothing"] + ["%s.test. 300 %s %s" % (host, "AAAA" if ":" in address else "A", address)
             for host, addresses in hosts.items() for address in addresses]
    return zones.Zone("\n".join(lines))


@pytest.fixture
def boot(server):
    """Who is asked for addresses; at first there is none."""
    return server("b.test", zone=names())


def host_of(server, name="a.test"):
    return "tls://%s:%d" % (name, server.port)


def asks(boot, *others, **changes):
    return {"bootstrap": [server.url for server in (boot, *others)], "workers": 1, **changes}


def wait_for(seen, seconds=5):
    end = time.monotonic() + scaled(seconds)
    while not seen():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_a_name_is_looked_up(a, boot, dnseal):
    """Shows: pain 30"""
    boot.zone = names(a=[a.address])
    program = dnseal(host_of(a), **asks(boot))
    assert program.query_udp("www.x.test").rcode == 0
    assert a.count("www.x.test") == 1
    assert set(boot.names()) == {"a.test."} and len(boot.heard) == 2, "nothing else goes there"
    told = program.wait_event("bootstrap")
    assert told["name"] == "a.test" and told["addresses"] == a.address and told["seconds"] == 300
    assert program.wait_event("upstream_up", address="%s:%d" % (a.address, a.port))["upstream"] == host_of(a)
    assert program.status().total("dnseal_upstream_queries_total", upstream="bootstrap:" + boot.url) == 2


def test_an_ipv6_address_is_reached(server, boot, dnseal, port):
    """Shows: pain 30"""
    far = server("a.test", at="::1")
    boot.zone = names(a=["::1"])
    program = dnseal(host_of(far), **asks(boot))
    assert program.query_udp("www.x.test").rcode == 0
    assert far.count("www.x.test") == 1


def test_an_alias_is_followed(a, boot, dnseal):
    """Shows: pain 30"""
    boot.zone = zones.Zone("a.test. 300 CNAME far.test.\nfar.test. 70 A %s" % a.address)
    program = dnseal(host_of(a), **asks(boot))
    assert program.query_udp("www.x.test").rcode == 0
    assert program.wait_event("bootstrap")["seconds"] == 70


def test_the_certificate_has_to_bear_the_name(server, boot, dnseal):
    """Shows: pain 30, W2

    Whoever controls the answers of bootstrap can send us anywhere, and gains nothing."""
    other = server("b.test")
    boot.zone = names(a=[other.address])
    program = dnseal(host_of(other), **asks(boot))
    assert program.query_udp("www.x.test").rcode == wire.RCODES["SERVFAIL"]
    assert program.wait_event("upstream_down")["reason"] == "wrong_name"
    assert not other.heard


def test_one_of_them_is_down(a, boot, server, dnseal):
    """Shows: pain 30"""
    down, silent = server("b.test"), server("b.test", mode="silent")
    down.kill()
    boot.zone = names(a=[a.address])
    program = dnseal(host_of(a), **asks(down, silent, boot))
    begun = time.monotonic()
    assert program.query_udp("www.x.test").rcode == 0
    assert taken(begun) < scaled(1.5)


def test_all_of_them_are_down_and_come_back(a, boot, dnseal):
    """Shows: pain 30

    The doors serve at once; who asks gets SERVFAIL, and when one is back an answer within two seconds."""
    boot.zone = names(a=[a.address])
    boot.kill()
    program = dnseal(host_of(a), limits={"query_timeout": "2s"}, **asks(boot))
    answer = program.query_udp("early.x.test", opt=wire.opt_record())
    assert answer.rcode == wire.RCODES["SERVFAIL"]
    assert any(b"unresolved (its address is not known yet)" in data for code, data in answer.opt.options if code == 15)
    boot.start()
    begun = time.monotonic()
    assert program.query_udp("late.x.test").rcode == 0
    assert taken(begun) < scaled(2)


def test_another_server_of_the_group_serves_meanwhile(a, b, boot, dnseal):
    """Shows: pain 30"""
    boot.kill()
    program = dnseal(host_of(a), b, **asks(boot))
    begun = time.monotonic()
    assert program.query_udp("one.x.test").rcode == 0
    assert taken(begun) < scaled(1)
    boot.zone = names(a=[a.address])
    boot.start()
    wait_for(lambda: program.query_udp("two.x.test") and a.count("two.x.test"))


def test_the_address_changes_while_it_runs(server, boot, dnseal):
    """Shows: pain 30

    The old address is dead long before its time is over."""
    old = server("a.test")
    new = server("a.test", port=old.port)
    boot.zone = names(a=[old.address])
    program = dnseal(host_of(old), **asks(boot))
    assert program.query_udp("one.x.test").rcode == 0
    boot.zone = names(a=[new.address])
    old.kill()
    begun = time.monotonic()
    assert program.query_udp("two.x.test").rcode == 0
    assert taken(begun) < scaled(2)
    assert new.count("two.x.test") == 1


def test_a_name_without_an_address_keeps_what_is_known(a, boot, dnseal):
    """Shows: pain 30"""
    boot.zone = names(a=[a.address])
    program = dnseal(host_of(a), **asks(boot))
    assert program.query_udp("one.x.test").rcode == 0
    boot.zone = names()
    a.kill()
    program.query_udp("two.x.test")
    assert program.wait_event("bootstrap_failed", reason="no_address")["kept"] == 1
    a.start()
    assert program.query_udp("three.x.test").rcode == 0


def test_a_circle(write_config, boot, dnseal, address):
    """Shows: pain 30

    The name's address is that of this program; it is not asked there."""
    home = address()
    boot.zone = names(a=[home])
    _, _, port = write_config(boot, at=home)
    program = dnseal("tls://a.test:%d" % port, listen=["%s:%d" % (home, port)], limits={"query_timeout": "2s"},
                     **asks(boot))
    program.address, program.port = home, port
    assert program.query_udp("www.x.test").rcode == wire.RCODES["SERVFAIL"]
    told = program.wait_event("bootstrap_failed")
    assert told["reason"] == "own_address" and told["kept"] == 0
    assert program.status().total("dnseal_tcp_connections") == 0


def test_nobody_to_ask_stops_the_start(write_config, a):
    """Shows: pain 30"""
    file, _, _ = write_config(host_of(a))
    done = run(["-c", str(file)])
    assert done.returncode == 1
    assert "upstreams[0]: %s is a host name, and nobody is named" % host_of(a) in done.stderr
    assert str(file) + ":" in done.stderr


# ---- kept ----

@pytest.fixture
def place(tmp_path):
    directory = tmp_path / "kept"
    directory.mkdir()
    return directory / "addresses"


def kept(place):
    return {"upstream": {"addresses_file": str(place)}}


def test_a_restart_does_without_bootstrap(a, boot, dnseal, place):
    """Shows: pain 30"""
    boot.zone = names(a=[a.address])
    program = dnseal(host_of(a), **asks(boot), **kept(place))
    assert program.query_udp("one.x.test").rcode == 0
    wait_for(place.exists)
    assert place.read_text() == "dnseal addresses 1\na.test %s\nend\n" % a.address
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    program.stop()
    boot.kill()
    program.start()
    begun = time.monotonic()
    assert program.query_udp("two.x.test").rcode == 0
    assert taken(begun) < scaled(1)
    program.wait_event("bootstrap_failed", 8)
    assert program.query_udp("three.x.test").rcode == 0


def test_each_worker_looks_up(a, boot, dnseal, place):
    """Shows: pain 30

    And each tells the monitor, from its own thread; what all of them found is one line."""
    boot.zone = names(a=[a.address])
    program = dnseal(host_of(a), **merged(asks(boot, workers=3), kept(place)))
    assert program.wait_event("bootstrap", scaled(5), count=3)
    for number in range(30):
        assert program.query_udp("n%d.x.test" % number).rcode == 0
    wait_for(place.exists)
    assert place.read_text() == "dnseal addresses 1\na.test %s\nend\n" % a.address


def test_what_was_kept_is_looked_up_beside(server, boot, dnseal, place):
    """Shows: pain 30

    The file has an address that is dead, and the new one is found and kept."""
    new = server("a.test")
    place.write_text("dnseal addresses 1\na.test 127.99.99.99\nother.test ::1 192.0.2.1\nend\n")
    place.chmod(0o600)
    boot.zone = names(a=[new.address])
    program = dnseal(host_of(new), **asks(boot), **kept(place))
    assert program.query_udp("one.x.test").rcode == 0
    wait_for(lambda: new.address in place.read_text())
    assert place.read_text() == "dnseal addresses 1\na.test %s\nend\n" % new.address


FILES = {
    "foreign": "a list of things to buy\n",
    "damaged": "dnseal addresses 1\na.test 127.0.0.1\n",
    "version": "dnseal addresses 2\nend\n",
}


@pytest.mark.parametrize("reason", FILES)
def test_a_file_of_no_use_is_refused(a, boot, dnseal, place, reason):
    """Shows: pain 30

    The start goes on. What is not ours is left alone."""
    place.write_text(FILES[reason])
    place.chmod(0o600)
    boot.zone = names(a=[a.address])
    program = dnseal(host_of(a), **asks(boot), **kept(place))
    told = program.wait_event("addresses_file", action="refused")
    assert told["reason"] == reason and told["path"] == str(place) and told["hint"]
    assert program.query_udp("one.x.test").rcode == 0
    if reason == "foreign":
        assert program.wait_event("addresses_file", action="not_written")["reason"] == "foreign"
        assert place.read_text() == FILES[reason]
    else:
        wait_for(lambda: a.address in place.read_text())


@pytest.mark.parametrize("lines", ["a.test", "a.test 127.0.0.1:53", "a.test 0.0.0.0", "a.test 224.0.0.1", " 127.0.0.1",
                                   "a.test  127.0.0.1", "a.test 127.0.0.1 127.0.0.1", "a.test nowhere", "",
                                   "a.test" + " 127.0.0.1 127.0.0.2 127.0.0.3 127.0.0.4 127.0.0.5" * 2])
def test_a_damaged_line_refuses_the_file(a, boot, dnseal, place, lines):
    place.write_text("dnseal addresses 1\n%s\nend\n" % lines)
    place.chmod(0o600)
    boot.zone = names(a=[a.address])
    program = dnseal(host_of(a), **asks(boot), **kept(place))
    assert program.wait_event("addresses_file", action="refused")["reason"] == "damaged"
    assert program.query_udp("one.x.test").rcode == 0


def test_a_file_that_others_may_write_is_refused(a, boot, dnseal, place):
    place.write_text("dnseal addresses 1\na.test 127.0.0.1\nend\n")
    place.chmod(0o606)
    boot.zone = names(a=[a.address])
    program = dnseal(host_of(a), **asks(boot), **kept(place))
    assert program.wait_event("addresses_file", action="refused")["reason"] == "mode"
    wait_for(lambda: stat.S_IMODE(place.stat().st_mode) == 0o600)


def test_a_directory_that_is_gone(a, boot, dnseal, place):
    boot.zone = names()
    program = dnseal(host_of(a), **asks(boot), **kept(place))
    place.parent.rmdir()
    boot.zone = names(a=[a.address])
    wait_for(lambda: program.query_udp("one.x.test").rcode == 0)
    assert program.wait_event("addresses_file", action="not_written")["reason"] == "no such file or entry"


def test_the_next_engine_knows_what_this_one_found(a, boot, dnseal):
    """Shows: pain 30"""
    boot.zone = names(a=[a.address])
    program = dnseal(host_of(a), **asks(boot))
    assert program.query_udp("one.x.test").rcode == 0
    boot.kill()
    os.kill(program.engines()[0], signal.SIGKILL)
    assert program.wait_event("engine_died")
    assert program.wait_event("ready", count=2)
    assert program.query_udp("two.x.test").rcode == 0


# ---- several addresses ----

def test_a_black_hole_costs_a_quarter_of_a_second(namespace, server, dnseal):
    """Shows: RFC8305-5, pain 30

    The IPv6 address swallows every packet; the IPv4 one serves the first query, and those after it at once."""
    space = namespace()
    cable = space.join(namespace(), "fd00:9::1/64", "fd00:9::3/64")
    ip("-n", space.name, "neighbour", "add", "fd00:9::2", "lladdr", "02:00:00:00:00:99", "dev", cable)
    with space.entered():
        a, boot = server("a.test"), server("b.test")
        boot.zone = names(a=["fd00:9::2", a.address])
        program = dnseal(host_of(a), **asks(boot))
        assert program.wait_event("bootstrap")
        begun = time.monotonic()
        assert program.query_udp("one.x.test").rcode == 0
        assert 0.25 <= time.monotonic() - begun and taken(begun) < scaled(0.25 + 0.5)
        assert program.query_udp("two.x.test").rcode == 0
        for connection in a.open_connections():
            connection.later(0, connection.close)
        wait_for(lambda: not a.open_connections())
        begun = time.monotonic()
        assert program.query_udp("three.x.test").rcode == 0
        assert taken(begun) < 0.25, "the address that worked comes first"
    assert not program.seen("upstream_down")


def test_a_refused_address_costs_nothing(server, boot, dnseal, port):
    """Shows: RFC8305-5, pain 30"""
    a = server("a.test")
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as unused:
        unused.bind(("::1", a.port))
        boot.zone = names(a=["::1", a.address])
        program = dnseal(host_of(a), **asks(boot))
        assert program.wait_event("bootstrap")
        begun = time.monotonic()
        assert program.query_udp("one.x.test").rcode == 0
        assert taken(begun) < scaled(0.24)
    assert not program.seen("upstream_down")
