#!/usr/bin/python3
"""Measures dnseal beside its limit and its peers; called by `./dev bench`. Everything happens in a network namespace
of its own that has only loopback; the measured program has core 0, generator and server have core 1. Needs root."""
import argparse
import os
import pathlib
import shlex
import shutil
import signal
import sys
import tempfile
import time

import beside
import certificates
import machine
import peers
import report
import results
import scenarios

ROOT = pathlib.Path(__file__).resolve().parent.parent
INSIDE = "BENCH_INSIDE"


class Bench:
    """What every measurement is handed: where the programs and certificates are, and how long to measure."""

    def __init__(self, arguments, directory):
        self.build = arguments.build
        self.seconds = arguments.seconds
        self.long = arguments.long
        self.directory = directory
        self.bundle = f"{directory}/bundle.pem"

    def prepare(self):
        os.chmod(self.directory, 0o755)
        certificates.make(self.directory)
        ours = pathlib.Path(self.directory, "authority.pem").read_text()
        pathlib.Path(self.bundle).write_text(pathlib.Path(machine.BUNDLE).read_text() + ours)
        machine.ip("link", "set", "lo", "up")


def tell(*words):
    print(*words, file=sys.stderr, flush=True)


def read_arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measures dnseal beside its limit and its peers.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each program is measured, in turn (3)")
    parser.add_argument("--seconds", type=float, default=1, help="how long a measurement under load takes (1)")
    parser.add_argument("--long", action="store_true",
                        help="outages of 15 min and a rest of 10 min: 40 min more")
    parser.add_argument("--scenario", action="append", metavar="ID", help="only this one; may be repeated")
    parser.add_argument("--peers", help="only these, with commas between them; an empty text for none")
    parser.add_argument("--write", action="store_true",
                        help="put the numbers into docs/performance.md, as a run without --scenario and --peers does")
    parser.add_argument("--build", default=str(ROOT / "build"), help="the build directory (build)")
    parser.add_argument("--install", action="store_true", help="have ./dev install the peers' packages first")
    arguments = parser.parse_args()
    arguments.command = shlex.join(["./dev", "bench", *sys.argv[1:]])
    ids = [scenario.identity for scenario in scenarios.ALL]
    for wanted in arguments.scenario or []:
        if wanted not in ids:
            parser.error(f"no scenario {wanted}; there are {', '.join(ids)}")
    return arguments


def go_inside():
    """Into a network namespace and a session of our own: the scheduler shares the machine between sessions."""
    if os.environ.get(INSIDE):
        return
    if os.geteuid() != 0:
        sys.exit("bench: a network namespace of its own needs root")
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "-n", "setsid", "-w", sys.executable, *sys.argv])


def choose_peers(arguments):
    """Those that are measured, and why others are not, by name."""
    left_out = {}
    chosen = peers.known(arguments.build)
    if arguments.peers is not None:
        wanted = [*peers.always(chosen), *filter(None, arguments.peers.split(","))]
        unknown = [name for name in wanted if name not in chosen]
        if unknown:
            there = ", ".join(name for name in chosen if name not in peers.always(chosen))
            sys.exit(f"bench: no peer {unknown[0]}; there are {there}")
        left_out = {name: "not asked for" for name in chosen if name not in wanted}
        chosen = {name: chosen[name] for name in wanted}
    for name in [name for name, peer in chosen.items() if not peer.installed()]:
        tell(f"bench: {name} is not installed and left out; ./dev bench --install brings it")
        left_out[name] = "not installed"
        del chosen[name]
    return list(chosen.values()), left_out


# ---- identity ----

def fault(bench, peer, certificate):
    """What speaks against it: it answers well, asks the server, or does not even try it. Nothing when it refuses."""
    with machine.Server(bench, certificate=certificate) as server, machine.Program(peer, bench) as program:
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            answer = machine.ask(program.port, 0.3)
            if answer and answer[1] == 0:
                return f"answers behind {certificates.BAD[certificate]}"
            time.sleep(0.05)
        counters = server.counters()
        if counters["queries"] > 0:
            return f"asks behind {certificates.BAD[certificate]}"
        return "" if counters["accepted"] > 0 else f"never tried the server: {program.words()}"


