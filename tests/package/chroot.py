"""Debian systems made on the spot, to build and install packages in: a directory, and processes that see nothing else.

A process gets its own mounts, processes, host name and network. All of it is done as root; nothing outside of the
directory is changed."""
import os
import pathlib
import shutil
import subprocess
import tempfile

# What the programs of a new system find around them. The root of the mount namespace becomes the directory itself, so
# that there is no way back out of it.
ENTER = """
set -eu
root=$1
shift
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
ip link set lo up
cd "$root"
mkdir -p .outside
pivot_root . .outside
exec chroot . sh -c 'umount -l /.outside && rmdir /.outside && exec "$@"' sh "$@"
"""


class Failed(Exception):
    """A command that should have worked did not."""


def run(command, timeout=1800, log=None, **options):
    """Runs it; its output goes to the log, or comes back. Failed, with the end of its output, when it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout, errors="replace", **options)
    if log is not None:
        with open(log, "a") as file:
            file.write(done.stdout)
    if done.returncode != 0:
        raise Failed("%s: exit %d\n%s" % (" ".join(map(str, command))[:200], done.returncode, done.stdout[-6000:]))
    return done.stdout


class System:
    """A Debian system in a directory, which goes when it is closed."""

    def __init__(self, root, log):
        self.root, self.log = pathlib.Path(root), log

    @classmethod
    def make(cls, release, variant, packages, log):
        made = cls(tempfile.mkdtemp(prefix="dnseal-%s-" % release, dir="/var/tmp") + "/root", log)
        try:
            made.fill(release, variant, packages)
        except BaseException:
            made.close()
            raise
        return made

    def fill(self, release, variant, packages):
        run(["mmdebstrap", "--mode=root", "--variant=" + variant, "--include=" + ",".join(packages), release,
             self.root], log=self.log)

    def close(self):
        shutil.rmtree(self.root.parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def command(self, words, user=None):
        """The command line that runs the words in there."""
        apart = ["--mount", "--pid", "--ipc", "--uts", "--net", "--fork", "--kill-child"]
        inside = ["runuser", "-u", user, "--", *words] if user else list(words)
        return ["unshare", *apart, "sh", "-c", ENTER, "sh", str(self.root), *map(str, inside)]

    def run(self, *words, user=None, env=None, **options):
        """Without a network, but for a loopback of its own."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent",
                       "DEBIAN_FRONTEND": "noninteractive", **(env or {})}
        return run(self.command(words, user), env=environment, log=self.log, **options)

    def files(self, ignored=()):
        """Every path in it, but for those below what is ignored."""
        found = set()
        for home, folders, files in os.walk(self.root):
            place = "/" + os.path.relpath(home, self.root).lstrip(".")
            folders[:] = [name for name in folders if os.path.join(place, name) not in ignored]
            found |= {os.path.join(place, name) for name in [*folders, *files]}
        return {path for path in found if path not in ignored}
