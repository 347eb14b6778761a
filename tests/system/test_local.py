"""What is answered without asking anybody: special use, hosts files, records and block lists."""
import os
import signal
import stat
import subprocess

import pytest

import wire
from program import run

NXDOMAIN, REFUSED = wire.RCODES["NXDOMAIN"], wire.RCODES["REFUSED"]
BLOCKED = 15
ALL_LOCAL = {"forward": []}


def reverse(*parts):
    return ".".join(parts) + ".in-addr.arpa"


LOOPBACK_V6 = "1." + "0." * 31 + "ip6.arpa"
DENIED = ["x.invalid", "x.test", "x.onion", "x.alt", "x.home.arpa", "x.service.arpa", "_dns.resolver.arpa",
          reverse("1", "0", "0", "10"), reverse("1", "0", "16", "172"), reverse("1", "0", "31", "172"),
          reverse("1", "1", "168", "192"), reverse("1", "0", "0", "0"), reverse("9", "0", "0", "127"),
          reverse("1", "1", "254", "169"), reverse("1", "2", "0", "192"), reverse("1", "100", "51", "198"),
          reverse("1", "113", "0", "203"), reverse("1", "0", "64", "100"), reverse("1", "0", "127", "100"),
          "2." + "0." * 31 + "d.f.ip6.arpa", "1.8.e.f.ip6.arpa", "1.b.e.f.ip6.arpa",
          "1.8.b.d.0.1.0.0.2.ip6.arpa"]


