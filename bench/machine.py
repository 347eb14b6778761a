"""What a measurement needs of the machine: cores, a network of its own, programs that are started and ended, what
they use, and the bench's own programs. Nothing here judges."""
import contextlib
import ipaddress
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import certificates

PROGRAM_CORE, BENCH_CORE = 0, 1
NEAR, FAR, FAR2 = "10.77.0.1", "10.77.0.2", "10.77.0.3"
COUNTERS = ("accepted", "full_handshakes", "resumed_handshakes", "failed_handshakes", "queries", "padded_queries",
            "reads", "answers", "closed_idle", "connections")
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
PORT = 5300
WIRE_PRIORITY = 10


class Failed(Exception):
    """A run that gives no number, and why."""


def query(name, identity=None):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    identity = random.randrange(65536) if identity is None else identity
    return struct.pack(">6H", identity, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)


def fresh_name():
    return f"q{random.randrange(10 ** 12)}.bench.example"


def ask(port, timeout):
    """One query of a fresh name: seconds until its answer and the rcode, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout)
        client.connect(("127.0.0.1", port))
        begun = time.monotonic()
        try:
            client.send(query(fresh_name()))
            answer = client.recv(2048)
        except OSError:
            return None
        return time.monotonic() - begun, answer[3] & 15


# ---- processes ----

def start(command, cores, **options):
    """On these cores from its first instruction; this process stays on its own."""
    os.sched_setaffinity(0, cores)
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    finally:
        os.sched_setaffinity(0, {BENCH_CORE})


def end(process):
    family = descendants(process.pid)
    process.terminate()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in family[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, 9)


def descendants(process):
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents.setdefault(int(path.read_text().rsplit(")", 1)[1].split()[1]), []).append(int(path.parent.name))
    family = [process]
    for member in family:
        family += parents.get(member, [])
    return family


def switches(process):
    """Voluntary context switches of all threads so far: how often they went to sleep, so how often they woke up."""
    count = 0
    for member in descendants(process):
        for path in pathlib.Path(f"/proc/{member}/task").glob("*/status"):
            lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
            count += int(lines["voluntary_ctxt_switches"])
    return count


def memory(process):
    """Resident and proportional megabytes, of all processes together."""
    sums = {"Rss": 0, "Pss": 0}
    for member in descendants(process):
        for line in pathlib.Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
            name = line.split(":")[0]
            if name in sums:
                sums[name] += int(line.split()[1])
    return {name: size / 1024 for name, size in sums.items()}


class Program:
    """A program under measurement, with a directory of its own."""

    def __init__(self, peer, bench, **words):
        self.peer = peer
        self.port = words.get("PORT", PORT)
        self.directory = tempfile.mkdtemp(dir=bench.directory)
        os.chmod(self.directory, 0o755)
        words = {"PORT": PORT, "SERVER": "127.0.0.1", "SERVER_PORT": 853, "NAME": certificates.NAME, "WORKERS": 1,
                 "WARM": "10m", "ROUTES": "", "CONTROL": "", "AUTHORITY": f"{bench.directory}/authority.pem", "RUN": self.directory, **peer.words,
                 **words}
        self.command = peer.prepare(words)
        self.cores = {PROGRAM_CORE} if words["WORKERS"] == 1 else {PROGRAM_CORE, BENCH_CORE}

    def __enter__(self):
        self.log = open(f"{self.directory}/output", "wb")
        self.begun = time.monotonic()
        self.process = start(self.command, self.cores, stdout=self.log, stderr=self.log,
                             env={**os.environ, "HOME": self.directory})
        return self

    def __exit__(self, *_):
        end(self.process)
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def load_options(self):
        return {"port": self.port, "process": self.process.pid, **({} if self.peer.asks else {"echo": True})}

    def words(self):
        """The end of what it said."""
        said = pathlib.Path(self.directory, "output").read_text(errors="replace")
        return said.replace(f"{self.directory}/", "")[-300:].strip()

    def first_answer(self, timeout=10):
        """Milliseconds from exec to the first good answer; a query every two milliseconds."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", self.port))
            client.settimeout(0.002)
            while time.monotonic() < self.begun + timeout:
                with contextlib.suppress(OSError):
                    client.send(query(fresh_name()))
                    if client.recv(2048)[3] & 15 == 0:
                        return (time.monotonic() - self.begun) * 1000
                if self.process.poll() is not None:
                    break
        raise Failed(f"no answer within {timeout} s")

    def settle(self, rest=0.0):
        """`rest`: seconds before the first question, for who shall not have many that wait for its start."""
        time.sleep(rest)
        self.first_answer()
        time.sleep(0.2)


class Direct:
    """In the place of a program: the load generator asks the server itself, on one connection."""

    def __init__(self, bench, **words):
        self.options = {"protocol": "tls", "sockets": 1, "server": words["SERVER"],
                        "port": words.get("SERVER_PORT", 853), "name": certificates.NAME,
                        "authorities": f"{bench.directory}/authority.pem"}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def load_options(self):
        return self.options

    def settle(self, rest=0.0):
        pass


