"""As the first process of a container, which is that of a process namespace of its own."""
import contextlib
import os
import pathlib
import signal
import subprocess
import time

import pytest

from program import Program, children_of, scaled

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process namespace of its own needs root")


class FirstProcess(Program):
    """`unshare` waits for it outside, and ends as it does."""

    def command(self):
        return ["unshare", "--pid", "--fork", "--kill-child", *super().command()]

    @property
    def first(self):
        return children_of(self.process.pid)[0]

    def signal(self, number):
        os.kill(self.first, number)

    def engines(self):
        return children_of(self.first)

    def start_orphan(self, seconds):
        """A process that loses its parent, so that it is the first one's, and then ends."""
        subprocess.run(["nsenter", "--target", str(self.first), "--pid", "sh", "-c", "sleep %s &" % seconds], check=True)


@pytest.fixture
def first(write_config):
    started = []

    def make(*servers, ready=True, file=None, **changes):
        written, *where = write_config(*servers, **changes)
        started.append(FirstProcess(file or written, *where))
        return started[-1].start(ready)
    yield make
    for program in started:
        program.abandon()


def zombies_of(pid):
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            found += [path] if (state, int(parent)) == ("Z", pid) else []
    return found


def test_stop(first, a):
    """Shows: M9, M10"""
    program = first(a)
    assert program.query_udp("x.test").rcode == 0
    program.stop()


def test_stop_while_it_starts(first, write_config, a, tmp_path):
    """The kernel spares a first process signals that it does not handle: none may be lost. Shows: M9, M10"""
    text = write_config(a)[0].read_bytes()
    slow = tmp_path / "slow.yaml"
    os.mkfifo(slow)
    program = first(a, ready=False, file=slow)
    with open(slow, "wb") as writer:  # once the program wants to read it
        program.signal(signal.SIGTERM)
        writer.write(text)
    assert program.wait(5) == 0
    assert program.seen("stop")


def test_orphans_are_reaped(first, a):
    """Shows: M9"""
    program = first(a)
    engines = program.engines()
    program.start_orphan(0.2)
    assert len(program.engines()) == len(engines) + 1
    end = time.monotonic() + scaled(3)
    while zombies_of(program.first) or program.engines() != engines:
        assert time.monotonic() < end, "%s of %s" % (zombies_of(program.first), program.engines())
        time.sleep(0.05)
    program.stop()