def dig(program, *words):
    done = subprocess.run(["dig", "@" + program.address, "-p", str(program.port), "+short", "+tries=1", "+time=3",
                           *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stdout
    return done.stdout.split()


def write(tmp_path, name, text):
    file = tmp_path / name
    file.write_bytes(text.encode())
    return str(file)


def test_special_use(dnseal, a):
    """Shows: C13, RFC6303, RFC6761"""
    program = dnseal(a, local=ALL_LOCAL)
    for name in ("localhost", "x.localhost"):
        assert dig(program, name, "A") == ["127.0.0.1"] and dig(program, name, "AAAA") == ["::1"]
        assert program.query_udp(name, "MX").rcode == 0
    for name in (reverse("1", "0", "0", "127"), LOOPBACK_V6):
        assert dig(program, name, "PTR") == ["localhost."]
    for name in DENIED:
        for kind in ("A", "PTR"):
            answer = program.query_udp(name, kind)
            assert answer.rcode == NXDOMAIN and not answer.answer, name
            assert [record.type for record in answer.authority] == [wire.TYPES["SOA"]], name
    for name in ("home.arpa", "service.arpa", "test"):
        answer = program.query_udp(name, "A")
        assert answer.rcode == 0 and not answer.answer and len(answer.authority) == 1
        assert len(program.query_udp(name, "SOA").answer) == 1 and len(program.query_udp(name, "NS").answer) == 1
    assert not a.heard
    program.query_udp("ipv4only.arpa")
    assert a.count("ipv4only.arpa") == 1 and len(a.heard) == 1


def test_opt_out(dnseal, a):
    """Shows: C13, I8"""
    program = dnseal(a, local={"forward": ["home.arpa", "test"]})
    assert program.query_udp("x.test").rcode == 0 and a.count("x.test") == 1
    program.query_udp("x.home.arpa")
    assert a.count("x.home.arpa") == 1
    assert program.query_udp("x.onion").rcode == NXDOMAIN and a.count("x.onion") == 0
    off = dnseal(a, local={"forward": None}, env={"DNSEAL_LOCAL_SPECIAL_USE": "false"})
    off.query_udp("x.onion")
    assert a.count("x.onion") == 1


def test_hosts_and_records(dnseal, a, tmp_path):
    """Shows: C13"""
    hosts = write(tmp_path, "hosts", "127.0.0.1 localhost\r\n192.168.7.5 nas.lan nas # mine\r\nfd00::5 nas.lan\r\n")
    program = dnseal(a, local={"hosts": [hosts], "records": ["srv.lan 60 TXT \"one, two\"", "_x._tcp.lan SRV 1 2 3 nas.lan"]})
    assert dig(program, "nas.lan", "A") == ["192.168.7.5"] and dig(program, "+tcp", "nas", "A") == ["192.168.7.5"]
    assert dig(program, "nas.lan", "AAAA") == ["fd00::5"] and dig(program, "nas", "AAAA") == []
    assert dig(program, "-x", "192.168.7.5") == ["nas.lan."] and dig(program, "-x", "fd00::5") == ["nas.lan."]
    assert dig(program, "srv.lan", "TXT") == ['"one,', 'two"']
    assert dig(program, "_x._tcp.lan", "SRV") == ["1", "2", "3", "nas.lan."]
    assert not a.heard
    assert program.query_udp("other.x.test").rcode == 0 and len(a.heard) == 1


@pytest.mark.parametrize("answer,rcode,data", [("nxdomain", NXDOMAIN, []), ("null", 0, [b"\0\0\0\0"]),
                                               ("refused", REFUSED, [])])
def test_block_list(dnseal, a, tmp_path, answer, rcode, data):
    """Shows: I8"""
    block = write(tmp_path, "list", "# a list\n0.0.0.0 localhost\n0.0.0.0 one.test two.test\nads.test\r\n")
    program = dnseal(a, local={"block": [block], "block_answer": answer})
    for name in ("one.test", "two.test", "ads.test", "a.b.ads.test"):
        said = wire.parse(program.udp_raw(wire.query(name, opt=wire.opt_record())))
        assert said.rcode == rcode and said.data == data and said.extended_errors == [BLOCKED]
        assert program.query_udp(name).opt is None
    assert not a.heard
    for name in ("a.one.test", "bads.test"):
        assert program.query_udp(name).rcode == 0 and a.count(name) == 1


def test_names_outlive_an_engine(dnseal, a, tmp_path):
    """Shows: P01"""
    program = dnseal(a, local={"block": [write(tmp_path, "list", "ads.test\n")]})
    engine, = program.engines()
    os.kill(engine, signal.SIGKILL)
    assert program.wait_event("ready", 10, count=2)
    assert program.query_udp("x.ads.test").rcode == NXDOMAIN and not a.heard


@pytest.mark.parametrize("key,text,place", [
    ("hosts", "127.0.0.1 a\n127.0.0 b\n", ":2: \"127.0.0\": is no address"),
    ("hosts", "127.0.0.1\n", ":1: "),
    ("block", "a.test\n\n||ads.test^\n", ":3: \"||ads.test^\": "),
    ("block", "a.test # fine\nno name\n", ":2: "),
    ("block", None, "cannot be read"),
])
def test_broken_files(write_config, a, tmp_path, key, text, place):
    """Shows: P02"""
    path = str(tmp_path / "names")
    if text is not None:
        write(tmp_path, "names", text)
    file, _, _ = write_config(a, local={key: [path]})
    for words in (["--check"], []):
        done = run(["-c", str(file), *words])
        assert done.returncode == 1 and path in done.stderr and place in done.stderr, done.stderr


@pytest.mark.parametrize("key", ["hosts", "block"])
def test_place_of_a_missing_file(write_config, a, tmp_path, key):
    """Each file that cannot be read is told with its own place in the configuration.

    Shows: P02
    """
    file, _, _ = write_config(a, local=None)
    there = write(tmp_path, "there", "")
    first = len(file.read_text().splitlines()) + 1
    file.write_text(file.read_text() + "local:\n  %s:\n    - %s\n    - /no/one\n    - /no/two\n" % (key, there))
    for words in (["--check"], []):
        done = run(["-c", str(file), *words])
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            '%s:%d:7: local.%s[%d]: "/no/%s": cannot be read: no such file or entry' % (file, first + line, key, index, name)
            for line, index, name in ((3, 1, "one"), (4, 2, "two"))]
    file.write_text("\n".join(file.read_text().splitlines()[:first - 1]) + "\n")
    variable = "DNSEAL_LOCAL_" + key.upper()
    done = run(["-c", str(file), "--check"], env={variable: "/no/one"})
    assert done.stderr == 'environment: %s: "/no/one": cannot be read: no such file or entry\n' % variable


@pytest.mark.parametrize("part", ["local: { hosts: [%s] }", "local: { block: [%s] }", "tls: { ca: %s }"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_no_file_is_waited_for(write_config, a, tmp_path, part, kind):
    """Shows: P02"""
    path = "/dev/zero" if kind == "device" else str(tmp_path / kind)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    file, _, _ = write_config(a, **{part.split(":")[0]: None})
    file.write_text(file.read_text() + part % path + "\n")
    line = len(file.read_text().splitlines())
    for words in (["--check"], []):
        done = run(["-c", str(file), *words])
        assert done.returncode == 1
        place, said = done.stderr.split(": ", 1)
        assert place.rsplit(":", 1)[0] == "%s:%d" % (file, line)
        assert '"%s": ' % path in said and "is a pipe, a socket or a device, and a file is needed" in said


def test_too_many_records_of_a_name(write_config, a, tmp_path):
    """Shows: P02"""
    hosts = write(tmp_path, "hosts", "".join("10.0.%d.%d crowd\n" % (n // 250, n % 250 + 1) for n in range(2050)))
    file, _, _ = write_config(a, local=None)
    first = len(file.read_text().splitlines()) + 1
    records = "".join('    - \'big TXT "%d%s"\'\n' % (n, '" "'.join(["x" * 240] * 16)) for n in range(9))
    file.write_text(file.read_text() + "local:\n  hosts: [%s]\n  records:\n%s" % (hosts, records))
    for words in (["--check"], []):
        done = run(["-c", str(file), *words])
        assert done.returncode == 1
        places = [line.split(' has more records ')[0] for line in done.stderr.splitlines()]
        assert places == ['%s:%d:7: local.records[8]: "big.":' % (file, first + 11), hosts + ':2049: "crowd.":',
                          hosts + ':2050: "crowd.":']
        assert "take this one or others of the name out" in done.stderr


@pytest.mark.parametrize("key,text", [("records", "nas.lan CNAME x.lan"), ("records", "nas.lan A ::1"),
                                      ("forward", "example.com")])
def test_broken_options(write_config, a, key, text):
    """Shows: P02"""
    file, _, _ = write_config(a, local={key: [text]})
    done = run(["-c", str(file), "--check"])
    assert done.returncode == 1 and "local." + key in done.stderr and text in done.stderr


def test_million_names(dnseal, a, tmp_path):
    """Shows: W5"""
    names = write(tmp_path, "list", "".join("n%d.block.test\n" % number for number in range(1000000)))
    program = dnseal(a, local={"block": [names]})
    assert program.query_udp("n999999.block.test").rcode == NXDOMAIN
    assert program.query_udp("x.n0.block.test").rcode == NXDOMAIN
    assert program.query_udp("block.test").rcode == 0 and a.count("block.test") == 1
    file = program.file
    done = run(["-c", file, "--check"], env={"DNSEAL_LIMITS_MEMORY": "40MiB"}, timeout=60)
    assert done.returncode == 1 and "local.block" in done.stderr
