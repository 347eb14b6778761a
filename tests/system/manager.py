"""A service manager for the tests, as systemd is to its services: the socket that it is told things at, the descriptors
that it keeps and gives back, the sockets that it passes, and the environment in which all are named."""
import array
import os
import re
import socket
import subprocess
import sys
import threading
import time

from program import BINARY, Program, clean_environment, scaled

# Becomes the program, when everything is in its place: descriptors from 3 on, and LISTEN_PID, which has to name the
# process that reads it.
LAUNCHER = """
import fcntl, os, sys
given, names, watchdog = [int(word) for word in sys.argv[1].split()], sys.argv[2], sys.argv[3] == "yes"
above = max([200, *given]) + len(given)
high = [fcntl.fcntl(one, fcntl.F_DUPFD, above) for one in given]
for at, one in enumerate(high):
    os.dup2(one, 3 + at)
    os.close(one)
if given:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)))
    if names:
        os.environ["LISTEN_FDNAMES"] = names
if watchdog:
    os.environ["WATCHDOG_PID"] = str(os.getpid())
os.closerange(3 + len(given), above)
os.execv(sys.argv[4], sys.argv[4:])
"""


class Words:
    """What the program says, in order; each with the time at which it came. What it stores is kept, by name, as systemd
    does it: at most so many descriptors, and none twice."""

    def __init__(self, path, most=1024):
        self.path, self.most, self.stored, self.paused = str(path), most, [], threading.Event()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + self.path[1:] if self.path.startswith("@") else self.path)
        self.changed, self.heard, self.descriptors = threading.Condition(), [], []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                data, control, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(16 * 4))
            except OSError:
                return
            came = array.array("i")
            for _, _, inside in control:
                came.frombytes(inside[:len(inside) - len(inside) % came.itemsize])
            while self.paused.is_set():
                time.sleep(0.01)
            with self.changed:
                words = data.decode().split("\n")
                self.note(words, came)
                self.heard += [(time.monotonic(), word) for word in words]
                self.changed.notify_all()

    def note(self, words, came):
        name = next((word.split("=", 1)[1] for word in words if word.startswith("FDNAME=")), "stored")
        if "FDSTORE=1" in words:
            for descriptor in came:
                self.keep(name, descriptor)
        elif "FDSTOREREMOVE=1" in words:
            self.forget(name)
        else:
            self.descriptors += came

    def keep(self, name, descriptor):
        known = [inode(kept) for _, kept in self.stored]
        if inode(descriptor) in known or len(self.stored) >= self.most:
            os.close(descriptor)
        else:
            self.stored.append((name, descriptor))

    def forget(self, name=None):
        """All of it without a name, as where a service is stopped for good."""
        gone = [kept for kept in self.stored if name in (None, kept[0])]
        self.stored = [kept for kept in self.stored if kept not in gone]
        for _, descriptor in gone:
            os.close(descriptor)

    def settle(self):
        """Everything that was said before has been heard."""
        mark = "MARK=%s" % os.urandom(8).hex()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(mark.encode(), self.socket.getsockname())
        assert self.wait(mark)

    def names(self):
        """What is stored, without our prefix, and without the number at the end of what is memory."""
        return sorted(re.sub(r"^dnseal-stored-(?:(cache|total)-\d+$)?", r"\1", name) for name, _ in self.stored)

    def close(self):
        self.socket.close()
        self.forget()
        for descriptor in self.descriptors:
            os.close(descriptor)

    def count(self, word):
        with self.changed:
            return sum(1 for _, heard in self.heard if heard == word)

    def times(self, word):
        with self.changed:
            return [at for at, heard in self.heard if heard == word]

    def wait(self, beginning, seconds=5, count=1):
        """Whether a word that begins like this comes so often in time."""
        end = time.monotonic() + scaled(seconds)
        with self.changed:
            while time.monotonic() < end:
                if sum(1 for _, heard in self.heard if heard.startswith(beginning)) >= count:
                    return True
                self.changed.wait(0.05)
        return False


def inode(descriptor):
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


class Managed(Program):
    """A program under a manager."""

    def manage(self, words=None, sockets=(), names="", watchdog=None):
        self.words, self.sockets, self.names, self.watchdog = words, list(sockets), names, watchdog
        return self

    def start(self, ready=True):
        with self.changed:
            self.events.clear()
        env = clean_environment(self.env)
        if self.words is not None:
            env["NOTIFY_SOCKET"] = self.words.path
        if self.watchdog is not None:
            env["WATCHDOG_USEC"] = str(int(self.watchdog * 1e6))
        given, names = [one.fileno() for one in self.sockets], self.names
        if self.words is not None and self.words.stored:
            names = ":".join([*filter(None, names.split(":") if names else ["a.socket"] * len(given)),
                              *(name for name, _ in self.words.stored)])
            given += [descriptor for _, descriptor in self.words.stored]
        command = [sys.executable, "-c", LAUNCHER, " ".join(map(str, given)), names,
                   "yes" if self.watchdog is not None else "no", self.binary, "-c", self.file, *self.arguments]
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, preexec_fn=self.limit, pass_fds=given)
        self.reader = threading.Thread(target=self.read_log, args=(self.process.stderr,), daemon=True)
        self.reader.start()
        if ready and self.wait_event("ready", scaled(10)) is None:
            raise AssertionError("not ready (exit %s): %s" % (self.process.poll(), self.text()))
        return self


    def restart(self, stop=None):
        """The next process; the store is what the manager has by then. `stop`: another end than a clean one."""
        (stop or self.stop)()
        self.words.settle()
        return self.start()


def bound(address, port, kind, reuse_port=False):
    """A socket as a socket unit makes it: it may block."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, kind)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if kind == socket.SOCK_STREAM:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((address, port))
    if kind == socket.SOCK_STREAM:
        made.listen(128)
    return made
