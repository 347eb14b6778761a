"""Servers that go away while programs are asked: the only one, which comes back, and one of two, which does not."""
import contextlib
import functools
import signal
import time

from beside import Beside, attempt, p99, watch, watched
from machine import FAR, FAR2, Failed, Program, Server
from scenario import Bar, Scenario

RATE_OUTAGE, OUTAGE = 200, 5
RATE_LONG, LONG, VERY_LONG, RETURN = 50, 60, 15 * 60, 10
RATE_PAIR, BEFORE, AT_ONCE, AFTERWARDS = 500, 2, 2, 2


# ---- the only server ----

def judge_outage(load, away, back):
    queries = load.queries()
    good = [query.answered for query in queries if query.is_good() and query.answered > back]
    if not good:
        raise Failed("no good answer after the server was back")
    first = min(good)
    during = [query for query in queries if away <= query.asked < back]
    return {"back": (first - back) * 1000,
            "unanswered": sum(query.is_late() for query in during),
            "saved": 100 * sum(query.is_good() for query in during) / max(1, len(during)),
            "failed_after": sum(query.rcode != 0 for query in queries if query.asked > first)}


def measure_outage(bench, peers):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(bench))
        programs = {peer.name: stack.enter_context(Program(peer, bench, PORT=5300 + number))
                    for number, peer in enumerate(peers)}
        for program in programs.values():
            program.settle()
        loads = stack.enter_context(watch(bench, programs, rate=RATE_OUTAGE, seconds=OUTAGE + 4))
        time.sleep(1)
        away = time.monotonic()
        server.go_or_come()
        time.sleep(OUTAGE)
        back = time.monotonic()
        server.go_or_come()
        return {name: attempt(judge_outage, load, away, back) for name, load in loads.items()}


def refuse(beside, is_away):
    for place in beside.places.values():
        place.servers[0].go_or_come()


def vanish(beside, is_away):
    beside.road.lose(FAR if is_away else None)


def count_connects(beside):
    return {name: beside.road.connects(place.servers[0].port) for name, place in beside.places.items()}


def measure_long_outage(happens, bench, peers):
    lasts = VERY_LONG if bench.long else LONG
    with Beside(bench, peers, addresses=(FAR,)) as beside, \
            watched(beside, rate=RATE_LONG, seconds=1 + lasts + RETURN) as loads:
        time.sleep(1)
        before, away = count_connects(beside), time.monotonic()
        happens(beside, True)
        time.sleep(lasts)
        after, back = count_connects(beside), time.monotonic()
        happens(beside, False)
        return beside.results(lambda name, _: {
            **judge_outage(loads[name], away, back), "connects": (after[name] - before[name]) / (back - away)})


# ---- one of two servers ----

def kill(beside, victim):
    for place in beside.places.values():
        place.servers[victim].process.kill()


def stop(beside, victim):
    for place in beside.places.values():
        place.servers[victim].process.send_signal(signal.SIGSTOP)


def lose(beside, victim):
    beside.road.lose((FAR, FAR2)[victim])


def judge_loss_of_one(load, event):
    queries = load.queries()
    before = p99([query for query in queries if event - 1.5 <= query.asked and query.answered < event])
    at_once = [query for query in queries if event <= query.asked < event + AT_ONCE]
    after = p99([query for query in queries if query.asked >= event + AT_ONCE])
    return {"failed": sum(not query.is_good() for query in queries),
            "p99": p99(at_once), "longest": max(query.milliseconds() for query in at_once),
            "before": before, "after": after, "ratio": after / before}


def measure_loss_of(victim, happens, bench, peers):
    with Beside(bench, peers) as beside, \
            watched(beside, rate=RATE_PAIR, seconds=BEFORE + AT_ONCE + AFTERWARDS) as loads:
        time.sleep(BEFORE)
        event = time.monotonic()
        happens(beside, victim)
        return beside.results(lambda name, _: judge_loss_of_one(loads[name], event))


def worse(one, other):
    for numbers in (one, other):
        if isinstance(numbers, Failed):
            return numbers
    return {metric: max(value, other[metric]) for metric, value in one.items()}


def measure_loss_of_one(happens, bench, peers):
    """Once the first of the configuration, once the second, and of each metric the worse."""
    first, second = (measure_loss_of(victim, happens, bench, peers) for victim in (0, 1))
    return {name: worse(numbers, second[name]) for name, numbers in first.items()}


AWAY = {"back": "ms from its return to a good answer", "unanswered": "unanswered within the deadline",
        "saved": "% of the outage's queries answered well", "failed_after": "failed afterwards"}
AWAY_LONG = {**AWAY, "connects": "SYNs to it a second"}
LONG_TITLE = f"for {LONG} s ({VERY_LONG // 60} min with --long) at {RATE_LONG} queries a second"
ONE_OF_TWO = {"failed": "failed or unanswered", "p99": f"ms, p99 of the first {AT_ONCE} s",
              "longest": f"ms, longest of the first {AT_ONCE} s", "before": "ms, p99 before",
              "after": "ms, p99 afterwards", "ratio": "p99 afterwards / before"}


def long_outage(identity, title, happens):
    return Scenario(identity, f"the only server {title} {LONG_TITLE}", AWAY_LONG,
                    functools.partial(measure_long_outage, happens),
                    (Bar("back", "", False, 2000, 300), Bar("unanswered", "", False, 0),
                     Bar("failed_after", "", False, 0), Bar("connects", "", False, 4)), joint=True, once=True, lasting=True,
                    limit="")


def loss_of_one(identity, title, happens):
    return Scenario(identity, f"one of two servers {title} at {RATE_PAIR} queries a second", ONE_OF_TWO,
                    functools.partial(measure_loss_of_one, happens),
                    (Bar("failed", "", False, 0), Bar("p99", "", False, 2000), Bar("ratio", "", False, 1.5)),
                    joint=True, limit="")


ALL = (
    Scenario("PG2", f"the only server refuses for {OUTAGE} s at {RATE_OUTAGE} queries a second", AWAY, measure_outage,
             (Bar("back", "", False, 300), Bar("unanswered", "", False, 0), Bar("failed_after", "", False, 0)),
             joint=True, limit=""),
    loss_of_one("PO1", "is killed", kill),
    loss_of_one("PO2", "is stopped", stop),
    loss_of_one("PO3", "is lost from the road", lose),
    long_outage("PO4", "refuses", refuse),
    long_outage("PO4B", "is lost from the road", vanish),
)
