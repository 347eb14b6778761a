"""A zone that needs no file: the first label of a name says what the answer is, so that most tests need no script.

    a-192-0-2-7.x.test A       that address                 size-3000.x.test TXT    an answer of 3000 bytes
    delay-250.x.test           answered after 250 ms        rcode-servfail.x.test   that rcode (a word or a number)
    ede-6.x.test               SERVFAIL with that extended error
    nxdomain.x.test, nodata.x.test   with an SOA record     tc.x.test               an empty answer with TC=1
    options.x.test             an OPT record full of hop-by-hop options
    middle.x.test              the OPT record stands between two additional records
    secure.x.test              AD=1, and an RRSIG record when DO=1 was asked
    chain-5.x.test             five CNAME records, then the address
Every other name has an address made of its own bytes, see Zone.address; but below the names of a zone file there is
what the file says, and nothing else. Standard library only.
"""
import hashlib
import socket
import struct

import wire

POINTER = b"\xc0\x0c"
PAD_BLOCK = 468


def split_text(data):
    """TXT strings that together have exactly len(data) + their length bytes."""
    return b"".join(bytes([len(data[at:at + 255])]) + data[at:at + 255] for at in range(0, len(data), 255)) or b"\0"


def text_of_size(size):
    """TXT rdata of exactly `size` bytes."""
    whole, rest = divmod(size, 256)
    out = (b"\xff" + b"t" * 255) * whole
    return out + (bytes([rest - 1]) + b"t" * (rest - 1) if rest else b"")


def text_records(room, name=POINTER):
    """TXT records that fill `room` bytes exactly (at least 13), each a few hundred bytes; the number of them first."""
    overhead, out, count = len(name) + 10, b"", 0
    while room:
        part = room if room <= 400 else min(300, room - 13)
        out += wire.record(name, "TXT", text_of_size(part - overhead))
        room, count = room - part, count + 1
    return count, out


def soa_record(owner):
    data = b"\x02ns" + owner + b"\x04host" + owner + struct.pack("!IIIII", 1, 3600, 600, 86400, 60)
    return wire.record(owner, "SOA", data, ttl=900)


class Answer:
    """What is sent for one query: header bits, records of three sections, EDNS options, and how late."""

    def __init__(self):
        self.flags = wire.QR | wire.RA
        self.rcode = 0
        self.records = [[], [], []]
        self.options = []
        self.after_opt = []
        self.delay = 0.0

    def add(self, section, *records):
        self.records[section].extend(records)
        return self


