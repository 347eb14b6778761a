#!/usr/bin/python3
"""Opens and closes: client connections by the million, links to a server as many as time allows, and nothing may stay.

As a program (`./dev soak`) it needs a network namespace of its own. It prints what the engine holds as it goes, and
exits with 1 when that grows. tests/system/test_soak.py runs a short one of each. All timers have their defaults; only
handshakes_per_second, which is a limit, is out of the way.
"""
import argparse
import pathlib
import socket
import struct
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))

import wire  # noqa: E402
from certificates import Certificates  # noqa: E402
from program import Program, anonymous, cpu_seconds, descriptors, is_sanitized, resident, yaml  # noqa: E402
from server_process import ServerProcess  # noqa: E402
from zone import Zone  # noqa: E402

IP_BIND_ADDRESS_NO_PORT = 24
SOURCES = 200
MANY_HANDSHAKES = 1000
WARM_UP = 0.1  # the share of the cycles after which nothing may grow any more
GROWTH = 512 * 1024
ABORT = struct.pack("ii", 1, 0)
KIB = 1024


# ---- client connections

def connect(program, number):
    link = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    link.settimeout(10)
    link.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    link.bind(("127.99.0.%d" % (number % SOURCES + 1), 0))
    link.connect((program.address, program.port))
    return link


def framed(number):
    return wire.frame(wire.query("c%d.test" % (number % 1000), message_id=number & 0xffff, opt=wire.opt_record()))


def read_answers(link, numbers):
    """The answers to these questions, in any order, each looked at."""
    wanted, deframer = {number & 0xffff: "c%d.test" % (number % 1000) for number in numbers}, wire.Deframer()
    while wanted:
        data = link.recv(65536)
        if not data:
            raise AssertionError("closed before the answer")
        for raw in deframer.push(data):
            answer = wire.parse(raw)
            name = wanted.pop(answer.id)
            assert answer.rcode == 0 and answer.data == [Zone.address(name)], answer


def only_opens(link, number):
    pass


def asks(link, number):
    link.sendall(framed(number))
    read_answers(link, [number])


def asks_and_turns_away(link, number):
    link.sendall(framed(number))


def sends_half(link, number):
    link.sendall(framed(number)[:20])


def half_closes(link, number):
    link.sendall(framed(number))
    link.shutdown(socket.SHUT_WR)
    read_answers(link, [number])


def asks_twice(link, number):
    link.sendall(framed(number) + framed(number + 1))
    read_answers(link, [number, number + 1])


CLIENTS = (only_opens, asks, asks_and_turns_away, sends_half, half_closes, asks_twice)


def client_cycle(program, number):
    """One connection from its opening to its end: in every way, by FIN and by reset."""
    link = connect(program, number)
    CLIENTS[number % len(CLIENTS)](link, number)
    if number // len(CLIENTS) % 2:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    link.close()


# ---- links to a server that ends each behind its first answer

def ask_over_udp(program, name, link):
    message = wire.query(name, opt=wire.opt_record())
    link.send(message)
    answer = wire.parse(link.recv(65536))
    assert answer.raw[:2] == message[:2] and answer.rcode == 0 and answer.data == [Zone.address(name)], answer


def links_opened(program):
    return int(program.status().total("dnseal_upstream_connects_total"))


