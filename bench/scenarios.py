"""What is measured, by its id, and the bar it is held to."""
import contextlib
import random
import time

import changes
import outages
import roads
from machine import FAR, PROGRAM_CORE, Failed, Load, Program, Server, ask, memory, road, switches, through
from peers import MIB
from scenario import ROUND_TRIP, Bar, Scenario

ROOMY, ENOUGH, SMALL = 256 * MIB, 1024, 4 * MIB  # caches: for Zipf's names, for each name, for a flood
ENTRIES = (100000, 1000000)
ROUTES = 10000
HOT, FLOODS = 1000, (1, 4)
BURST, SOCKETS = 256, 32  # for each worker
IDLE_LIMITS = (2, 10, 30)
IDLE_TIMES = 3  # how often the server's patience is tried: the last time counts as learned


# ---- one worker and two ----

def bursts(bench, workers, every):
    """As many queries for each worker, on so many sockets that each has its share of them. While they are sent no
    worker runs, and while the workers run the generator sleeps: so two find as many at a time as one does, although
    the second has its core."""
    return {"burst": BURST * workers, "sockets": SOCKETS * workers, "every": every, "core": PROGRAM_CORE,
            "seconds": max(bench.seconds, 3)}


def compare_workers(one, two, full_one, full_two):
    return {"one_us": one["cpu_us"], "two_us": two["cpu_us"], "ratio": two["cpu_us"] / one["cpu_us"],
            "full_one_us": full_one["cpu_us"], "full_two_us": full_two["cpu_us"]}


# ---- misses ----

@contextlib.contextmanager
def serving(bench, peer, server_options=None, rest=0.0, **words):
    with Server(bench, **(server_options or {})), Program(peer, bench, **words) as program:
        program.settle(rest)
        yield program


def loaded(bench, peer, server_options=None, words=None, **options):
    with serving(bench, peer, server_options, **(words or {})) as program:
        return Load(bench, program, **{"warmup": 0.4, "seconds": bench.seconds, **options}).result()


def measure_saturated(bench, peer):
    return loaded(bench, peer, outstanding=100)


def measure_twenty(bench, peer):
    return loaded(bench, peer, outstanding=20)


def measure_records(bench, peer, words=None, server_options=None, **options):
    """As `loaded`, and how many queries there are in one record of TLS."""
    with Server(bench, **(server_options or {})) as server, Program(peer, bench, **(words or {})) as program:
        program.settle()
        before = server.counters()
        seen = Load(bench, program, **{"warmup": 0.4, "seconds": bench.seconds, **options}).result()
        after = server.counters()
    return {**seen, "record": (after["queries"] - before["queries"]) / (after["reads"] - before["reads"])}


def measure_thousand(bench, peer):
    """So many that they do not fit into one record of TLS."""
    return measure_records(bench, peer, outstanding=1000)


def measure_steady(bench, peer):
    return loaded(bench, peer, rate=2000, seconds=max(bench.seconds, 3))


def measure_delayed(bench, peer):
    return loaded(bench, peer, {"delay": 5}, outstanding=500)


def measure_thousand_clients(bench, peer):
    seen = loaded(bench, peer, protocol="tcp", sockets=1000, outstanding=1000)
    return {**seen, "spread": seen["p99_us"] / seen["p50_us"]}


def measure_workers(bench, peer):
    """In bursts, and at saturation, where the second worker has to share its core with generator and server. The
    server answers a burst when all of it was written."""
    def burst(workers):
        return measure_records(bench, peer, {"WORKERS": workers}, {"delay": 5}, **bursts(bench, workers, 20))

    def full(workers):
        return measure_records(bench, peer, {"WORKERS": workers}, outstanding=100 * workers, sockets=SOCKETS * workers)
    one, two = burst(1), burst(2)
    return {**compare_workers(one, two, full(1), full(2)), "one_record": one["record"], "two_record": two["record"]}


def measure_bursts(bench, peer):
    lost = {}
    with serving(bench, peer) as program:
        for size in (500, 5000):
            seen = Load(bench, program, burst=size, sockets=1).result(failures_allowed=True)
            lost[f"lost_{size}"] = seen["lost"]
            lost[f"failed_{size}"] = seen["failed"]
            time.sleep(0.2)
    return lost


