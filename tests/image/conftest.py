"""The fixtures of the system tests, for the tests of the image."""
import importlib.util
import pathlib

THERE = pathlib.Path(__file__).resolve().parents[1] / "system" / "conftest.py"
specification = importlib.util.spec_from_file_location("system_conftest", THERE)
shared = importlib.util.module_from_spec(specification)
specification.loader.exec_module(shared)  # which also puts its folder on the path
globals().update({name: value for name, value in vars(shared).items() if not name.startswith("_")})
