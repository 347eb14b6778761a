"""The image: built from deploy/docker/Dockerfile, and run as docs/containers.md says. `./dev image --test` runs this with
the fixtures of the system tests; DNSEAL_IMAGE names the image."""
import json
import os
import re
import tarfile
import tempfile
import time

import pytest

from container import IMAGE, Container, podman
from program import scaled

USER = "65532"
LIBRARY = re.compile(r"^(usr/)?lib(64)?/(.*/)?(lib|ld-)[^/]*\.so[.0-9]*$")
EXPECTED = re.compile(r"usr/sbin/dnseal$|etc/(dnseal/dnseal.yaml|passwd|group|hosts|hostname|resolv.conf)$"
                      r"|usr/lib/os-release$|etc/ssl/certs/ca-certificates.crt$|usr/share/doc/[^/]+/copyright$|var/lib/dpkg/status.d/[^/]+$"
                      r"|(usr/)?lib(64)?/(.*/)?(lib|ld-)[^/]*\.so[.0-9]*$")
HOST, INSIDE, PUBLIC = "172.17.0.1", "172.17.0.2", "198.51.100.7"


def set_first_port(number):
    """The first one that everybody may bind, in this network namespace. Docker sets it to 0 in a container's own."""
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w") as setting:
        setting.write(str(number))


@pytest.fixture
def space(namespace):
    """A network namespace that has only loopback, as Docker sets up a container's."""
    made = namespace()
    with made.entered():
        set_first_port(0)
        yield made


@pytest.fixture
def container():
    """container(...) makes and starts one; all are removed at the end."""
    made = []

    def make(*options, **more):
        made.append(Container(*options, **more))
        return made[-1].start()
    yield make
    for each in made:
        each.remove()


@pytest.fixture
def upstream(space, server):
    """The scripted server, on loopback of the container's network."""
    return server("a.test", at="127.0.0.2", port=8853)


@pytest.fixture
def documents(authority, upstream):
    """The environment in the words of the documents, and the mount that brings the authority."""
    env = {"DNS_SERVER_IP": upstream.address, "DNS_SERVER_PORT": upstream.port, "DNS_SERVER_NAME": "a.test",
           "CA_PATH": "/authority.pem", "DNSEAL_LOCAL_FORWARD": "test"}
    return ["--volume", "%s:/authority.pem:ro" % authority.ca], env


@pytest.fixture
def running(container, documents):
    options, env = documents
    return container(*options, env=env).ready()


def test_answers_over_udp_and_tcp(running, upstream):
    """Shows: M9, M5"""
    assert running.query_udp("one.test").rcode == 0 and running.query_tcp("two.test").rcode == 0
    assert set(upstream.names()) == {"one.test.", "two.test."}


