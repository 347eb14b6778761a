"""What a measurement needs of the machine: cores, a network of its own, programs that are started and ended, what
they use, and the bench's own programs. Nothing here judges."""
import contextlib
import json
import os
import pathlib
import random
import shutil
import socket
import struct
import subprocess
import tempfile
import time

import certificates

PROGRAM_CORE, BENCH_CORE = 0, 1
NEAR, FAR = "10.77.0.1", "10.77.0.2"
COUNTERS = ("accepted", "full_handshakes", "resumed_handshakes", "failed_handshakes", "queries", "padded_queries",
            "reads", "answers", "closed_idle", "connections")
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
PORT = 5300


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
                 "WARM": "10m", "AUTHORITY": f"{bench.directory}/authority.pem", "RUN": self.directory, **words}
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

    def words(self):
        """The end of what it said."""
        return pathlib.Path(self.directory, "output").read_text(errors="replace")[-300:]

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


class Server:
    """The DNS over TLS server."""

    def __init__(self, bench, certificate="server", namespace=None, port=853, **options):
        self.counters_file = pathlib.Path(tempfile.mkstemp(dir=bench.directory)[1])
        self.port = port
        self.inside = ["nsenter", f"--net=/proc/{namespace}/ns/net"] if namespace else []
        options = {"address": FAR if namespace else "127.0.0.1", "port": port, "counters": self.counters_file,
                   "certificate": f"{bench.directory}/{certificate}.pem",
                   "key": f"{bench.directory}/{certificate}.key", **options}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        self.command = [*self.inside, f"{bench.build}/bench/server", *words]

    def __enter__(self):
        self.process = start(self.command, {BENCH_CORE})
        for _ in range(200):
            time.sleep(0.01)
            if subprocess.run([*self.inside, "ss", "-Hltn", f"sport = :{self.port}"], capture_output=True).stdout:
                return self
        raise Failed("the server of the bench does not listen")

    def __exit__(self, *_):
        end(self.process)
        self.counters_file.unlink()

    def counters(self):
        return dict(zip(COUNTERS, struct.unpack("10Q", self.counters_file.read_bytes())))


# ---- the network ----

def ip(*words, namespace=None):
    inside = ["nsenter", f"--net=/proc/{namespace}/ns/net"] if namespace else []
    subprocess.run([*inside, "ip", *words], check=True)


@contextlib.contextmanager
def road(bench, delay):
    """Another network, `delay` milliseconds away each way, where a server can live; gives what names it."""
    holder = start(["unshare", "-n", "sleep", "infinity"], {BENCH_CORE})
    ours = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{holder.pid}/ns/net") == ours:
        time.sleep(0.01)
    # It stands for a wire, and a wire does not wait for its turn on a core.
    command = ["chrt", "--fifo", 10, f"{bench.build}/bench/delay", "--near", os.getpid(), "--far", holder.pid, "--delay", delay]
    relay = start([str(word) for word in command], {BENCH_CORE}, stdout=subprocess.PIPE)
    try:
        relay.stdout.readline()
        for address, other, namespace in ((NEAR, FAR, None), (FAR, NEAR, holder.pid)):
            ip("address", "add", address, "peer", other, "dev", "road", namespace=namespace)
            ip("link", "set", "road", "up", namespace=namespace)
        yield holder.pid
    finally:
        end(relay)
        end(holder)


# ---- the load ----

class Load:
    """The load generator, started with options of its own."""

    def __init__(self, bench, program, **options):
        options = {"port": program.port, "process": program.process.pid, "run": f"r{random.randrange(10 ** 9)}",
                   **({} if program.peer.asks else {"echo": True}), **options}
        words = [f"--{name}" for name, value in options.items() if value is True]
        words += [str(word) for name, value in options.items() if value is not True for word in (f"--{name}", value)]
        self.process = start([f"{bench.build}/bench/load", *words], {BENCH_CORE}, stdout=subprocess.PIPE, text=True)

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
