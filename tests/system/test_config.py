"""Configurations, good and broken: what --check says, and where values come from."""
import re
import resource
import subprocess

import pytest

from program import BINARY, clean_environment, run, scaled

BASE = """listen: ["127.0.0.1:5300"]
upstreams: ["tls://127.0.0.2:8853#a.test"]
tls: { ca: "@CA@" }
"""
PIN = "sha256/" + "A" * 43 + "="

# What is wrong: the text (put behind BASE unless it has a key of it), and a word of the complaint.
BROKEN = {
    "yaml syntax": ("log: { level: info\nworkers: 1\n", ""),
    "tab": ("log:\n\tlevel: info\n", ""),
    "not a mapping": ("=- one\n- two\n", ""),
    "unknown key": ("speed: fast\n", "speed"),
    "unknown nested key": ("limits: { query_timeuot: 1s }\n", "query_timeuot"),
    "duplicate key": ("workers: 1\nworkers: 2\n", "workers"),
    "prefix length": ("access: { allow: [10.0.0.0/33] }\n", "10.0.0.0/33"),
    "prefix address": ("access: { deny: [300.0.0.0/8] }\n", "300.0.0.0"),
    "prefix host bits or word": ("access: { allow: [publik] }\n", "publik"),
    "missing authorities": ("=tls: { ca: /no/such/file.pem }\nupstreams: ['tls://127.0.0.2#a.test']\n"
                            "listen: ['127.0.0.1:5300']\n", "/no/such/file.pem"),
    "listen twice": ("=listen: ['127.0.0.1:5300', '127.0.0.1:5300']\nupstreams: ['tls://127.0.0.2#a.test']\n"
                     "tls: { ca: '@CA@' }\n", "127.0.0.1:5300"),
    "listen twice in another spelling": ("=listen: ['[::1]:5300', '[0:0:0:0:0:0:0:1]:5300']\ntls: { ca: '@CA@' }\n"
                                         "upstreams: ['tls://127.0.0.2#a.test']\n", "listen"),
    "listen without port": ("@listen: ['127.0.0.1']\n", "listen"),
    "listen port too high": ("@listen: ['127.0.0.1:70000']\n", "70000"),
    "listen name": ("@listen: ['localhost:53']\n", "localhost"),
    "listen empty": ("@listen: []\n", "listen"),
    "listen transport": ("@listen: [{ address: '127.0.0.1:5300', transport: [carrier-pigeon] }]\n", "carrier-pigeon"),
    "clear text on 853": ("@listen: ['127.0.0.1:853']\n", "853"),
    "upstream on port 53": ("@upstreams: ['tls://127.0.0.2:53#a.test']\n", "53"),
    "upstream scheme": ("@upstreams: ['https://127.0.0.2/']\n", "upstreams"),
    "upstream word": ("@upstreams: [cloudflair]\n", "cloudflair"),
    "upstream name": ("@upstreams: ['tls://127.0.0.2#not a name']\n", "upstreams"),
    "upstream empty name": ("@upstreams: ['tls://127.0.0.2#']\n", "upstreams"),
    "upstream address": ("@upstreams: ['tls://127.0.0.999#a.test']\n", "upstreams"),
    "upstreams empty": ("@upstreams: []\n", "upstreams"),
    "pin length": ("@upstreams: [{ url: 'tls://127.0.0.2#a.test', pins: ['sha256/AAAA'] }]\n", "pins"),
    "pin without url": ("@upstreams: [{ pins: ['%s'] }]\n" % PIN, "url"),
    "duration without unit": ("limits: { query_timeout: 4500 }\n", "query_timeout"),
    "duration negative": ("limits: { tcp_idle: -1s }\n", "tcp_idle"),
    "duration too long": ("limits: { query_timeout: 9999999h }\n", "query_timeout"),
    "size unit": ("limits: { tcp_output: 256KB }\n", "tcp_output"),
    "number": ("limits: { pending: many }\n", "pending"),
    "number out of range": ("upstream: { in_flight: 0 }\n", "in_flight"),
    "number overflow": ("limits: { pending: 18446744073709551617 }\n", "pending"),
    "word": ("log: { level: loud }\n", "loud"),
    "switch": ("privacy: { strip_client_subnet: maybe }\n", "strip_client_subnet"),
    "tls version": ("@tls: { ca: '@CA@', min_version: '1.1' }\n", "min_version"),
    "workers": ("workers: -2\n", "workers"),
    "user": ("user: no-such-user-here\n", "no-such-user-here"),
    "list for a value": ("log: { level: [info, debug] }\n", "level"),
    "mapping for a value": ("workers: { count: 2 }\n", "workers"),
    "control characters": ('log: { target: "/tmp/a\\x07b" }\n', "target"),
    "key of a later version": ("routes: { cluster.local: cluster }\n", "routes"),
}

