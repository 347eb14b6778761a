"""The programs that are measured: dnseal, its limit, and the peers with the settings that make them comparable (one
thread, strict towards one server, no query log). A program that is not installed is left out, aloud."""
import dataclasses
import pathlib
import re
import shutil
import subprocess

TEMPLATES = pathlib.Path(__file__).resolve().parent / "peers"
WORD = re.compile(r"@(PORT|SERVER|SERVER_PORT|NAME|AUTHORITY|RUN|WORKERS|WARM)@")


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    command: str
    template: str = ""
    version: str = ""      # the command that tells it
    streams: bool = True   # serves TCP as well
    survives: bool = True  # lives on when its server goes away

    def prepare(self, words):
        """Writes the configuration into words["RUN"]; the command line to start."""
        def fill(text):
            return WORD.sub(lambda found: str(words[found[1]]), text)
        if self.template:
            text = (TEMPLATES / self.template).read_text()
            pathlib.Path(words["RUN"], self.template).write_text(fill(text))
        return fill(self.command).split()

    def installed(self):
        return shutil.which(self.command.split()[0]) is not None

    def tell_version(self):
        if not self.version:
            return ""
        result = subprocess.run(self.version.split(), capture_output=True, text=True)
        found = re.search(r"\d+(\.\d+)+|\b\d{2,}\b", result.stdout + result.stderr)
        return found[0] if found else "?"


def known(build):
    """By name; the first is dnseal, the second the limit."""
    relay = f"{build}/bench/relay --port @PORT@ --server @SERVER@ --server-port @SERVER_PORT@ --name @NAME@"
    peers = [
        Peer("dnseal", f"{build}/dnseal -c @RUN@/dnseal.yaml", "dnseal.yaml", f"{build}/dnseal --version"),
        Peer("relay", f"{relay} --authorities @AUTHORITY@", streams=False, survives=False),
        Peer("unbound", "unbound -d -c @RUN@/unbound.conf", "unbound.conf", "unbound -V"),
        Peer("dnsdist", "dnsdist --supervised --disable-syslog -C @RUN@/dnsdist.conf", "dnsdist.conf",
             "dnsdist --version"),
        Peer("stubby", "stubby -v 3 -C @RUN@/stubby.yml", "stubby.yml", "stubby -V"),
        Peer("knot-resolver", "kresd -n -c @RUN@/knot-resolver.conf @RUN@", "knot-resolver.conf", "kresd --version"),
        Peer("smartdns", "smartdns -f -c @RUN@/smartdns.conf -p @RUN@/pid", "smartdns.conf",
             "dpkg-query -W -f ${Version} smartdns"),
    ]
    return {peer.name: peer for peer in peers}
