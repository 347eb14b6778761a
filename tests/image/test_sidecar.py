"""The manifest of a pod: its container runs with what the manifest locks up, and answers its neighbour. Kubernetes itself
does not read it here; who may ask the pod, and where cluster names go, is seen by tests/system/test_ways.py."""
import yaml

from container import LOCKED
from program import ROOT
from test_image import USER, container, set_first_port, space, upstream  # noqa: F401

FILE = ROOT / "deploy" / "kubernetes" / "sidecar.yaml"


def manifest():
    settings, pod = yaml.safe_load_all(FILE.read_text())
    assert (settings["kind"], pod["kind"]) == ("ConfigMap", "Pod")
    return settings["data"], pod["spec"]


def check_locks(inside):
    """They are those of the test's containers."""
    assert inside == {"runAsNonRoot": True, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                      "capabilities": {"drop": ["ALL"]}}
    assert {"--read-only", "--cap-drop", "ALL", "no-new-privileges"} <= set(LOCKED)


def test_the_neighbour_is_answered(space, container, upstream, authority, tmp_path):  # noqa: F811
    """Shows: M9, S04"""
    files, spec = manifest()
    check_locks(spec["containers"][0]["securityContext"])
    setting, = spec["securityContext"]["sysctls"]
    assert setting["name"] == "net.ipv4.ip_unprivileged_port_start"
    set_first_port(setting["value"])
    text = files["dnseal.yaml"]
    assert text.count("cloudflare") == 1
    tmp_path.chmod(0o755)
    (tmp_path / "dnseal.yaml").write_text(text.replace("cloudflare", '"%s"' % upstream.url) +
                                          "tls: { ca: /authority.pem }\n")
    mount, = spec["containers"][0]["volumeMounts"]
    program = container("--volume", "%s:%s:ro" % (tmp_path, mount["mountPath"]),
                        "--volume", "%s:/authority.pem:ro" % authority.ca, "--ulimit", "nofile=4096:4096").ready()
    address, = spec["dnsConfig"]["nameservers"]
    assert program.query_udp("x.example.net", address=address).rcode == 0
    assert program.check_health() == (0, "healthy")
    assert program.status_of(program.first())["Uid"][0] == USER
