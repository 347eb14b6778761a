"""The service without the package: what `ninja install` installs, and the commands of docs/operations.md."""
import shutil

from activation import activate
from documents import blocks
from service import FILE, ROOT, answer, check_rights, check_served, told

PLACE = "root/dnseal"
PROGRAM = "usr/local/sbin/dnseal"
MADE = ("etc/dnseal", "etc/systemd/system/dnseal.service.d", "var/lib/dnseal", "var/log/dnseal", PLACE)


def check_sources(booted, installed, configure):
    """`configure` writes the configuration. Nothing of it is left for the package."""
    root = booted.system.root
    shutil.copytree(installed, root, dirs_exist_ok=True)
    shutil.copytree(ROOT / "deploy", root / PLACE / "deploy")
    (root / FILE).parent.mkdir()
    configure()
    booted.run("sh", "-ec", "cd /%s\n" % PLACE + blocks("As a systemd service")[1])
    assert "/" + PROGRAM in booted.property_of("dnseal", "ExecStart")
    check_served()
    check_rights(booted)
    booted.run("systemctl", "reload", "dnseal")
    check_served()
    activate(booted, "/" + PLACE)
    assert answer("activated.test") == 0
    check_rights(booted)
    told("without the package: installed, reloaded, and started by its sockets")
    take_away(booted)


def take_away(booted):
    booted.run("systemctl", "disable", "--now", "dnseal.socket", "dnseal.service")
    for unit in ("dnseal.socket", "dnseal.service"):
        (booted.system.root / "etc/systemd/system" / unit).unlink()
    booted.run("systemctl", "daemon-reload")
    booted.run("userdel", "dnseal")
    (booted.system.root / PROGRAM).unlink()
    for folder in MADE:
        shutil.rmtree(booted.system.root / folder)
