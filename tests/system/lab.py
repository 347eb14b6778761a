"""A lab of network namespaces: the program in the middle, and behind a router of its own each of two servers.

    middle --- cable 0 --- router 0 --- server a          middle 10.54.N.1, router 10.54.N.254 and 10.53.N.254,
           `-- cable 1 --- router 1 --- server b          server 10.53.N.2; the routers are joined (10.55.0.0/24)

Routers lose packets by rule, one way or both, with or without a word, so that no other tool is needed."""
import time

from clients import Flow
from namespace import ip
from program import Weight, scaled

HOME, PORT = "127.0.0.1", 5300
RATE = 100
DEAD_PATH = 0.4  # a path without acknowledgement for so long is dead
LATER = 0.6      # what a loaded machine and the way over another server may take on top


class Lab:
    def __init__(self, namespace, server, dnseal, servers=2, **changes):
        self.middle = namespace()
        self.routers = [namespace(), namespace()]
        self.ends, self.servers, self.cables = [namespace() for _ in range(servers)], [], []
        for number, router in enumerate(self.routers):
            self.cables.append(self.middle.join(router, "10.54.%d.1/24" % number, "10.54.%d.254/24" % number))
            with router.entered(), open("/proc/sys/net/ipv4/ip_forward", "w") as forward:
                forward.write("1")
        self.routers[0].join(self.routers[1], "10.55.0.1/24", "10.55.0.2/24")
        self.route(self.routers[0], "10.54.1.0/24", "10.55.0.2")
        self.route(self.routers[1], "10.54.0.0/24", "10.55.0.1")
        self.route(self.routers[1], "10.53.0.0/24", "10.55.0.1")
        for number, end in enumerate(self.ends):
            self.add_server(number, end, server)
        with self.middle.entered():
            self.program = dnseal(*self.servers, listen=["%s:%d" % (HOME, PORT)], workers=1, **changes)

    def add_server(self, number, end, server):
        self.routers[number].join(end, "10.53.%d.254/24" % number, "10.53.%d.2/24" % number)
        self.route(end, "default", "10.53.%d.254" % number)
        self.route(self.middle, "10.53.%d.0/24" % number, "10.54.%d.254" % number)
        with end.entered():
            self.servers.append(server("ab"[number] + ".test", at="10.53.%d.2" % number, port=8853))

    @staticmethod
    def route(space, to, via):
        ip("-n", space.name, "route", "replace", to, "via", via)

    def lose(self, number, *ways, how="blackhole"):
        """The router loses what goes "to" the server and what comes "from" it."""
        for way in ways:
            ip("-n", self.routers[number].name, "rule", "add", way, "10.53.%d.2" % number, how)

    def lose_no_more(self, number, *ways, how="blackhole"):
        for way in ways:
            ip("-n", self.routers[number].name, "rule", "del", way, "10.53.%d.2" % number, how)

    def set_cable(self, number, state):
        """Our end of it. What was routed over it comes back with it, as a network manager would do."""
        ip("-n", self.middle.name, "link", "set", self.cables[number], state)
        if state == "up":
            self.route(self.middle, "10.53.%d.0/24" % number, "10.54.%d.254" % number)

    def flow(self):
        with self.middle.entered():
            return Flow(HOME, PORT, RATE)

    def warm_up(self):
        """The state from which all is measured: open links, and what a first answer costs."""
        with self.middle.entered():
            for number in range(20):
                self.program.address, self.program.port = HOME, PORT
                assert self.program.query_udp("warm-%d.test" % number).rcode == 0
        return Weight(self.program)

    def closes(self, reason):
        return self.program.status().total("dnseal_upstream_closes_total", reason=reason)

    def assert_borne(self, begin, end=None, seconds=2.5, slowest=DEAD_PATH + LATER, back=8):
        """Trouble under a steady stream: every question is answered, none later than `slowest` seconds; once the trouble
        is known nobody waits any more, and when it is over the first server serves again."""
        weight = self.warm_up()
        with self.flow() as flow:
            time.sleep(0.5)
            begin()
            begun = time.monotonic()
            time.sleep(seconds)
            known = time.monotonic()
            if end is not None:
                end()
                assert self.program.wait_answer_of(self.servers[0], back)
                time.sleep(0.5)
            over = time.monotonic()
            time.sleep(0.5)
            flow.finish(scaled(5))
        flow.assert_served(scaled(slowest))
        if known > begun + scaled(1.5):
            flow.assert_calm(begun + scaled(1.5), known, scaled(0.3))
        flow.assert_calm(over, limit=scaled(0.3))
        weight.assert_flat(further_links=2)
        return flow