def check_identities(bench, chosen, left_out):
    """Only who refuses all bad certificates takes part. The limits that ask no server have none to check, and who asks
    it directly is shown to refuse them by check.py."""
    strict = []
    for peer in chosen:
        faults = [found for found in (fault(bench, peer, bad) for bad in certificates.BAD if peer.asks) if found]
        if not peer.asks:
            strict.append(peer)
        elif faults:
            tell(f"bench: {peer.name} is void: {'; '.join(faults)}")
            left_out[peer.name] = "; ".join(faults)
        else:
            tell(f"bench: {peer.name} refuses a wrong name, an expired and an unknown certificate")
            strict.append(peer)
    if peers.US not in [peer.name for peer in strict]:
        sys.exit(f"bench: without {peers.US} there is nothing to measure")
    return strict


# ---- measuring ----

def takes_part(scenario, peer):
    if peer.limit:
        return peer.name in scenario.yardsticks()
    return peer.name == peers.US or (scenario.peers and not scenario.lacks(peer))


def attempt_all(bench, scenario, chosen):
    """By name the numbers, or the Failed that came instead."""
    if not scenario.joint:
        return {peer.name: beside.attempt(scenario.measure, bench, peer) for peer in chosen}
    numbers = beside.attempt(scenario.measure, bench, chosen)
    return numbers if isinstance(numbers, dict) else dict.fromkeys([peer.name for peer in chosen], numbers)


def measure_round(bench, scenario, chosen, entries):
    """Appends one entry for every program: its numbers, or why there are none, so that entries of one index belong
    together."""
    numbers = attempt_all(bench, scenario, chosen)
    for name, seen in numbers.items():
        if isinstance(seen, machine.Failed):
            tell(f"bench: {scenario.identity} {name}: {seen}")
            numbers[name] = {report.VOID: str(seen)}
    for peer in chosen:
        entries.setdefault(peer.name, []).append(numbers[peer.name])


def measure(bench, arguments, chosen):
    entries = {}
    for scenario in scenarios.ALL:
        if arguments.scenario and scenario.identity not in arguments.scenario:
            continue
        taking_part = [peer for peer in chosen if takes_part(scenario, peer)]
        rounds = 1 if scenario.once else arguments.rounds
        entries[scenario.identity] = {}
        for number in range(rounds):
            tell(f"bench: {scenario.identity}, round {number + 1} of {rounds}")
            measure_round(bench, scenario, taking_part, entries[scenario.identity])
    return entries


def tell_results(arguments, seen):
    seen.write(pathlib.Path(arguments.build, "bench.json"))
    print(report.Report(seen).text())
    if arguments.write or (not arguments.scenario and arguments.peers is None):
        path = ROOT / "docs/performance/results.json"
        kept = results.Results.read(path)
        lasting = [scenario.identity for scenario in scenarios.ALL if scenario.lasting]
        together = kept.renewed_by(seen.only(report.told_metrics()).unless_shorter(kept, lasting))
        together.write(path)
        report.Report(together).write(ROOT / "docs")
        tell("bench: wrote docs/performance.md and docs/performance/")


def main():
    arguments = read_arguments()
    go_inside()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended before its time"))  # with all that it started
    os.sched_setaffinity(0, {machine.BENCH_CORE})
    chosen, left_out = choose_peers(arguments)
    directory = tempfile.mkdtemp(prefix="dnseal-bench-")
    try:
        bench = Bench(arguments, directory)
        bench.prepare()
        measured_commit = results.commit()
        entries = measure(bench, arguments, check_identities(bench, chosen, left_out))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    run = results.describe(arguments, chosen, left_out, measured_commit)
    tell_results(arguments, results.Results.of_run(run, entries))


if __name__ == "__main__":
    main()
