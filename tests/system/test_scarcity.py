"""A machine that has hardly anything to give: the program says what it lacks, or it serves."""
import os
import re
import resource
import signal
import socket
import subprocess
import time

import pytest

from clients import udp_exchange
from program import BINARY, SANITIZER, clean_environment, is_sanitized, resident, run, scaled
from wire import frame, query

MIB = 1024 * 1024


def rcode_of(answer):
    return answer[3] & 15


def answers(address, port):
    answer = udp_exchange(address, port, query("x.test"), timeout=scaled(1))
    if answer is None:
        time.sleep(0.02)
    return answer is not None and rcode_of(answer) == 0


def start_under(limit, value, file):
    return subprocess.Popen([BINARY, "-c", str(file)], env=clean_environment(), stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True,
                            preexec_fn=lambda: resource.setrlimit(limit, (value, value)))


def outcome(limit, value, file, address, port):
    """"served" or "refused"; anything else fails the test."""
    process = start_under(limit, value, file)
    end = time.monotonic() + scaled(5)
    served = False
    while process.poll() is None and not served and time.monotonic() < end:
        served = answers(address, port)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    _, words = process.communicate(timeout=scaled(10))
    assert not SANITIZER.search(words), words
    if served:
        assert process.returncode == 0, words
        return "served"
    of_the_loader = process.returncode == 127 and any(  # before our first instruction
        word in words for word in ("Fatal glibc error", "error while loading shared libraries"))
    assert process.returncode == 1 or of_the_loader, (process.returncode, words)
    assert words.strip(), "refused without a word"
    return "refused"


def test_few_descriptors(a, write_config):
    """Shows: O05, W5"""
    file, address, port = write_config(a, workers=1)
    outcomes = [outcome(resource.RLIMIT_NOFILE, count, file, address, port) for count in range(4, 40)]
    assert "refused" in outcomes and outcomes[-1] == "served"
    assert outcomes == sorted(outcomes), outcomes


if not is_sanitized():
    @pytest.mark.parametrize("size", [8, 16, 32, 48, 64, 96, 128, 192, 256, 512])
    def test_little_memory(a, write_config, size):
        """Shows: O05, W5"""
        file, address, port = write_config(a, workers=1)
        wanted = {8: "refused", 16: "refused", 512: "served"}.get(size)
        got = outcome(resource.RLIMIT_AS, size * MIB, file, address, port)
        assert wanted in (None, got)


def test_log_that_may_not_grow(a, write_config, tmp_path):
    """Shows: O06, W5"""
    target, most = tmp_path / "log", 1 * MIB
    target.write_bytes(b"\n" * (most - 8192))
    file, address, port = write_config(a, workers=1, log={"target": str(target), "queries": "full"})
    process = start_under(resource.RLIMIT_FSIZE, most, file)
    while process.poll() is None and not answers(address, port):
        pass
    for _ in range(100):
        assert rcode_of(udp_exchange(address, port, query("x.test"), timeout=scaled(2))) == 0
    assert target.stat().st_size == most
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=scaled(10))
    assert process.returncode == 0


def memory_needed(words):
    """What the refusal names, in MiB."""
    found = re.search(r":\d+:\d+: limits\.memory: (\d+)MiB is too little, this configuration needs (\d+)MiB", words)
    assert found, words
    return int(found.group(2))


def refusal(write_config, server, **changes):
    file, _, _ = write_config(server, limits={"memory": "1MiB"}, **changes)
    run_refused, check_refused = run(["-c", str(file)]), run(["-c", str(file), "--check"])
    assert run_refused.returncode == check_refused.returncode == 1
    assert run_refused.stderr == check_refused.stderr
    return run_refused.stderr


def test_memory_that_does_not_suffice_refuses_the_start(a, write_config, dnseal):
    """Shows: W5, pain 26"""
    words = refusal(write_config, a, workers=1)
    for option in ("limits.pending", "upstream.links", "upstream.in_flight", "limits.tcp_connections", "limits.tcp_output"):
        assert option in words
    needed = memory_needed(words)
    assert memory_needed(refusal(write_config, a, workers=2)) > needed
    program = dnseal(a, workers=1, limits={"memory": "%dMiB" % needed})
    assert rcode_of(program.udp_raw(query("x.test"))) == 0


