"""A machine that has hardly anything to give: the program says what it lacks, or it serves."""
import pathlib
import resource
import signal
import subprocess
import time

import pytest

from clients import udp_exchange
from program import BINARY, SANITIZER, clean_environment, scaled
from wire import query

MIB = 1024 * 1024


def rcode_of(answer):
    return answer[3] & 15


def is_sanitized():
    """Sanitizers need terabytes of address space, so that a limit on it tells nothing of the program."""
    image = pathlib.Path(BINARY).read_bytes()
    return b"__asan_init" in image or b"__tsan_init" in image


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
    assert process.returncode == 1, (process.returncode, words)
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
