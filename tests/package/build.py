"""Builds the Debian package from a tarball of the sources, in a system of its release with nothing but what the package
says that it needs."""
import pathlib
import re
import shutil

from chroot import run

ROOT = pathlib.Path(__file__).resolve().parents[2]


def version():
    return re.search(r"^  version: '(.*)',$", (ROOT / "meson.build").read_text(), re.MULTILINE)[1]


def tarball():
    """What ./dev dist has made."""
    return ROOT / "build" / "dist" / ("dnseal-%s.tar.gz" % version())


def unpack(archive, home):
    """The tree that dpkg-buildpackage wants: the sources with debian/ at the top, and the original tarball beside."""
    shutil.copy(archive, home / ("dnseal_%s.orig.tar.gz" % version()))
    run(["tar", "-C", home, "-xzf", archive])
    tree = home / ("dnseal-" + version())
    shutil.copytree(tree / "deploy" / "debian", tree / "debian")
    return tree


def build_dependencies():
    """What the package needs to be built, without versions and profiles."""
    control = (ROOT / "deploy" / "debian" / "control").read_text()
    field = re.search(r"^Build-Depends:(.*?)^\S", control, re.MULTILINE | re.DOTALL)[1]
    names = [re.split(r"[\s(<\[:]", entry.strip())[0] for entry in field.split(",")]
    return ["debhelper" if name == "debhelper-compat" else name for name in names]


def artifacts(folder):
    return sorted(path for path in folder.iterdir() if path.name.startswith("dnseal") and path.is_file())


def build_in(system, archive, out):
    """Builds as an ordinary user without a network, with all quick tests; lintian must be content. What came of it is
    in `out`: gives the package, and the folder with what is installed without it."""
    home = system.root / "build"
    home.mkdir()
    tree = unpack(archive, home)
    system.run("useradd", "builder")
    system.run("chown", "-R", "builder:", "/build")
    inside = "/build/" + tree.name
    system.run("sh", "-c", "cd %s && dpkg-buildpackage -us -uc -sa" % inside, user="builder",
               env={"DEB_BUILD_OPTIONS": "parallel=2", "HOME": "/build"}, timeout=3600)
    changes, = home.glob("*.changes")
    system.run("lintian", "--fail-on", "error,warning", "/build/" + changes.name, user="builder",
               env={"HOME": "/build"})
    out.mkdir(parents=True, exist_ok=True)
    for path in artifacts(home):
        shutil.copy(path, out)
    package, = out.glob("dnseal_%s-*.deb" % version())
    return package, install_in(system, inside, out / "installed")


def install_in(system, tree, out):
    """What `ninja install` installs where nobody has named a place; of the same build, to spare another one."""
    system.run("sh", "-c", "cd %s && meson configure --prefix=/usr/local obj-* && DESTDIR=/build/installed ninja -C obj-* install" %
               tree, user="builder", env={"HOME": "/build"})
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(system.root / "build/installed", out)
    return out
