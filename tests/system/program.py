"""dnseal as a process under test: its configuration, its log as events, its counters, its end."""
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import threading
import time

import wire
from clients import Tcp, udp_exchange

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("DNSEAL_BINARY", str(ROOT / "build" / "dnseal"))
TIME_SCALE = float(os.environ.get("TIME_SCALE", "1"))
SANITIZER = re.compile(r"(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|runtime error:")
OTHER_NAMES = ("DNS_SERVER_IP", "DNS_SERVER_PORT", "DNS_SERVER_NAME", "CA_PATH", "LISTENING_PORT", "PROXY_SERVER",
               "PROXY_PORT")
SERIES = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')


def scaled(seconds):
    """A limit that slower, instrumented programs may stretch."""
    return seconds * TIME_SCALE


def is_sanitized():
    """Sanitizers take terabytes of address space and keep what was freed: numbers of memory tell nothing there."""
    image = pathlib.Path(BINARY).read_bytes()
    return b"__asan_init" in image or b"__tsan_init" in image


def yaml(value, indent=0):
    """The few kinds of YAML that a configuration needs."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(pad + str(key) + ":" + yaml_after_key(item, indent) for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(pad + "- " + yaml_flow(item) + "\n" for item in value)
    return pad + yaml_flow(value) + "\n"


def yaml_after_key(item, indent):
    if isinstance(item, (dict, list)) and item:
        return "\n" + yaml(item, indent + 1)
    return " " + yaml_flow(item) + "\n"


def yaml_flow(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(str(key) + ": " + yaml_flow(item) for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(yaml_flow(item) for item in value) + "]"
    return json.dumps(value)


def merged(base, changes):
    """A dict with nested dicts merged and everything else replaced; None takes a key away."""
    out = dict(base)
    for key, value in changes.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merged(out[key], value)
        else:
            out[key] = value
    return out


def clean_environment(extra=None):
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith("DNSEAL_") and key not in OTHER_NAMES}
    return {**kept, **(extra or {})}


def run(arguments, env=None, timeout=10):
    """Runs the program to its end: exit code, stdout, stderr."""
    done = subprocess.run([BINARY, *arguments], env=clean_environment(env), capture_output=True, text=True,
                          timeout=scaled(timeout), errors="surrogateescape")
    assert not SANITIZER.search(done.stderr), done.stderr
    return done


def unescape(text):
    return re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found.group(1), found.group(1)), text)


class Metrics:
    """A parsed Prometheus exposition; raises on a line that is none."""

    def __init__(self, text):
        self.text, self.series = text, []
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            found = SERIES.match(line)
            assert found, "not an exposition line: %r" % line
            labels = {key: unescape(value) for key, value in LABEL.findall(found.group(2) or "")}
            self.series.append((found.group(1), labels, float(found.group(3))))

    def total(self, name, **labels):
        """The sum of all series of a name that have these labels."""
        return sum(value for series, own, value in self.series
                   if series == name and all(own.get(key) == wanted for key, wanted in labels.items()))

    def has(self, name):
        return any(series == name for series, _, _ in self.series)

    def by_label(self, name, label):
        out = {}
        for series, own, value in self.series:
            if series == name:
                out[own.get(label)] = out.get(own.get(label), 0) + value
        return out


def children_of(pid):
    out = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = pathlib.Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            out.append(int(entry))
    return out


def is_alive(pid):
    """Not gone, and not merely waiting to be reaped."""
    try:
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def still_alive(pids, seconds):
    """Those of them that live on after so long."""
    end = time.monotonic() + seconds
    while any(is_alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.01)
    return [pid for pid in pids if is_alive(pid)]


class Program:
    """One running dnseal. `port`, `address` are of its first listener."""

    def __init__(self, file, address, port, env=None, files=None, arguments=()):
        self.file, self.address, self.port, self.binary = str(file), address, port, BINARY
        self.env, self.files, self.arguments = env, files, list(arguments)
        self.prefix = []  # a program that becomes dnseal
        self.process = None
        self.output, self.strangers, self.events = [], [], []
        self.changed, self.pause_reading = threading.Condition(), threading.Event()

    # ---- life

    def limit(self):
        if self.files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.files, self.files))

    def command(self):
        return [*self.prefix, self.binary, "-c", self.file, *self.arguments]

    def start(self, ready=True):
        with self.changed:
            self.events.clear()
        self.process = subprocess.Popen(self.command(), env=clean_environment(self.env), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=self.limit)
        self.reader = threading.Thread(target=self.read_log, args=(self.process.stderr,), daemon=True)
        self.reader.start()
        if ready and self.wait_event("ready", scaled(10)) is None:
            raise AssertionError("not ready (exit %s): %s" % (self.process.poll(), self.text()))
        return self

    def read_log(self, pipe):
        for raw in pipe:
            while self.pause_reading.is_set():
                time.sleep(0.02)
            line = raw.decode("utf-8", "surrogateescape").rstrip("\n")
            event = as_event(line)
            with self.changed:
                self.output.append(line)
                (self.strangers if event is None else self.events).append(line if event is None else event)
                self.changed.notify_all()

    def text(self):
        return "\n".join(self.output)

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def engines(self):
        return children_of(self.process.pid)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds):
        """The exit code; the log is read to its end."""
        code = self.process.wait(scaled(seconds))
        self.reader.join(scaled(2))
        return code

    def check_output(self):
        assert not SANITIZER.search(self.text()), self.text()

    def stop(self, seconds=7):
        """A clean stop: exit 0, in time, no child left, nothing from a sanitizer."""
        children = self.engines()
        self.signal(signal.SIGTERM)
        code = self.wait(seconds)
        self.check_output()
        assert code == 0, "exit %d: %s" % (code, self.text())
        left = still_alive(children, 0.5)
        assert not left, "processes left behind: %s" % left

    def kill(self):
        """kill -9 of the process that was started; the others must go by themselves."""
        children = self.engines()
        self.process.kill()
        self.process.wait()
        left = still_alive(children, scaled(2))
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return left

    def abandon(self):
        """For the end of a test that failed."""
        if self.running:
            self.kill()

    # ---- what it logs

    def seen(self, name, **fields):
        with self.changed:
            return [event for event in self.events if event.get("event") == name
                    and all(str(event.get(key)) == str(value) for key, value in fields.items())]

    def wait_event(self, name, seconds=5, count=1, **fields):
        """The newest event of that name, once there are `count`; None when they do not come."""
        end = time.monotonic() + seconds
        while True:
            found = self.seen(name, **fields)
            if len(found) >= count:
                return found[-1]
            if time.monotonic() > end or (not self.reader.is_alive() and not self.running):
                return None
            with self.changed:
                self.changed.wait(0.05)

    def status(self):
        """The counters, by --control status."""
        done = run(["-c", self.file, "--control", "status"], env=self.env)
        assert done.returncode == 0, done.stderr
        return Metrics(done.stdout)

    def answered_by(self, server):
        """How many answers of this server were used so far."""
        return self.status().total("dnseal_upstream_queries_total", upstream=server.url, outcome="answer")

    def wait_answer_of(self, server, seconds):
        """Whether the server's answers are used again in time; somebody else must ask."""
        before, end = self.answered_by(server), time.monotonic() + scaled(seconds)
        while time.monotonic() < end:
            if self.answered_by(server) > before:
                return True
            time.sleep(0.05)
        return False

    # ---- questions

    def udp_raw(self, message, timeout=6, source=None, address=None):
        return udp_exchange(address or self.address, self.port, message, timeout, source)

    def query_udp(self, name, kind="A", timeout=6, source=None, address=None, **options):
        """The parsed answer, or None. The id must be ours."""
        message = wire.query(name, kind, **options)
        raw = self.udp_raw(message, scaled(timeout), source, address)
        if raw is None:
            return None
        answer = wire.parse(raw)
        assert answer.raw[:2] == message[:2]
        return answer

    def tcp(self, source=None, address=None):
        return Tcp(address or self.address, self.port, source)

    def query_tcp(self, name, kind="A", timeout=6, source=None, **options):
        with self.tcp(source) as link:
            return link.ask(wire.query(name, kind, **options), scaled(timeout))


