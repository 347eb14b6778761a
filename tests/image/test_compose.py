"""The compose file: valid, and what it says of the service is what the service runs with."""
import os
import subprocess

import pytest
import yaml

from container import podman
from program import ROOT
from test_image import USER, container, documents, space, upstream  # noqa: F401

FILE = ROOT / "deploy" / "compose" / "compose.yaml"
VARIABLES = ("ADDRESS", "PORT", "RELEASE", "DNS_SERVER_IP", "DNS_SERVER_PORT", "DNS_SERVER_NAME")


def compose(*words, **variables):
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(["docker-compose", "-f", str(FILE), *words], env={**env, **variables}, capture_output=True,
                          text=True)


def service(**variables):
    done = compose("config", **variables)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["services"]["dnseal"]


@pytest.mark.parametrize("variables", [{}, {"ADDRESS": "192.168.1.2", "PORT": "53", "DNS_SERVER_IP": "9.9.9.9"}])
def test_it_is_valid(variables):
    """Shows: M9"""
    done = compose("config", "-q", **variables)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_ports(tmp_path):
    """This machine alone, unless it is told otherwise. Shows: M9"""
    assert service()["ports"] == ["127.0.0.1:5300:53/udp", "127.0.0.1:5300:53/tcp"]
    assert service(ADDRESS="192.168.1.2", PORT="53")["ports"] == ["192.168.1.2:53:53/udp", "192.168.1.2:53:53/tcp"]


def test_the_service_runs(space, container, documents):  # noqa: F811
    """With all that the file locks up. Shows: M9, S04"""
    options, env = documents
    told = service(DNS_SERVER_IP=env["DNS_SERVER_IP"], DNS_SERVER_PORT=str(env["DNS_SERVER_PORT"]),
                   DNS_SERVER_NAME=env["DNS_SERVER_NAME"])
    assert told["read_only"] and told["cap_drop"] == ["ALL"] and told["security_opt"] == ["no-new-privileges:true"]
    assert told["sysctls"] == {"net.ipv4.ip_unprivileged_port_start": "0"}  # as the network of the test has it
    volume, _, directory = told["volumes"][0].partition(":")
    volume = "dnseal-test-%s-%d" % (volume, os.getpid())
    try:
        program = container(*options, "--volume", volume + ":" + directory, "--ulimit",
                            "nofile=%d:%d" % (2 * (told["ulimits"]["nofile"],)), env={**env, **told["environment"]})
        program.wait_log('"event":"ready"')
        assert program.query_udp("x.test").rcode == 0 and program.query_tcp("y.test").rcode == 0
        assert program.status_of(program.first())["Uid"][0] == USER
        assert program.stop() == 0
        program.remove()
    finally:
        podman("volume", "rm", "--force", volume)
