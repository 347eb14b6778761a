"""What the engine may do, seen from outside: rights, files, core dumps; and kernels that lack a layer."""
import errno
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import tempfile

import pytest

import puppet
from program import BINARY, Program, children_of, clean_environment, is_sanitized, run, scaled

OLD_KERNEL = pathlib.Path(__file__).with_name("old_kernel.py")
NOBODY = 65534
TRAPPED = {"execve": 59, "setuid": 105, "mount": 165}
SYNC = 162


def old_kernel(**calls):
    """A prefix: the calls answer these errors."""
    return ["/usr/bin/python3", str(OLD_KERNEL), *("%s=%s" % item for item in calls.items()), "--"]


def status_of(path):
    lines = (path / "status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def threads_of(pid):
    return sorted(pathlib.Path("/proc/%d/task" % pid).iterdir())


def is_of_sanitizer(status):
    """Its thread begins before main does, and has the filter of all threads alone."""
    return is_sanitized() and status["Seccomp_filters"] == "1"


def assert_confined(pid):
    """Every thread of an engine: a user, no right, no way to one, filters."""
    threads = [status_of(thread) for thread in threads_of(pid)]
    own = [status for status in threads if not is_of_sanitizer(status)]
    assert len(own) >= 3  # a worker, the log, the main thread
    for status in own:
        assert "0" not in status["Uid"].split() + status["Gid"].split()
        assert not status["Groups"].split()
        assert all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2" and status["Seccomp_filters"] == "2"


@pytest.fixture
def everybodys(write_config, authority):
    """everybodys(server, **changes) gives a program whose files an ordinary user can read."""
    folders = []

    def make(server, prefix=(), **changes):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="dnseal-sandbox-"))
        folders.append(folder)
        folder.chmod(0o755)
        shutil.copy(authority.ca, folder / "ca.pem")
        (folder / "ca.pem").chmod(0o644)
        file, address, port = write_config(server, tls={"ca": str(folder / "ca.pem")},
                                           **{"control": {"socket": ""}, **changes})
        shutil.copy(file, folder / "dnseal.yaml")
        (folder / "dnseal.yaml").chmod(0o644)
        program = Program(folder / "dnseal.yaml", address, port)
        program.prefix = list(prefix)
        return program
    yield make
    for folder in folders:
        shutil.rmtree(folder)


def as_nobody(*rights):
    """A prefix: an ordinary user with these capabilities and no other."""
    words = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
    kept = ",".join(["-all", *("+" + right for right in rights)])
    return [*words, "--inh-caps", kept, "--ambient-caps", kept, "--bounding-set", kept]


# ---- the control socket of who is not root

OWN_RUN = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o mode=755 none /run && exec "$@"', "sh"]
DEFAULT_SOCKET = {"socket": "/run/dnseal/control.socket"}


def test_a_user_without_a_directory_for_the_control_socket(everybodys, a):
    """Shows: I8, W8"""
    program = everybodys(a, [*OWN_RUN, *as_nobody()], control=DEFAULT_SOCKET)
    program.start()
    try:
        told = program.wait_event("control_off")
        assert told["reason"] == "no such file or entry" and "may be written to" in told["hint"], told
        assert "another dnseal" not in told["hint"]
        assert program.query_udp("x.test").rcode == 0
    finally:
        program.stop()


def test_a_control_socket_that_another_one_has(everybodys, a):
    """Shows: I8, W8"""
    there = ["sh", "-c", 'mkdir /run/dnseal && : >/run/dnseal/control.socket && exec "$@"', "sh"]
    program = everybodys(a, [*OWN_RUN, *there], control=DEFAULT_SOCKET)
    program.start()
    try:
        told = program.wait_event("control_off")
        assert "another dnseal" in told["hint"], told
    finally:
        program.stop()


def test_who_may_not_ask_is_told_who_may(dnseal, a):
    """Shows: I8, W4"""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dnseal-sandbox-"))
    try:
        folder.chmod(0o755)
        socket = str(folder / "socket")
        dnseal(a, control={"socket": socket})
        env = clean_environment({"DNSEAL_CONTROL_SOCKET": socket})
        done = subprocess.run([*as_nobody(), BINARY, "--healthcheck"], env=env, capture_output=True, text=True)
        assert done.returncode == 1 and "permission denied: ask as root, or as the user who started it" in done.stderr
    finally:
        shutil.rmtree(folder)


# ---- rights


def test_started_as_root_on_port_53(dnseal, a, address):
    """Shows: S01, W1"""
    home = address()
    program = dnseal(a, listen=[home + ":53"], sandbox="strict")
    program.address, program.port = home, 53
    assert program.query_udp("x.test").rcode == 0
    assert program.query_tcp("x.test").rcode == 0
    engine, = program.engines()
    assert_confined(engine)
    assert program.status().total("dnseal_sandbox_degraded") == 0
    assert not program.seen("sandbox")


