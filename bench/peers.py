"""The programs that are measured: dnseal, its limits, and the peers with the settings that make them comparable (one
thread, strict towards one server, no query log). A program that is not installed is left out, aloud."""
import dataclasses
import pathlib
import re
import shutil
import subprocess

TEMPLATES = pathlib.Path(__file__).resolve().parent / "peers"
MIB = 1 << 20
US, DIRECT = "dnseal", "direct"
WORD = re.compile(r"@(PORT|SERVER2?|SERVER2?_PORT|HEDGE|ROUTES|NAME|AUTHORITY|CONTROL|RUN|WORKERS|WARM|CACHE|MEMORY)@")


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    command: str           # empty: the load generator itself
    template: str = ""
    version: str = ""      # the command that tells it
    streams: bool = True   # serves TCP as well
    asks: bool = True      # has a server, and its certificate to check
    limit: bool = False    # the least that can be done
    cache: int = 0         # bytes that it keeps answers in, where a scenario does not say it; 0: it keeps none
    cache_unit: int = 1    # bytes of the cache for one of what its configuration counts
    words: dict = dataclasses.field(default_factory=dict)  # for its template, before those of a scenario

    def prepare(self, words):
        """Writes the configuration into words["RUN"]; the command line to start. Lines of the template that have a
        word which nobody gave are left out."""
        size = words.get("CACHE", self.cache)
        words = {**words, "CACHE": size // self.cache_unit, "MEMORY": max(256 * MIB, size + 192 * MIB)}

        def fill(text):
            return WORD.sub(lambda found: str(words[found[1]]), text)
        if self.template:
            text = (TEMPLATES / self.template).read_text()
            lines = [line for line in text.splitlines(True) if all(word in words for word in WORD.findall(line))]
            pathlib.Path(words["RUN"], self.template).write_text(fill("".join(lines)))
        return fill(self.command).split()

    def installed(self):
        return not self.command or shutil.which(self.command.split()[0]) is not None

    def tell_version(self):
        if not self.version:
            return ""
        result = subprocess.run(self.version.split(), capture_output=True, text=True)
        found = re.search(r"\d+(\.\d+)+|\b\d{2,}\b", result.stdout + result.stderr)
        return found[0] if found else "?"


def known(build):
    """By name; first dnseal, then the limits. Where a cache is counted in entries, one stands for about what it
    costs in bytes."""
    relay = f"{build}/bench/relay --port @PORT@ --server @SERVER@ --server-port @SERVER_PORT@ --name @NAME@"
    peers = [
        Peer(US, f"{build}/dnseal -c @RUN@/dnseal.yaml", "dnseal.yaml", f"{build}/dnseal --version",
             cache=64 * MIB),
        Peer("relay", f"{relay} --authorities @AUTHORITY@", streams=False, limit=True),
        Peer("echo", f"{build}/bench/echo --port @PORT@", asks=False, limit=True),
        Peer(DIRECT, "", asks=False, limit=True),
        Peer("unbound", "unbound -d -c @RUN@/unbound.conf", "unbound.conf", "unbound -V", cache=8 * MIB,
             cache_unit=2),
        Peer("dnsdist", "dnsdist --supervised --disable-syslog -C @RUN@/dnsdist.conf", "dnsdist.conf",
             "dnsdist --version", cache=100000 * 320, cache_unit=320),
        Peer("stubby", "stubby -v 3 -C @RUN@/stubby.yml", "stubby.yml", "stubby -V"),
        Peer("knot-resolver", "kresd -n -c @RUN@/knot-resolver.conf @RUN@", "knot-resolver.conf", "kresd --version",
             cache=100 * MIB),
        Peer("smartdns", "smartdns -f -c @RUN@/smartdns.conf -p @RUN@/pid", "smartdns.conf",
             "dpkg-query -W -f ${Version} smartdns", cache=100000 * 512, cache_unit=512),
    ]
    return {peer.name: peer for peer in peers}


def always(chosen):
    """The names of those that are measured whatever peers are."""
    return [name for name, peer in chosen.items() if peer.limit or name == US]