# ---- hits ----

def measure_hits(bench, peer, count, words=None, **options):
    """Names of a set that were all asked before; what the server is asked shows that they were kept."""
    with Server(bench) as server, Program(peer, bench, **(words or {})) as program:
        program.settle()
        before = server.counters()["queries"]
        seen = Load(bench, program, **{"set": count, "fill": True, "age": 60, "outstanding": 200, "warmup": 0.3,
                                       "timeout": 0.2, "seconds": bench.seconds, **options}).result()
        misses = server.counters()["queries"] - before - count
    if misses > 0.01 * seen["answered"]:
        raise Failed(f"void: {misses} of {seen['answered']} questions were no hits")
    return {**seen, "core": seen["qps"] * seen["cpu_us"] / 1e4, "spread": seen["p99_us"] / seen["p50_us"]}


def measure_thousand_names(bench, peer):
    return measure_hits(bench, peer, 1000)


def measure_zipf(bench, peer):
    return measure_hits(bench, peer, 100000, {"CACHE": ROOMY}, zipf=1)


def measure_one_stream(bench, peer):
    return measure_hits(bench, peer, 1000, protocol="tcp", sockets=1)


def measure_hundred_streams(bench, peer):
    return measure_hits(bench, peer, 1000, protocol="tcp", sockets=100, outstanding=400)


def measure_thousand_streams(bench, peer):
    return measure_hits(bench, peer, 1000, protocol="tcp", sockets=1000, outstanding=1000)


def measure_routes(bench, peer):
    """None of them is for the names that are asked."""
    routes = ", ".join(f"zone-{number}.test: default" for number in range(ROUTES))
    none = measure_hits(bench, peer, 1000)
    many = measure_hits(bench, peer, 1000, {"ROUTES": routes})
    return {"none_us": none["cpu_us"], "many_us": many["cpu_us"], "ratio": many["cpu_us"] / none["cpu_us"]}


def measure_hit_workers(bench, peer):
    """As measure_workers."""
    def burst(workers):
        return measure_hits(bench, peer, 1000, {"WORKERS": workers}, **bursts(bench, workers, 10))

    def full(workers):
        return measure_hits(bench, peer, 1000, {"WORKERS": workers}, outstanding=200 * workers,
                            sockets=SOCKETS * workers)
    return compare_workers(burst(1), burst(2), full(1), full(2))


def kept_share(bench, server, program, **options):
    """Of names that were asked before, those that the server is not asked for again."""
    before = server.counters()["queries"]
    asked = Load(bench, program, age=300, **options).result()["asked"]
    return 1 - (server.counters()["queries"] - before) / asked


def measure_entries(bench, peer):
    """Memory before and after a set was asked, for each name that is found again in a sample."""
    numbers = {}
    for count in ENTRIES:
        run = f"r{random.randrange(10 ** 9)}"
        with Server(bench) as server, Program(peer, bench, CACHE=count * ENOUGH) as program:
            program.settle()
            empty = memory(program.process.pid)["Pss"]
            Load(bench, program, run=run, set=count, fill=True, seconds=0, timeout=3, age=300).result(True)
            used = memory(program.process.pid)["Pss"] - empty
            kept = kept_share(bench, server, program, run=run, set=count, seconds=0.2)
            numbers[f"bytes_{count}"] = used * (1 << 20) / (count * kept)
            numbers[f"kept_{count}"] = 100 * kept
    return numbers


def measure_flood(bench, peer):
    """The share of questions for the hot names that is answered from the cache, when their share no longer moves."""
    numbers = {}
    for flood in FLOODS:
        run = f"r{random.randrange(10 ** 9)}"
        hot = {"run": run, "set": HOT, "zipf": 1, "flood": flood, "age": 60}
        with Server(bench) as server, Program(peer, bench, CACHE=SMALL) as program:
            program.settle()
            Load(bench, program, seconds=2).result()
            Load(bench, program, seconds=2, **hot).result()
            before = server.counters()["queries"]
            seen = Load(bench, program, seconds=2, first=50000000, **hot).result()
            misses = server.counters()["queries"] - before - (seen["asked"] - seen["from_set"])
            numbers[f"hits_{flood}"] = 100 * (1 - misses / seen["from_set"])
            numbers[f"flood_{flood}"] = seen["asked"] - seen["from_set"]
    return numbers