def test_started_as_a_user_with_one_capability(everybodys, a, address):
    """Shows: S01, W1"""
    home = address()
    program = everybodys(a, as_nobody("net_bind_service"), listen=[home + ":53"], sandbox="strict")
    program.address, program.port = home, 53
    program.start()
    try:
        assert program.query_udp("x.test").rcode == 0
        monitor, (engine,) = program.process.pid, program.engines()
        assert int(status_of(pathlib.Path("/proc/%d" % monitor))["CapEff"], 16) == 1 << 10
        assert_confined(engine)
        assert not program.seen("sandbox"), "a root of its own is not owed to who may not have one"
    finally:
        program.stop()


def test_root_by_name_alone(dnseal, a, write_config):
    """Shows: W1

    As `docker run --user 0 --cap-drop ALL` starts it: it says so before it serves, and serves where root may stay."""
    file, _, _ = write_config(a)
    bare = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--"]
    words = [*bare, BINARY, "-c", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=scaled(10), check=False, env=clean_environment())
    assert done.returncode == 1, done.stderr
    assert "CAP_SETUID" in done.stderr and "--user 65532:65532" in done.stderr
    program = dnseal(a, user="", prefix=bare)
    assert program.query_udp("x.test").rcode == 0


# ---- files


if not is_sanitized():  # a sanitizer reads the program's file and /proc
    def test_the_root_is_empty(dnseal, a):
        """Shows: S01"""
        program = dnseal(a)
        assert program.query_udp("x.test").rcode == 0
        engine, = program.engines()
        for name in ("root", "cwd"):
            place = "/proc/%d/%s" % (engine, name)
            assert os.readlink(place) != "/"
            assert os.listdir(place + "/") == []
            assert not [entry for entry in ("status", "fd", "proc", "etc") if os.path.lexists("%s/%s" % (place, entry))]
            with pytest.raises(OSError):
                pathlib.Path(place, "file").write_text("")

    def test_without_proc(everybodys, a):
        """Nothing is there to make an empty root of.

        Shows: S06
        """
        away = ["unshare", "-m", "sh", "-c", 'umount -l /proc && exec "$@"', "sh"]
        program = everybodys(a, away)
        program.start()
        try:
            assert program.query_udp("x.test").rcode == 0
            event, = program.seen("sandbox")
            assert (event["layer"], event["reason"]) == ("root", "no such file or entry")
        finally:
            program.stop()


# ---- core dumps


def core_limits(pid):
    lines = pathlib.Path("/proc/%d/limits" % pid).read_text().splitlines()
    return next(line for line in lines if line.startswith("Max core file size")).split()[4:6]


def test_memory_is_shown_to_nobody(everybodys, a):
    """Shows: V06"""
    program = everybodys(a, ["prlimit", "--core=unlimited:unlimited", *as_nobody()])
    program.start()
    try:
        engine, = program.engines()
        for pid in (program.process.pid, engine):
            assert core_limits(pid) == ["0", "0"]
            assert status_of(pathlib.Path("/proc/%d" % pid))["Uid"].split()[0] == str(NOBODY)
            assert os.stat("/proc/%d/environ" % pid).st_uid == 0, "the kernel takes it for one that may be dumped"
    finally:
        program.stop()


def spawn_in(folder, words):
    prefix = ["env", "-C", str(folder), "prlimit", "--core=unlimited:unlimited"]
    return os.posix_spawnp("env", [*prefix, *words], clean_environment())


def test_a_crash_leaves_no_core(write_config, a, tmp_path):
    """Shows: V06"""
    log = tmp_path / "log"
    file, _, _ = write_config(a, user="", log={"target": str(log), "format": "text"})
    pid = spawn_in(tmp_path, [BINARY, "-c", str(file)])
    try:
        wait_for_text(log, "event=ready ")
        engine, = children_of(pid)
        os.kill(engine, signal.SIGSEGV)
        wait_for_text(log, "event=engine_died ")
    finally:
        os.kill(pid, signal.SIGSEGV)
        status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or is_sanitized()
    assert not os.WCOREDUMP(status)
    assert not [path.name for path in tmp_path.iterdir() if "core" in path.name]


def wait_for_text(log, text):
    done = subprocess.run(["timeout", str(scaled(10)), "sh", "-c", 'until grep -q "$1" "$2"; do sleep 0.05; done',
                           "sh", text, str(log)], capture_output=True)
    assert done.returncode == 0, log.read_text()


# ---- system calls


