"""The life of an installed package: installed, run under systemd in every way that its units know, upgraded, removed and
purged; before it the same program without a package. run.py starts this in a network of its own: life.py ROOT PACKAGE
INSTALLED LOG, with ROOT a system of chroot.py that has what the package depends on, and INSTALLED what `ninja install` has
installed."""
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time

from activation import ask_in_vain, check_activation, check_several_sockets, activate
from booted import Booted
from chroot import System, run
from documents import blocks
from service import (FILE, answer, check_rights, check_served, drop_in, engine_of, start, told)
from sources import check_sources

from certificates import Certificates
from clients import Flow
from dot_server import Server

OLD_VERSION = "0.0.1-1"
# What changes by itself while a system runs and packages come and go.
RESTLESS = {"/var/cache", "/var/log", "/var/lib/dpkg", "/var/lib/apt", "/var/lib/systemd/random-seed", "/var/tmp", "/tmp",
            "/run", "/proc", "/sys", "/dev", "/etc/machine-id", "/etc/passwd-", "/etc/group-", "/etc/shadow-",
            "/etc/gshadow-", "/etc/.pwd.lock", "/etc/subuid-", "/etc/subgid-", "/var/lib/systemd/timers",
            "/var/lib/systemd/credential.secret", "/etc/.updated", "/var/.updated", "/var/lib/private"}


# ---- the package

def older(package, home):
    """The same package under an older version, to be upgraded from."""
    tree = home / "older"
    run(["dpkg-deb", "-R", package, tree])
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*$", "Version: " + OLD_VERSION, control.read_text(), flags=re.MULTILINE))
    run(["dpkg-deb", "-b", tree, home / "older.deb"])
    return home / "older.deb"


def install(booted, package, *further):
    """As docs/operations.md says it."""
    command, = (line.strip() for line in blocks("As a Debian package")[0].splitlines() if "apt-get" in line)
    here = booted.system.root / "root/dnseal_new.deb"
    shutil.copy(package, here)
    booted.run("sh", "-ec", "cd /root && " + " ".join([command, *further]))
    here.unlink()


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
    deploy = booted.system.root / "usr/share/doc/dnseal/examples"
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
    with Flow("127.0.0.1", 53, 100, name="up%d.test") as flow:
        time.sleep(0.5)
        install(booted, package)
        time.sleep(0.5)
        flow.finish(6)
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
    install(booted, package, "--reinstall")
    assert "# another one" not in unit.read_text()
    assert booted.property_of("dnseal", "MainPID") != main
    check_served()
    told("another unit starts the service anew")


def check_removed(booted):
    """Neither the service nor the sockets that would start it again are left."""
    booted.run("apt-get", "remove", "--yes", "dnseal")
    for unit in ("dnseal.socket", "dnseal.service"):
        assert booted.try_run("systemctl", "is-active", unit).stdout.strip() not in ("active", "activating"), unit
    assert ask_in_vain()
    assert (booted.system.root / FILE).exists() and not (booted.system.root / "usr/sbin/dnseal").exists()


def check_end(booted, package):
    """Removed with systemd's sockets open, before their first question and after it, and purged."""
    activate(booted)
    check_removed(booted)
    install(booted, package)
    booted.run("systemctl", "start", "dnseal.socket")
    assert answer("last.test") == 0
    check_removed(booted)
    (booted.system.root / "etc/dnseal/ca.pem").unlink()
    shutil.rmtree(booted.system.root / "etc/systemd/system/dnseal.service.d")
    booted.run("apt-get", "purge", "--yes", "dnseal")
    assert booted.try_run("getent", "passwd", "dnseal").returncode != 0
    assert booted.try_run("getent", "group", "dnseal").returncode != 0
    told("removed with its sockets, and purged")


def configure(system, server, authority):
    shutil.copy(authority, system.root / "etc/dnseal/ca.pem")
    (system.root / "etc/dnseal/ca.pem").chmod(0o644)
    with open(system.root / FILE, "a") as file:
        file.write('upstreams: ["%s"]\ntls: { ca: /etc/dnseal/ca.pem }\ncache: { file: /var/lib/dnseal/cache }\n'
                   'local: { forward: [test] }\nsandbox: strict\n' % server.url)


def live(booted, package, server, authority):
    install(booted, older(package, pathlib.Path(authority).parent))
    check_installed(booted)
    configure(booted.system, server, authority)
    booted.run("systemctl", "stop", "dnseal")
    check_service(booted)
    check_kept_cache(booted, server)
    check_restart(booted, server)
    check_broken_configuration(booted)
    check_watchdog(booted)
    check_activation(booted)
    check_several_sockets(booted)
    check_credential(booted, authority)
    check_clients(booted)
    check_upgrade(booted, package)
    check_upgrade_of_the_unit(booted, package)
    check_end(booted, package)


def main():
    root, package, installed, log = sys.argv[1:]
    system = System(root, log)
    with tempfile.TemporaryDirectory() as home:
        certificates = Certificates(pathlib.Path(home))
        identity = certificates.good("a.test")
        server = Server("127.0.0.1", identity.certificate, identity.key, name="a.test").start()
        with Booted(system, log) as booted:
            try:
                check_sources(booted, installed, lambda: configure(system, server, certificates.ca))
                before = system.files(RESTLESS)
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
