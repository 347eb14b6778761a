"""Changes in the middle of a load: another configuration, another program, an engine that dies. All that is asked is in
the cache; the old engine and the next one share the program's core with the load that they answer."""
import functools
import os
import signal
import subprocess
import time

from beside import WatchedLoad, p99
from machine import Failed, Program, Server, descendants
from peers import US
from scenario import TIMELINE, Bar, Scenario

RATE, NAMES, BEFORE, AFTERWARDS, AROUND = 10000, 1000, 2, 2, 1
SLICE = 0.05  # seconds, of the timeline
DYING = 0.01  # seconds after the signal in which an engine may still answer


# ---- the changes ----

def control(program, order):
    command = [*program.command, "--control", order]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    if result.returncode != 0:
        raise Failed(f"{order}: {result.stderr.strip()}")


def reload(program):
    control(program, "reload")


def upgrade(program):
    control(program, "upgrade")


def kill(program):
    os.kill(descendants(program.process.pid)[1], signal.SIGKILL)


# ---- what came of it ----

def timeline(queries, event):
    """The longest of each slice, in milliseconds; the event is at BEFORE."""
    longest = [0.0] * int((BEFORE + AFTERWARDS) / SLICE)
    for query in queries:
        at = int((query.asked - event + BEFORE) / SLICE)
        if 0 <= at < len(longest):
            longest[at] = max(longest[at], round(query.milliseconds(), 3))
    return longest


def judge_change(queries, event):
    def between(begin, end):
        return [query for query in queries if event + begin <= query.asked < event + end]
    before, at_once = between(-AROUND, 0), between(0, AROUND)
    return {"failed": sum(not query.is_good() for query in queries), "before": p99(before), "p99": p99(at_once),
            "longest_before": max(query.milliseconds() for query in before),
            "longest": max(query.milliseconds() for query in at_once), TIMELINE: timeline(queries, event)}


def judge_death(queries, event):
    """It serves again with the first answer to a question that was asked after the engine had died."""
    good = [query.answered for query in queries if query.is_good() and query.asked > event + DYING]
    if not good:
        raise Failed("no good answer after the engine died")
    return {**judge_change(queries, event), "back": (min(good) - event) * 1000,
            "late": sum(not query.is_good() for query in queries if query.asked > event + 1)}


def measure_change(happens, judge, bench, peers, **options):
    peer = next(peer for peer in peers if peer.name == US)
    with Server(bench) as server, Program(peer, bench, CONTROL=f"{bench.directory}/control") as program:
        program.settle()
        with WatchedLoad(bench, program, set=NAMES, fill=True, age=60, rate=RATE, seconds=BEFORE + AFTERWARDS + 1,
                         **options) as load:
            time.sleep(BEFORE + 0.5)  # the names are asked once before anything counts
            asked, event = server.counters()["queries"], time.monotonic()
            happens(program)
            queries = load.queries()
        if server.counters()["queries"] > asked:
            raise Failed("void: the server was asked for names that were kept")
    return {US: judge(queries, event)}


CHANGE = {"longest": "ms, longest of the second after it", "longest_before": "ms, longest of the second before",
          "p99": "ms, p99 of the second after it", "before": "ms, p99 of the second before", "failed": "failed or unanswered"}


def change(identity, title, happens, **options):
    return Scenario(identity, f"{title} in the middle of {RATE:,} hits a second",
                    CHANGE, functools.partial(measure_change, happens, judge_change, **options),
                    (Bar("failed", "", False, 0), Bar("longest", "", False, 50, 10)), joint=True, limit="", peers=False)


ALL = (
    change("PC1", "a reload", reload),
    change("PC2", "an upgrade", upgrade),
    change("PC3", "an upgrade, over TCP,", upgrade, protocol="tcp", sockets=20),
    Scenario("PC4", f"the engine is killed in the middle of {RATE:,} hits a second",
             {"back": "ms until it serves again", **CHANGE, "late": "failed or unanswered, asked a second later"},
             functools.partial(measure_change, kill, judge_death),
             (Bar("back", "", False, 1000, 300), Bar("late", "", False, 0)), joint=True, limit="", peers=False),
)
