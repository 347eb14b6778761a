"""The life of an installed package: installed, run under systemd in every way that its units know, upgraded, removed and
purged. run.py starts this in a network of its own: life.py ROOT PACKAGE LOG, with ROOT a system of chroot.py that has what
the package depends on."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SYSTEM_TESTS = pathlib.Path(__file__).resolve().parents[1] / "system"
sys.path.insert(0, str(SYSTEM_TESTS))

from booted import Booted  # noqa: E402
from certificates import Certificates  # noqa: E402
from chroot import System, run  # noqa: E402
from clients import Flow, Tcp, udp_exchange  # noqa: E402
from dot_server import Server  # noqa: E402
import wire  # noqa: E402

FILE = "etc/dnseal/dnseal.yaml"
OLD_VERSION = "0.0.1-1"
# What changes by itself while a system runs and packages come and go.
RESTLESS = {"/var/cache", "/var/log", "/var/lib/dpkg", "/var/lib/apt", "/var/lib/systemd/random-seed", "/var/tmp", "/tmp",
            "/run", "/proc", "/sys", "/dev", "/etc/machine-id", "/etc/passwd-", "/etc/group-", "/etc/shadow-",
            "/etc/gshadow-", "/etc/.pwd.lock", "/etc/subuid-", "/etc/subgid-", "/var/lib/systemd/timers",
            "/var/lib/systemd/credential.secret", "/etc/.updated", "/var/.updated", "/var/lib/private"}


def told(text):
    print("    " + text, flush=True)


# ---- the package

def older(package, home):
    """The same package under an older version, to be upgraded from."""
    tree = home / "older"
    run(["dpkg-deb", "-R", package, tree])
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*$", "Version: " + OLD_VERSION, control.read_text(), flags=re.MULTILINE))
    run(["dpkg-deb", "-b", tree, home / "older.deb"])
    return home / "older.deb"


def installed_version(booted):
    return booted.run("dpkg-query", "-W", "-f", "${Version}", "dnseal")


def check_installed(booted):
    assert "is valid" in booted.run("dnseal", "--check")
    assert booted.run("dnseal", "--version").startswith("dnseal ")
    paths = booted.run("dpkg", "-L", "dnseal").split()
    for page in ("man8/dnseal.8.gz", "man5/dnseal.yaml.5.gz"):
        assert "/usr/share/man/" + page in paths
    assert booted.run("dpkg-query", "-W", "-f", "${Conffiles}", "dnseal").split()[0] == "/" + FILE
    assert booted.run("getent", "passwd", "dnseal").split(":")[5:] == ["/nonexistent", "/usr/sbin/nologin\n"]
    assert booted.run("systemctl", "is-enabled", "dnseal.service").strip() == "enabled"
    assert booted.try_run("systemctl", "is-enabled", "dnseal.socket").stdout.strip() == "disabled"
    told("installed: user, manual pages, configuration, units")


# ---- what it does

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


def check_service(booted):
    """Bound by itself. Type=notify: it serves when the start is over."""
    start(booted)
    check_served()
    assert booted.property_of("dnseal", "StatusText").startswith("serving: ")
    booted.run("dnseal", "--healthcheck")
    check_rights(booted)
    told("the service binds port 53 by itself, and serves when it says so")


def check_kept_cache(booted, server):
    """The directory for it is there, and belongs to the service."""
    answer("kept.test")
    booted.run("systemctl", "stop", "dnseal")
    booted.run("systemctl", "start", "dnseal")
    before = len(server.heard)
    assert answer("kept.test") == 0 and len(server.heard) == before
    told("the cache outlives a stop in its file")


def check_restart(booted, server):
    """systemd keeps the sockets and the cache meanwhile, and gives up what a stop ends."""
    answer("stored.test")
    before = server.count("stored.test")
    with Flow("127.0.0.1", 53, 100, name="again%d.test") as flow:
        time.sleep(0.5)
        booted.run("systemctl", "restart", "dnseal")
        time.sleep(0.5)
        flow.finish(6)
    assert flow.rcodes() == {0: len(flow.sent)}, "%s of %d" % (flow.rcodes(), len(flow.sent))
    assert answer("stored.test") == 0 and server.count("stored.test") == before
    assert int(booted.property_of("dnseal", "NFileDescriptorStore")) >= 3 + 4
    booted.run("systemctl", "stop", "dnseal")
    assert booted.property_of("dnseal", "NFileDescriptorStore") == "0"
    booted.run("systemctl", "start", "dnseal")
    told("a restart loses no question and no answer that was kept")


def check_broken_configuration(booted):
    """What the check before the start finds stops neither a reload nor, afterwards, a start."""
    file = booted.system.root / FILE
    good = file.read_text()
    file.write_text(good + "no_such_option: 1\n")
    assert booted.try_run("dnseal", "--check").returncode == 1
    assert booted.try_run("systemctl", "reload", "dnseal").returncode != 0
    check_served()
    file.write_text(good)
    booted.run("systemctl", "reload", "dnseal")
    check_served()
    told("a reload takes a good configuration and refuses a bad one")


def check_watchdog(booted):
    """An engine that stands still, though no process has died."""
    drop_in(booted, "watchdog", "[Service]\nWatchdogSec=2s\n")
    booted.run("systemctl", "restart", "dnseal")
    pid, _ = engine_of(booted)
    main = booted.property_of("dnseal", "MainPID")
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    booted.wait_until(lambda: booted.property_of("dnseal", "MainPID") not in (main, "0") and
                      booted.run("systemctl", "show", "--value", "-p", "SubState", "dnseal").strip() == "running",
                      20, "the watchdog does not bite")
    assert 1 <= time.monotonic() - started
    assert booted.property_of("dnseal", "NRestarts") == "1"
    check_served()
    drop_in(booted, "watchdog", None)
    told("the watchdog replaces a service whose engine stands still")


def drop_in(booted, name, text):
    folder = booted.system.root / "etc/systemd/system/dnseal.service.d"
    if text is None:
        (folder / (name + ".conf")).unlink()
        folder.rmdir()
    else:
        folder.mkdir(exist_ok=True)
        (folder / (name + ".conf")).write_text(text)
    booted.run("systemctl", "daemon-reload")


def check_activation(booted):
    """The socket is there before the service, and while that is restarted. What is left of its rights is taken away."""
    booted.run("systemctl", "stop", "dnseal")
    example = booted.system.root / "usr/share/doc/dnseal/examples/activated.conf"
    drop_in(booted, "activated", example.read_text())
    booted.run("systemctl", "start", "dnseal.socket")
    assert booted.try_run("systemctl", "is-active", "dnseal.service").stdout.strip() == "inactive"
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
    booted.run("systemctl", "stop", "dnseal.socket", "dnseal.service")
    drop_in(booted, "activated", None)
    told("the socket starts the service, and a restart loses no question")


def check_credential(booted, authority):
    """A file that only root may read, as LoadCredential hands it over."""
    secret = booted.system.root / "etc/dnseal/secret.pem"
    secret.write_bytes(pathlib.Path(authority).read_bytes())
    secret.chmod(0o600)
    drop_in(booted, "credential", "[Service]\nLoadCredential=ca.pem:/etc/dnseal/secret.pem\n"
            "Environment=DNSEAL_TLS_CA=%d/ca.pem\n")
    start(booted)
    check_served()
    drop_in(booted, "credential", None)
    booted.run("systemctl", "restart", "dnseal")
    secret.unlink()
    told("an authority comes as a credential")


def check_clients(booted):
    """The configurations that are shipped for a machine's own programs."""
    deploy = SYSTEM_TESTS.parents[1] / "deploy"
    folder = booted.system.root / "etc/systemd/resolved.conf.d"
    folder.mkdir()
    shutil.copy(deploy / "systemd-resolved" / "dnseal.conf", folder)
    booted.run("systemctl", "restart", "systemd-resolved")
    assert answer("by-resolved.x.test", "127.0.0.53") == 0
    shutil.rmtree(folder)
    booted.run("systemctl", "stop", "systemd-resolved")
    link = booted.system.root / "etc/resolv.conf"
    before = os.readlink(link) if link.is_symlink() else None
    link.unlink()
    shutil.copy(deploy / "resolv.conf" / "resolv.conf", link)
    assert booted.run("getent", "ahostsv4", "a-192-0-2-7.x.test").split()[0] == "192.0.2.7"
    if before is not None:
        link.unlink()
        link.symlink_to(before)
    told("systemd-resolved and the C library ask it")


