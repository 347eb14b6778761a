"""A Debian system of chroot.py with its own systemd as the first process: services run in it as on a machine, with their
units, their sandboxes and their watchdogs. It shares the network of whoever boots it, and nothing else."""
import os
import pathlib
import subprocess
import time

from chroot import Failed, run

# The kernel's settings are shared by all systems: they can be read in there, and not changed. Mounts are shared among
# the services, as systemd expects it where somebody else has made them.
BOOT = """
set -eu
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,ro,bind "$root/proc/sys"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -o remount,ro "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
cd "$root"
mkdir -p .outside
pivot_root . .outside
exec chroot . sh -c 'umount -l /.outside && rmdir /.outside && mount --make-rshared / &&
    exec env -i container=dnseal-test PATH=/usr/sbin:/usr/bin \
    /lib/systemd/systemd --unit=multi-user.target --log-target=console --show-status=no \
    systemd.mask=systemd-sysctl.service systemd.mask=systemd-udevd.service systemd.mask=console-getty.service'
"""


def unified_hierarchy():
    """Where this machine has its control groups of the second version."""
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[2] == "cgroup2":
            return pathlib.Path(line.split()[1])
    raise Failed("this machine has no control groups (cgroup2): systemd cannot run here")


class Booted:
    def __init__(self, system, log):
        self.system, self.group = system, unified_hierarchy() / ("dnseal-package-%d" % os.getpid())
        self.log = open(log, "a")
        self.outer = self.first = None

    def __enter__(self):
        self.group.mkdir()
        words = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child", "sh", "-c", BOOT,
                 "sh", str(self.system.root)]
        self.outer = subprocess.Popen(["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(self.group), *words],
                                      stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            self.await_first()
            self.wait_until(lambda: "running" in self.try_run("systemctl", "is-system-running").stdout or
                            "degraded" in self.try_run("systemctl", "is-system-running").stdout, 60, "it does not come up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.outer.kill()
        self.outer.wait()
        self.log.close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                for folder, _, _ in os.walk(self.group, topdown=False):
                    os.rmdir(folder)
                return
            except OSError:
                time.sleep(0.1)

    def await_first(self):
        children = pathlib.Path("/proc/%d/task/%d/children" % (self.outer.pid, self.outer.pid))
        self.wait_until(lambda: children.read_text().split(), 10, "no first process")
        self.first = int(children.read_text().split()[0])

        def is_systemd():
            return pathlib.Path("/proc/%d/comm" % self.first).read_text().strip() == "systemd"
        self.wait_until(is_systemd, 10, "no systemd")

    def wait_until(self, what, seconds, trouble):
        deadline = time.monotonic() + seconds
        while not what():
            if time.monotonic() > deadline or self.outer.poll() is not None:
                raise Failed(trouble)
            time.sleep(0.1)

    def command(self, words):
        return ["nsenter", "--target", str(self.first), "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--root", "--wd",
                "env", "-i", "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
                *map(str, words)]

    def try_run(self, *words):
        return subprocess.run(self.command(words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    def run(self, *words):
        return run(self.command(words), timeout=120)

    def property_of(self, unit, name):
        return self.run("systemctl", "show", "--value", "--property=" + name, unit).strip()