def link_cycles(program, is_enough):
    """One question after the other, until is_enough(links opened so far) says so."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(10)
        link.connect((program.address, program.port))
        opened, count = links_opened(program), 0
        while not is_enough(opened):
            for _ in range(50):
                ask_over_udp(program, "u%d.test" % count, link)
                count += 1
            opened = links_opened(program)


# ---- what the engine holds

class Ledger:
    """What was held after each part of the work; the first part that counts comes after the warm-up."""

    def __init__(self, program, what, say=print):
        self.program, self.what, self.say, self.engine = program, what, say, program.engines()[0]
        self.lines, self.begun = [], time.monotonic()
        self.say("%12s %10s %12s %14s %12s %9s" % (what, "seconds", "RSS KiB", "anonymous KiB", "descriptors", "CPU s"))

    def note(self, count):
        """To be called at rest; what is just being closed gets half a second."""
        time.sleep(0.5)
        assert self.program.engines() == [self.engine], "another engine: the first one has died"
        held = resident(self.engine), anonymous(self.engine), descriptors(self.engine)
        self.lines.append((count, held))
        self.say("%12d %10.1f %12d %14d %12d %9.2f" % (
            count, time.monotonic() - self.begun, held[0] // KIB, held[1] // KIB, held[2], cpu_seconds(self.engine)))

    def growth(self):
        """Bytes and descriptors by which the end is more than the first measurement after the warm-up."""
        last = self.lines[-1][0]
        first = next(held for count, held in self.lines if count >= WARM_UP * last)
        return [after - before for before, after in zip(first, self.lines[-1][1])]

    def assert_flat(self):
        _, memory, files = self.growth()
        assert len(self.lines) >= 3, "too short to tell"
        assert memory <= GROWTH or is_sanitized(), "%s: %d bytes grown" % (self.what, memory)
        assert files <= 2, "%s: %d descriptors grown" % (self.what, files)


def soak_clients(program, cycles, parts=20, say=print):
    ledger = Ledger(program, "clients", say)
    ledger.note(0)
    for number in range(cycles):
        client_cycle(program, number)
        if (number + 1) % max(1, cycles // parts) == 0:
            ledger.note(number + 1)
    ledger.assert_flat()
    return ledger


def soak_links(program, cycles=None, seconds=None, parts=20, say=print):
    """So many links, or as many as come about in so many seconds."""
    ledger, before = Ledger(program, "links", say), links_opened(program)
    for part in range(1, parts + 1):
        begun = time.monotonic()
        if cycles:
            link_cycles(program, lambda opened: opened - before >= cycles * part / parts)
        else:
            link_cycles(program, lambda opened: time.monotonic() - begun >= seconds / parts)
        ledger.note(links_opened(program) - before)
    ledger.assert_flat()
    return ledger


# ---- as a program

def configuration(directory, port, authority, server):
    file = directory / "dnseal.yaml"
    file.write_text(yaml({
        "listen": ["127.0.0.1:%d" % port],
        "upstreams": [{"url": server.url}],
        "tls": {"ca": authority.ca},
        "upstream": {"handshakes_per_second": MANY_HANDSHAKES},
        "cache": {"size": 0},
        "local": {"forward": ["test"]},
        "control": {"socket": str(directory / "control.socket")},
        "log": {"format": "json"},
        "workers": 1,
    }))
    return file


def with_program(directory, port, authority, server, work):
    program = Program(configuration(directory, port, authority, server), "127.0.0.1", port)
    server.start()
    try:
        program.start()
        work(program)
        program.stop()
    except (AssertionError, OSError):
        print(program.text() + "\n" + program.status().text)
        raise
    finally:
        program.abandon()
        server.kill()


def main(words):
    parser = argparse.ArgumentParser(description="Opens and closes connections by the million; nothing may stay.")
    parser.add_argument("cycles", nargs="?", type=int, default=1000000, help="client connections (1000000)")
    parser.add_argument("--seconds", type=float, default=600, help="how long links to a server are opened (600)")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        directory.chmod(0o755)
        authority = Certificates(directory)
        identity = authority.good("a.test")
        steady = ServerProcess("127.98.0.1", identity, "a.test")
        ending = ServerProcess("127.98.0.2", identity, "a.test", "--end-after", "1")
        with_program(directory, 5300, authority, steady, lambda program: soak_clients(program, arguments.cycles))
        with_program(directory, 5301, authority, ending,
                     lambda program: soak_links(program, seconds=arguments.seconds))
    print("soak: flat")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
