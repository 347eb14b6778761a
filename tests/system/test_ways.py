"""Places where it is run, as far as network namespaces can show them, with the configurations of the documents: a router,
the neighbour of a service, the resolver of a cluster, and a machine without a network."""
import re
import signal
import subprocess
import time

import wire
from clients import Tcp, udp_exchange
from program import BINARY, ROOT, clean_environment, scaled

REFUSED = wire.RCODES["REFUSED"]
SIDECAR = ROOT / "deploy" / "kubernetes" / "sidecar.yaml"


def told_in(document, heading):
    """The configuration that a section of a document shows."""
    section = (ROOT / "docs" / document).read_text().split("\n### " + heading + "\n")[1].split("\n##")[0]
    return re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1]


def with_servers(text, ca, **servers):
    """The configuration with servers of the test in the place of those that it names."""
    for name, url in servers.items():
        assert text.count(name) == 1, name
        text = text.replace(name, url)
    return text + 'tls: { ca: %s }\nlog: { format: json }\ncontrol: { socket: "" }\n' % ca


def ask(address, name, port=53):
    """The rcode over UDP and over TCP; None where nobody is there."""
    raw = udp_exchange(address, port, wire.query(name), scaled(1.5))
    try:
        with Tcp(address, port) as link:
            over_tcp = link.ask(wire.query(name), scaled(5)).rcode
    except OSError:
        over_tcp = None
    return raw and wire.parse(raw).rcode, over_tcp


# ---- a router


def test_a_router(dnseal, server, namespace, authority):
    """Its network is answered. Who comes from outside is refused, also at the address inside; and where it does not listen,
    nobody is there.
    Shows: W6, RFC5625-6.2"""
    router, inside, outside = namespace(), namespace(), namespace()
    router.join(inside, "192.168.1.1/24", "192.168.1.20/24")
    router.join(outside, "192.168.77.1/24", "192.168.77.9/24")
    subprocess.run(["ip", "-n", outside.name, "route", "add", "192.168.1.0/24", "via", "192.168.77.1"], check=True)
    with router.entered():
        upstream = server("a.test", at="127.0.0.2")
        text = with_servers(told_in("operations.md", "On a router"), authority.ca, cloudflare='"%s"' % upstream.url)
        dnseal(text=text)
        assert ask("127.0.0.1", "own.example.net") == (0, 0)
    with inside.entered():
        assert ask("192.168.1.1", "lan.example.net") == (0, 0)
    with outside.entered():
        assert ask("192.168.1.1", "wan.example.net") == (REFUSED, REFUSED)
        assert ask("192.168.77.1", "wan.example.net") == (None, None)
    assert {name.split(".")[0] for name in upstream.names()} == {"own", "lan"}


# ---- beside a service, and for a cluster


def configuration_of(manifest):
    """What the ConfigMap of a manifest holds."""
    block = re.search(r"^  dnseal\.yaml: \|\n((?:    .*\n|\n)+)", manifest.read_text(), re.MULTILINE)[1]
    return re.sub(r"^ {4}", "", block, flags=re.MULTILINE)


def with_cluster(text, authority, upstream, cluster):
    return with_servers(text, authority.ca, cloudflare='"%s"' % upstream.url,
                        **{"udp://10.96.0.10": "udp://%s:%d" % (cluster.address, cluster.port)})


def test_a_sidecar(dnseal, server, plain, namespace, authority):
    """Who shares its network is answered at 127.0.0.1, each name by who knows it; the neighbours of the pod find nobody.
    Shows: I11"""
    pod, neighbour = namespace(), namespace()
    pod.join(neighbour, "10.244.1.2/24", "10.244.1.3/24")
    with pod.entered():
        upstream, cluster = server("a.test", at="127.0.0.2"), plain()
        dnseal(text=with_cluster(configuration_of(SIDECAR), authority, upstream, cluster))
        assert ask("127.0.0.1", "www.example.net") == (0, 0)
        assert ask("127.0.0.1", "db.default.svc.cluster.local") == (0, 0)
    with neighbour.entered():
        assert ask("10.244.1.2", "www.example.net") == (None, None)
    assert {name.lower() for name in upstream.names()} == {"www.example.net."}
    assert {heard.name.lower() for heard in cluster.heard} == {"db.default.svc.cluster.local."}


def test_the_resolver_of_a_cluster(dnseal, server, plain, namespace, authority):
    """Pods ask it over the network, and its own DNS sends it what is not of the cluster.
    Shows: I11, RFC5625-6.2"""
    home, pod = namespace(), namespace()
    home.join(pod, "10.244.1.2/24", "10.244.1.3/24")
    with home.entered():
        upstream, cluster = server("a.test", at="127.0.0.2"), plain()
        text = configuration_of(SIDECAR)
        assert text.count("127.0.0.1:53") == 1
        dnseal(text=with_cluster(text.replace("127.0.0.1:53", "0.0.0.0:53"), authority, upstream, cluster))
    with pod.entered():
        assert ask("10.244.1.2", "www.example.net") == (0, 0)
        assert ask("10.244.1.2", "db.default.svc.cluster.local") == (0, 0)


# ---- a machine without a network


def processes_in(space):
    return subprocess.run(["ip", "netns", "pids", space.name], capture_output=True, text=True).stdout.split()


def wait_for_answer(name):
    end = time.monotonic() + scaled(20)
    while time.monotonic() < end:
        raw = udp_exchange("127.0.0.1", 5300, wire.query(name), 1)
        if raw is not None and wire.parse(raw).rcode == 0:
            return wire.parse(raw)
        time.sleep(0.1)
    raise AssertionError("no answer")


def test_run_offline(namespace):
    """What `./dev run --offline` does once it has built the program: a server on loopback, whose names dnseal answers; both
    end with Ctrl-C.
    Shows: M1, M2, M10"""
    space = namespace()
    with space.entered():
        both = subprocess.Popen([str(ROOT / "tools" / "run-offline"), BINARY], stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=clean_environment(),
                                start_new_session=True)
        try:
            assert wait_for_answer("example.com").answer[0].rdata == bytes([192, 0, 2, 1])
            assert ask("127.0.0.1", "mail.example.com", 5300) == (0, 0)
            assert ask("::1", "nxdomain.example", 5300) == (3, 3)
        finally:
            both.send_signal(signal.SIGINT)
            said, _ = both.communicate(timeout=scaled(15))
    assert both.returncode == 0, said
    end = time.monotonic() + scaled(5)
    while processes_in(space):
        assert time.monotonic() < end
        time.sleep(0.05)
