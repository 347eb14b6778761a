"""Network namespaces of a test's own, and a look at the packets in them."""
import contextlib
import ctypes
import fcntl
import itertools
import os
import socket
import struct
import subprocess
import tempfile
import threading
from dataclasses import dataclass

NUMBERS = itertools.count(1)
CLONE_NEWNET = 0x40000000
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33
libc = ctypes.CDLL(None, use_errno=True)


def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def one_at_a_time():
    """The first `ip netns add` of a machine prepares a directory, which two processes must not do at once."""
    with open(os.path.join(tempfile.gettempdir(), "dnseal-test-namespaces.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_namespace(path):
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


class Namespace:
    """Everything that is opened or started inside `with space.entered()` belongs to it."""

    def __init__(self):
        self.name = "dnseal-test-%d-%d" % (os.getpid(), next(NUMBERS))
        with one_at_a_time():
            ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")

    def delete(self):
        ip("netns", "del", self.name)

    @contextlib.contextmanager
    def entered(self):
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            set_namespace("/run/netns/" + self.name)
            yield self
        finally:
            set_namespace("/proc/self/fd/%d" % home)
            os.close(home)

    def join(self, other, mine, theirs, mtu=1500):
        """A cable: `mine` and `theirs` are ADDRESS/LENGTH. Gives the name of our end."""
        number = next(NUMBERS)
        ends = "dst%d" % number, "dsu%d" % number
        ip("-n", self.name, "link", "add", ends[0], "mtu", str(mtu), "type", "veth", "peer", "name", ends[1],
           "netns", other.name)
        for space, end, address in ((self, ends[0], mine), (other, ends[1], theirs)):
            words = ["-n", space.name, "address", "add", address, "dev", end]
            ip(*(words + ["nodad"] if ":" in address else words))
            ip("-n", space.name, "link", "set", end, "mtu", str(mtu), "up")
        return ends[0]


@dataclass
class Packet:
    protocol: int
    source: str
    destination: str
    source_port: int
    destination_port: int
    payload: bytes
    fragment: bool
    flags: int = 0
    options: bytes = b""


def read_packet(data):
    """An IPv4 or IPv6 packet of TCP or UDP (others with ports 0 and all their bytes)."""
    if data[0] >> 4 == 4:
        start, protocol = (data[0] & 15) * 4, data[9]
        source, destination = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
        body = data[start:struct.unpack("!H", data[2:4])[0]]
        fragment = bool(struct.unpack("!H", data[6:8])[0] & 0x3fff)
    else:
        protocol, body, fragment = data[6], data[40:], data[6] == 44
        source, destination = (socket.inet_ntop(socket.AF_INET6, data[at:at + 16]) for at in (8, 24))
    ports, payload, flags, options = (0, 0), body, 0, b""
    if protocol in (6, 17) and len(body) >= 8 and not fragment:
        ports = struct.unpack("!HH", body[:4])
        head = (body[12] >> 4) * 4 if protocol == 6 else 8
        payload = body[head:]
        if protocol == 6:
            flags, options = body[13], body[20:head]
    return Packet(protocol, source, destination, *ports, payload, fragment, flags, options)


class Capture:
    """Every IP packet of one interface, each once. To be begun inside the namespace."""

    def __init__(self, interface="lo"):
        self.packets, self.loop = [], interface == "lo"
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        self.socket.bind((interface, 3))
        self.socket.settimeout(0.1)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stop()

    def run(self):
        while True:
            try:
                data, address = self.socket.recvfrom(1 << 17)
            except socket.timeout:
                if self.stopping.is_set():
                    return
                continue
            if address[1] in (0x0800, 0x86dd) and not (self.loop and address[2] == PACKET_OUTGOING):
                self.packets.append(read_packet(data))

    def stop(self):
        """All that was seen; waits for what is still in the socket."""
        if not self.stopping.is_set():
            self.stopping.set()
            self.thread.join()
            self.socket.close()
        return self.packets