def install_beside_load(booted, package):
    """While questions come; none may be lost."""
    shutil.copy(package, booted.system.root / "root/new.deb")
    with Flow("127.0.0.1", 53, 100, name="up%d.test") as flow:
        time.sleep(0.5)
        booted.run("dpkg", "-i", "/root/new.deb")
        time.sleep(0.5)
        flow.finish(6)
    (booted.system.root / "root/new.deb").unlink()
    assert flow.rcodes() == {0: len(flow.sent)}, "%s of %d" % (flow.rcodes(), len(flow.sent))


def check_upgrade(booted, package):
    """The new program takes the place of the old one; what the administrator wrote stays."""
    before = (booted.system.root / FILE).read_text()
    engine, _ = engine_of(booted)
    main = booted.property_of("dnseal", "MainPID")
    install_beside_load(booted, package)
    assert installed_version(booted) != OLD_VERSION
    assert booted.property_of("dnseal", "MainPID") == main and engine_of(booted)[0] != engine
    assert (booted.system.root / FILE).read_text() == before
    assert booted.run("systemctl", "is-active", "dnseal").strip() == "active"
    check_served()
    check_rights(booted)
    told("an upgrade keeps the configuration and loses no question")


def check_upgrade_of_the_unit(booted, package):
    """Where the unit is another one, the service is started anew."""
    unit = booted.system.root / booted.property_of("dnseal", "FragmentPath").lstrip("/")
    unit.write_text(unit.read_text() + "# another one\n")
    os.utime(unit, (0, 0))  # it comes from an older package
    booted.run("systemctl", "daemon-reload")
    main = booted.property_of("dnseal", "MainPID")
    shutil.copy(package, booted.system.root / "root/new.deb")
    booted.run("dpkg", "-i", "/root/new.deb")
    (booted.system.root / "root/new.deb").unlink()
    assert "# another one" not in unit.read_text()
    assert booted.property_of("dnseal", "MainPID") != main
    check_served()
    told("another unit starts the service anew")


