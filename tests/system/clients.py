"""Plain clients: one UDP question, TCP connections that can misbehave, and crowds of both."""
import re
import select
import socket
import subprocess
import threading
import time

import wire
from pace import taken
from zone import Zone


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def udp_socket(source=None, address="127.0.0.1"):
    link = socket.socket(family_of(address), socket.SOCK_DGRAM)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    if source:
        link.bind((source, 0))
    return link


def udp_exchange(address, port, message, timeout=6, source=None):
    """The raw answer, or None. Only an answer from the address and port that were asked counts."""
    with udp_socket(source, address) as link:
        link.connect((address, port))
        link.settimeout(timeout)
        link.send(message)
        try:
            return link.recv(65536)
        except (socket.timeout, ConnectionRefusedError):
            return None


class Tcp:
    """One TCP connection with frames on it."""

    def __init__(self, address, port, source=None, timeout=6):
        self.socket = socket.socket(family_of(address), socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect((address, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.deframer, self.waiting = wire.Deframer(), []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.close()

    def send(self, *messages):
        self.socket.sendall(b"".join(wire.frame(message) for message in messages))

    def receive_raw(self, timeout=6):
        """The next message, None when the peer has closed or reset; TimeoutError when nothing comes."""
        end = time.monotonic() + timeout
        while not self.waiting:
            self.socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.waiting = self.deframer.push(data)
        return self.waiting.pop(0)

    def receive(self, timeout=6):
        raw = self.receive_raw(timeout)
        return None if raw is None else wire.parse(raw)

    def receive_many(self, count, timeout=6):
        end = time.monotonic() + timeout
        return [self.receive(max(0.001, end - time.monotonic())) for _ in range(count)]

    def ask(self, message, timeout=6):
        self.send(message)
        return self.receive(timeout)

    def closed_after(self, limit):
        """Seconds until the peer closes, and whether by FIN or by reset; None when it does not in time."""
        started = time.monotonic()
        while time.monotonic() - started < limit:
            ready, _, _ = select.select([self.socket], [], [], limit - (time.monotonic() - started))
            if not ready:
                break
            try:
                if not self.socket.recv(65536):
                    return time.monotonic() - started, "fin"
            except ConnectionResetError:
                return time.monotonic() - started, "reset"
        return None


def together(jobs):
    """Runs functions at the same time; their results in order. The first exception is raised."""
    results, errors = [None] * len(jobs), []

    def run(index, job):
        try:
            results[index] = job()
        except Exception as error:  # noqa: handed to the caller below
            errors.append(error)
    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


class Flow:
    """A steady stream of UDP queries from one socket; what came back, what did not, and how late it was."""

    def __init__(self, address, port, rate, name="flow-%d.test"):
        self.address, self.port, self.rate, self.name = address, port, rate, name
        self.sent, self.answers, self.stopping = {}, {}, threading.Event()
        self.link = self.connect()
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.send, self.receive)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.finish(0)

    def connect(self):
        link = udp_socket(None, self.address)
        link.connect((self.address, self.port))
        return link

    def put(self, message):
        self.link.send(message)

    def take(self):
        """The messages that are there."""
        return [self.link.recv(65536)]

    def send(self):
        started, number = time.monotonic(), 0
        while not self.stopping.is_set():
            self.sent[number] = time.monotonic()
            try:
                self.put(wire.query(self.name % number, message_id=number & 0xffff))
            except OSError:
                pass
            number += 1
            time.sleep(max(0, started + number / self.rate - time.monotonic()))

    def receive(self):
        while self.link.fileno() >= 0:
            try:
                ready, _, _ = select.select([self.link], [], [], 0.1)
                messages = [wire.parse(raw) for raw in self.take()] if ready else []
            except (OSError, ValueError):
                continue
            for message in messages:
                self.answers.setdefault(message.id, []).append((time.monotonic(), message))
            if not messages and self.stopping.is_set() and len(self.answers) >= len(self.sent):
                return

    def finish(self, wait):
        """Stops sending and waits for what is under way."""
        self.stopping.set()
        end = time.monotonic() + wait
        while len(self.answers) < len(self.sent) and time.monotonic() < end:
            time.sleep(0.01)
        self.threads[0].join()
        self.link.close()
        self.threads[1].join()

    def rcodes(self):
        out = {}
        for answers in self.answers.values():
            out[answers[0][1].rcode] = out.get(answers[0][1].rcode, 0) + 1
        return out

    def is_right(self, number, answer):
        """It is about the question that went out under this id, and says what the zone says."""
        name = self.name % number
        return (answer.rcode == 0 and answer.question == wire.question(name) and answer.has(wire.QR)
                and answer.data == [Zone.address(name)])

    def assert_served(self, slowest):
        """Every question has one answer and the right one, and none took longer than so many seconds."""
        assert len(self.sent) > 20 and self.lost == 0, "%d of %d lost" % (self.lost, len(self.sent))
        assert set(self.answers) == set(self.sent)
        for number, answers in self.answers.items():
            assert len(answers) == 1, "%s answered %d times" % (self.name % number, len(answers))
            assert self.is_right(number, answers[0][1]), answers[0][1]
        assert self.latencies[-1] <= slowest, "the slowest took %.3f s" % self.latencies[-1]

    def assert_calm(self, since, until=float("inf"), limit=0.3, slow=2):
        """Of the questions that were sent in this time nobody waited; a busy machine may hold up one or two."""
        took = [taken(self.sent[number], answers[0][0]) for number, answers in list(self.answers.items())
                if since <= self.sent[number] < until]
        waited = [seconds for seconds in took if seconds > limit]
        assert took and len(waited) <= slow, "%d of %d waited: %s" % (len(waited), len(took), waited)

    @property
    def lost(self):
        return len(self.sent) - len(self.answers)

    @property
    def latencies(self):
        return sorted(taken(self.sent[number], answers[0][0]) for number, answers in self.answers.items())

    def percentile(self, share):
        values = self.latencies
        return values[min(len(values) - 1, int(len(values) * share))]


class StreamFlow(Flow):
    """The same over one TCP connection, which stays open as long as the flow lasts."""

    def __init__(self, *words, **more):
        self.deframer = wire.Deframer()
        super().__init__(*words, **more)

    def connect(self):
        link = socket.create_connection((self.address, self.port))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    def put(self, message):
        self.link.sendall(wire.frame(message))

    def take(self):
        data = self.link.recv(65536)
        if not data:
            self.link.close()
        return self.deframer.push(data)


class Load:
    """dnsperf with names that are cached from here on, over UDP or TCP."""

    def __init__(self, program, directory, rate, seconds, mode="udp"):
        self.rate, self.seconds, self.mode = rate, seconds, mode
        self.names = ["n%d.test" % number for number in range(100)]
        for name in self.names:
            assert program.query_udp(name).rcode == 0
        file = directory / "names"
        file.write_text("".join("%s A\n" % name for name in self.names))
        command = ["dnsperf", "-m", mode, "-s", program.address, "-p", str(program.port), "-d", str(file), "-l", str(seconds),
                   "-Q", str(rate), "-c", "16", "-q", "2000", "-t", "4"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def assert_served(self, patience):
        """None was lost, none has failed, and no connection was opened anew."""
        text, _ = self.process.communicate(timeout=patience)
        sent, lost = (int(re.search(r"Queries %s:\s+(\d+)" % word, text).group(1)) for word in ("sent", "lost"))
        assert lost == 0 and sent > self.rate * self.seconds * 0.5, text
        assert re.search(r"Response codes:\s+NOERROR %d \(100.00%%\)" % sent, text), text
        assert self.mode == "udp" or re.search(r"Reconnections:\s+0\b", text), text
