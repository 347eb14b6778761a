"""Ways to misbehave, for Server.script: each is a function of (connection, heard). Standard library only."""
import struct
import threading
import time

import wire


def silent(connection, heard):
    """Acknowledged by TCP, never answered."""


def zone_after(seconds):
    """Everything late by so much."""
    def script(connection, heard):
        answer, delay = connection.server.zone.answer(heard.message)
        connection.send(answer, after=seconds + delay)
    return script


def reverse(count, step=0.0):
    """Holds `count` queries, then answers the last one first."""
    held = []

    def script(connection, heard):
        held.append((connection, heard))
        if len(held) < count:
            return
        for index, (link, query) in enumerate(reversed(held)):
            link.send(link.server.zone.answer(query.message)[0], after=0.001 + step * index)
        held.clear()
    return script


def close_at(count, kind, then=None):
    """Holds `count` queries of one connection and closes it unanswered, once; `then` (default: the zone) afterwards."""
    state = {"done": False, "held": 0}

    def script(connection, heard):
        if state["done"]:
            return (then or answer)(connection, heard)
        state["held"] += 1
        if state["held"] == count:
            state["done"] = True
            connection.close(kind, after=0.02)
    return script


def close_after(count, kind="notify"):
    """Each connection is closed once it has answered `count` queries."""
    def script(connection, heard):
        answer(connection, heard)
        if len(connection.heard) >= count:
            connection.close(kind, after=0.02)
    return script


ENDS = ("notify", "fin", "reset", "alert", "half_record", "half_frame")


def end_by_turns(count):
    """Each connection answers `count` queries and ends in one of all ways by turns: behind the last answer, and every
    fourth of them at the next query instead."""
    def script(connection, heard):
        at_next = connection.number % 4 == 0
        if connection.asked <= count:
            answer(connection, heard)
        if connection.asked == count + at_next:
            connection.close(ENDS[connection.number // 4 % len(ENDS)])
    return script


def answer(connection, heard):
    message, delay = connection.server.zone.answer(heard.message)
    connection.send(message, after=delay)


def half_record(connection, heard):
    """Half of the TLS record with the answer; afterwards this connection never says a word."""
    connection.session.write(wire.frame(connection.server.zone.answer(heard.message)[0]))
    data = connection.outgoing.read()
    if not connection.muted:
        connection.socket.sendall(data[:len(data) // 2])
    connection.muted = True


def half_answer(connection, heard):
    """The length and half of the answer in a record of their own; afterwards not a word."""
    if not connection.muted:
        data = wire.frame(connection.server.zone.answer(heard.message)[0])
        connection.send_stream(data[:len(data) // 2])
    connection.muted = True


def dripping(seconds):
    """The first answer comes byte by byte, each in a record of its own after so many seconds: there is always a sign of
    life, and never an answer."""
    def script(connection, heard):
        if connection.muted:
            return
        connection.muted = True
        data = wire.frame(connection.server.zone.answer(heard.message)[0])
        for index in range(len(data)):
            connection.later(index * seconds, connection.send_stream, data[index:index + 1])
    return script


def changed(change, then_right=None, close=None):
    """The zone's answer with bytes changed by change(bytes); the right one follows after `then_right` seconds."""
    def script(connection, heard):
        right, delay = connection.server.zone.answer(heard.message)
        connection.send(change(right), after=delay)
        if then_right is not None:
            connection.send(right, after=delay + then_right)
    return script


def with_id(difference):
    return lambda message: struct.pack("!H", (struct.unpack("!H", message[:2])[0] + difference) & 0xffff) + message[2:]


def with_flags(clear=0, put=0, rcode=None):
    def change(message):
        flags = struct.unpack("!H", message[2:4])[0] & ~clear | put
        if rcode is not None:
            flags = flags & ~15 | rcode
        return message[:2] + struct.pack("!H", flags) + message[4:]
    return change


def with_question(name=None, kind=None, cls=None):
    """Another question in front of the same records (which point at it)."""
    def change(message):
        parsed = wire.parse(message)
        question = wire.question(name if name is not None else parsed.name, kind or parsed.type, cls or parsed.cls)
        return message[:12] + question + message[12 + len(parsed.question):]
    return change


def with_keepalive(units):
    """The option of RFC 7828 in the OPT record, which stands at the end."""
    option = struct.pack("!HHH", wire.KEEPALIVE, 2, units)

    def change(message):
        parsed = wire.parse(message)
        size = sum(4 + len(data) for _, data in parsed.opt.options)
        length_at = len(message) - size - 2
        return message[:length_at] + struct.pack("!H", size + len(option)) + message[length_at + 2:] + option
    return change


def without_question(message):
    """QDCOUNT 0 and no records."""
    return message[:4] + bytes(8)


def rcode_only(code, option=None):
    """Header and question with this rcode, and EDNS with an option when asked with EDNS."""
    def script(connection, heard):
        query = heard.message
        opt = wire.opt_record(options=[option] if option else []) if query.opt else b""
        head = wire.header(query.id, wire.QR | wire.RA | wire.RD | code, (1, 0, 0, 1 if opt else 0))
        connection.send(head + query.question + opt)
    return script


def duplicate(connection, heard):
    message, delay = connection.server.zone.answer(heard.message)
    connection.send(message, after=delay)
    connection.send(message, after=delay)
    connection.send(message, after=delay + 0.05)


def by_name(rules, otherwise=answer):
    """The script of the first label that the name begins with."""
    def script(connection, heard):
        for prefix, rule in rules.items():
            if heard.name.startswith(prefix):
                return rule(connection, heard)
        return otherwise(connection, heard)
    return script


class Gate:
    """Holds every query until the test opens it."""

    def __init__(self):
        self.held, self.is_open, self.lock = [], False, threading.Lock()

    def __call__(self, connection, heard):
        with self.lock:
            if not self.is_open:
                return self.held.append((connection, heard))
        return answer(connection, heard)

    def open(self):
        with self.lock:
            self.is_open, held, self.held = True, self.held, []
        for connection, heard in held:
            connection.later(0, answer, connection, heard)

    def wait(self, count, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(self.held) < count:
            time.sleep(0.005)
        return len(self.held)