GOOD = {
    "base": "",
    "short": "=upstreams: ['tls://127.0.0.2#a.test']\ntls: { ca: '@CA@' }\n",
    "address only": "@upstreams: ['tls://127.0.0.2:8853']\n",
    "ipv6": "@upstreams: ['tls://[::1]:8853#a.test']\n",
    "preset": "@upstreams: [cloudflare, google, quad9, adguard]\n",
    "pins": "@upstreams: [{ url: 'tls://127.0.0.2#a.test', pins: ['%s'] }]\n" % PIN,
    "pins only": "@upstreams: [{ url: 'tls://127.0.0.2', pins: ['%s'] }]\n" % PIN,
    "listen mapping": "@listen: [{ address: '127.0.0.1:5300', transport: [udp] }, '[::1]:5300']\n",
    "same port for udp and tcp apart": "@listen: [{ address: '127.0.0.1:5300', transport: [udp] }, "
                                       "{ address: '127.0.0.1:5300', transport: [tcp] }]\n",
    "access": "access: { allow: [private, 198.51.100.0/24, '2001:db8::/32', 192.0.2.7], deny: [10.0.0.0/8] }\n",
    "limits": "limits: { query_timeout: 4s, tcp_idle: 1m, tcp_output: 1MiB, pending: 100, drain_delay: 0s }\n"
              "upstream: { attempt_timeout: 1900ms, backoff_max: 1m, handshakes_per_second: 10, in_flight: 100 }\n",
    "log": "log: { level: debug, format: json, target: stdout, queries: anonymous }\nworkers: 3\nuser: \"\"\n",
    "padding": "@tls: { ca: '@CA@', min_version: '1.3', padding: 0 }\nprivacy: { strip_client_subnet: false }\n",
    "comments and anchors": "# a comment\nworkers: auto # another\n\n",
}


def text_of(part, ca):
    """'=' stands alone; '@' takes the place of the key of BASE that it begins with; else behind BASE."""
    if part.startswith("="):
        text = part[1:]
    elif part.startswith("@"):
        key = part[1:].split(":")[0]
        text = "".join(line + "\n" for line in BASE.splitlines() if not line.startswith(key + ":")) + part[1:]
    else:
        text = BASE + part
    return text.replace("@CA@", ca)


