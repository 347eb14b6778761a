"""The scripted server as a process of its own, which can be killed, stopped and continued like one."""
import os
import pathlib
import signal
import socket
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


class ServerProcess:
    """Serves the rules of zone.py. To be made and started inside the namespace it belongs to."""

    def __init__(self, address, identity, name, *arguments):
        self.address, self.identity, self.name, self.arguments = address, identity, name, arguments
        self.process = None
        with socket.create_server((address, 0)) as probe:
            self.port = probe.getsockname()[1]

    @property
    def url(self):
        return "tls://%s:%d#%s" % (self.address, self.port, self.name)

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-S", str(HERE / "dot_server.py"), "--listen", "%s:%d" % (self.address, self.port),
             "--certificate", self.identity.certificate, "--key", self.identity.key, *self.arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert "listening" in self.process.stdout.readline()
        return self

    def kill(self):
        """SIGKILL: what the kernel then does with its connections is what a dead process looks like."""
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def freeze(self):
        """The kernel goes on to take connections and to acknowledge; nobody reads."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)
