#!/usr/bin/python3
"""Shows that bursts are what they are for: while one is sent nothing runs on the program's core, and no answer wakes
the load generator. Called by meson with the directory of the programs; skipped with a reason
where real-time scheduling or a second core is not to be had."""
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import machine
from check_road import SKIPPED, cores_lack, expect

PROGRAMS = pathlib.Path(sys.argv[1])
PORT, BURST, EVERY, SECONDS = 5391, 1600, 20, 1
GAP = 500000  # nanoseconds: less than so many queries take
LAST_SLEEPS = BURST  # more than may wake it after the last burst, when it waits a millisecond for answers
WITNESS = f"""import os, time
os.nice(-20)
before, gaps = time.monotonic_ns(), 0
end = before + {SECONDS} * 10 ** 9
while before < end:
    now = time.monotonic_ns()
    gaps += now - before > {GAP}
    before = now
print(gaps)"""


def is_bound():
    lines = pathlib.Path("/proc/net/udp").read_text().splitlines()
    return any(line.split()[1].endswith(f":{PORT:04X}") for line in lines)


def own_sleeps():
    """Of the children that have ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_nvcsw


def send_bursts(echo):
    words = {"port": PORT, "sockets": 32, "burst": BURST, "every": EVERY, "seconds": SECONDS,
             "timeout": 0.001, "core": machine.PROGRAM_CORE, "process": echo.pid}
    options = [str(word) for name, value in words.items() for word in (f"--{name}", value)]
    result = subprocess.run([PROGRAMS / "load", "--echo", *options], stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)


def main():
    if lacking := cores_lack():
        print(f"check: bursts need {lacking}")
        sys.exit(SKIPPED)
    os.sched_setaffinity(0, {machine.BENCH_CORE})
    echo = machine.start([str(PROGRAMS / "echo"), "--port", str(PORT)], {machine.BENCH_CORE})
    try:
        while not is_bound():
            time.sleep(0.01)
        witness = machine.start([sys.executable, "-c", WITNESS], {machine.PROGRAM_CORE}, stdout=subprocess.PIPE)
        slept = own_sleeps()
        seen = send_bursts(echo)
        slept = own_sleeps() - slept
        stood_still = int(witness.communicate()[0])
    finally:
        machine.end(echo)
    count = SECONDS * 1000 / EVERY
    expect("whole bursts are sent", seen["sent"] % BURST == 0, seen)
    expect("so many in that time", count / 2 < seen["sent"] / BURST <= count + 1, seen)
    expect("no answer wakes the load generator", slept < 3 * count + LAST_SLEEPS, slept)
    expect("who else is on the program's core stands still while it is sent", stood_still > count / 2, stood_still)


if __name__ == "__main__":
    main()
