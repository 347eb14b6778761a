"""Functions in the place of the C library's, for a program that knows nothing of it."""
import os
import subprocess


def preloaded(source, directory):
    """What this file defines, built here; the environment that brings it into a program."""
    library = directory / (source.stem + ".so")
    subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library, source, "-ldl"], check=True)
    options = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": options}