def test_who_it_is(running):
    """Shows: S04, W1, M9"""
    processes = running.processes()
    assert len(processes) == 2
    for pid in processes:
        status = running.status_of(pid)
        assert status["Uid"] == status["Gid"] == [USER] * 4 and set(status["Groups"]) <= {USER}
        assert status["NoNewPrivs"] == ["1"]
        assert {status[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    filters = [int(running.status_of(pid)["Seccomp_filters"][0]) for pid in processes]
    assert filters[1] > filters[0], filters  # its own sandbox, inside that of the container


def test_root_cannot_be_written_to(running):
    """Shows: S04"""
    for pid in running.processes():
        roots = [line.split() for line in open("/proc/%d/mountinfo" % pid) if line.split()[4] == "/"]
        assert len(roots) == 1 and "ro" in roots[0][5].split(",")
    with pytest.raises(OSError):
        with open("/proc/%d/root/tmp/file" % running.first(), "w") as file:
            file.write("x")


def test_nothing_else_is_in_it():
    """The program, its libraries and their papers, the authorities: no shell and nothing to install with. Shows: M9"""
    name = podman("create", "--network", "none", IMAGE).stdout.strip()
    try:
        with tempfile.NamedTemporaryFile() as file:
            podman("export", "--output", file.name, name)
            with tarfile.open(file.name) as archive:
                members = archive.getmembers()
    finally:
        podman("rm", name)
    programs = {member.name for member in members if member.isfile() and member.mode & 0o111}
    assert {name for name in programs if not LIBRARY.search(name)} == {"usr/sbin/dnseal"}
    assert not [member.name for member in members if member.mode & 0o6000]
    files = {member.name for member in members if member.isfile() and not EXPECTED.match(member.name)}
    assert files <= {".dockerenv", "run/.containerenv"}, files
    size = sum(member.size for member in members)
    assert size < 20 << 20, size


def test_what_it_says_of_itself():
    """Shows: M9, I10"""
    config = json.loads(podman("image", "inspect", IMAGE).stdout)[0]
    assert config["User"] == USER + ":" + USER and config["Config"]["StopSignal"] == "SIGTERM"
    assert config["Config"]["Entrypoint"] == ["/usr/sbin/dnseal"] and not config["Config"].get("Cmd")
    assert set(config["Config"]["ExposedPorts"]) == {"53/udp", "53/tcp"}
    assert {"title", "description", "licenses", "version", "revision"} <= {
        label.rpartition(".")[2] for label in config["Labels"] if label.startswith("org.opencontainers.image.")}
    secrets = [word for word in config["Config"]["Env"] if not word.startswith(("PATH=", "DNSEAL_CONTROL_SOCKET="))]
    assert not secrets


def test_health(running, upstream):
    """Shows: I10"""
    assert running.check_health() == (0, "healthy")
    upstream.stop()
    end = time.monotonic() + scaled(10)
    while running.check_health()[0] == 0:
        assert time.monotonic() < end
        running.query_udp("away.test")
    while running.check_health()[1] != "unhealthy":
        assert time.monotonic() < end


def test_commands(running):
    """Shows: M9"""
    assert running.query_udp("x.test").rcode == 0
    assert 'dnseal_queries_total{transport="udp"} 1' in running.control("status")


def test_flush(running, upstream):
    """Shows: M9"""
    for _ in range(2):
        assert running.query_udp("x.test").rcode == 0
    assert upstream.count("x.test") == 1
    running.control("flush")
    assert running.query_udp("x.test").rcode == 0 and upstream.count("x.test") == 2


def test_check_and_print(space, documents):
    """With the options that it is to run with, and nothing is left of it. Shows: M9, I8"""
    options, env = documents
    right = Container(*options, env=env, arguments=["--check"]).run()
    assert right.returncode == 0 and "is valid" in right.stdout + right.stderr
    wrong = Container(*options, env={**env, "DNSEAL_WORKERS": "many"}, arguments=["--check"]).run()
    assert wrong.returncode == 1 and "DNSEAL_WORKERS" in wrong.stdout + wrong.stderr
    shown = Container(*options, env=env, arguments=["--print-config"])
    assert "/authority.pem" in shown.run().stdout
    assert podman("container", "exists", shown.name, check=False).returncode == 1


@pytest.mark.parametrize("command", ["--control reload", "SIGHUP"])
def test_reload(container, upstream, authority, tmp_path, command):
    """A file that is mounted is read again as the ordinary user that everything runs as. Shows: M9"""
    def write(port):
        file.write_text("listen: [127.0.0.1:%d]\nupstreams: [\"%s\"]\ntls: {ca: /authority.pem}\n"
                        "local: {forward: [test]}\n" % (port, upstream.url))
    file = tmp_path / "dnseal.yaml"
    write(5301)
    program = container("--volume", "%s:/authority.pem:ro" % authority.ca,
                        "--volume", "%s:/etc/dnseal/dnseal.yaml:ro" % file).ready()
    write(5302)
    if command == "SIGHUP":
        program.send("HUP")
        program.wait_log("event=reload ")
    else:
        program.control("reload")
    program.port = 5302
    assert program.query_udp("x.test").rcode == 0


def test_stop(running):
    """Shows: M10, M9"""
    assert running.query_udp("x.test").rcode == 0
    assert running.stop() == 0
    assert "event=stop" in running.log()


def test_stop_takes_less_than_a_second(running):
    """Shows: M10"""
    assert running.query_udp("x.test").rcode == 0
    seconds, code = running.end()
    assert seconds < scaled(1) and code == 0, (seconds, code)


@pytest.mark.parametrize("timeout, code", [(1, 137), (20, 0)])
def test_time_to_stop(container, documents, timeout, code):
    """What is served on for longer than the container is given is killed. Shows: M10"""
    options, env = documents
    program = container(*options, "--stop-timeout", timeout, env={**env, "DNSEAL_LIMITS_DRAIN_DELAY": "4s"}).ready()
    assert program.query_udp("x.test").rcode == 0
    assert program.stop_as_told() == code


def test_plain_run(container, documents):
    """Without a single option that locks it up: who serves locks itself up. Shows: M9, W1"""
    options, env = documents
    program = container(*options, env=env, locked=False).ready()
    assert program.query_udp("x.test").rcode == 0
    assert program.check_health() == (0, "healthy")
    statuses = [program.status_of(pid) for pid in program.processes()]
    assert [status["Uid"][0] for status in statuses] == [USER] * 2
    assert statuses[1]["NoNewPrivs"] == ["1"] and statuses[1]["CapEff"] == ["0" * 16]


def test_refused_port_has_a_way_out(space, container):
    """Shows: pain 31, W1"""
    set_first_port(1024)
    program = container()
    assert program.wait_end() == 1
    said = program.log()
    assert "0.0.0.0:53" in said and "net.ipv4.ip_unprivileged_port_start=0" in said and "LISTENING_PORT" in said


def test_one_right_is_enough(space, container, documents):
    """Podman hands what is added on to an ordinary user, as an ambient capability; the engine gives it up.
    Shows: pain 31, W1"""
    set_first_port(1024)
    options, env = documents
    program = container(*options, "--cap-add", "NET_BIND_SERVICE", env=env).ready()
    assert program.query_udp("x.test").rcode == 0
    first, engine = (program.status_of(pid) for pid in program.processes())
    assert first["Uid"][0] == USER and int(first["CapAmb"][0], 16) == 1 << 10
    assert {engine[name][0] for name in ("CapPrm", "CapEff", "CapAmb")} == {"0" * 16}


def test_high_port(space, container, documents):
    """Where port 53 is refused. On all addresses, as in the file of the image. Shows: pain 31, M5"""
    set_first_port(1024)
    options, env = documents
    program = container(*options, env={**env, "LISTENING_PORT": 5353}).ready()
    program.port = 5353
    assert program.query_udp("x.test", address="127.0.0.3").rcode == 0


def test_file_of_ones_own(container, upstream, authority, tmp_path):
    """Mounted over that of the image, it says all. Shows: M9, I8"""
    file = tmp_path / "dnseal.yaml"
    file.write_text("listen: [127.0.0.1:5301]\nupstreams: [\"%s\"]\ntls: {ca: /authority.pem}\n"
                    "local: {forward: [test]}\n" % upstream.url)
    program = container("--volume", "%s:/authority.pem:ro" % authority.ca,
                        "--volume", "%s:/etc/dnseal/dnseal.yaml:ro" % file).ready()
    program.port = 5301
    assert program.query_udp("x.test").rcode == 0 and program.check_health()[0] == 0


def test_cache_in_a_volume(container, documents, upstream):
    """The directory for it belongs to the user of the image, and so does a new volume. Shows: M9"""
    options, env = documents
    volume = "dnseal-test-%d" % os.getpid()
    env = {**env, "DNSEAL_CACHE_FILE": "/var/lib/dnseal/cache"}
    options = [*options, "--volume", volume + ":/var/lib/dnseal"]
    try:
        program = container(*options, env=env).ready()
        assert program.query_udp("kept.test").rcode == 0
        assert program.stop() == 0
        program.remove()
        program = container(*options, env=env).ready()
        assert program.query_udp("kept.test").rcode == 0
        assert upstream.count("kept.test") == 1
        program.remove()
    finally:
        podman("volume", "rm", "--force", volume)


def test_answers_the_host_and_nobody_public(space, namespace, container, documents):
    """The address that Docker's bridge gives the host is private. Shows: M9, RFC5625-6.2"""
    host, public = namespace(), namespace()
    space.join(host, INSIDE + "/16", HOST + "/16")
    space.join(public, "198.51.100.1/24", PUBLIC + "/24")
    options, env = documents
    program = container(*options, env=env).ready()
    with host.entered():
        assert program.query_udp("x.test", address=INSIDE).rcode == 0
    with public.entered():
        assert program.query_udp("x.test", address="198.51.100.1").rcode == 5
