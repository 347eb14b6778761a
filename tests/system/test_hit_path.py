"""What a hit costs the kernel: the serving process under strace while bursts are answered from the cache."""
import os
import re
import shutil
import signal
import subprocess

import pytest

import wire
from clients import udp_socket
from program import is_sanitized, scaled

BURST, BURSTS = 50, 40
HITS = BURST * BURSTS
LINE = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$")
# What a turn of the loop costs whatever comes: to wake up, to take a batch, to send a batch.
OF_A_TURN = {"epoll_wait", "epoll_pwait", "epoll_pwait2", "recvmmsg", "sendmmsg"}
OF_LOCKS_AND_MEMORY = {"futex", "brk", "mmap", "munmap", "mremap", "mprotect", "madvise"}
OF_TIMERS_MOST = 5  # a timer of the link to the server may look at its socket meanwhile
OF_SANITIZERS_MOST = HITS // 20  # a sanitizer has a thread of its own, which sleeps and looks about
CALLS_OF_A_BURST = 8  # two such turns, and what the stop interrupted


class Trace:
    """Counts the system calls of all threads of a process, between enter and exit."""

    def __init__(self, pid, report):
        self.pid, self.report, self.calls = pid, report, {}

    def __enter__(self):
        self.process = subprocess.Popen(["strace", "-f", "-c", "-o", self.report, "-p", str(self.pid)],
                                        stderr=subprocess.PIPE, text=True)
        if "attached" not in self.process.stderr.readline():
            self.process.wait()
            pytest.fail("strace cannot attach: " + self.process.stderr.read())
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(scaled(5))
        self.process.stderr.close()
        for line in self.report.read_text().splitlines():
            found = LINE.match(line)
            if found and found[2] != "total":
                self.calls[found[2]] = int(found[1])


def burst(client, program, engine, ids):
    """So many queries that are all there when the engine looks; the answers."""
    os.kill(engine, signal.SIGSTOP)
    for number in ids:
        client.sendto(wire.query("www.x.test", message_id=number), (program.address, program.port))
    os.kill(engine, signal.SIGCONT)
    return [wire.parse(client.recv(4096)) for _ in ids]


def test_hits_cost_no_system_call_of_their_own(a, dnseal, tmp_path):
    """2,000 hits: the calls of a few turns a burst, and none that takes a lock or memory.

    Shows: I1
    """
    assert shutil.which("strace"), "strace is missing; ./dev test installs it"
    program = dnseal(a, workers=1, cache={"size": "1MiB"})
    first = program.query_udp("www.x.test")
    engine, = program.engines()
    client = udp_socket(address=program.address)
    client.settimeout(scaled(6))
    with client, Trace(engine, tmp_path / "calls") as trace:
        for begin in range(0, HITS, BURST):
            ids = range(begin, begin + BURST)
            answers = burst(client, program, engine, ids)
            assert sorted(int.from_bytes(answer.raw[:2], "big") for answer in answers) == list(ids)
            assert all(answer.data == first.data for answer in answers)
    assert a.count("www.x.test") == 1
    assert program.status().total("dnseal_cache_lookups_total", result="hit") == HITS
    assert not OF_LOCKS_AND_MEMORY & set(trace.calls), trace.calls
    others = sum(count for name, count in trace.calls.items() if name not in OF_A_TURN)
    assert others <= (OF_SANITIZERS_MOST if is_sanitized() else OF_TIMERS_MOST), trace.calls
    assert BURSTS <= sum(trace.calls.values()) <= CALLS_OF_A_BURST * BURSTS, trace.calls
