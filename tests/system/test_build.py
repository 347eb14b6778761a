"""What the linker and the compiler promised, read from the program itself."""
import platform
import subprocess

from program import BINARY


def readelf(*options):
    return subprocess.run(["readelf", "--wide", *options, BINARY], capture_output=True, text=True, check=True).stdout


def test_hardening():
    """Shows: G5"""
    assert "DYN (Position-Independent Executable file)" in readelf("--file-header")
    segments, dynamic = readelf("--program-headers"), readelf("--dynamic")
    assert "GNU_RELRO" in segments and "BIND_NOW" in dynamic
    stack = next(line for line in segments.splitlines() if "GNU_STACK" in line)
    assert " E " not in stack and "RWE" not in segments
    assert "__stack_chk_fail" in readelf("--dyn-syms")


def test_control_flow_protection():
    """Shows: G5"""
    landing = {"x86_64": "endbr64", "aarch64": "paciasp"}.get(platform.machine())
    if landing is not None:
        code = subprocess.run(["objdump", "-d", "--disassemble=main", BINARY], capture_output=True, text=True, check=True)
        assert landing in code.stdout


def test_no_writable_code_at_run_time(dnseal, a):
    """Shows: G5"""
    program = dnseal(a)
    assert program.query_udp("x.test").rcode == 0
    maps = open("/proc/%d/maps" % program.process.pid).read()
    assert maps and not any("wx" in line.split()[1] for line in maps.splitlines())
