"""A container of the image, run by podman without a daemon, in whatever network namespace the caller has entered."""
import itertools
import json
import os
import pathlib
import signal
import subprocess
import time

from clients import Tcp, udp_exchange
from program import ROOT, children_of, scaled, still_alive

import wire

IMAGE = os.environ.get("DNSEAL_IMAGE", "localhost/dnseal:bookworm")
NUMBERS = itertools.count(1)
# What the machine that tests cannot do everywhere, and what the image is about: nothing of it weakens the container.
ALWAYS = ("--cgroups", "disabled", "--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
          "--health-interval", "disable", "--pull", "never")
LOCKED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


def podman(*words, check=True, timeout=60):
    done = subprocess.run([str(ROOT / "tools" / "containers"), "podman", *map(str, words)], capture_output=True,
                          text=True, timeout=scaled(timeout))
    assert done.returncode == 0 or not check, done.stderr
    return done


class Container:
    """`options` are podman's, `arguments` the program's."""

    def __init__(self, *options, env=None, arguments=(), locked=True):
        self.name = "dnseal-test-%d-%d" % (os.getpid(), next(NUMBERS))
        self.address, self.port = "127.0.0.1", 53
        variables = [word for name, value in (env or {}).items() for word in ("--env", "%s=%s" % (name, value))]
        self.words = [*ALWAYS, *(LOCKED if locked else ()), *variables, *map(str, options), IMAGE, *arguments]

    def run(self):
        """To its end, as `docker run --rm`: exit code and both outputs."""
        return podman("run", "--rm", "--name", self.name, *self.words, check=False)

    def start(self):
        podman("run", "--detach", "--name", self.name, *self.words)
        return self

    def remove(self):
        podman("rm", "--force", "--time", "0", self.name, check=False)

    # ---- what becomes of it

    def state(self):
        return json.loads(podman("inspect", self.name, "--format", "{{json .State}}").stdout)

    def first(self):
        return self.state()["Pid"]

    def log(self):
        done = podman("logs", self.name)
        return done.stdout + done.stderr

    def wait_log(self, word, seconds=10):
        end = time.monotonic() + scaled(seconds)
        while word not in self.log():
            assert time.monotonic() < end, "no %s: %s" % (word, self.log())
            time.sleep(0.1)
        return self

    def ready(self):
        return self.wait_log("event=ready")

    def wait_end(self, seconds=10):
        """The exit code."""
        return int(podman("wait", self.name, timeout=seconds).stdout)

    def check_health(self):
        """What HEALTHCHECK says now, and the state that came of it."""
        code = podman("healthcheck", "run", self.name, check=False).returncode
        return code, self.state()["Health"]["Status"]

    def control(self, command):
        """What `docker exec` would print; there is no shell to do it with."""
        return podman("exec", self.name, "/usr/sbin/dnseal", "--control", command).stdout

    def send(self, name):
        podman("kill", "--signal", name, self.name)

    def stop(self):
        """As `docker stop`: the exit code, 137 when it had to be killed."""
        podman("stop", "--time", "10", self.name)
        return self.state()["ExitCode"]

    def stop_as_told(self):
        """After as long as the container was started with: --stop-timeout."""
        podman("stop", self.name)
        return self.state()["ExitCode"]

    def end(self):
        """Its stop alone, without what podman does around it: seconds, and the exit code."""
        first, begun = self.first(), time.monotonic()
        os.kill(first, signal.SIGTERM)
        still_alive([first], scaled(5))
        return time.monotonic() - begun, self.wait_end()

    # ---- what is seen inside

    def processes(self):
        first = self.first()
        return [first, *children_of(first)]

    def status_of(self, pid):
        lines = pathlib.Path("/proc/%d/status" % pid).read_text().splitlines()
        return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}

    # ---- questions

    def query_udp(self, name, address=None, timeout=5):
        raw = udp_exchange(address or self.address, self.port, wire.query(name), scaled(timeout))
        return raw and wire.parse(raw)

    def query_tcp(self, name):
        with Tcp(self.address, self.port) as link:
            return link.ask(wire.query(name), scaled(5))
