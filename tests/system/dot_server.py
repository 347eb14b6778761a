#!/usr/bin/python3
"""A DNS over TLS server that answers by rule (zone.py), misbehaves by script (scripts.py) and remembers what it heard.

As a program it serves a small zone and behaves well; `--help` tells how. Standard library only.
"""
import argparse
import itertools
import pathlib
import signal
import socket
import ssl
import sys
import threading
import time
import warnings

import scripts
import tls_wire
import wire
import zone as zones
from dot_connection import Connection, Heard

GARBAGE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


def make_context(certificate, key, minimum=None, maximum=None, ciphers=None, protocols=("dot",), client_ca=None,
                 tickets=2):
    """A server's context that takes weak keys and old versions too: it is the peer's work to refuse them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers((ciphers or "ALL") + ":@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.minimum_version = minimum or ssl.TLSVersion.TLSv1_2
        context.maximum_version = maximum or ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.num_tickets = tickets
    context.options &= ~getattr(ssl, "OP_NO_RENEGOTIATION", 0)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


class Server:
    """mode: tls, or before TLS ever begins: silent (accepts, never says a word), drip (its first flight one byte at a
    time, each `drip` seconds), garbage, close, reset, plain (clear text DNS)."""

    def __init__(self, address, certificate, key, port=0, name=None, zone=None, mode="tls", force_alpn=None, **tls):
        self.address, self.wanted_port, self.name = address, port, name
        self.zone = zone or zones.Zone()
        self.mode, self.drip = mode, 1.0
        self.script = scripts.answer
        self.deaf, self.forgetful = False, False
        self.idle_close = None
        self.context = make_context(certificate, key, **tls)
        self.kept = tls_wire.force_protocol(self.context, force_alpn) if force_alpn else None
        self.connections, self.heard, self.errors = [], [], []
        self.full_handshakes = self.resumed_handshakes = 0
        self.lock, self.changed = threading.Lock(), threading.Condition()
        self.listener, self.port, self.fillers = None, port, []
        self.numbers = itertools.count(1)

    # ---- life

    def listen(self, backlog):
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.address, self.port))
        self.listener.listen(backlog)
        self.port = self.listener.getsockname()[1]

    def start(self):
        self.stop_listening()
        self.listen(512)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()
        return self

    def stop_listening(self):
        """Connects are refused from now on; the port is kept in mind for the next start."""
        for filler in self.fillers:
            filler.close()
        self.fillers.clear()
        if self.listener is not None:
            try:
                self.listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.listener.close()
            self.listener = None

    def listen_in_vain(self):
        """A queue of one that is full and never emptied: the first packet of a connection gets no answer."""
        self.stop_listening()
        self.listen(0)
        for _ in range(3):
            self.fillers.append(socket.socket(self.listener.family, socket.SOCK_STREAM))
            self.fillers[-1].setblocking(False)
            self.fillers[-1].connect_ex((self.address, self.port))

    def end_all(self, kind="fin"):
        """Ends every connection from the inside."""
        for connection in self.open_connections():
            connection.later(0, connection.close, kind)

    def kill(self, kind="reset"):
        """Gone like a killed process: no listener, every connection reset."""
        self.stop_listening()
        self.end_all(kind)
        end = time.monotonic() + 2
        while self.open_connections() and time.monotonic() < end:
            time.sleep(0.005)

    def stop(self):
        self.kill("fin")

    def __enter__(self):
        return self.start()

    def __exit__(self, *error):
        self.stop()

    def accept(self, listener):
        while True:
            try:
                descriptor, peer = listener.accept()
            except OSError:
                return
            descriptor.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, descriptor, peer, next(self.numbers))
            if not self.forgetful:
                self.connections.append(connection)
            self.notify()
            connection.thread.start()

    # ---- what connections call

    def greet(self, connection):
        if self.mode in ("close", "reset"):
            connection.close({"close": "fin"}.get(self.mode, self.mode))
        elif self.mode == "garbage":
            connection.socket.sendall(GARBAGE)
        elif self.mode == "plain":
            connection.socket.sendall(wire.frame(wire.header(1, wire.QR, (0, 0, 0, 0))))
        elif self.mode in ("tls", "drip"):
            connection.start_tls(self.context)

    def write(self, connection, data):
        if self.mode != "drip":
            return connection.socket.sendall(data)
        for index in range(len(data)):
            connection.later(index * self.drip, connection.socket.sendall, data[index:index + 1])

    def note_handshake(self, connection):
        with self.lock:
            if connection.resumed:
                self.resumed_handshakes += 1
            else:
                self.full_handshakes += 1
        self.notify()

    def note_error(self, connection):
        if not self.forgetful:
            self.errors.append(connection.error)
        self.notify()

    def note_message(self, connection, raw):
        try:
            message = wire.parse(raw)
        except (wire.WireError, IndexError, ValueError):
            message = None
        heard = Heard(raw, message, connection, time.monotonic())
        connection.asked += 1
        if not self.forgetful:
            connection.heard.append(heard)
            self.heard.append(heard)
        self.notify()
        if message is not None:
            self.script(connection, heard)

    def notify(self):
        with self.changed:
            self.changed.notify_all()

    # ---- what tests ask

    @property
    def url(self):
        host = "[%s]" % self.address if ":" in self.address else self.address
        return "tls://%s:%d%s" % (host, self.port, "#" + self.name if self.name else "")

    @property
    def accepts(self):
        return len(self.connections)

    @property
    def handshakes(self):
        return self.full_handshakes + self.resumed_handshakes

    @property
    def dns_bytes(self):
        """Bytes of application data, of all connections."""
        return sum(connection.data_bytes for connection in list(self.connections))

    def open_connections(self):
        return [connection for connection in list(self.connections) if not connection.closed]

    def names(self):
        return [heard.name for heard in list(self.heard)]

    def count(self, name):
        wanted = wire.name_text(wire.name_bytes(name)).lower()
        return sum(1 for heard in self.names() if heard.lower() == wanted)

    def wait_until(self, condition, seconds=5):
        """Whether condition() became true in time."""
        end = time.monotonic() + seconds
        with self.changed:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self.changed.wait(min(left, 0.05))
        return True

    def wait_heard(self, count, seconds=5):
        return self.wait_until(lambda: len(self.heard) >= count, seconds)


def split_address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def read_arguments(words):
    parser = argparse.ArgumentParser(description="A DNS over TLS server for tests and for work without a network.")
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--certificate", required=True, metavar="FILE", help="PEM, the server's own first")
    parser.add_argument("--key", required=True, metavar="FILE")
    parser.add_argument("--zone", metavar="FILE", help="lines of: name [ttl] type data; other names have made-up data")
    parser.add_argument("--end-after", type=int, metavar="N", default=0,
                        help="end each connection after N answers, in all ways by turns")
    return parser.parse_args(words)


def main(words):
    arguments = read_arguments(words)
    address, port = split_address(arguments.listen)
    text = pathlib.Path(arguments.zone).read_text() if arguments.zone else ""
    server = Server(address, arguments.certificate, arguments.key, port=port, zone=zones.Zone(text))
    server.forgetful = True
    if arguments.end_after:
        server.script = scripts.end_by_turns(arguments.end_after)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with server:
        print("event=listening address=%s" % arguments.listen, flush=True)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