if platform.machine() == "x86_64":
    @pytest.mark.parametrize("call", sorted(TRAPPED))
    def test_an_engine_that_was_taken_over(dnseal, a, call):
        """A call that nobody makes but who has taken it over ends it, with a word, and another engine serves.

        Shows: S02, P01
        """
        program = dnseal(a, workers=1)
        engine, = program.engines()
        puppet.make_call(int(threads_of(engine)[-1].name), TRAPPED[call])  # the worker, which sleeps
        event = program.wait_event("sandbox", scaled(5))
        assert (event["call"], event["number"], event["level"]) == (call, TRAPPED[call], "error")
        assert program.wait_event("engine_died", scaled(5))["signal"] == signal.SIGABRT
        assert program.wait_event("ready", scaled(5), count=2)
        assert program.query_udp("x.test").rcode == 0
        assert program.engines() != [engine]

    def test_a_call_that_is_unknown(dnseal, a):
        """Shows: S02"""
        program = dnseal(a, workers=1)
        engine, = program.engines()
        for thread in threads_of(engine):
            assert puppet.result_of_call(int(thread.name), SYNC) == -errno.ENOSYS
        assert program.query_udp("x.test").rcode == 0
        assert program.engines() == [engine] and not program.seen("sandbox")


# ---- kernels that lack a layer


LACKS = {
    "no landlock": ({"landlock_create_ruleset": "ENOSYS"}, {"landlock": "not supported by this system"}),
    "landlock forbidden": ({"landlock_create_ruleset": "EPERM"}, {"landlock": "permission denied"}),
    "landlock switched off": ({"landlock_create_ruleset": "EOPNOTSUPP"}, {"landlock": "not supported by this system"}),
    "no seccomp": ({"seccomp": "ENOSYS"}, {"seccomp": "not supported by this system"}),
    "no filters": ({"seccomp": "EINVAL"}, {"seccomp": "not supported by this system"}),
    "no memory for filters": ({"seccomp": "ENOMEM"}, {"seccomp": "out of memory"}),
    "an emulator that agrees and does nothing": ({"seccomp": "0"}, {"seccomp": "not supported by this system"}),
    "neither": ({"landlock_create_ruleset": "ENOSYS", "seccomp": "ENOSYS"},
                {"landlock": "not supported by this system", "seccomp": "not supported by this system"}),
}


@pytest.mark.parametrize("lack", sorted(LACKS))
def test_auto_goes_without(dnseal, a, lack):
    """Shows: S06"""
    calls, missing = LACKS[lack]
    program = dnseal(a, prefix=old_kernel(**calls))
    assert program.query_udp("x.test").rcode == 0
    told = program.seen("sandbox")
    assert {event["layer"]: event["reason"] for event in told} == missing and len(told) == len(missing)
    assert all(event["level"] == "warning" and event["hint"] for event in told)
    assert program.status().total("dnseal_sandbox_degraded") == len(missing)


@pytest.mark.parametrize("lack", sorted(LACKS))
def test_strict_refuses(write_config, a, lack):
    """Shows: S06"""
    calls, missing = LACKS[lack]
    file, _, _ = write_config(a, sandbox="strict")
    done = subprocess.run([*old_kernel(**calls), BINARY, "-c", str(file)], capture_output=True, text=True,
                          env=clean_environment(), timeout=scaled(10))
    layer, reason = sorted(missing.items())[0]
    assert done.returncode == 1
    assert "dnseal: sandbox: strict: %s: %s: " % (layer, reason) in done.stderr
    assert not a.names()


def test_off(dnseal, a):
    """Shows: S06"""
    program = dnseal(a, sandbox="off")
    assert program.query_udp("x.test").rcode == 0
    event, = program.seen("sandbox")
    assert (event["layer"], event["reason"], event["level"]) == ("all", "switched off", "warning")
    assert program.status().total("dnseal_sandbox_degraded") == 3
    engine, = program.engines()
    assert os.readlink("/proc/%d/root" % engine) == "/"
    assert all(status_of(thread)["Seccomp"] == "0" for thread in threads_of(engine))


def test_the_dialler_is_confined_as_well(write_config, a):
    """Shows: S06"""
    file, _, _ = write_config(a, sandbox="strict")
    assert run(["-c", str(file), "--check", "--connect"], timeout=20).returncode == 0
    lacking = old_kernel(landlock_create_ruleset="ENOSYS")
    done = subprocess.run([*lacking, BINARY, "-c", str(file), "--check", "--connect"], capture_output=True, text=True,
                          env=clean_environment(), timeout=scaled(20))
    assert done.returncode == 1
    assert "dnseal: sandbox: strict: landlock: not supported by this system: " in done.stderr