# ---- far servers ----

def measure_far(bench, peer):
    numbers = {}
    with road(bench, ROUND_TRIP / 2) as far, Server(bench, far=far), through(peer, bench, SERVER=FAR) as program:
        program.settle()
        for rate, seconds in ((100, 10), (1000, 5)):  # of a few queries the 99th percentile is the worst one
            seen = Load(bench, program, rate=rate, warmup=0.3, seconds=max(bench.seconds, seconds)).result()
            numbers[f"p50_{rate}"] = seen["p50_us"] / 1000 - ROUND_TRIP
            numbers[f"p99_{rate}"] = seen["p99_us"] / 1000 - ROUND_TRIP
    return numbers


def start_far_programs(bench, peers, stack, far):
    """A program of every peer for every patience of the server, each pair on ports of its own."""
    programs = []
    for limit in IDLE_LIMITS:
        server_port = 8500 + limit
        stack.enter_context(Server(bench, far=far, port=server_port, idle=limit))
        for peer in peers:
            words = {"SERVER": FAR, "SERVER_PORT": server_port, "PORT": 5300 + len(programs)}
            programs.append((peer.name, limit, stack.enter_context(Program(peer, bench, **words))))
    for _, _, program in programs:
        program.settle()
    return programs


def collect_first_queries(programs):
    """The first query after the server's patience has ended, IDLE_TIMES times: lists of milliseconds or None."""
    first = {(name, limit): [] for name, limit, _ in programs}
    due = []
    for name, limit, program in programs:
        ask(program.port, 5)
        due.append((time.monotonic() + limit + 1, name, limit, program))
    while due:
        due.sort(key=lambda entry: entry[0])
        at, name, limit, program = due.pop(0)
        time.sleep(max(0, at - time.monotonic()))
        answer = ask(program.port, 5)
        times = first[name, limit]
        times.append(answer[0] * 1000 if answer and answer[1] == 0 else None)
        if len(times) < IDLE_TIMES:
            due.append((time.monotonic() + limit + 1, name, limit, program))
    return first


def measure_idle_close(bench, peers):
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(road(bench, ROUND_TRIP / 2))
        first = collect_first_queries(start_far_programs(bench, peers, stack, far))
    numbers = {peer.name: {"failures": 0} for peer in peers}
    for (name, limit), times in first.items():
        numbers[name]["failures"] += times.count(None)
        numbers[name][f"before_{limit}"] = times[0]
        numbers[name][f"learned_{limit}"] = times[-1]
    return numbers


# ---- memory, start, rest ----

def measure_memory(bench, peer):
    numbers = {}
    for suffix, authority in (("", f"{bench.directory}/authority.pem"), ("_bundle", bench.bundle)):
        with serving(bench, peer, rest=0.3, AUTHORITY=authority) as program:
            used = memory(program.process.pid)
            numbers["rss" + suffix], numbers["pss" + suffix] = used["Rss"], used["Pss"]
    return {**numbers, "more": numbers["rss_bundle"] - numbers["rss"]}


def measure_start(bench, peer):
    numbers = {}
    for name, authority in (("start", f"{bench.directory}/authority.pem"), ("start_bundle", bench.bundle)):
        times = []
        for _ in range(3):
            with Server(bench), Program(peer, bench, AUTHORITY=authority) as program:
                times.append(program.first_answer())
        numbers[name] = sorted(times)[1]
    return numbers