def through(peer, bench, **words):
    """Who asks the server for the load: the program, or nobody but the load generator itself."""
    return Program(peer, bench, **words) if peer.command else Direct(bench, **words)


class Server:
    """The DNS over TLS server, here or at the far end of a road."""

    def __init__(self, bench, certificate="server", far=None, port=853, **options):
        self.counters_file = pathlib.Path(tempfile.mkstemp(dir=bench.directory)[1])
        self.address = options.pop("address", FAR if far else "127.0.0.1")
        self.port = port
        self.inside = far.inside if far else []
        options = {"address": self.address, "port": port, "counters": self.counters_file,
                   "certificate": f"{bench.directory}/{certificate}.pem",
                   "key": f"{bench.directory}/{certificate}.key", **options}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        self.command = [*self.inside, f"{bench.build}/bench/server", *words]

    def __enter__(self):
        self.process = start(self.command, {BENCH_CORE})
        for _ in range(200):
            time.sleep(0.01)
            listening = [*self.inside, "ss", "-Hltn", "src", f"{self.address}:{self.port}"]
            if subprocess.run(listening, capture_output=True).stdout:
                return self
        raise Failed("the server of the bench does not listen")

    def __exit__(self, *_):
        self.process.kill()  # it may be stopped
        self.process.wait()
        self.counters_file.unlink()

    def go_or_come(self):
        """Away: it refuses connections; and back."""
        self.process.send_signal(signal.SIGUSR1)

    def counters(self):
        return dict(zip(COUNTERS, struct.unpack("10Q", self.counters_file.read_bytes())))


# ---- the network ----

def ip(*words, inside=()):
    subprocess.run([*inside, "ip", *words], check=True)


class Road:
    """The far end of a road: the network behind it, and the board of bench/delay.c."""

    def __init__(self, holder, board):
        self.namespace = f"/proc/{holder.pid}/ns/net"
        self.inside = ["nsenter", f"--net={self.namespace}"]
        self.board = board

    def lose(self, address=None):
        """From now on all packets from and to this address get lost, or nobody's."""
        number = int(ipaddress.ip_address(address)) if address else 0
        with open(self.board, "r+b") as board:
            board.write(struct.pack("Q", number))

    def connects(self, port):
        """How many SYNs set out to this port so far."""
        return struct.unpack_from("Q", self.board.read_bytes(), 8 + 8 * port)[0]


@contextlib.contextmanager
def road(bench, delay, loss=0):
    """To another network, `delay` milliseconds away each way, where servers can live at FAR and FAR2; `loss` percent
    of the packets get lost."""
    holder = start(["unshare", "-n", "sleep", "infinity"], {BENCH_CORE})
    ours = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{holder.pid}/ns/net") == ours:
        time.sleep(0.01)
    far = Road(holder, pathlib.Path(tempfile.mkstemp(dir=bench.directory)[1]))
    # It stands for a wire, and a wire does not wait for its turn on a core.
    command = ["chrt", "--fifo", WIRE_PRIORITY, f"{bench.build}/bench/delay", "--near", os.getpid(),
               "--far", holder.pid, "--delay", delay, "--loss", loss, "--board", far.board]
    relay = start([str(word) for word in command], {BENCH_CORE}, stdout=subprocess.PIPE)
    try:
        relay.stdout.readline()
        for other in (FAR, FAR2):
            ip("address", "add", NEAR, "peer", other, "dev", "road")
            ip("address", "add", other, "peer", NEAR, "dev", "road", inside=far.inside)
        for inside in ((), far.inside):
            ip("link", "set", "road", "up", inside=inside)
        yield far
    finally:
        end(relay)
        end(holder)
        far.board.unlink()


# ---- the load ----

class Load:
    """The load generator, started with options of its own."""

    def __init__(self, bench, program, **options):
        options = {"run": f"r{random.randrange(10 ** 9)}", **program.load_options(), **options}
        words = [f"--{name}" for name, value in options.items() if value is True]
        words += [str(word) for name, value in options.items() if value is not True for word in (f"--{name}", value)]
        self.process = start([f"{bench.build}/bench/load", *words], {BENCH_CORE}, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()  # when nobody waited for its result
        self.process.wait()

    def result(self, failures_allowed=False):
        """What it measured; a run with a wrong answer is void."""
        seen = json.loads(self.process.communicate()[0] or "{}")
        if not seen:
            raise Failed("the load generator could not run")
        if seen["wrong"] > 0 or seen["unexpected"] > seen["lost"]:
            raise Failed(f"void: {seen['wrong']} wrong answers, {seen['unexpected']} that nobody waited for")
        if seen["failed"] > 0 and not failures_allowed:
            raise Failed(f"void: {seen['failed']} of {seen['answered']} answers were failures")
        if seen["answered"] == 0 and seen["filled"] == 0:
            raise Failed("no answer at all")
        return seen
