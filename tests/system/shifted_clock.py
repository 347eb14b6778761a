"""A wall clock of the program's own, which a test sets while the program runs; the program itself knows nothing of it."""
import pathlib
import struct
import time

from preload import preloaded

SOURCE = pathlib.Path(__file__).with_suffix(".c")


class ShiftedClock:
    """`environment` goes to the program; set_to(seconds since the epoch) moves its clock, set_right() mends it."""

    def __init__(self, directory):
        self.file = directory / "shift"
        self.move(0)
        self.environment = {**preloaded(SOURCE, directory), "SHIFTED_CLOCK": str(self.file)}

    def move(self, seconds):
        with open(self.file, "r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))

    def set_to(self, moment):
        self.move(int(moment - time.time()))

    def set_right(self):
        self.move(0)
