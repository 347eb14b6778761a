"""Groups of servers: names and doors that go to servers of their own, and never to others."""
import pathlib

import wire
from program import run


def of_group(server, group):
    return {"url": server.url, "group": group}


def test_names_go_to_their_group(dnseal, a, b):
    """Shows: I11"""
    program = dnseal(a, of_group(b, "office"), routes={"consul": "office", "10.in-addr.arpa": "office"})
    program.query_udp("www.x.test")
    assert (a.count("www.x.test"), b.count("www.x.test")) == (1, 0)
    program.query_tcp("db.service.consul")
    assert (a.count("db.service.consul"), b.count("db.service.consul")) == (0, 1)
    program.query_udp("7.0.0.10.in-addr.arpa")
    assert b.count("7.0.0.10.in-addr.arpa") == 1
    labels = set(program.status().by_label("dnseal_upstream_queries_total", "upstream"))
    assert labels == {a.url, "office/" + b.url}


def test_transports_go_to_their_group(dnseal, a, b):
    """Shows: M7"""
    program = dnseal(a, b)
    program.stop()
    place = '{address: "%s:%d", transport: ' % (program.address, program.port)
    file = pathlib.Path(program.file)
    text = file.read_text().replace('{ url: "%s" }' % b.url, '{ url: "%s", group: streams }' % b.url)
    doors = "listen:\n- %s[udp]}\n- %s[tcp], upstreams: streams}\n" % (place, place)
    file.write_text(doors + text[text.index("upstreams:"):])
    program.start()
    program.query_udp("www.x.test")
    program.query_tcp("www.y.test")
    assert (a.count("www.x.test"), b.count("www.x.test")) == (1, 0)
    assert (a.count("www.y.test"), b.count("www.y.test")) == (0, 1)


def test_a_group_that_fails_takes_no_other(dnseal, a, b):
    """Shows: I11, V01"""
    program = dnseal(a, of_group(b, "office"), routes={"consul": "office"})
    b.kill()
    answer = program.query_udp("www.consul")
    assert answer.rcode == wire.RCODES["SERVFAIL"]
    assert a.count("www.consul") == 0


def test_thousands_of_routes(dnseal, a, b):
    """Shows: I11"""
    routes = {"zone-%d.example" % number: "office" for number in range(5000)}
    program = dnseal(a, of_group(b, "office"), routes=routes)
    program.query_udp("www.zone-4711.example")
    program.query_udp("www.zone-5000.example")
    assert b.count("www.zone-4711.example") == 1 and a.count("www.zone-5000.example") == 1


def test_a_group_without_servers_stops_the_start(write_config, a):
    """Shows: P02"""
    file, _, _ = write_config(a, routes={"consul": "office"})
    done = run(["-c", str(file), "--check"])
    assert done.returncode == 1 and "routes.consul: no upstream is in the group office" in done.stderr
    line = next(number for number, text in enumerate(file.read_text().split("\n"), 1) if "consul" in text)
    assert "%s:%d:" % (file, line) in done.stderr


def test_a_name_with_two_routes_stops_the_start(write_config, a, b):
    """Shows: P02"""
    file, _, _ = write_config(a, of_group(b, "office"), routes={"consul": "office", "CONSUL.": "default"})
    done = run(["-c", str(file), "--check"])
    line = next(number for number, text in enumerate(file.read_text().split("\n"), 1) if "CONSUL" in text)
    assert done.returncode == 1 and '%s:%d:' % (file, line) in done.stderr
    assert '"CONSUL": stands here twice' in done.stderr