def processor_seconds():
    """Of all programs that have ended: a machine with other work to do takes nothing of it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture
def check(tmp_path, authority):
    """check(part, env) runs --check, which takes less than a second of a processor; gives the result."""
    def run_check(part, env=None, words=("--check",)):
        file = tmp_path / "config.yaml"
        file.write_text(text_of(part, authority.ca))
        before, used = sorted(tmp_path.iterdir()), processor_seconds()
        done = run(["-c", str(file), *words], env=env)
        assert processor_seconds() - used <= scaled(1)
        assert sorted(tmp_path.iterdir()) == before
        return done
    return run_check


@pytest.mark.parametrize("case", BROKEN)
def test_broken(check, tmp_path, case):
    """Shows: P02, I8"""
    part, word = BROKEN[case]
    start = check(part, words=[])
    assert start.returncode == 1 and word in start.stderr
    done = check(part)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert lines and all(re.match(r"^(dnseal: )?[^:]+config\.yaml:\d+:\d+: ", line) for line in lines), done.stderr
    assert word in done.stderr


def test_place_of_the_error(check, tmp_path):
    """Shows: P02"""
    done = check("limits:\n  tcp_idle: 5s\n  query_timeout: soon\n")
    assert "%s/config.yaml:6:" % tmp_path in done.stderr and "limits.query_timeout: " in done.stderr


def test_all_errors_are_told(check):
    """Shows: P02"""
    done = check("workers: -1\nlog: { level: loud, format: xml }\nspeed: 9\n")
    assert all(word in done.stderr for word in ("workers", "loud", "xml", "speed"))
    assert len(done.stderr.splitlines()) >= 4


def test_errors_of_all_files_are_told(check, tmp_path):
    """Shows: P02"""
    done = check("@tls: {ca: /no/such/ca.pem}\nuser: no-such-user\n"
                 "local: {hosts: [/no/such/hosts], block: [/no/such/list]}\n")
    assert done.returncode == 1
    for word in ("/no/such/ca.pem", "no-such-user", "/no/such/hosts", "/no/such/list"):
        assert word in done.stderr, done.stderr


def test_near_words_are_suggested(check):
    """Shows: P02"""
    assert "query_timeout" in check("limits: { query_timeuot: 1s }\n").stderr


@pytest.mark.parametrize("case", GOOD)
def test_good(check, case):
    """Shows: P02, I8"""
    done = check(GOOD[case])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("case", GOOD)
def test_printed_configuration_is_the_same_again(check, tmp_path, case):
    """Shows: P02, I8"""
    printed = check(GOOD[case], words=["--print-config"])
    assert printed.returncode == 0, printed.stderr
    again = tmp_path / "again.yaml"
    again.write_text(printed.stdout)
    assert run(["-c", str(again), "--print-config"]).stdout == printed.stdout


def test_it_may_come_through_a_pipe(authority):
    done = subprocess.run([BINARY, "-c", "/dev/stdin", "--check"], input=text_of("", authority.ca), text=True,
                          capture_output=True, env=clean_environment(), timeout=scaled(10))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("option", ["--check", "--print-config", "--version", "--help"])
def test_a_full_disk_is_no_success(option):
    """Shows: P02

    What was asked for is not there, and a script must not go on as if it were."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([BINARY, option], env=clean_environment(None), stdout=full, stderr=subprocess.PIPE,
                              timeout=scaled(10))
    assert done.returncode == 1 and b"standard output" in done.stderr


def test_missing_file(tmp_path):
    """Shows: P02"""
    done = run(["-c", str(tmp_path / "nowhere.yaml"), "--check"])
    assert done.returncode == 1 and "nowhere.yaml" in done.stderr


def test_strict_without_any_identity_is_impossible(check):
    """Shows: P02, pain 16"""
    for text in ("@upstreams: ['tls://dns.example.test']\n", "@upstreams: ['udp://127.0.0.2#a.test']\n",
                 "@upstreams: ['127.0.0.2']\n", "@upstreams: [{ url: 'tls://127.0.0.2#a.test', insecure: true }]\n"):
        assert check(text).returncode == 1


# ---- the environment

def printed(check, env, words=(), part=""):
    done = check(part, env, ["--print-config", *words])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_environment_is_over_the_file(check):
    """Shows: M5, I8"""
    text = printed(check, {"DNSEAL_LIMITS_QUERY_TIMEOUT": "3210ms", "DNSEAL_WORKERS": "3",
                           "DNSEAL_LISTEN": "127.0.0.1:5301,[::1]:5302", "DNSEAL_ACCESS_ALLOW": "10.9.0.0/16,127.0.0.1",
                           "DNSEAL_UPSTREAMS": "tls://127.0.0.7:8853#seven.test,tls://127.0.0.8:8853#eight.test"},
                   part="limits: { query_timeout: 1s }\n")
    for word in ("3210ms", "127.0.0.1:5301", "[::1]:5302", "10.9.0.0/16", "127.0.0.7:8853#seven.test",
                 "127.0.0.8:8853#eight.test"):
        assert word in text
    assert "a.test" not in text and "127.0.0.1:5300" not in text


