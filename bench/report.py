"""Turns what was measured into medians, ratios of one round, verdicts, a table on standard output and the documents."""
import operator
import statistics

import peers
import plot
import scenarios
from beside import DEADLINE, PATIENCE
from peers import DIRECT, US
from scenario import TIMELINE

VOID = "void"  # in the place of numbers: why there are none


def median(entries, metric):
    values = [entry[metric] for entry in entries if entry.get(metric) is not None]
    return statistics.median(values) if values else None


def show(value):
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def row(cells):
    return "| " + " | ".join(cells) + " |"


def told_metrics():
    """By the id of a scenario, what its table and its bars need of an entry."""
    return {scenario.identity: {*scenario.metrics, *(bar.metric for bar in scenario.bars), VOID, TIMELINE}
            for scenario in scenarios.ALL}


class Report:
    """Everything that is known of the scenarios of some results (see results.py)."""

    def __init__(self, results):
        self.results = results
        self.chosen = [scenario for scenario in scenarios.ALL if scenario.identity in results.scenarios]

    def entries(self, scenario):
        return self.results.entries(scenario.identity)

    # ---- numbers ----

    def best_peer(self, scenario, bar):
        """By its median."""
        others = {name: median(entries, bar.metric) for name, entries in self.entries(scenario).items()
                  if name not in (US, *scenario.yardsticks())}
        others = {name: value for name, value in others.items() if value}
        if not others:
            return None
        return (max if bar.least else min)(others, key=others.get)

    def compared(self, scenario, metric, other, compare):
        """The median of what `compare` makes of dnseal's and another's value in one round."""
        results = self.entries(scenario)
        values = [compare(ours[metric], theirs[metric]) for ours, theirs in zip(results[US], results.get(other, []))
                  if metric in ours and theirs.get(metric)]
        return statistics.median(values) if values else None

    def judged(self, scenario, bar):
        """The value that is held to the bar, and what it is."""
        unit = scenario.metrics[bar.metric]
        if not bar.against:
            return median(self.entries(scenario)[US], bar.metric), unit
        if bar.against in ("limit difference", "direct difference"):
            other = DIRECT if bar.against == "direct difference" else scenario.limit
            return self.compared(scenario, bar.metric, other, operator.sub), f"{unit}: more than {other}"
        other = scenario.limit if bar.against == "limit" else self.best_peer(scenario, bar)
        return self.compared(scenario, bar.metric, other, operator.truediv), f"{unit}: ratio to {other or 'no peer'}"

    @staticmethod
    def verdict(bar, value):
        if value is None:
            return "not measured"

        def reaches(goal):
            return goal is not None and (value >= goal if bar.least else value <= goal)
        if bar.against == "limit" and (value > 1 if bar.least else value < 1):
            return "met; beyond the limit, so this machine had other work"
        if reaches(bar.further):
            return "met, and the further goal"
        return "met" if reaches(bar.bar) else "**missed**"

    # ---- tables ----

    def verdicts(self):
        yield row(["id", "what", "measured", "bar", "further", "verdict"])
        yield row(["---"] * 6)
        for scenario in self.chosen:
            for bar in scenario.bars:
                value, what = self.judged(scenario, bar)
                sign = "≥" if bar.least else "≤"
                further = f"{sign} {show(bar.further)}" if bar.further is not None else ""
                yield row([scenario.identity, what, show(value), f"{sign} {show(bar.bar)}", further,
                           self.verdict(bar, value)])

    def numbers(self, scenario):
        yield row(["program", *scenario.metrics.values(), "good rounds"])
        yield row(["---"] * (len(scenario.metrics) + 2))
        for name, entries in self.entries(scenario).items():
            void = [entry[VOID] for entry in entries if VOID in entry]
            good = f"{len(entries) - len(void)} of {len(entries)}" + (f": {void[-1]}" if void else "")
            yield row([name, *(show(median(entries, metric)) for metric in scenario.metrics), " ".join(good.split())])
        if absent := self.absent(scenario):
            yield from ("", f"Left out: {absent}.")

    def absent(self, scenario):
        """The forwarders that take no part, and why."""
        if not scenario.peers:
            return ""
        forwarders = [peer for peer in peers.known("").values() if not peer.limit and peer.name != US]
        lacking = {peer.name: scenario.lacks(peer) for peer in forwarders}
        reasons = {**lacking, **self.results.run_of(scenario.identity)["left_out"]}
        return ", ".join(f"{name} ({reason})" for name, reason in reasons.items() if reason)

    def text(self):
        lines = []
        for scenario in self.chosen:
            lines += [f"### {scenario.identity}: {scenario.title}", "", *self.numbers(scenario), ""]
        return "\n".join([*lines, "### Verdicts", "", *self.verdicts()])

    # ---- documents ----

    def head(self):
        return [
            "# Performance", "",
            "Written by `./dev bench`; do not edit. Numbers of one machine at one time: only the ratios of one run "
            "mean anything elsewhere, and no ratio here mixes two runs.", "",
            "- Setting: the program on core 0 with one worker, generator and server on core 1, a network namespace "
            "with loopback alone, strict TLS, no query log. The limit of misses is `bench/relay.c`: one connection, "
            "all queries of a turn in one record, no checks but the certificate's; that of hits is `bench/echo.c`, "
            "which sends every query back with one bit flipped.",
            "- A far server is behind `bench/delay.c`, a road that makes every packet wait and may lose it. `direct` "
            "is no program: the load generator asks the server itself, over TLS and on one connection.",
            "- In `PO1` and its relatives all programs stand beside one another, each with servers of its own. Of two "
            "servers first the one and then the other is lost, and the worse of both is told. A query counts as "
            f"unanswered after {DEADLINE} s; for latencies, one without any answer took {PATIENCE} s.",
            "- Every program was first shown to refuse a wrong name, an expired and an unknown certificate. A round "
            "with one wrong answer (id, question, rcode, address, TTL) is void; – stands where no round gave a number.",
            "- `PW` and `PWH` compare a worker on core 0 with two on both cores. Generator and server share a core with the "
            "second, so what is held to the bar comes from bursts: each is sent while no worker runs, and the generator "
            "sleeps while they work, so that both find as many queries at a time (`queries a record`). At saturation "
            "the second worker finds fewer, because it waits for its core; that is told, and held to no bar.",
            "- `PE2` adds up what every process has resident, so pages that two processes share count twice; "
            "proportional counts each page once, and those shared with other programs in part.",
            "- Hits: names are asked once before anything counts, and a round in which fewer than 99 % of the "
            "questions were answered without the server is void. What an entry costs is proportional memory, so the "
            "cache that processes share counts once. Under 90 % of its core, the program waited for a machine that "
            "had other work: its rate then says little, its CPU a query is right.",
            ""]

    def runs(self):
        yield from ("## Runs", "", "What each number below comes from. Rounds are interleaved, and numbers are their "
                    "medians; the load average is that of the end.", "")
        yield row(["run", "date", "program's commit", "command", "rounds", "load average", "scenarios"])
        yield row(["---"] * 7)
        for number, run in enumerate(self.results.runs):
            told = [scenario.identity for scenario in self.chosen
                    if self.results.scenarios[scenario.identity]["run"] == number]
            yield row([str(number + 1), run["date"], run["commit"], f"`{run['command']}`",
                       f"{run['rounds']} of {run['seconds']:g} s", run["load"], ", ".join(told)])
        yield ""
        for number, run in enumerate(self.results.runs):
            yield f"- Run {number + 1}: {run['machine']}; {run['versions']}"
        yield ""

    def bars(self):
        return ["## Bars", "",
                "A ratio is the median of the ratios of each round: to the limit (relay or echo) or to the peer with "
                "the best median; “more than” is the median of the differences. The rest are the values themselves. "
                "`PB` and its relatives are misses: every name is new; `PA` and its relatives are hits.",
                "", *self.verdicts(), ""]

    def plot(self, scenario):
        """A timeline of the last round that has one, else the first metric of all."""
        title = f"{scenario.identity}: {scenario.title}"
        lines = [entry[TIMELINE] for entry in self.entries(scenario)[US] if TIMELINE in entry]
        if lines:
            return plot.timeline(title, "ms, longest answer of each slice; the change is in the middle", lines[-1])
        metric, unit = next(iter(scenario.metrics.items()))
        return plot.bars(title, unit, {name: median(entries, metric)
                                       for name, entries in self.entries(scenario).items()})

    def plots(self, directory):
        for old in directory.glob("*.svg"):
            old.unlink()
        for scenario in self.chosen:
            (directory / f"{scenario.identity}.svg").write_text(self.plot(scenario))

    def write(self, docs):
        lines = [*self.head(), *self.runs(), *self.bars(), "## Numbers", ""]
        for scenario in self.chosen:
            run = self.results.scenarios[scenario.identity]["run"] + 1
            lines += [f"### {scenario.identity}: {scenario.title}", "",
                      f"![{scenario.identity}](performance/{scenario.identity}.svg)", "", f"Run {run}.", "",
                      *self.numbers(scenario), ""]
        (docs / "performance.md").write_text("\n".join(lines).rstrip() + "\n")
        self.plots(docs / "performance")
