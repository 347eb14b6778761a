"""Programs beside one another at the near end of a road, each with servers of its own at the far end, so that what a
server counts is what one program did. Used by the joint scenarios."""
import contextlib
import dataclasses
import pathlib
import tempfile
import typing

from machine import FAR, FAR2, Failed, Load, Program, Server, road
from scenario import ROUND_TRIP

PORT, SERVER_PORT = 5300, 8500  # of the first
DEADLINE = 4.6  # seconds that a client may have to wait for an answer, of whatever kind
PATIENCE = 6    # seconds that the load generator waits


def attempt(measure, *arguments):
    """What it gives, or the Failed that it raises."""
    try:
        return measure(*arguments)
    except Failed as failure:
        return failure


@dataclasses.dataclass(frozen=True)
class Place:
    program: Program
    servers: list

    def asked(self):
        """Queries that its servers have received."""
        return sum(server.counters()["queries"] for server in self.servers)

    def handshakes(self):
        counters = [server.counters() for server in self.servers]
        return sum(seen["full_handshakes"] + seen["resumed_handshakes"] for seen in counters)


class Beside:
    """Gives the places by name, but for those whose program did not come to answer: of these, `failed` tells why."""

    def __init__(self, bench, peers, loss=0, addresses=(FAR, FAR2), **server_options):
        self.bench, self.peers, self.loss = bench, peers, loss
        self.addresses, self.server_options = addresses, server_options
        self.failed = {}

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.road = stack.enter_context(road(self.bench, ROUND_TRIP / 2, self.loss))
            places = {peer.name: self.place(stack, number, peer) for number, peer in enumerate(self.peers)}
            self.places = {name: place for name, place in places.items() if self.settles(name, place)}
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def place(self, stack, number, peer):
        port = SERVER_PORT + number
        servers = [stack.enter_context(Server(self.bench, far=self.road, address=address, port=port,
                                              **self.server_options)) for address in self.addresses]
        words = dict(zip(("SERVER", "SERVER2"), self.addresses))
        words.update({f"{word}_PORT": port for word in words})
        program = Program(peer, self.bench, PORT=PORT + number, **words)
        return Place(stack.enter_context(program), servers)

    def settles(self, name, place):
        failure = attempt(place.program.settle)
        if failure:
            self.failed[name] = Failed(f"{failure}: {place.program.words()}")
        return not failure

    def results(self, measure):
        """By name what `measure` gives for the name and its place, or why there is nothing."""
        return {**self.failed, **{name: attempt(measure, name, place) for name, place in self.places.items()}}


# ---- every query of a load ----

class Query(typing.NamedTuple):
    asked: float     # in seconds of the monotonic clock, as all times here
    answered: float  # when its client gave up, where no answer came
    rcode: int       # -1: no answer

    def milliseconds(self):
        return (self.answered - self.asked) * 1000

    def is_late(self):
        return self.rcode < 0 or self.answered - self.asked > DEADLINE

    def is_good(self):
        return self.rcode == 0 and not self.is_late()


def p99(queries):
    return quantile(queries, 0.99)


def quantile(queries, share):
    """In milliseconds."""
    times = sorted(query.milliseconds() for query in queries)
    if not times:
        raise Failed("nothing was asked in the time that counts")
    return times[min(len(times) - 1, int(len(times) * share))]


class WatchedLoad(Load):
    """A load of which every query is known."""

    def __init__(self, bench, program, **options):
        self.log = pathlib.Path(tempfile.mkstemp(dir=bench.directory)[1])
        super().__init__(bench, program, timeout=PATIENCE, log=self.log, **options)

    def queries(self):
        begun = self.result(failures_allowed=True)["begun"]
        return [self.read(line, begun) for line in self.log.read_text().splitlines()]

    @staticmethod
    def read(line, begun):
        asked, milliseconds, rcode = line.split()
        at = begun + float(asked) / 1000
        return Query(at, at + (PATIENCE if rcode == "-1" else float(milliseconds) / 1000), int(rcode))


@contextlib.contextmanager
def watch(bench, programs, **options):
    """A load for each of the programs; both by name."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(WatchedLoad(bench, program, **options))
               for name, program in programs.items()}


def watched(beside, **options):
    return watch(beside.bench, {name: place.program for name, place in beside.places.items()}, **options)
