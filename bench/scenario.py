"""What a scenario is: what it measures, and the bar that is set for it. Either it measures one program at a time
(`each`) or all of them beside one another (`joint`, where most of the time is waiting). A measurement gives numbers by
metric or raises Failed; a joint one gives, by the name of the program, numbers or the Failed that came instead."""
import dataclasses
import typing

from peers import DIRECT

ROUND_TRIP = 20  # milliseconds, of every road
TIMELINE = "timeline"  # in an entry: one value for each of equal slices of time, drawn as it is


@dataclasses.dataclass(frozen=True)
class Bar:
    metric: str
    against: str  # a ratio to the limit or the best peer; limit or direct difference; nothing: the value itself
    least: bool   # more is better
    bar: float
    further: typing.Optional[float] = None


@dataclasses.dataclass(frozen=True)
class Scenario:
    identity: str
    title: str
    metrics: dict  # name: unit
    measure: typing.Callable
    bars: tuple = ()
    joint: bool = False
    once: bool = False     # too long for every round
    lasting: bool = False  # --long makes it longer
    limit: str = "relay"   # the program that is the limit; empty: none
    direct: bool = False   # beside the limit stands who asks the server without a program between
    peers: bool = True     # the peers take part
    streams: bool = False  # only who serves TCP takes part
    hits: bool = False     # only who has a cache takes part

    def yardsticks(self):
        """The names of those that are no forwarders, but measured beside them."""
        return [name for name in (self.limit, DIRECT if self.direct else "") if name]

    def lacks(self, peer):
        """What keeps a forwarder from taking part; empty when nothing does."""
        if self.streams and not peer.streams:
            return "serves no TCP"
        if self.hits and peer.cache == 0:
            return "keeps no answers"
        return ""
