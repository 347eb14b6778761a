"""One connection of the scripted server: a thread that owns the socket, with TLS over memory so that every byte that
goes out can be held, halved or left away. Standard library only."""
import heapq
import itertools
import os
import select
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass

import tls_wire
import wire

ORDER = itertools.count()


@dataclass
class Heard:
    """One message that a client sent."""
    raw: bytes
    message: wire.Message
    connection: object
    at: float

    @property
    def id(self):
        return struct.unpack("!H", self.raw[:2])[0]

    @property
    def size(self):
        return len(self.raw)

    @property
    def name(self):
        return self.message.text() if self.message else ""


class Connection:
    """`send`, `send_stream`, `close` and `later` may be called from a script (inside the thread); a test calls them
    through `later(0, ...)`."""

    def __init__(self, server, descriptor, peer, number):
        self.server, self.socket, self.peer, self.number = server, descriptor, peer, number
        self.opened_at = time.monotonic()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = None
        self.records = tls_wire.RecordReader()
        self.deframer = wire.Deframer()
        self.heard, self.asked = [], 0
        self.data_records = 0
        self.data_bytes = 0
        self.handshaken = False
        self.resumed = False
        self.version = self.protocol = self.error = self.ended_by = None
        self.closed = self.peer_ended = self.muted = False
        self.last_read = time.monotonic()
        self.due, self.lock = [], threading.Lock()
        self.wake_read, self.wake_write = socket.socketpair()
        self.wake_write.setblocking(False)
        self.thread = threading.Thread(target=self.run, daemon=True)

    @property
    def hello(self):
        return self.records.hello

    # ---- what scripts call

    def later(self, seconds, action, *arguments):
        with self.lock:
            heapq.heappush(self.due, (time.monotonic() + seconds, next(ORDER), action, arguments))
        try:
            self.wake_write.send(b"x")
        except OSError:
            pass

    def send(self, message, after=0):
        """One framed message."""
        self.send_stream(wire.frame(message), after)

    def send_stream(self, data, after=0):
        """Bytes inside TLS, framed or not."""
        if after:
            self.later(after, self.send_stream, data)
        elif not self.closed:
            self.session.write(data)
            self.flush()

    def close(self, kind="notify", after=0):
        """notify: close_notify then FIN; fin: bare FIN; reset; alert: a fatal alert; half_record; half_frame."""
        if after:
            self.later(after, self.close, kind)
        elif not self.closed:
            self.ended_by = kind
            getattr(self, "close_" + kind)()

    def renegotiate(self):
        tls_wire.renegotiate(self.session)
        self.flush()

    # ---- kinds of ends

    def close_notify(self):
        try:
            self.session.unwrap()
        except (ssl.SSLError, AttributeError):
            pass
        self.flush()
        self.close_fin()

    def close_fin(self):
        self.closed = True
        try:
            self.socket.shutdown(socket.SHUT_WR)
            self.drain(0.5)
        except OSError:
            pass

    def close_reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.closed = True

    def close_alert(self):
        """A record that does not decrypt makes the library itself send its fatal alert."""
        self.incoming.write(b"\x17\x03\x03\x00\x30" + os.urandom(48))
        try:
            self.session.read(1)
        except ssl.SSLError:
            pass
        self.flush()
        self.close_fin()

    def close_half_record(self):
        self.session.write(bytes(200))
        data = self.outgoing.read()
        self.socket.sendall(data[:len(data) // 2])
        self.close_fin()

    def close_half_frame(self):
        self.session.write(b"\x00\x64" + bytes(50))
        self.flush()
        self.close_notify()

    def drain(self, seconds):
        """Reads until the peer has gone, so that the close is no reset."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ready, _, _ = select.select([self.socket], [], [], max(0, end - time.monotonic()))
            if ready and not self.socket.recv(65536):
                break

    # ---- the thread

    def flush(self):
        data = self.outgoing.read()
        if data:
            self.server.write(self, data)

    def run(self):
        try:
            self.server.greet(self)
            while not self.closed:
                self.turn()
        except OSError as error:
            self.error = self.error or str(error)
        finally:
            self.closed = True
            for descriptor in (self.socket, self.wake_read, self.wake_write):
                descriptor.close()

    def turn(self):
        with self.lock:
            wait = max(0, self.due[0][0] - time.monotonic()) if self.due else 0.25
        watched = [self.wake_read] if self.peer_ended else [self.wake_read, self.socket]
        ready, _, _ = select.select(watched, [], [], min(wait, 0.25))
        if self.wake_read in ready:
            self.wake_read.recv(4096)
        if self.socket in ready and not self.server.deaf:
            self.read()
        elif self.socket in ready:
            time.sleep(0.01)
        self.run_due()
        idle = self.server.idle_close
        if idle and self.handshaken and not self.due and time.monotonic() - self.last_read > idle[0]:
            self.close(idle[1])

    def run_due(self):
        while not self.closed:
            with self.lock:
                if not self.due or self.due[0][0] > time.monotonic():
                    return
                _, _, action, arguments = heapq.heappop(self.due)
            action(*arguments)

    def read(self):
        data = self.socket.recv(65536)
        self.last_read = time.monotonic()
        if not data:
            self.peer_ended = True
            self.ended_by = self.ended_by or "peer"
            if not self.due:
                self.closed = True
            return
        self.records.push(data)
        if self.session is not None:
            self.incoming.write(data)
            self.pump()

    def start_tls(self, context):
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def pump(self):
        try:
            if not self.handshaken:
                self.session.do_handshake()
                self.on_handshake()
            self.read_data()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = str(error)
            self.ended_by = self.ended_by or ("notify" if isinstance(error, ssl.SSLZeroReturnError) else "error")
            self.flush()
            self.close_fin()
            self.server.note_error(self)
        if not self.closed:
            self.flush()

    def on_handshake(self):
        self.handshaken = True
        self.resumed = bool(self.session.session_reused)
        self.version, self.protocol = self.session.version(), self.session.selected_alpn_protocol()
        self.flush()
        self.server.note_handshake(self)

    def read_data(self):
        while not self.closed:
            data = self.session.read(65536)
            if not data:
                self.ended_by = "notify"
                return self.close_notify()
            self.data_records += 1
            self.data_bytes += len(data)
            for raw in self.deframer.push(data):
                self.server.note_message(self, raw)
