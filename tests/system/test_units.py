"""The units of deploy/systemd, by systemd's own judges; that they work is seen by ./dev package --test."""
import pathlib
import re
import shutil
import subprocess

import pytest

from program import BINARY, ROOT, run

UNITS = ROOT / "deploy" / "systemd"
SECTIONS = re.compile(r"^\[(\w+)\]$", re.MULTILINE)


def analyze(*arguments):
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.fixture
def units(tmp_path):
    """units(activated) gives a directory with the units, whose program is the one under test."""
    def make(activated):
        home = tmp_path / ("activated" if activated else "alone")
        home.mkdir()
        for name in ("dnseal.service", "dnseal.socket"):
            text = (UNITS / name).read_text()
            assert name.endswith(".socket") or "/usr/sbin/dnseal" in text
            (home / name).write_text(text.replace("/usr/sbin/dnseal", str(pathlib.Path(BINARY).resolve())))
        if activated:
            shutil.copytree(UNITS / "dnseal.service.d", home / "dnseal.service.d")
        return home
    return make


@pytest.mark.parametrize("activated", [False, True])
def test_units_are_valid(units, activated):
    """It exits 0 where it only warns: any word of it is one too many.
    Shows: S04, I9"""
    home = units(activated)
    done = analyze("verify", "--man=no", home / "dnseal.service", home / "dnseal.socket")
    assert done.returncode == 0 and done.stdout + done.stderr == ""


def test_a_unit_that_is_wrong_is_noticed(units):
    """What the test above rests on."""
    home = units(False)
    with open(home / "dnseal.service", "a") as file:
        file.write("NoSuchSetting=1\n")
    done = analyze("verify", "--man=no", home / "dnseal.service")
    assert "NoSuchSetting" in done.stdout + done.stderr


@pytest.mark.parametrize("activated, threshold", [(False, 16), (True, 12)])
def test_units_give_little_away(units, activated, threshold):
    """In tenths, as systemd-analyze wants it.
    Shows: S04"""
    home = units(activated)
    unit = home / "dnseal.service"
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=%d" % threshold, unit)
    assert done.returncode == 0, done.stdout[-200:]
    assert analyze("security", "--offline=true", "--no-pager", "--threshold=5", unit).returncode != 0


def test_what_the_units_name_is_there():
    """Each command of ExecReload and its kin is one that the program knows."""
    text = (UNITS / "dnseal.service").read_text()
    assert SECTIONS.findall(text) == ["Unit", "Service", "Install"]
    commands = re.findall(r"^Exec\w+=/usr/sbin/dnseal ?(.*)$", text, re.MULTILINE)
    assert commands == ["--check", "", "--control reload"]


def test_the_packaged_configuration_is_valid(tmp_path):
    """As it is shipped, and with everything in force that it shows.
    Shows: I9"""
    shipped = (ROOT / "deploy" / "debian" / "dnseal.yaml").read_text()
    assert all(line.startswith("#") for line in shipped.splitlines() if line)
    shown = re.sub(r"^#(?=\w|  )", "", shipped, flags=re.MULTILINE).replace("/var/lib/dnseal", str(tmp_path))
    assert shown.count("\n  - ") >= 4
    for text in (shipped, shown):
        file = tmp_path / "dnseal.yaml"
        file.write_text(text)
        done = run(["-c", str(file), "--check"])
        assert done.returncode == 0, done.stderr
