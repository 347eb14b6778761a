"""A server of DNS in clear text over UDP and TCP that answers by rule (zone.py), misbehaves by script and remembers
what it heard. Standard library only."""
import random
import socket
import struct
import threading
import time
from dataclasses import dataclass

import wire
import zone as zones

UDP_SIZE = 1232


@dataclass
class Heard:
    """One message that came; `port` is the one it came from."""
    raw: bytes
    message: wire.Message
    transport: str
    port: int
    at: float

    @property
    def name(self):
        return self.message.text()


def answer(server, heard, reply):
    reply(server.answer_to(heard))


def silent(server, heard, reply):
    """Not a word."""


def truncated(server, heard, reply):
    """Nothing fits a datagram."""
    message = server.answer_to(heard)
    if heard.transport == "udp":
        message = message[:2] + struct.pack("!H", struct.unpack("!H", message[2:4])[0] | wire.TC) + message[4:]
    reply(message)


def changed(change, right_after=None):
    """The answer, changed by change(bytes); the right one follows after so many seconds. Over TCP it is right."""
    def script(server, heard, reply):
        right = server.answer_to(heard)
        if heard.transport == "tcp":
            return reply(right)
        reply(change(right))
        if right_after is not None:
            server.later(right_after, reply, right)
    return script


def folded(server, heard, reply):
    """The letters of the question's name do not come back, over UDP."""
    right = server.answer_to(heard)
    end = 12 + len(heard.message.question) - 4
    reply(right[:12] + (right[12:end].lower() if heard.transport == "udp" else right[12:end]) + right[end:])


def from_elsewhere(server, heard, reply):
    """A forged answer from another port, then one from another address, then the right one."""
    right = server.answer_to(heard)
    forged = right[:-4] + b"\x06\x06\x06\x06"
    for address in (server.address, server.other_address):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind((address, 0))
            other.sendto(forged, server.asker)
    server.later(0.05, reply, right)


def after(seconds):
    def script(server, heard, reply):
        server.later(seconds, reply, server.answer_to(heard))
    return script


def twice(server, heard, reply):
    for _ in range(3):
        reply(server.answer_to(heard))


def losing(lost):
    """For all servers that share it: of a name's datagrams the first lost(name) are lost."""
    seen, lock = {}, threading.Lock()

    def script(server, heard, reply):
        with lock:
            name = heard.name.lower()
            seen[name] = seen.get(name, 0) + 1
        if heard.transport == "tcp" or seen[name] > lost(name):
            reply(server.answer_to(heard))
    return script


class PlainServer:
    """`asker` is whom the last datagram came from."""

    def __init__(self, address, other_address=None, port=0):
        self.address, self.other_address, self.port = address, other_address, port
        self.zone, self.script = zones.Zone(), answer
        self.heard, self.timers, self.asker = [], [], None
        self.udp = self.tcp = None
        self.changed = threading.Condition()

    def start(self, transports=("udp", "tcp")):
        """At the port that it was given or had before, else at one that is free for both."""
        while self.port == 0:
            try:
                self.port = random.randrange(20000, 32000)
                return self.open(transports)
            except OSError:
                self.stop()
                self.port = 0
        return self.open(transports)

    def open(self, transports):
        if "udp" in transports:
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            self.udp.bind((self.address, self.port))
            threading.Thread(target=self.serve_udp, args=(self.udp,), daemon=True).start()
        if "tcp" in transports:
            self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.tcp.bind((self.address, self.port))
            self.tcp.listen(64)
            threading.Thread(target=self.accept, args=(self.tcp,), daemon=True).start()
        return self

    def stop(self):
        """Nobody listens any more: an ICMP message tells it."""
        for one in (self.udp, self.tcp):
            if one is not None:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                one.close()
        self.udp = self.tcp = None
        time.sleep(0.05)

    def serve_udp(self, udp):
        while True:
            try:
                raw, self.asker = udp.recvfrom(65535)
            except OSError:
                return
            if not raw:
                return
            self.note(raw, "udp", self.asker, lambda message, to=self.asker: self.send(udp, message, to))

    @staticmethod
    def send(udp, message, to):
        try:
            udp.sendto(message, to)
        except OSError:
            pass

    def accept(self, tcp):
        while True:
            try:
                connection, peer = tcp.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_tcp, args=(connection, peer), daemon=True).start()

    def serve_tcp(self, connection, peer):
        deframer = wire.Deframer()
        with connection:
            while True:
                try:
                    data = connection.recv(65535)
                except OSError:
                    return
                if not data:
                    return
                for raw in deframer.push(data):
                    self.note(raw, "tcp", peer, lambda message: connection.sendall(wire.frame(message)))

    def note(self, raw, transport, peer, reply):
        heard = Heard(raw, wire.parse(raw), transport, peer[1], time.monotonic())
        self.heard.append(heard)
        with self.changed:
            self.changed.notify_all()
        self.script(self, heard, reply)

    def answer_to(self, heard):
        message, _ = self.zone.answer(heard.message)
        if heard.transport == "udp" and len(message) > UDP_SIZE:
            message = message[:2] + struct.pack("!HHHHH", struct.unpack("!H", message[2:4])[0] | wire.TC, 1, 0, 0, 0) \
                + heard.message.question
        return message

    def later(self, seconds, action, *arguments):
        timer = threading.Timer(seconds, action, arguments)
        timer.daemon = True
        self.timers.append(timer)
        timer.start()

    @property
    def url(self):
        return "udp://%s:%d" % (self.address, self.port)

    def of(self, name, transport=None):
        """What was heard of a name, in whatever letters."""
        wanted = wire.name_text(wire.name_bytes(name)).lower()
        return [heard for heard in list(self.heard)
                if heard.name.lower() == wanted and transport in (None, heard.transport)]

    def count(self, name, transport=None):
        return len(self.of(name, transport))
