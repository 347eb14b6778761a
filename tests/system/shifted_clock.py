"""A wall clock of the program's own, which a test sets while the program runs; the program itself knows nothing of it."""
import os
import pathlib
import struct
import subprocess
import time

SOURCE = pathlib.Path(__file__).with_suffix(".c")


class ShiftedClock:
    """`environment` goes to the program; set_to(seconds since the epoch) moves its clock, set_right() mends it."""

    def __init__(self, directory):
        self.file, library = directory / "shift", directory / "shifted_clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library, SOURCE, "-ldl"], check=True)
        self.move(0)
        options = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
        self.environment = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(self.file), "ASAN_OPTIONS": options}

    def move(self, seconds):
        with open(self.file, "r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))

    def set_to(self, moment):
        self.move(int(moment - time.time()))

    def set_right(self):
        self.move(0)
