"""DNS messages as bytes, made and read by hand so that wrong ones can be made too. Standard library only."""
import random
import struct
from dataclasses import dataclass, field

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "SIG": 24, "AAAA": 28, "OPT": 41,
         "RRSIG": 46, "DNSKEY": 48, "SVCB": 64, "HTTPS": 65, "TKEY": 249, "TSIG": 250, "IXFR": 251, "AXFR": 252,
         "ANY": 255}
RCODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5, "BADVERS": 16}
IN, CHAOS = 1, 3
NSID, CLIENT_SUBNET, COOKIE, KEEPALIVE, PADDING, EXTENDED_ERROR = 3, 8, 10, 11, 12, 15
QR, AA, TC, RD, RA, Z, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010


class WireError(Exception):
    """The bytes are not a DNS message."""


@dataclass
class Record:
    name: bytes
    type: int
    cls: int
    ttl: int
    rdata: bytes
    offset: int


@dataclass
class Opt:
    size: int
    extended_rcode: int
    version: int
    flags: int
    options: list

    @property
    def dnssec_ok(self):
        return bool(self.flags & 0x8000)

    def get(self, code):
        return [data for number, data in self.options if number == code]


@dataclass
class Message:
    raw: bytes
    id: int
    flags: int
    counts: tuple
    question: bytes = b""
    answer: list = field(default_factory=list)
    authority: list = field(default_factory=list)
    additional: list = field(default_factory=list)
    opt: Opt = None
    opts: int = 0

    def has(self, flag):
        return bool(self.flags & flag)

    @property
    def opcode(self):
        return self.flags >> 11 & 15

    @property
    def rcode(self):
        return (self.flags & 15) | ((self.opt.extended_rcode << 4) if self.opt else 0)

    @property
    def name(self):
        return self.question[:-4]

    @property
    def type(self):
        return struct.unpack("!H", self.question[-4:-2])[0] if self.question else 0

    @property
    def cls(self):
        return struct.unpack("!H", self.question[-2:])[0] if self.question else 0

    @property
    def extended_errors(self):
        if self.opt is None:
            return []
        return [struct.unpack("!H", data[:2])[0] for data in self.opt.get(EXTENDED_ERROR)]

    @property
    def data(self):
        return [record.rdata for record in self.answer]

    def text(self):
        return name_text(self.name) if self.question else ""


def type_number(kind):
    return kind if isinstance(kind, int) else TYPES[kind.upper()]


def label_bytes(text):
    out, index = bytearray(), 0
    while index < len(text):
        if text[index] == "\\" and text[index + 1:index + 4].isdigit():
            out.append(int(text[index + 1:index + 4]))
            index += 4
        else:
            out += text[index].encode("latin-1")
            index += 1
    return bytes(out)


def name_of(labels):
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def name_bytes(name):
    """From text with \\DDD escapes; bytes are taken as they are."""
    if isinstance(name, bytes):
        return name
    return name_of([label_bytes(label) for label in name.rstrip(".").split(".") if label])


def labels_of(name):
    labels, offset = [], 0
    while name[offset]:
        labels.append(name[offset + 1:offset + 1 + name[offset]])
        offset += 1 + name[offset]
    return labels


def name_text(name):
    def byte(value):
        return chr(value) if chr(value).isalnum() and value < 128 or value in b"-_*" else "\\%03d" % value
    return ".".join("".join(byte(value) for value in label) for label in labels_of(name)) + "."


def question(name, kind="A", cls=IN):
    return name_bytes(name) + struct.pack("!HH", type_number(kind), cls)


def option(code, data=b""):
    return struct.pack("!HH", code, len(data)) + data


def opt_record(size=1232, options=(), version=0, flags=0, extended_rcode=0, owner=b"\0"):
    data = b"".join(option(code, value) for code, value in options)
    return owner + struct.pack("!HHBBHH", TYPES["OPT"], size, extended_rcode, version, flags, len(data)) + data


def record(name, kind, rdata, ttl=60, cls=IN):
    return name_bytes(name) + struct.pack("!HHIH", type_number(kind), cls, ttl, len(rdata)) + rdata


def header(message_id, flags, counts):
    return struct.pack("!HHHHHH", message_id, flags, *counts)


def new_id():
    return random.randrange(65536)


def query(name, kind="A", cls=IN, message_id=None, flags=RD, opt=None):
    """One question; `opt` are the bytes of an OPT record (see opt_record) or None."""
    identity = new_id() if message_id is None else message_id
    return header(identity, flags, (1, 0, 0, 1 if opt else 0)) + question(name, kind, cls) + (opt or b"")


def frame(message):
    return struct.pack("!H", len(message)) + message


def read_name(message, offset):
    """The uncompressed name and the offset behind it."""
    out, end, least = bytearray(), None, offset
    while True:
        if offset >= len(message):
            raise WireError("name runs out of the message")
        length = message[offset]
        if length >= 0xc0:
            target = struct.unpack_from("!H", message, offset)[0] & 0x3fff
            end = offset + 2 if end is None else end
            if target >= least:
                raise WireError("pointer does not go backwards")
            offset = least = target
        elif length:
            out += message[offset:offset + 1 + length]
            offset += 1 + length
        else:
            return bytes(out) + b"\0", offset + 1 if end is None else end


def read_record(message, offset):
    name, start = read_name(message, offset)
    if start + 10 > len(message):
        raise WireError("record header runs out of the message")
    kind, cls, ttl, size = struct.unpack_from("!HHIH", message, start)
    end = start + 10 + size
    if end > len(message):
        raise WireError("record runs out of the message")
    return Record(name, kind, cls, ttl, message[start + 10:end], offset), end


def read_options(data):
    options, offset = [], 0
    while offset < len(data):
        code, size = struct.unpack_from("!HH", data, offset)
        if offset + 4 + size > len(data):
            raise WireError("option runs out of its record")
        options.append((code, data[offset + 4:offset + 4 + size]))
        offset += 4 + size
    return options


def read_opt(entry):
    return Opt(entry.cls, entry.ttl >> 24, entry.ttl >> 16 & 255, entry.ttl & 0xffff, read_options(entry.rdata))


def parse(message):
    if len(message) < 12:
        raise WireError("shorter than a header")
    identity, flags, *counts = struct.unpack_from("!HHHHHH", message)
    out, offset = Message(message, identity, flags, tuple(counts)), 12
    for _ in range(counts[0]):
        name, end = read_name(message, offset)
        out.question = name + message[end:end + 4]
        offset = end + 4
    for section, count in zip((out.answer, out.authority, out.additional), counts[1:]):
        for _ in range(count):
            entry, offset = read_record(message, offset)
            section.append(entry)
            if entry.type == TYPES["OPT"]:
                out.opt, out.opts = read_opt(entry), out.opts + 1
    if offset != len(message):
        raise WireError("bytes behind the last record")
    return out


class Deframer:
    """Bytes of a stream in, whole messages out."""

    def __init__(self):
        self.buffer = b""

    def push(self, data):
        self.buffer += data
        out = []
        while len(self.buffer) >= 2:
            size = struct.unpack_from("!H", self.buffer)[0]
            if len(self.buffer) < 2 + size:
                break
            out.append(self.buffer[2:2 + size])
            self.buffer = self.buffer[2 + size:]
        return out