def test_command_line_is_over_the_environment(check):
    """Shows: I8"""
    text = printed(check, {"DNSEAL_LISTEN": "127.0.0.1:5301"},
                   ["--listen", "127.0.0.1:5399", "--upstream", "tls://127.0.0.9:8853#nine.test"])
    assert "127.0.0.1:5399" in text and "nine.test" in text
    assert "5301" not in text and "5300" not in text and "a.test" not in text


@pytest.mark.parametrize("name", ["DNSEAL_SPEED", "DNSEAL_LIMITS", "DNSEAL_LIMITS_QUERY_TIMEUOT", "DNSEAL_"])
def test_unknown_names_stop_the_start(check, name):
    """Shows: P02, I8"""
    done = check("", {name: "1"})
    assert done.returncode == 1 and name in done.stderr


def test_bad_values_are_told_by_their_name(check):
    """Shows: P02"""
    done = check("", {"DNSEAL_LIMITS_QUERY_TIMEOUT": "soon"})
    assert done.returncode == 1 and "DNSEAL_LIMITS_QUERY_TIMEOUT" in done.stderr and "soon" in done.stderr


def test_names_that_kubernetes_puts_there(check):
    """Shows: I10, P02"""
    names = {"DNSEAL_PORT": "udp://10.0.0.1:53", "DNSEAL_PORT_53_UDP": "udp://10.0.0.1:53",
             "DNSEAL_PORT_53_UDP_ADDR": "10.0.0.1", "DNSEAL_SERVICE_HOST": "10.0.0.1", "DNSEAL_SERVICE_PORT": "53",
             "DNSEAL_SERVICE_PORT_DNS": "53"}
    assert check("", names).returncode == 0


DOCUMENTS = {"DNS_SERVER_IP": "127.0.0.7", "DNS_SERVER_PORT": "8854", "DNS_SERVER_NAME": "seven.test",
             "LISTENING_PORT": "5355", "PROXY_SERVER": "127.0.0.3", "PROXY_PORT": "5356"}


def test_names_of_the_documents(check, authority):
    """Shows: M5"""
    text = printed(check, {**DOCUMENTS, "CA_PATH": authority.ca}, part="=workers: 1\n")
    assert "127.0.0.7:8854#seven.test" in text and "127.0.0.3:5355" in text and authority.ca in text


def test_proxy_port_alone(check, authority):
    """Shows: M5"""
    text = printed(check, {"PROXY_SERVER": "127.0.0.3", "PROXY_PORT": "5356", "CA_PATH": authority.ca}, part="=workers: 1\n")
    assert "127.0.0.3:5356" in text


def test_own_names_are_over_those_of_the_documents(check):
    """Shows: M5"""
    text = printed(check, {**DOCUMENTS, "DNSEAL_LISTEN": "127.0.0.4:5357",
                           "DNSEAL_UPSTREAMS": "tls://127.0.0.8:8853#eight.test"})
    assert "127.0.0.4:5357" in text and "eight.test" in text and "seven.test" not in text


def test_server_of_a_preset_gets_its_name(check):
    """Shows: M5, M3"""
    for address, name in (("1.1.1.1", "cloudflare-dns.com"), ("9.9.9.9", "dns.quad9.net"), ("8.8.8.8", "dns.google")):
        assert name in printed(check, {"DNS_SERVER_IP": address})


def test_default_upstream(check):
    """Shows: M3"""
    text = printed(check, {}, part="=workers: 1\n")
    assert "cloudflare" in text or ("1.1.1.1" in text and "1.0.0.1" in text)


def test_environment_alone_serves(dnseal, a, authority, address, port):
    """Shows: M5, M6"""
    home = address()
    number = port(home)
    program = dnseal(a, listen=None, upstreams=None, tls=None, env={
        "DNS_SERVER_IP": a.address, "DNS_SERVER_PORT": str(a.port), "DNS_SERVER_NAME": "a.test",
        "CA_PATH": authority.ca, "PROXY_SERVER": home, "LISTENING_PORT": str(number)})
    program.address, program.port = home, number
    assert program.query_udp("x.test").rcode == 0 and program.query_tcp("x.test").rcode == 0
