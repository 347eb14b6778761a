"""Short runs of what `./dev soak` does by the million: opening and closing leaves nothing behind."""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "soak"))

import soak  # noqa: E402


def test_client_connections_leave_nothing(dnseal, server_process):
    """Shows: pain 4, pain 10, regression 14, W5"""
    limits = {"tcp_connections": 1000, "tcp_connections_per_client": 50}
    program = dnseal(server_process("a.test"), workers=1, limits=limits)
    soak.soak_clients(program, 20000, parts=5)
    assert program.status().total("dnseal_pending_queries") == 0


def test_links_leave_nothing(dnseal, server_process):
    """Shows: pain 4, pain 10, regression 14, W5"""
    program = dnseal(server_process("a.test", "--end-after", "1"), workers=1,
                     upstream={"handshakes_per_second": soak.MANY_HANDSHAKES})
    soak.soak_links(program, cycles=2000, parts=5)
    status = program.status()
    assert status.total("dnseal_pending_queries") == 0
    assert status.total("dnseal_upstream_connections") <= 1
    assert status.total("dnseal_upstream_closes_total", reason="in_flight") > 200


def test_the_program_itself_runs():
    """In a network of its own, as `./dev soak` runs it, but not as long."""
    inside = "ip link set lo up && exec /usr/bin/python3 %s 2000 --seconds 2" % soak.__file__
    done = subprocess.run(["unshare", "--net", "sh", "-c", inside], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "soak: flat" in done.stdout, done.stdout + done.stderr
