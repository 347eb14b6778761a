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
import changes
import machine
import outages
import peers
import plot
import report
import results
import roads
import run
import scenario
import scenarios

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


def check_changes():
    calm = [(AWAY - 0.88, AWAY - 0.879, 0), (AWAY + 0.12, AWAY + 0.122, 0), (AWAY + 1.52, AWAY + 1.523, 0)]
    seen = changes.judge_change(load(*calm, (AWAY + 0.22, AWAY + 0.32, 2)).queries(), AWAY)
    slices = seen.pop(scenario.TIMELINE)
    expect("a change", {metric: round(value) for metric, value in seen.items()},
           {"failed": 1, "before": 1, "p99": 100, "longest_before": 1, "longest": 100})
    expect("its timeline", {at: value for at, value in enumerate(slices) if value}, {22: 1, 42: 2, 44: 100, 70: 3})
    dying = (AWAY + 0.001, AWAY + 0.002, 0)
    seen = changes.judge_death(load(*calm, dying, (AWAY + 1.1, AWAY + 1.2, 2)).queries(), AWAY)
    expect("a death", (round(seen["back"]), seen["late"]), (122, 1))
    expect("a death without a return", failure_of(changes.judge_death, load(calm[0], dying).queries(), AWAY),
           "no good answer after the engine died")
    drawn = plot.timeline("X", "ms", slices)
    expect("what is drawn", (drawn.count(","), ">100<" in drawn), (len(slices), True))


def check_hedging():
    seen = {metric: 2 for metric in ("p50", "p99", "failed", "asked")}
    compared = roads.compare_hedging({peers.US: dict(seen), roads.WITHOUT: {**seen, "p99": 4}})
    expect("p99 with and without hedging", compared[peers.US]["gain"], 0.5)
    compared = roads.compare_hedging({peers.US: dict(seen), roads.WITHOUT: machine.Failed("why")})
    expect("nothing to compare with", compared[peers.US], seen)


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
    entries = {}
    with contextlib.redirect_stderr(io.StringIO()) as told:
        run.measure_round(None, hits, taking_part, entries)
    expect("a failure is told at once", told.getvalue(), "bench: X unbound: it did not start\n")
    seen = results.Results.of_run({"left_out": {"dnsdist": "not installed"}}, {"X": entries})
    lines = list(report.Report(seen).numbers(hits))
    expect("the table", lines[2:], ["| dnseal | 5 | 1 of 1 |", "| unbound | – | 0 of 1: it did not start |", "",
                                    "Left out: dnsdist (not installed), stubby (keeps no answers)."])


def run_of(commit, **entries):
    told = {"command": f"./dev bench {commit}", "rounds": 3, "seconds": 1, "date": "2026-01-01", "commit": commit,
            "load": "0.00", "machine": "a machine", "versions": "dnseal 1", "left_out": {}}
    return results.Results.of_run(told, {identity: {peers.US: numbers} for identity, numbers in entries.items()})


def check_renewal(directory):
    """A run of some scenarios takes the place of their numbers alone, and each scenario tells its run."""
    path = pathlib.Path(directory, "results.json")
    expect("nothing is kept yet", results.Results.read(path).scenarios, {})
    old = run_of("old", PA=[{"qps": 1, "sent": 5}], PRT=[{"ratio": 1}, {"ratio": 3}], PH=[{"wakeups": 0}])
    first = old.renewed_by(run_of("some", PRT=[{"ratio": 7}, {"ratio": 9}]))
    first.only(report.told_metrics()).write(path)
    read = results.Results.read(path)
    expect("runs", [read.run_of(identity)["commit"] for identity in ("PA", "PRT", "PH")], ["old", "some", "old"])
    expect("entries", (read.entries("PRT"), read.entries("PA")),
           ({peers.US: [{"ratio": 7}, {"ratio": 9}]}, {peers.US: [{"qps": 1}]}))
    last = read.renewed_by(run_of("others", PA=[{"qps": 2}], PH=[{"wakeups": 1}]))
    expect("a run that nothing comes from is dropped", [told["commit"] for told in last.runs], ["some", "others"])
    check_document(last, pathlib.Path(directory))


def check_lasting():
    """What took a quarter of an hour is not replaced by what took seconds."""
    kept = run_of("old --long", PO4=[{"back": 1}], PA=[{"qps": 1}]).renewed_by(run_of("old", PO6=[{"failures": 1}]))
    newer = run_of("new", PO4=[{"back": 2}], PO6=[{"failures": 2}], PA=[{"qps": 2}])
    told = kept.renewed_by(newer.unless_shorter(kept, ["PO4", "PO6"]))
    expect("who is renewed", {identity: told.run_of(identity)["commit"] for identity in told.scenarios},
           {"PO4": "old --long", "PO6": "new", "PA": "new"})
    longer = run_of("newer --long", PO4=[{"back": 3}])
    told = told.renewed_by(longer.unless_shorter(told, ["PO4", "PO6"]))
    expect("a long run renews a long one", told.entries("PO4"), {peers.US: [{"back": 3}]})
    expect("what --long makes longer", [one.identity for one in scenarios.ALL if one.lasting], ["PO4", "PO4B", "PO6"])


def check_document(seen, docs):
    (docs / "performance").mkdir()
    (docs / "performance/PX.svg").touch()
    report.Report(seen).write(docs)
    text = (docs / "performance.md").read_text()
    for line in ("| 1 | 2026-01-01 | some | `./dev bench some` | 3 of 1 s | 0.00 | PRT |",
                 "| 2 | 2026-01-01 | others | `./dev bench others` | 3 of 1 s | 0.00 | PA, PH |",
                 "| PRT | many / none | 8 | ≤ 1.1 |  | **missed** |"):
        expect(f"the document says {line}", line in text, True)
    expect("each scenario tells its run", [line for line in text.splitlines() if line.startswith(("### P", "Run "))],
           [line for identity, number in (("PA", 2), ("PH", 2), ("PRT", 1))
            for line in (f"### {identity}: {title_of(identity)}", f"Run {number}.")])
    expect("plots", sorted(plot.name for plot in (docs / "performance").iterdir()), ["PA.svg", "PH.svg", "PRT.svg"])


def title_of(identity):
    return next(known.title for known in scenarios.ALL if known.identity == identity)


def fail_for_unbound(_, peer):
    if peer.name == "unbound":
        raise machine.Failed("it did not start")
    return {"qps": 5}


def main():
    check_log()
    check_outage()
    check_changes()
    check_loss_of_one()
    check_hedging()
    with tempfile.TemporaryDirectory() as directory:
        check_templates(directory)
    with tempfile.TemporaryDirectory() as directory:
        check_renewal(directory)
    check_lasting()
    check_table()


if __name__ == "__main__":
    main()
