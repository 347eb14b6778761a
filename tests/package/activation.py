"""Sockets that systemd binds, with the commands of docs/operations.md."""
import shutil
import time

from documents import blocks
from service import answer, check_rights, check_served, drop_in, engine_of, told

from clients import Flow

COMMANDS, SEVERAL = 0, 1
HEADING = "With socket activation"
EXAMPLE = "/usr/share/doc/dnseal/examples/activated.conf"


def activate(booted, folder=None):
    """As an administrator does; in a folder that holds the sources where there is no package."""
    text = blocks(HEADING)[COMMANDS]
    assert text.count(EXAMPLE) == 1
    if folder is not None:
        text = "cd %s\n" % folder + text.replace(EXAMPLE, "deploy/systemd/dnseal.service.d/activated.conf")
    booted.run("sh", "-ec", text)
    assert booted.run("systemctl", "is-enabled", "dnseal.socket").strip() == "enabled"
    assert booted.try_run("systemctl", "is-enabled", "dnseal.service").stdout.strip() == "disabled"
    assert booted.try_run("systemctl", "is-active", "dnseal.service").stdout.strip() == "inactive"


def deactivate(booted):
    booted.run("systemctl", "disable", "--now", "dnseal.socket", "dnseal.service")
    shutil.rmtree(booted.system.root / "etc/systemd/system/dnseal.service.d")
    booted.run("systemctl", "daemon-reload")
    booted.run("systemctl", "enable", "dnseal.service")


def ask_in_vain():
    """Whether nobody is there, for a question over UDP; a socket that waits for one would start the service."""
    return answer("gone.test", patience=1) is None


def check_activation(booted):
    """The socket is there before the service, and while that is restarted. What is left of its rights is taken away."""
    activate(booted)
    assert answer("first.test") == 0, "the first question starts the service"
    check_served()
    check_rights(booted)
    assert int(engine_of(booted)[1]["CapBnd"], 16) == 0
    with Flow("127.0.0.1", 53, 100, name="r%d.test") as flow:
        time.sleep(0.5)
        booted.run("systemctl", "restart", "dnseal.service")
        time.sleep(0.5)
        flow.finish(6)
    lost = len(flow.sent) - len(flow.answers)
    assert lost == 0 and flow.rcodes() == {0: len(flow.sent)}, "%d lost: %s" % (lost, flow.rcodes())
    told("the socket starts the service, and a restart loses no question")


def sockets_of(address):
    """How many sockets take datagrams there."""
    number = "".join("%02X" % int(part) for part in reversed(address.split(".")))
    with open("/proc/net/udp") as table:
        return sum(1 for line in table if line.split()[1] == number + ":0035")


def check_several_sockets(booted):
    """One of each address for each of two workers. A socket that nobody reads would lose its share of the questions."""
    folder = booted.system.root / "etc/systemd/system/dnseal.socket.d"
    folder.mkdir()
    (folder / "workers.conf").write_text(blocks(HEADING)[SEVERAL])
    drop_in(booted, "workers", "[Service]\nEnvironment=DNSEAL_WORKERS=2\n")
    booted.run("systemctl", "stop", "dnseal.service", "dnseal.socket")
    booted.run("systemctl", "start", "dnseal.socket")
    assert sockets_of("127.0.0.1") == 2
    for number in range(40):
        assert answer("w%d.test" % number) == 0
    check_served()
    shutil.rmtree(folder)
    deactivate(booted)
    told("two workers serve two sockets of an address")