def test_memory_that_does_not_suffice_is_told_with_its_place(a, write_config):
    """Shows: P02"""
    file, _, _ = write_config(a, limits=None)
    large = {"DNSEAL_LIMITS_PENDING": "1000000"}
    for more, place in (({}, "default: limits.memory: 256MiB"),
                        ({"DNSEAL_LIMITS_MEMORY": "20MiB"}, "environment: DNSEAL_LIMITS_MEMORY: 20MiB")):
        done = run(["-c", str(file), "--check"], env={**large, **more})
        assert done.returncode == 1 and done.stderr.startswith(place + " is too little"), done.stderr
        assert "raise limits.memory" in done.stderr and "limits.pending" in done.stderr
    file.write_text(file.read_text() + "limits:\n  memory: 30MiB\n")
    line = len(file.read_text().splitlines())
    done = run(["-c", str(file)], env=large)
    assert done.stderr.startswith("%s:%d:11: limits.memory: 30MiB is too little" % (file, line)), done.stderr


def test_as_many_workers_as_memory_bears(a, write_config, dnseal):
    """Shows: W5"""
    most = memory_needed(refusal(write_config, a, workers=2)) - 1
    program = dnseal(a, workers="auto", limits={"memory": "%dMiB" % most})
    assert program.wait_event("ready")["workers"] in (1, "1")
    if len(os.sched_getaffinity(0)) > 1:
        told = program.wait_event("memory_limit")
        assert int(told["workers"]) == 1 and int(told["processors"]) == len(os.sched_getaffinity(0))
    assert rcode_of(program.udp_raw(query("x.test"))) == 0


@pytest.mark.parametrize("group", ["", "/system.slice/dnseal.service"], ids=["container", "service"])
@pytest.mark.parametrize("limit, told", [("67108864", True), ("max", False), ("1073741824", False)])
def test_who_may_use_less_is_warned(a, write_config, tmp_path, limit, told, group):
    """The limit is that of a container, whose own group is the root that it sees, or of a service's group.
    Shows: W5, pain 26"""
    file, address, port = write_config(a, workers=1, log={"format": "json"})
    own = tmp_path / "cgroup"
    own.write_text("0::%s\n" % (group or "/"))
    script = ("mount -t tmpfs none /sys/fs/cgroup && mkdir -p /sys/fs/cgroup$3 && mount --bind $2 /proc/$$/cgroup && "
              "echo $4 >/sys/fs/cgroup$3/memory.max && exec \"$0\" -c \"$1\"")
    process = subprocess.Popen(["unshare", "--mount", "sh", "-c", script, BINARY, str(file), str(own), group, limit],
                               env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not answers(address, port):
        pass
    process.send_signal(signal.SIGTERM)
    _, words = process.communicate(timeout=scaled(10))
    assert process.returncode == 0, words
    assert (('"event":"memory_limit"' in words and '"limit":67108864' in words) == told), words


def client_that_takes_nothing(program, number):
    """Its own kernel holds hardly anything for it, so that answers wait at the program."""
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.bind(("127.0.3.%d" % (1 + number % 200), 0))
    client.connect((program.address, program.port))
    client.setblocking(False)
    return client


def ask_for_much(program, clients):
    questions = frame(query("size-60000.x.test", "TXT")) * 3
    for _ in range(10):
        for client in clients:
            try:
                client.send(questions)
            except (BlockingIOError, ConnectionError):
                continue
        assert rcode_of(program.udp_raw(query("x.test"))) == 0


# Sanitizers have a heap of their own, far larger than the program's.
if not is_sanitized():
    def test_monitor_holds_hardly_any_memory(a, dnseal):
        """Shows: W5"""
        program = dnseal(a, workers=1)
        end = time.monotonic() + scaled(5)  # the monitor hears of the engine's start a little after the log
        while resident(program.process.pid) > 2.5 * MIB and time.monotonic() < end:
            time.sleep(0.02)
        assert resident(program.process.pid) < 2.5 * MIB
        assert program.status().total("dnseal_build_info") == 1
        assert rcode_of(program.udp_raw(query("x.test"))) == 0

    def test_memory_stays_within_its_limit(a, dnseal):
        """Shows: W5, pain 26"""
        program = dnseal(a, workers=1, access={"allow": ["127.0.0.0/8", "::1"]},
                         limits={"memory": "20MiB", "pending": 1000, "tcp_connections": 200})
        engine, = program.engines()
        before = resident(engine)
        clients = [client_that_takes_nothing(program, i) for i in range(150)]
        ask_for_much(program, clients)
        grown = resident(engine) - before
        for client in clients:
            client.close()
        assert 4 * MIB < grown < 20 * MIB
        assert rcode_of(program.udp_raw(query("x.test"))) == 0