def as_event(line):
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def resident(pid):
    """RSS in bytes."""
    return int(pathlib.Path("/proc/%d/statm" % pid).read_text().split()[1]) * resource.getpagesize()


def anonymous(pid):
    """Bytes of memory that belong to no file: heap, slabs and stacks, as far as they were touched."""
    for line in pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no anonymous memory in smaps_rollup")


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


GROWTH = 1 << 20


class Weight:
    """What the program holds: to be taken before trouble, and looked at again after it."""

    def __init__(self, program):
        self.program, self.engines, self.begun = program, program.engines(), time.monotonic()
        self.resident = sum(resident(pid) for pid in self.engines)
        self.descriptors = self.descriptors_but_links()
        self.cpu = sum(cpu_seconds(pid) for pid in self.engines)

    def descriptors_but_links(self):
        links = self.program.status().total("dnseal_upstream_connections")
        return sum(descriptors(pid) for pid in self.engines) - int(links)

    def assert_flat(self, further_links=0, share_of_cpu=0.2, memory=GROWTH):
        """No descriptor more, but for the links that are open, and so many that come or go; hardly more memory, and no
        spinning since it was taken."""
        assert self.program.engines() == self.engines, "another engine"
        used = sum(cpu_seconds(pid) for pid in self.engines) - self.cpu
        assert used <= scaled(share_of_cpu) * (time.monotonic() - self.begun) + 0.1, "%.2f s of CPU" % used
        held = self.descriptors_but_links()
        assert held <= self.descriptors + further_links, "%d descriptors, and %d before" % (held, self.descriptors)
        grown = sum(resident(pid) for pid in self.engines) - self.resident
        assert grown <= memory or is_sanitized(), "%d bytes more" % grown


def cpu_seconds(pid):
    fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
