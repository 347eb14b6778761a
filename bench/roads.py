"""Two servers behind a road that loses packets, and a server that nobody asked for a while."""
import dataclasses
import functools
import time

from beside import Beside, p99, quantile, watched
from machine import FAR, ask
from peers import US
from scenario import ROUND_TRIP, Bar, Scenario

LOSSES = (1, 5)  # percent
BUSY, QUIET = (200, 10), (20, 60)  # queries a second, seconds
WITHOUT = "dnseal without hedging"
RATE_STEADY, STEADY, CLOSES = 200, 15, 10
IDLE, IDLE_LONG = (15, 60), 10 * 60
EXTRA = 1.05  # queries of a server for each of a client


# ---- loss ----

def judge_lossy(load, place, asked_before):
    queries = load.queries()
    return {"p50": quantile(queries, 0.5), "p99": p99(queries), "failed": sum(not query.is_good() for query in queries),
            "asked": (place.asked() - asked_before) / len(queries)}


def compare_hedging(results):
    """What dnseal does without hedging becomes further metrics of dnseal, where both gave numbers."""
    ours, without = results.get(US), results.get(WITHOUT)
    if isinstance(ours, dict) and isinstance(without, dict):
        ours.update({f"{metric}_without": without[metric] for metric in ("p99", "failed", "asked")},
                    gain=ours["p99"] / without["p99"])
    return results


def measure_loss(loss, rate, seconds, bench, peers):
    without = [dataclasses.replace(peer, name=WITHOUT, words={"HEDGE": "false"}) for peer in peers if peer.name == US]
    with Beside(bench, [*peers, *without], loss=loss) as beside:
        before = {name: place.asked() for name, place in beside.places.items()}
        with watched(beside, rate=rate, seconds=max(bench.seconds, seconds)) as loads:
            results = beside.results(lambda name, place: judge_lossy(loads[name], place, before[name]))
    return compare_hedging(results)


# ---- rest ----

def judge_steady(load, place, handshakes_before):
    queries = load.queries()
    return {"handshakes": 1000 * (place.handshakes() - handshakes_before) / len(queries), "failures": 0}


def ask_first(place, numbers, idle):
    answer = ask(place.program.port, 5)
    if answer and answer[1] == 0:
        numbers[f"first_{idle}"] = answer[0] * 1000
    else:
        numbers["failures"] += 1


def measure_rest(bench, peers):
    """First a steady load, then one query after each time without any."""
    with Beside(bench, peers, addresses=(FAR,), idle=CLOSES) as beside:
        before = {name: place.handshakes() for name, place in beside.places.items()}
        with watched(beside, rate=RATE_STEADY, seconds=STEADY) as loads:
            results = beside.results(lambda name, place: judge_steady(loads[name], place, before[name]))
        for idle in (*IDLE, IDLE_LONG) if bench.long else IDLE:
            time.sleep(idle)
            for name, place in beside.places.items():
                if isinstance(results[name], dict):
                    ask_first(place, results[name], idle)
    return results


LOSSY = {"p50": "ms, p50", "p99": "ms, p99", "failed": "failed or unanswered", "asked": "queries to servers for each",
         "p99_without": "ms, p99 without hedging", "failed_without": "failed without hedging",
         "asked_without": "queries to servers for each without hedging", "gain": "p99 with / without hedging"}
RESTED = {**{f"first_{idle}": f"ms after {idle} s" for idle in (*IDLE, IDLE_LONG)}, "failures": "failures",
          "handshakes": f"handshakes a thousand queries at {RATE_STEADY}/s"}


def lossy(identity, loss, rate, seconds, gain, once):
    return Scenario(identity, f"{loss} % of all packets lost, two servers, {rate} queries a second, round trip of "
                    f"{ROUND_TRIP} ms", LOSSY, functools.partial(measure_loss, loss, rate, seconds),
                    (Bar("failed", "", False, 0), Bar("asked", "", False, EXTRA), Bar("gain", "", False, gain)),
                    joint=True, once=once, limit="")


# On a busy connection the next packets soon tell that one was lost, as soon as an answer counts as late; on a quiet one
# a timer does, and there a copy is quicker. Of a hundred queries one lost packet in twenty holds up ten, and copies may
# be five: they do not reach the 99th percentile. Where copies cannot gain they shall do no harm.
GAIN, NO_HARM = 0.8, 1.1

ALL = (
    *(lossy(f"PO5{loss}", loss, *BUSY, NO_HARM, once=False) for loss in LOSSES),
    *(lossy(f"PO5{loss}Q", loss, *QUIET, gain, once=True) for loss, gain in zip(LOSSES, (GAIN, NO_HARM))),
    Scenario("PO6", f"first query after a rest ({IDLE_LONG} s with --long alone), the server closes after {CLOSES} s, "
             f"round trip of {ROUND_TRIP} ms", RESTED, measure_rest,
             (Bar(f"first_{IDLE[0]}", "", False, 3.2 * ROUND_TRIP), Bar(f"first_{IDLE[1]}", "", False, ROUND_TRIP + 5),
              Bar(f"first_{IDLE_LONG}", "", False, 3.2 * ROUND_TRIP), Bar("failures", "", False, 0),
              Bar("handshakes", "", False, 1)), joint=True, once=True, lasting=True, limit=""),
)
