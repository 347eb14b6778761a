"""The service as it is seen in a booted system: what it answers, who it is, and the drop-ins of its administrator."""
import contextlib
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "system"))

from clients import Tcp, udp_exchange  # noqa: E402
import wire  # noqa: E402

FILE = "etc/dnseal/dnseal.yaml"


def told(text):
    print("    " + text, flush=True)


def answer(name, address="127.0.0.1", patience=6):
    raw = udp_exchange(address, 53, wire.query(name), patience)
    return None if raw is None else wire.parse(raw).rcode


def check_served(where=("127.0.0.1", "::1")):
    for number, address in enumerate(where):
        assert answer("u%d.test" % number, address) == 0
        with Tcp(address, 53) as link:
            assert link.ask(wire.query("t%d.test" % number), 6).rcode == 0


def engine_of(booted):
    """The status of the engine, the child of the main process; its pid as this process sees it."""
    main = booted.property_of("dnseal", "MainPID")
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            status = dict(line.split(":\t", 1) for line in (entry / "status").read_text().splitlines())
            inner = status["NSpid"].split()
            parent = pathlib.Path("/proc", status["PPid"], "status").read_text()
            if (status["Name"].startswith("dnseal") and len(inner) >= 2 and booted_here(booted, entry) and
                    re.search(r"^NSpid:.*\t%s$" % main, parent, re.MULTILINE)):
                return int(entry.name), status
    raise AssertionError("no engine")


def booted_here(booted, entry):
    """Whether the process is one of this system, and not of another that runs beside it."""
    return os.readlink(entry / "ns" / "pid") == os.readlink("/proc/%d/ns/pid" % booted.first)


def check_rights(booted):
    _, status = engine_of(booted)
    user = int(booted.run("id", "-u", "dnseal"))
    assert {int(number) for number in status["Uid"].split()} == {user} and user != 0
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) & ~(1 << 10) == 0
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert "dnseal_sandbox_degraded 0" in booted.run("dnseal", "--control", "status")


def start(booted, unit="dnseal.service"):
    booted.run("systemctl", "daemon-reload")
    booted.run("systemctl", "start", unit)
    assert booted.run("systemctl", "is-active", unit).strip() == "active"


def drop_in(booted, name, text):
    folder = booted.system.root / "etc/systemd/system/dnseal.service.d"
    if text is None:
        (folder / (name + ".conf")).unlink()
        folder.rmdir()
    else:
        folder.mkdir(exist_ok=True)
        (folder / (name + ".conf")).write_text(text)
    booted.run("systemctl", "daemon-reload")
