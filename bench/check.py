#!/usr/bin/python3
"""Shows that the bench works: the load generator against the echo server, against relay and server, fast and slow,
against the server itself, and that it notices a wrong answer and a wrong server. No speed is asserted. Called by meson with the directory of the programs."""
import contextlib
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import certificates

PROGRAMS = pathlib.Path(sys.argv[1])


def free_port():
    """One that is free over UDP and over TCP: the echo server takes both."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket(socket.AF_INET) as tcp:
            udp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                tcp.bind(udp.getsockname())
                return udp.getsockname()[1]


def is_bound(port):
    """Over TCP it listens then as well."""
    lines = [line for kind in ("tcp", "udp") for line in pathlib.Path(f"/proc/net/{kind}").read_text().splitlines()]
    return any(line.split()[1].endswith(f":{port:04X}") for line in lines)


@contextlib.contextmanager
def running(program, **options):
    words = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    process = subprocess.Popen([PROGRAMS / program, *words])
    until = time.monotonic() + 20
    try:
        while not is_bound(options["port"]):
            expect(f"{program} starts", process.poll() is None and time.monotonic() < until, options)
            time.sleep(0.01)
        yield process
    finally:
        process.terminate()
        process.wait()


def load(*options):
    result = subprocess.run([PROGRAMS / "load", "--seconds", "0.2", *map(str, options)], stdout=subprocess.PIPE)
    return json.loads(result.stdout)


def expect(what, condition, seen):
    if not condition:
        sys.exit(f"check: {what}: {seen}")


def expect_right(what, seen):
    expect(what, seen["answered"] > 0 and not seen["wrong"] and not seen["failed"] and not seen["unexpected"], seen)


def check_echo():
    port = free_port()
    with running("echo", port=port) as process:
        seen = load("--port", port, "--echo", "--process", process.pid)
        expect_right("the echo server's answers are right", seen)
        expect("the echo server's time is seen", seen["cpu_us"] > 0, seen)
        seen = load("--port", port, "--outstanding", 8, "--set", 10, "--zipf", 1)
        expect("an answer without an address is wrong", seen["wrong"] > 0, seen)
        check_names(port)


def check_names(port):
    """The load generator against the echo server, over both transports."""
    common = ("--port", port, "--echo")
    for stream in ((), ("--protocol", "tcp"), ("--protocol", "tcp", "--sockets", 100, "--outstanding", 400)):
        seen = load(*common, *stream, "--set", 1000, "--fill")
        expect_right("a set is asked for once and then again", seen)
        expect("the whole set was asked for before", seen["filled"] == 1000, seen)
        expect("nothing but the set is asked for", seen["asked"] == seen["from_set"] > 0, seen)
    seen = load(*common, "--set", 10, "--zipf", 1, "--flood", 3, "--seconds", 0.05)
    expect_right("new names flood those of the set", seen)
    expect("three for each", abs(seen["asked"] - 4 * seen["from_set"]) <= 3, seen)
    seen = load(*common, "--set", 5000, "--fill", "--seconds", 0)
    expect("filling alone asks for nothing else", seen["filled"] == 5000 and seen["asked"] == 0, seen)


def check_relay(directory, **server_options):
    server_port = free_port()
    port = free_port()
    counters = directory / "counters"
    with running("server", port=server_port, certificate=directory / "server.pem", key=directory / "server.key",
                 counters=counters, **server_options):
        with running("relay", port=port, server_port=server_port, authorities=directory / "authority.pem"):
            expect_right("what the relay brings is right", load("--port", port))
            seen = load("--port", port, "--rate", 1000)
            expect_right("what the relay brings at a steady rate is right", seen)
            seen = load("--port", port, "--burst", 2000)
            expect("a burst is answered", seen["answered"] == 2000, seen)
    queries, padded = memoryview(counters.read_bytes()).cast("Q")[4:6]
    expect("the relay's queries are padded", queries == padded > 0, (queries, padded))


def check_direct(directory, certificate, is_good):
    port = free_port()
    files = {"certificate": directory / f"{certificate}.pem", "key": directory / f"{certificate}.key"}
    with running("server", port=port, **files):
        words = [PROGRAMS / "load", "--protocol", "tls", "--port", str(port), "--authorities",
                 directory / "authority.pem", "--seconds", "0.2"]
        result = subprocess.run(words, capture_output=True, text=True)
    if is_good:
        expect_right("what the server itself brings is right", json.loads(result.stdout))
    else:
        expect(f"behind {certificates.BAD[certificate]} nothing is asked", not result.stdout, result)
        expect("the handshake is what fails", "TLS handshake" in result.stderr, result)


def main():
    check_echo()
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        certificates.make(directory)
        check_relay(directory)
        check_relay(directory, delay=5)
        check_direct(directory, "server", True)
        for bad in certificates.BAD:
            check_direct(directory, bad, False)


if __name__ == "__main__":
    main()