def check_end(booted):
    booted.run("dpkg", "--remove", "dnseal")
    assert booted.try_run("systemctl", "is-active", "dnseal.service").stdout.strip() != "active"
    assert answer("gone.test", patience=1) is None
    assert (booted.system.root / FILE).exists() and not (booted.system.root / "usr/sbin/dnseal").exists()
    (booted.system.root / "etc/dnseal/ca.pem").unlink()
    booted.run("dpkg", "--purge", "dnseal")
    assert booted.try_run("getent", "passwd", "dnseal").returncode != 0
    assert booted.try_run("getent", "group", "dnseal").returncode != 0
    told("removed and purged")


def configure(system, server, authority):
    shutil.copy(authority, system.root / "etc/dnseal/ca.pem")
    (system.root / "etc/dnseal/ca.pem").chmod(0o644)
    with open(system.root / FILE, "a") as file:
        file.write('upstreams: ["%s"]\ntls: { ca: /etc/dnseal/ca.pem }\ncache: { file: /var/lib/dnseal/cache }\n'
                   'local: { forward: [test] }\nsandbox: strict\n' % server.url)


def live(booted, package, server, authority):
    system = booted.system
    shutil.copy(older(package, pathlib.Path(authority).parent), system.root / "root/old.deb")
    booted.run("dpkg", "-i", "/root/old.deb")
    (system.root / "root/old.deb").unlink()
    check_installed(booted)
    configure(system, server, authority)
    booted.run("systemctl", "stop", "dnseal")
    check_service(booted)
    check_kept_cache(booted, server)
    check_restart(booted, server)
    check_broken_configuration(booted)
    check_watchdog(booted)
    check_activation(booted)
    check_credential(booted, authority)
    check_clients(booted)
    check_upgrade(booted, package)
    check_upgrade_of_the_unit(booted, package)
    check_end(booted)


def main():
    root, package, log = sys.argv[1:]
    system = System(root, log)
    with tempfile.TemporaryDirectory() as home:
        certificates = Certificates(pathlib.Path(home))
        identity = certificates.good("a.test")
        server = Server("127.0.0.1", identity.certificate, identity.key, name="a.test").start()
        with Booted(system, log) as booted:
            before = system.files(RESTLESS)
            try:
                live(booted, package, server, certificates.ca)
            except BaseException:
                print(booted.try_run("journalctl", "-u", "dnseal*", "--no-pager", "-n", "80").stdout, flush=True)
                raise
        server.stop()
    left = system.files(RESTLESS) - before
    assert not left, "left behind: %s" % sorted(left)
    told("nothing is left of it")


if __name__ == "__main__":
    main()
