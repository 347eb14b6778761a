#!/usr/bin/python3
"""Shows that what the bench makes of its measurements is right: the judgement of outages and losses, the
configurations of the programs, and the table that tells who is missing and why. Called by meson."""
import contextlib
import io
import pathlib
import sys
import tempfile
import types

import beside
import machine
import outages
import peers
import report
import roads
import run
import scenario

AWAY, BACK = 100.0, 105.0


def expect(what, seen, wanted):
    if seen != wanted:
        sys.exit(f"check: {what}: {seen} instead of {wanted}")


def load(*queries):
    return types.SimpleNamespace(queries=lambda: [beside.Query(*query) for query in queries])


def failure_of(measure, *arguments):
    seen = beside.attempt(measure, *arguments)
    return str(seen) if isinstance(seen, machine.Failed) else f"no failure: {seen}"


def check_log():
    read = beside.WatchedLoad.read
    expect("a line of the log", read("500.000 20.000 0", 10), beside.Query(10.5, 10.52, 0))
    expect("one without an answer", read("500.000 -1.000 -1", 10), beside.Query(10.5, 10.5 + beside.PATIENCE, -1))
    expect("an answer that comes too late is not good", beside.Query(0, 4.7, 0).is_good(), False)
    expect("a failure is not good", beside.Query(0, 0.1, 2).is_good(), False)
    queries = [beside.Query(0, milliseconds / 1000, 0) for milliseconds in range(1, 101)]
    expect("p99", beside.p99(queries), 100)
    expect("p50", beside.quantile(queries, 0.5), 51)
    expect("nothing has no p99", failure_of(beside.p99, []), "nothing was asked in the time that counts")


def check_outage():
    seen = outages.judge_outage(load((99, 99.1, 0), (101, 101.2, 2), (101, 107, -1), (104, 105.5, 0), (106, 106.1, 2)),
                                AWAY, BACK)
    expect("an outage", seen, {"back": 500, "unanswered": 1, "saved": 100 / 3, "failed_after": 1})
    expect("an outage without an end", failure_of(outages.judge_outage, load((99, 99.1, 0), (101, 106, 2)), AWAY, BACK),
           "no good answer after the server was back")


def check_loss_of_one():
    before = (AWAY - 1, AWAY - 0.98, 0)
    seen = outages.judge_loss_of_one(load(before, (100.5, 101.5, 0), (101, 102, 2), (103, 103.04, 0)), AWAY)
    expect("the loss of one", {metric: round(value) for metric, value in seen.items()},
           {"failed": 1, "p99": 1000, "longest": 1000, "before": 20, "after": 40, "ratio": 2})
    seen = outages.worse({"p99": 1, "failed": 3}, {"p99": 2, "failed": 0})
    expect("the worse of both", seen, {"p99": 2, "failed": 3})
    failed = machine.Failed("why")
    expect("nothing is the worst", outages.worse({"p99": 1}, failed), failed)


def check_hedging():
    seen = {metric: 2 for metric in ("p50", "p99", "failed", "asked")}
    results = roads.compare_hedging({peers.US: dict(seen), roads.WITHOUT: {**seen, "p99": 4}})
    expect("p99 with and without hedging", results[peers.US]["gain"], 0.5)
    results = roads.compare_hedging({peers.US: dict(seen), roads.WITHOUT: machine.Failed("why")})
    expect("nothing to compare with", results[peers.US], seen)


def check_templates(directory):
    words = {**dict.fromkeys(("PORT", "SERVER_PORT", "NAME", "AUTHORITY", "WORKERS", "WARM"), "1"),
             "SERVER": "192.0.2.1", "RUN": directory}
    for peer in peers.known("build").values():
        if peer.template:
            one = configuration(peer, words)
            two = configuration(peer, {**words, "SERVER2": "192.0.2.2", "SERVER2_PORT": 2})
            more = [line for line in two.splitlines() if line not in one.splitlines()]
            expect(f"{peer.name} is told both servers", ["192.0.2.2" in line for line in more], [True])
            expect(f"all words of {peer.name}", [line for line in two.splitlines() if peers.WORD.search(line)], [])


def configuration(peer, words):
    peer.prepare(words)
    return pathlib.Path(words["RUN"], peer.template).read_text()


def check_table():
    """Who has no numbers, and who takes no part."""
    hits = scenario.Scenario("X", "hits", {"qps": "q/s"}, fail_for_unbound, limit="echo", hits=True)
    chosen = [peer for peer in peers.known("build").values() if peer.name in (peers.US, "unbound", "stubby")]
    taking_part = [peer for peer in chosen if run.takes_part(hits, peer)]
    results = {}
    with contextlib.redirect_stderr(io.StringIO()) as told:
        run.measure_round(None, hits, taking_part, results)
    expect("a failure is told at once", told.getvalue(), "bench: X unbound: it did not start\n")
    arguments = types.SimpleNamespace()
    lines = list(report.Run({"X": results}, chosen, {"dnsdist": "not installed"}, arguments).numbers(hits))
    expect("the table", lines[2:], ["| dnseal | 5 | 1 of 1 |", "| unbound | – | 0 of 1: it did not start |", "",
                                    "Left out: stubby (keeps no answers), dnsdist (not installed)."])


def fail_for_unbound(_, peer):
    if peer.name == "unbound":
        raise machine.Failed("it did not start")
    return {"qps": 5}


def main():
    check_log()
    check_outage()
    check_loss_of_one()
    check_hedging()
    with tempfile.TemporaryDirectory() as directory:
        check_templates(directory)
    check_table()


if __name__ == "__main__":
    main()