class Zone:
    def __init__(self, text=""):
        self.entries = {}
        self.pad = True
        for line in text.splitlines():
            self.add_line(line.split(";")[0].split())

    def add_line(self, words):
        """name [ttl] [IN] type data..."""
        if not words:
            return
        name, rest = wire.name_bytes(words[0]).lower(), words[1:]
        ttl = int(rest.pop(0)) if rest[0].isdigit() else 300
        if rest[0].upper() == "IN":
            rest.pop(0)
        kind = wire.type_number(rest.pop(0))
        self.entries.setdefault(name, []).append((kind, ttl, rdata_of(kind, rest)))

    @staticmethod
    def address(name):
        """The IPv4 address of a name without a rule, as bytes."""
        return b"\xc6\x12" + hashlib.sha256(wire.name_bytes(name).lower()).digest()[:2]

    @staticmethod
    def data(name, kind):
        """The rdata of a name without a rule."""
        number, digest = wire.type_number(kind), hashlib.sha256(wire.name_bytes(name).lower()).digest()
        if number == wire.TYPES["A"]:
            return Zone.address(name)
        if number == wire.TYPES["AAAA"]:
            return b"\x20\x01\x0d\xb8" + digest[:12]
        if number == wire.TYPES["TXT"]:
            return split_text(digest.hex().encode())
        if number == wire.TYPES["NS"]:
            return wire.name_bytes("ns.test")
        if number == wire.TYPES["SOA"]:
            return wire.name_bytes("ns.test") + wire.name_bytes("host.test") + struct.pack("!IIIII", 1, 3600, 600, 86400, 60)
        if number == wire.TYPES["MX"]:
            return b"\0\x0a" + wire.name_bytes("mail.test")
        return b"\xc0\x0c\xc0\x00\xff\x00" + digest[:10]

    def answer(self, query):
        """The bytes of the answer to a parsed query and the seconds to wait before they are sent."""
        out = Answer()
        out.flags |= query.flags & (wire.RD | wire.CD)
        if query.name.lower() in self.entries:
            self.from_entries(query, out)
        else:
            word, _, rest = first_label(query).partition("-")
            getattr(self, "rule_" + word, self.rule_other)(query, out, rest)
        return self.build(query, out), out.delay

    def owner_of_file(self, name):
        """The name of the file that is nearest the root and above this one, or is it; None when there is none."""
        labels = wire.labels_of(name.lower())
        above = [wire.name_of(labels[count:]) for count in range(len(labels) + 1)]
        return next((owner for owner in reversed(above) if owner in self.entries), None)

    def soa(self, query):
        """Of the zone that denies: the file's, else the top level domain."""
        return soa_record(self.owner_of_file(query.name) or wire.name_of(wire.labels_of(query.name.lower())[-1:]))

    def from_entries(self, query, out):
        name = query.name.lower()
        while name in self.entries:
            alias = None
            for kind, ttl, data in self.entries[name]:
                if kind in (query.type, wire.TYPES["CNAME"]):
                    out.add(0, wire.record(name, kind, data, ttl))
                if kind == wire.TYPES["CNAME"] and query.type != kind:
                    alias = data
            name = alias
        if not out.records[0]:
            out.add(1, self.soa(query))

    def rule_other(self, query, out, rest):
        if self.owner_of_file(query.name) is not None:
            return self.rule_nxdomain(query, out, rest)
        return out.add(0, wire.record(POINTER, query.type, self.data(query.name, query.type), cls=query.cls))

    def rule_a(self, query, out, rest):
        if query.type == wire.TYPES["A"] and rest.count("-") == 3:
            return out.add(0, wire.record(POINTER, "A", socket.inet_aton(rest.replace("-", "."))))
        return self.rule_nodata(query, out, rest)

    def rule_size(self, query, out, rest):
        count, data = text_records(int(rest) - 12 - len(query.question))
        out.add(0, *([data] + [b""] * (count - 1)))

    def rule_delay(self, query, out, rest):
        out.delay = int(rest) / 1000
        self.rule_other(query, out, rest)

    def rule_rcode(self, query, out, rest):
        out.rcode = int(rest) if rest.isdigit() else wire.RCODES[rest.upper()]
        if out.rcode == wire.RCODES["NXDOMAIN"]:
            out.add(1, self.soa(query))

    def rule_ede(self, query, out, rest):
        out.rcode = wire.RCODES["SERVFAIL"]
        out.options.append((wire.EXTENDED_ERROR, struct.pack("!H", int(rest)) + b"said by the upstream"))

    def rule_nxdomain(self, query, out, rest):
        self.rule_rcode(query, out, "nxdomain")

    def rule_nodata(self, query, out, rest):
        out.add(1, self.soa(query))

    def rule_tc(self, query, out, rest):
        out.flags |= wire.TC

    def rule_options(self, query, out, rest):
        self.rule_other(query, out, rest)
        out.options += [(wire.COOKIE, bytes(range(24))), (wire.KEEPALIVE, b"\x01\x2c"), (wire.NSID, b"upstream"),
                        (65001, b"unknown")]

    def rule_middle(self, query, out, rest):
        """Two additional records around the OPT record; the last one's name points behind it."""
        self.rule_other(query, out, rest)
        out.add(2, wire.record("before.test", "A", b"\x01\x01\x01\x01"))
        out.after_opt.append(wire.record("after.test", "A", b"\x02\x02\x02\x02"))
        out.after_opt.append("pointer")

    def rule_secure(self, query, out, rest):
        self.rule_other(query, out, rest)
        out.flags |= wire.AD
        if query.opt and query.opt.dnssec_ok:
            signature = struct.pack("!HBBIIIH", query.type, 13, 2, 60, 2 ** 31, 1, 7) + b"\x04test\0" + b"s" * 64
            out.add(0, wire.record(POINTER, "RRSIG", signature))

    def rule_chain(self, query, out, rest):
        owner = query.name
        for step in range(int(rest)):
            target = wire.name_bytes("link-%d.chain.test" % step)
            out.add(0, wire.record(owner, "CNAME", target))
            owner = target
        out.add(0, wire.record(owner, query.type, self.data(owner, query.type)))

    def build(self, query, out):
        body = query.question + b"".join(b"".join(section) for section in out.records)
        counts = [1 if query.question else 0] + [len(section) for section in out.records]
        if query.opt is not None and 12 + len(body) + 11 <= 65535:
            body += self.opt(query, out, 12 + len(body))
            counts[3] += 1
            body, added = add_behind_opt(body, out.after_opt)
            counts[3] += added
        return wire.header(query.id, out.flags | (out.rcode & 15), counts) + body

    def opt(self, query, out, size):
        options, flags = list(out.options), query.opt.flags & 0x8000
        bare = size + len(wire.opt_record(options=options)) + sum(
            len(entry) for entry in out.after_opt if entry != "pointer")
        if self.pad and query.opt.get(wire.PADDING) and not out.after_opt and bare + 4 <= 65535:
            room = min(-(bare + 4) % PAD_BLOCK, 65535 - bare - 4)
            options.append((wire.PADDING, bytes(room)))
        return wire.opt_record(1232, options, flags=flags, extended_rcode=out.rcode >> 4)


def add_behind_opt(body, entries):
    """Records behind the OPT record; "pointer" is a record whose name points at the one before it."""
    last = 0
    for entry in entries:
        if entry == "pointer":
            entry = wire.record(struct.pack("!H", 0xc000 | last), "A", b"\x03\x03\x03\x03")
        last = 12 + len(body)
        body += entry
    return body, len(entries)


def first_label(query):
    labels = wire.labels_of(query.name) if query.question else []
    return labels[0].decode("latin-1").lower() if labels else ""


def rdata_of(kind, words):
    if kind == wire.TYPES["A"]:
        return socket.inet_aton(words[0])
    if kind == wire.TYPES["AAAA"]:
        return socket.inet_pton(socket.AF_INET6, words[0])
    if kind == wire.TYPES["TXT"]:
        return split_text(" ".join(words).strip('"').encode())
    if kind == wire.TYPES["MX"]:
        return struct.pack("!H", int(words[0])) + wire.name_bytes(words[1])
    return wire.name_bytes(words[0])
