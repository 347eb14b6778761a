"""What is seen of TLS from outside: records, and the fields of a ClientHello. And two calls into the library that the
ssl module lacks: choosing an ALPN protocol that was not offered, and asking for renegotiation. Standard library only."""
import ctypes
import struct
from dataclasses import dataclass, field

HANDSHAKE, APPLICATION = 22, 23
SERVER_NAME, ALPN, SESSION_TICKET, PRE_SHARED_KEY, EARLY_DATA, SUPPORTED_VERSIONS = 0, 16, 35, 41, 42, 43


@dataclass
class Hello:
    """A ClientHello."""
    server_name: str = None
    protocols: list = field(default_factory=list)
    versions: list = field(default_factory=list)
    ciphers: list = field(default_factory=list)
    tickets: list = field(default_factory=list)
    compressions: bytes = b""
    early_data: bool = False

    @property
    def offers_session(self):
        return bool(self.tickets)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        out = self.data[self.at:self.at + size]
        if len(out) != size:
            raise ValueError("short")
        self.at += size
        return out

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def vector(self, size):
        return Reader(self.take(self.number(size)))

    def more(self):
        return self.at < len(self.data)


def read_extension(hello, kind, body):
    if kind == SERVER_NAME:
        names = body.vector(2)
        names.number(1)
        hello.server_name = names.vector(2).data.decode()
    elif kind == ALPN:
        protocols = body.vector(2)
        while protocols.more():
            hello.protocols.append(protocols.vector(1).data.decode())
    elif kind == SUPPORTED_VERSIONS:
        versions = body.vector(1)
        while versions.more():
            hello.versions.append(versions.number(2))
    elif kind == SESSION_TICKET and body.data:
        hello.tickets.append(body.data)
    elif kind == PRE_SHARED_KEY:
        identities = body.vector(2)
        while identities.more():
            hello.tickets.append(identities.vector(2).data)
            identities.number(4)
    elif kind == EARLY_DATA:
        hello.early_data = True


def read_hello(data):
    """From the bytes of a handshake message of type 1."""
    reader, hello = Reader(data[4:]), Hello()
    version = reader.number(2)
    reader.take(32)
    reader.vector(1)
    ciphers = reader.vector(2)
    while ciphers.more():
        hello.ciphers.append(ciphers.number(2))
    hello.compressions = reader.vector(1).data
    extensions = reader.vector(2) if reader.more() else Reader(b"")
    while extensions.more():
        kind = extensions.number(2)
        read_extension(hello, kind, extensions.vector(2))
    hello.versions = hello.versions or [version]
    return hello


class RecordReader:
    """Bytes of one direction in; the types and sizes of records out, and the ClientHello when it is whole."""

    def __init__(self):
        self.buffer, self.records, self.handshake, self.hello = b"", [], b"", None
        self.garbage = False

    def push(self, data):
        self.buffer += data
        while len(self.buffer) >= 5 and not self.garbage:
            kind, version, size = struct.unpack_from("!BHH", self.buffer)
            self.garbage = kind not in range(20, 25) or version >> 8 != 3
            if self.garbage or len(self.buffer) < 5 + size:
                break
            self.add(kind, self.buffer[5:5 + size])
            self.buffer = self.buffer[5 + size:]

    def add(self, kind, body):
        self.records.append((kind, len(body)))
        if self.hello is None and kind == HANDSHAKE:
            self.handshake += body
            size = int.from_bytes(self.handshake[1:4], "big")
            if self.handshake[0] == 1 and len(self.handshake) >= 4 + size:
                self.hello = read_hello(self.handshake[:4 + size])


library = ctypes.CDLL("libssl.so.3")
SELECT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p),
                          ctypes.POINTER(ctypes.c_ubyte), ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p)


def pointer_in(item, slot):
    """The pointer in a slot of a C object behind its head of two words."""
    return ctypes.c_void_p.from_address(id(item) + (2 + slot) * ctypes.sizeof(ctypes.c_void_p))


def force_protocol(context, protocol):
    """Makes a server's context choose this ALPN protocol whatever the client offered. The result must be kept."""
    name = ctypes.create_string_buffer(protocol.encode())

    def select(session, out, size, offered, offered_size, argument):
        out[0] = ctypes.cast(name, ctypes.c_void_p)
        size[0] = len(protocol)
        return 0
    callback = SELECT(select)
    library.SSL_CTX_set_alpn_select_cb(pointer_in(context, 0), callback, None)
    return name, callback


def renegotiate(session):
    """Sends a HelloRequest on a TLS 1.2 server's ssl.SSLObject."""
    handle = pointer_in(session._sslobj, 1)
    library.SSL_renegotiate(handle)
    library.SSL_do_handshake(handle)
