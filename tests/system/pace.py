"""How long something took, on a machine that stands still now and then. Standard library only.

A limit in a test is about the program, not about what else its machine does: while a thread that asked for the processor
did not get it, the client, the program and its server waited too, one behind the other."""
import bisect
import threading
import time

TICK, NOTICED = 0.01, 0.005
WAITING = 2


class Standstills:
    """When this process was not let run. One thread sleeps for a tick again and again; what it overslept is written down."""

    def __init__(self):
        self.begins, self.ends = [], []
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while True:
            due = time.monotonic() + TICK
            time.sleep(TICK)
            woken = time.monotonic()
            if woken - due > NOTICED:
                self.ends.append(woken)
                self.begins.append(due)

    def between(self, begun, ended):
        """Seconds of the time between the two in which nothing ran."""
        total, first = 0.0, bisect.bisect(self.ends, begun)
        for since, until in zip(self.begins[first:], self.ends[first:]):
            if since >= ended:
                break
            total += min(until, ended) - max(since, begun)
        return total


STANDSTILLS = Standstills()


def taken(begun, ended=None):
    """Seconds from one time of time.monotonic() to another, or to now, without those that the machine took."""
    ended = time.monotonic() if ended is None else ended
    return ended - begun - WAITING * STANDSTILLS.between(begun, ended)
