#!/usr/bin/python3
"""Shows that the road of the bench does what it is told: it makes packets wait, loses a share of them and all those of
one address, and counts the SYNs to a port. Called by meson with the build directory; needs what the bench needs, and
is skipped with a reason where that is not."""
import contextlib
import ctypes
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import types

import machine
from machine import FAR, FAR2

INSIDE = "BENCH_INSIDE"
SKIPPED = 77  # what meson calls it
CLONE_NEWNET = 0x40000000
PORT, DELAY, COUNT = 5300, 10, 2000


def expect(what, condition, seen):
    if not condition:
        sys.exit(f"check: {what}: {seen}")


def cores_lack():
    """What the bench needs of the cores and is not here; empty when all is."""
    if machine.BENCH_CORE not in os.sched_getaffinity(0):
        return "a second core"
    as_wire = ["chrt", "--fifo", str(machine.WIRE_PRIORITY), "true"]
    return "" if subprocess.run(as_wire, capture_output=True).returncode == 0 else "the right to real-time scheduling"


def missing():
    """What the road needs and is not here; empty when all is."""
    if os.geteuid() != 0:
        return "root"
    return cores_lack() or ("" if os.path.exists("/dev/net/tun") else "/dev/net/tun")


def go_inside():
    if os.environ.get(INSIDE):
        return
    if lacking := missing():
        print(f"check: the road needs {lacking}")
        sys.exit(SKIPPED)
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv])


def enter(namespace):
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def far_socket(far, address=FAR, kind=socket.SOCK_DGRAM):
    """A socket at the far end."""
    with open("/proc/self/ns/net") as home, open(far.namespace) as there:
        enter(there)
        try:
            opened = socket.socket(socket.AF_INET, kind)
        finally:
            enter(home)
    with opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        opened.settimeout(1)
        opened.bind((address, PORT))
        yield opened


def arriving(receiver, sender, target, count=COUNT):
    """How many of so many datagrams arrive. The one that says that all were sent is sent until it arrives."""
    for number in range(count):
        sender.sendto(b"one", target)
        if number % 100 == 0:
            time.sleep(0.002)
    arrived = 0
    while True:
        try:
            if receiver.recv(16) == b"end":
                return arrived
            arrived += 1
        except TimeoutError:
            sender.sendto(b"end", target)


def nearby():
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    opened.bind((machine.NEAR, PORT))
    opened.settimeout(1)
    return opened


def expect_share(what, arrived, loss):
    """Within five standard deviations."""
    share = loss / 100
    spread = 5 * (COUNT * share * (1 - share)) ** 0.5
    expect(f"of {what}, {loss} % get lost", abs(COUNT - arrived - COUNT * share) <= spread, COUNT - arrived)


def check_wait(far, near):
    with far_socket(far) as receiver:
        sent = time.monotonic()
        near.sendto(b"one", (FAR, PORT))
        receiver.recv(16)
        expect("a packet waits", time.monotonic() - sent >= DELAY / 1000, time.monotonic() - sent)


def check_loss(far, near, loss):
    with far_socket(far) as receiver:
        expect_share("what goes there", arriving(receiver, near, (FAR, PORT)), loss)
        expect_share("what comes back", arriving(near, receiver, (machine.NEAR, PORT)), loss)


def comes(receiver, sender, target):
    sender.sendto(b"one", target)
    receiver.settimeout(0.3)
    try:
        return receiver.recv(16) == b"one"
    except TimeoutError:
        return False


def check_lost_address(far, near):
    home = machine.NEAR, PORT
    with far_socket(far) as one, far_socket(far, FAR2) as other:
        far.lose(FAR)
        expect("nothing gets to a lost address", not comes(one, near, (FAR, PORT)), FAR)
        expect("nothing comes from a lost address", not comes(near, one, home), FAR)
        expect("the other is there", comes(other, near, (FAR2, PORT)) and comes(near, other, home), FAR2)
        far.lose()
        expect("what was lost is found again", comes(one, near, (FAR, PORT)) and comes(near, one, home), FAR)


def check_connects(far):
    count = 3
    with far_socket(far, kind=socket.SOCK_STREAM) as listener:
        listener.listen()
        for number in range(count):
            with socket.socket() as client:
                client.bind((machine.NEAR, PORT + 1 + number))
                client.connect((FAR, PORT))
    expect("each connect is counted", far.connects(PORT) == count, far.connects(PORT))
    expect("an answer is none", far.connects(PORT + 1) == 0, far.connects(PORT + 1))


def main():
    go_inside()
    with tempfile.TemporaryDirectory() as directory:
        bench = types.SimpleNamespace(build=pathlib.Path(sys.argv[1]), directory=directory)
        for loss in (0, 5):
            with machine.road(bench, DELAY, loss) as far, nearby() as near:
                check_loss(far, near, loss)
                if loss == 0:
                    check_wait(far, near)
                    check_lost_address(far, near)
                    check_connects(far)


if __name__ == "__main__":
    main()
