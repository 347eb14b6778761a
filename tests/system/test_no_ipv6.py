"""A kernel that was started without IPv6."""
import pytest

from no_ipv6 import take_ipv6_away
from program import Program


class WithoutIpv6(Program):
    def limit(self):
        take_ipv6_away()


@pytest.fixture
def program(write_config, a, address, port):
    """program(*addresses to listen on besides one of IPv4)"""
    made = []

    def make(*others):
        home = address()
        number = port(home)
        listen = ["%s:%d" % (home, number), *("%s:%d" % (other, number) for other in others)]
        made.append(WithoutIpv6(write_config(a, listen=listen)[0], home, number))
        return made[-1].start(ready=False)
    yield make
    for each in made:
        each.abandon()


@pytest.mark.parametrize("left_out", ["[::]", "[::1]"])
def test_listeners_that_everybody_names_are_left_out(program, left_out):
    """Shows: M9, M2"""
    running = program(left_out)
    assert running.wait_event("ready", 10)
    assert running.wait_event("no_ipv6", address="%s:%d" % (left_out, running.port))
    assert running.query_udp("x.test").rcode == 0 and running.query_tcp("y.test").rcode == 0
    running.stop()


def test_an_address_of_its_own_is_not(program):
    """Shows: P02"""
    refused = program("[2001:db8::1]")
    assert refused.wait(5) == 1
    assert "this system has no IPv6: leave the address out" in refused.text()
