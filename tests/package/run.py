#!/usr/bin/python3
"""Builds the Debian package of the sources in build/dist, in systems made on the spot; called by ./dev package, as root.

Usage: run.py [--release NAME]... [--test]

The packages and a log are in build/package/NAME. Without --release it is that of this machine, with --test every one of
RELEASES. --test installs, runs, upgrades, removes and purges the package, and in systems of a later release than this
machine's also builds the program with all warnings as errors, by both compilers, and passes its quick tests with the
second one."""
import argparse
import pathlib
import sys
import time

import build
from chroot import Failed, System, run

RELEASES = ("bookworm", "trixie")
HERE = pathlib.Path(__file__).resolve().parent
# Besides what the package names: systemd runs it, systemd-resolved and the C library ask it.
AROUND = ("systemd", "systemd-resolved")
# A network that leads nowhere, but is up: systemd-resolved asks nobody where there is none.
NETWORK = """ip link set lo up && ip link add near type veth peer name far && ip link set far up &&
ip address add 192.0.2.1/24 dev near && ip link set near up && exec "$@" """
QUICK = "meson test --print-errorlogs --quiet --timeout-multiplier 4 --no-suite faults --no-suite bench"


def own_release():
    fields = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return fields.get("VERSION_CODENAME", "").strip('"')


def tell(release, text, since):
    print("%s: %s (%d s)" % (release, text, time.monotonic() - since), flush=True)


def dependencies(package):
    """What it needs to be installed: names alone, and of alternatives the first."""
    field = run(["dpkg-deb", "-f", package, "Depends"])
    return [entry.split("|")[0].split("(")[0].strip() for entry in field.split(",")]


def try_compilers(system, archive):
    home = system.root / "compilers"
    home.mkdir()
    tree = build.unpack(archive, home).relative_to(system.root)
    system.run("chown", "-R", "builder:", "/compilers")
    for compiler, then in (("gcc", "true"), ("clang", QUICK)):
        words = "cd /%s && CC=%s meson setup %s && ninja -j2 -C %s && cd %s && %s" % (tree, compiler, compiler, compiler,
                                                                                   compiler, then)
        system.run("sh", "-c", words, user="builder", env={"HOME": "/compilers"}, timeout=3600)


def make(release, out, log, further):
    started = time.monotonic()
    packages = [*build.build_dependencies(), "lintian", *(["clang"] if further else [])]
    with System.make(release, "buildd", packages, log) as system:
        tell(release, "a system to build in", started)
        package, installed = build.build_in(system, build.tarball(), out)
        tell(release, "built and tested: %s" % package.name, started)
        if further:
            try_compilers(system, build.tarball())
            tell(release, "both compilers are content, and so are the quick tests", started)
    return package, installed


def live(release, package, installed, log):
    started = time.monotonic()
    with System.make(release, "minbase", [*AROUND, *dependencies(package)], log) as system:
        tell(release, "a system to install in", started)
        print(run(["unshare", "--net", "sh", "-c", NETWORK, "sh", sys.executable,
                   str(HERE / "life.py"), str(system.root), str(package), str(installed), str(log)], log=log), end="")
    tell(release, "installed, run, upgraded, removed and purged", started)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--release", action="append", choices=RELEASES)
    parser.add_argument("--test", action="store_true")
    options = parser.parse_args()
    own = own_release()
    for release in options.release or (RELEASES if options.test else [own if own in RELEASES else RELEASES[0]]):
        out = build.ROOT / "build" / "package" / release
        out.mkdir(parents=True, exist_ok=True)
        log = out / "log"
        log.unlink(missing_ok=True)
        try:
            package, installed = make(release, out, log, options.test and release != own)
            if options.test:
                live(release, package, installed, log)
        except Failed as failure:
            sys.exit("%s: %s\nThe whole log is %s" % (release, failure, log))


if __name__ == "__main__":
    main()