def measure_rest(bench, peers):
    """Everybody rests beside the others after a first query; dnseal does not keep its connection ready for a second.
    `settled` seconds later their sleeps are counted."""
    settled, counted = 12, 10
    with contextlib.ExitStack() as stack:
        stack.enter_context(Server(bench))
        programs = [stack.enter_context(Program(peer, bench, PORT=5300 + number, WARM="1s"))
                    for number, peer in enumerate(peers)]
        for program in programs:
            program.settle()
        time.sleep(settled)
        before = [switches(program.process.pid) for program in programs]
        time.sleep(counted)
        return {program.peer.name: {"wakeups": (switches(program.process.pid) - count) / counted}
                for program, count in zip(programs, before)}


MISS = {"qps": "q/s", "cpu_us": "µs of CPU a query", "p50_us": "µs, p50", "p99_us": "µs, p99"}
HIT = {**MISS, "core": "% of its core"}
WORKERS = {"one_us": "µs of CPU a query, one", "two_us": "µs of CPU a query, two", "ratio": "two / one",
           "full_one_us": "µs at saturation, one", "full_two_us": "µs at saturation, two"}
RECORDS = {"one_record": "queries a record, one", "two_record": "queries a record, two"}

ALL = (
    Scenario("PA", "UDP hits at saturation, 1,000 names", HIT, measure_thousand_names,
             (Bar("qps", "limit", True, 0.80, 0.90), Bar("cpu_us", "limit", False, 1 / 0.80, 1 / 0.90),
              Bar("qps", "best peer", True, 1)), limit="echo", hits=True),
    Scenario("PA2", "UDP hits at saturation, 100,000 names by Zipf's law", HIT, measure_zipf,
             (Bar("qps", "limit", True, 0.72, 0.85), Bar("cpu_us", "limit", False, 1 / 0.72, 1 / 0.85),
              Bar("qps", "best peer", True, 1)), limit="echo", hits=True),
    Scenario("PB", "UDP misses at saturation, 100 outstanding", MISS, measure_saturated,
             (Bar("qps", "limit", True, 0.50, 0.70), Bar("qps", "best peer", True, 2.5))),
    Scenario("PB20", "UDP misses, 20 outstanding", MISS, measure_twenty, (Bar("qps", "limit", True, 0.63, 0.80),)),
    Scenario("PB1000", "UDP misses, 1,000 outstanding", {**MISS, "record": "queries a record"}, measure_thousand,
             (Bar("qps", "limit", True, 0.50, 0.70), Bar("qps", "best peer", True, 2.5))),
    Scenario("PBR", "UDP misses at 2,000 queries a second", MISS, measure_steady,
             (Bar("cpu_us", "limit", False, 1.17, 1.07),)),
    Scenario("PB5", "UDP misses, the server answers after 5 ms, 500 outstanding", MISS, measure_delayed),
    Scenario("PD", f"UDP misses at a round trip of {ROUND_TRIP} ms: what is added to it",
             {"p50_100": "ms, p50 at 100/s", "p99_100": "ms, p99 at 100/s", "p50_1000": "ms, p50 at 1,000/s",
              "p99_1000": "ms, p99 at 1,000/s"}, measure_far,
             (Bar("p50_100", "", False, 0.3), Bar("p99_100", "", False, 1), Bar("p50_1000", "", False, 0.3),
              Bar("p99_1000", "", False, 1), Bar("p50_100", "limit difference", False, 0.3),
              Bar("p99_100", "limit difference", False, 1), Bar("p50_1000", "limit difference", False, 0.3),
              Bar("p99_1000", "limit difference", False, 1), Bar("p50_100", "direct difference", False, 0.3),
              Bar("p99_100", "direct difference", False, 1), Bar("p50_1000", "direct difference", False, 0.3),
              Bar("p99_1000", "direct difference", False, 1)), direct=True),
    Scenario("PD2", f"first query after the server closed at 2, 10, 30 s, round trip of {ROUND_TRIP} ms",
             {**{f"before_{limit}": f"ms, {limit} s, first time" for limit in IDLE_LIMITS},
              **{f"learned_{limit}": f"ms, {limit} s, time {IDLE_TIMES}" for limit in IDLE_LIMITS},
              "failures": "failures"}, measure_idle_close,
             (*(Bar(f"before_{limit}", "", False, 3.2 * ROUND_TRIP) for limit in IDLE_LIMITS),
              *(Bar(f"learned_{limit}", "", False, ROUND_TRIP + 5) for limit in IDLE_LIMITS),
              Bar("failures", "", False, 0)), joint=True, once=True, limit=""),
    Scenario("PE", "memory for a kept answer: one address, a name of 36 bytes",
             {**{f"bytes_{count}": f"bytes, {count:,} names" for count in ENTRIES},
              **{f"kept_{count}": f"% kept of {count:,}" for count in ENTRIES}}, measure_entries,
             tuple(Bar(f"bytes_{count}", "", False, 130, 100) for count in ENTRIES), once=True, limit="", hits=True),
    Scenario("PE2", "memory after the first answer, all processes, one worker",
             {"rss": "MB resident", "pss": "MB proportional", "rss_bundle": "MB resident, Debian's authorities",
              "pss_bundle": "MB proportional, Debian's authorities", "more": "MB more"}, measure_memory,
             (Bar("rss", "", False, 10, 8), Bar("more", "", False, 1))),
    Scenario("PG1", "from exec to the first answer", {"start": "ms", "start_bundle": "ms, Debian's authorities"},
             measure_start, (Bar("start", "", False, 10, 7.5), Bar("start_bundle", "", False, 40))),
    *outages.ALL,
    *changes.ALL,
    *roads.ALL,
    Scenario("PH", "wake-ups at rest, after the time for which a connection is kept ready", {"wakeups": "a second"},
             measure_rest, (Bar("wakeups", "", False, 0),), joint=True, once=True),
    Scenario("PL", "a burst of queries on a fresh socket",
             {"lost_500": "lost of 500", "failed_500": "failed of 500", "lost_5000": "lost of 5,000",
              "failed_5000": "failed of 5,000"}, measure_bursts,
             (Bar("lost_500", "", False, 0), Bar("failed_500", "", False, 0), Bar("lost_5000", "", False, 0))),
    Scenario("PF", "1,000 TCP clients, one miss each", {**MISS, "spread": "p99 / p50"}, measure_thousand_clients,
             limit="", streams=True),
    Scenario("PF1", "TCP hits, one connection, 200 outstanding", HIT, measure_one_stream,
             (Bar("qps", "limit", True, 0.25, 0.5),), limit="echo", streams=True, hits=True),
    Scenario("PF2", "TCP hits, 100 connections, four outstanding on each", HIT, measure_hundred_streams,
             (Bar("qps", "limit", True, 0.5, 0.7),), limit="echo", streams=True, hits=True),
    Scenario("PF3", "TCP hits, 1,000 connections, one outstanding on each", {**HIT, "spread": "p99 / p50"},
             measure_thousand_streams, (Bar("qps", "limit", True, 0.85, 0.94), Bar("spread", "", False, 2)),
             limit="echo", streams=True, hits=True),
    Scenario("PR", f"hits of {HOT:,} names by Zipf's law while new names flood a cache of 4 MiB",
             {**{f"hits_{flood}": f"% hits, {flood} new for each" for flood in FLOODS},
              **{f"flood_{flood}": f"new names, {flood} for each" for flood in FLOODS}}, measure_flood,
             tuple(Bar(f"hits_{flood}", "best peer", True, 0.99) for flood in FLOODS), once=True, limit="", hits=True),
    Scenario("PRT", f"UDP hits with {ROUTES:,} routes against none",
             {"none_us": "µs of CPU a query, none", "many_us": "µs of CPU a query, many", "ratio": "many / none"},
             measure_routes, (Bar("ratio", "", False, 1.1),), limit="", peers=False),
    Scenario("PWH", f"two workers against one, hits in bursts of {BURST} for each", WORKERS,
             measure_hit_workers, (Bar("ratio", "", False, 1.1, 1.0),), limit="", peers=False),
    Scenario("PW", f"two workers against one, misses in bursts of {BURST} for each", {**WORKERS, **RECORDS},
             measure_workers, (Bar("ratio", "", False, 1.1, 1.0),), limit="", peers=False),
)
