"""Fixtures of the system tests: authorities, scripted servers and the program, each test on addresses of its own."""
import gc
import itertools
import os
import random
import socket
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from certificates import Certificates  # noqa: E402
from dot_server import Server  # noqa: E402
from manager import Managed, Words  # noqa: E402
from namespace import Namespace  # noqa: E402
from plain_server import PlainServer  # noqa: E402
from program import Program, merged, yaml  # noqa: E402
from server_process import ServerProcess  # noqa: E402

COUNTER = itertools.count(1)


def pytest_collection_finish(session):
    """What the tests themselves are made of stays; to look through it again stops the servers and the clients, which
    live in this process, for as long as a limit allows in all."""
    gc.collect()
    gc.freeze()


def new_address():
    """An address of 127.0.0.0/8 that no other test of this run has."""
    number = next(COUNTER)
    return "127.%d.%d.%d" % (16 + os.getpid() % 200, number // 250, number % 250 + 1)


def is_free(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(family, kind) as probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def find_port(*addresses):
    """A port that is free for UDP and TCP on all of them, below those that the kernel gives away."""
    while True:
        port = random.randrange(20000, 32000)
        if all(is_free(address, port) for address in addresses):
            return port


def reference(address, port, servers, ca, directory):
    """The reference configuration R0 of the cases, as far as its keys are there, without a cache: what is asked shall
    be heard by the servers, in their order, and once. The tests of the cache and of the policies switch on what they
    are about."""
    by_default = any(not isinstance(server, dict) or "group" not in server for server in servers)
    return {
        "groups": {"default": {"policy": "ordered", "hedge": False}} if by_default else {},
        "listen": ["%s:%d" % (address, port), "[::1]:%d" % port],
        "upstreams": [server if isinstance(server, (str, dict)) else {"url": server.url} for server in servers],
        "access": {"allow": ["127.0.0.0/8", "::1"]},
        "limits": {"tcp_connections": 150, "tcp_connections_per_client": 20, "pending": 4096},
        "cache": {"size": 0},
        "local": {"forward": ["test"]},
        "tls": {"ca": ca},
        "log": {"level": "info", "format": "json", "target": "stderr", "queries": "off"},
        "control": {"socket": str(directory / "control.socket")},
    }


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def other_authority(tmp_path_factory):
    """One that nobody trusts who is not told to."""
    return Certificates(tmp_path_factory.mktemp("other-authority"))


@pytest.fixture(scope="session")
def identities(authority):
    """The good certificates by name; they are the same for all tests."""
    return {name: authority.good(name) for name in ("a.test", "b.test")}


@pytest.fixture
def address():
    return new_address


@pytest.fixture
def port():
    return find_port


@pytest.fixture
def plain(address):
    """plain() makes and starts a server in clear text."""
    running = []

    def make(**options):
        running.append(PlainServer(address(), address()))
        return running[-1].start(**options)
    yield make
    for server in running:
        server.stop()


@pytest.fixture
def server(authority, identities):
    """server(name, identity=..., **options) makes and starts a scripted server on a new address."""
    running = []

    def make(name="a.test", identity=None, at=None, **options):
        shown = identity or identities.get(name) or authority.good(name)
        made = Server(at or new_address(), shown.certificate, shown.key, name=name, **options)
        running.append(made)
        return made.start()
    yield make
    for made in running:
        made.stop()


@pytest.fixture
def server_process(identities):
    """server_process(name, *arguments) makes and starts a scripted server that is a process of its own."""
    running = []

    def make(name="a.test", *arguments):
        made = ServerProcess(new_address(), identities[name], name, *arguments)
        running.append(made)
        return made.start()
    yield make
    for made in running:
        made.kill()


@pytest.fixture
def a(server):
    return server("a.test")


@pytest.fixture
def b(server):
    return server("b.test")


@pytest.fixture
def write_config(authority, tmp_path):
    """write_config(*servers, **changes) writes R0 with changes; gives the file, its address and port."""
    def write(*servers, text=None, at=None, **changes):
        home, number = at or new_address(), next(COUNTER)
        number_of_port = find_port(home, "::1")
        config = reference(home, number_of_port, servers, authority.ca, tmp_path)
        config["control"]["socket"] = str(tmp_path / ("control-%d" % number))
        file = tmp_path / ("dnseal-%d.yaml" % number)
        file.write_text(text if text is not None else yaml(merged(config, changes)))
        return file, home, number_of_port
    return write


@pytest.fixture
def dnseal(write_config):
    """dnseal(*servers, **changes of R0) starts the program and waits for its ready event. What a test leaves running
    is stopped at its end, and must stop cleanly."""
    started = []

    def make(*servers, env=None, files=None, ready=True, arguments=(), at=None, binary=None, prefix=(), **changes):
        file, home, number = write_config(*servers, at=at, **changes)
        program = Program(file, home, number, env=env, files=files, arguments=arguments)
        program.binary, program.prefix = binary or program.binary, list(prefix)
        started.append(program)
        return program.start(ready)
    yield make
    try:
        for program in started:
            if program.running:
                program.stop()
            program.check_output()
    finally:
        for program in started:
            program.abandon()


@pytest.fixture
def managed(write_config, tmp_path):
    """managed(*servers, sockets=..., names=..., watchdog=..., **changes of R0) starts the program as a service manager
    does, and waits for its ready event; told to notify=False, without a socket for its words; `most` is how many
    descriptors it keeps."""
    started = []

    def make(*servers, sockets=(), names="", watchdog=None, notify=True, most=1024, ready=True, at=None, env=None,
             arguments=(), binary=None, **changes):
        file, home, number = write_config(*servers, at=at, **changes)
        words = Words(tmp_path / ("notify-%d" % next(COUNTER)), most) if notify else None
        program = Managed(file, home, number, env=env, arguments=arguments)
        program.binary = binary or program.binary
        started.append(program.manage(words, sockets, names, watchdog))
        return program.start(ready)
    yield make
    try:
        for program in started:
            if program.running:
                program.stop()
            program.check_output()
    finally:
        for program in started:
            program.abandon()
            if program.words is not None:
                program.words.close()
            for one in program.sockets:
                one.close()


@pytest.fixture
def namespace():
    """namespace() makes a network namespace that goes with the test."""
    made = []

    def make():
        made.append(Namespace())
        return made[-1]
    yield make
    for space in made:
        space.delete()
