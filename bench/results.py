"""What was measured: by scenario the entries of every program and the run that they come from, so that a run of some
scenarios can take the place of their older numbers. Kept as JSON beside the documents."""
import datetime
import json
import os
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ("src", "meson.build", "meson_options.txt")


def processor():
    with open("/proc/cpuinfo") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def git(*words):
    result = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True)
    return result.stdout.strip() if result.returncode == 0 else ""


def commit():
    """The last one that changed the program."""
    changed = git("status", "--porcelain", "--", *PROGRAM)
    return (git("log", "-1", "--format=%h", "--", *PROGRAM) or "unknown") + (" and changes" if changed else "")


def describe(arguments, peers, left_out, measured_commit):
    """A run, at its end."""
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "?")
    return {
        "command": arguments.command.strip(), "rounds": arguments.rounds, "seconds": arguments.seconds,
        "date": str(datetime.date.today()), "commit": measured_commit,
        "load": ", ".join(f"{value:.2f}" for value in os.getloadavg()),
        "machine": f"{processor()}, {os.cpu_count()} cores, Linux {platform.release()}, {system}",
        "versions": ", ".join(f"{peer.name} {peer.tell_version()}" for peer in peers if peer.version),
        "left_out": left_out,
    }


class Results:
    """`runs` in the order in which they were made; `scenarios` by id: the number of the run, the entries by program."""

    def __init__(self, runs, scenarios):
        self.runs, self.scenarios = runs, scenarios

    @classmethod
    def of_run(cls, run, entries):
        return cls([run], {identity: {"run": 0, "entries": by_program} for identity, by_program in entries.items()})

    @classmethod
    def read(cls, path):
        """Nothing yet where there is no such file."""
        if not path.exists():
            return cls([], {})
        kept = json.loads(path.read_text())
        return cls(kept["runs"], kept["scenarios"])

    def write(self, path):
        """A line for each run and each scenario, so that a difference shows what was renewed."""
        runs = ",\n".join(json.dumps(run) for run in self.runs)
        scenarios = ",\n".join(f"{json.dumps(identity)}: {json.dumps(scenario)}"
                               for identity, scenario in self.scenarios.items())
        path.write_text(f'{{"runs": [\n{runs}],\n"scenarios": {{\n{scenarios}}}}}\n')

    def only(self, metrics):
        """With no more than the metrics named for each id."""
        def slim(identity, by_program):
            return {name: [{metric: entry[metric] for metric in entry if metric in metrics[identity]}
                           for entry in rounds] for name, rounds in by_program.items()}
        return Results(self.runs, {identity: {**scenario, "entries": slim(identity, scenario["entries"])}
                                   for identity, scenario in self.scenarios.items()})

    def run_of(self, identity):
        return self.runs[self.scenarios[identity]["run"]]

    def entries(self, identity):
        return self.scenarios[identity]["entries"]

    def is_long(self, identity):
        return identity in self.scenarios and "--long" in self.run_of(identity)["command"].split()

    def unless_shorter(self, kept, lasting):
        """Without those of `lasting` that `kept` has of a --long run, where this run is none."""
        return Results(self.runs, {identity: scenario for identity, scenario in self.scenarios.items()
                                   if identity not in lasting or self.is_long(identity) or not kept.is_long(identity)})

    def renewed_by(self, newer):
        """With the scenarios of `newer` in the place of our own; a run that nothing comes from any more is dropped."""
        scenarios = {**self.scenarios, **{identity: {**scenario, "run": scenario["run"] + len(self.runs)}
                                          for identity, scenario in newer.scenarios.items()}}
        runs = self.runs + newer.runs
        used = sorted({scenario["run"] for scenario in scenarios.values()})
        return Results([runs[number] for number in used],
                       {identity: {**scenario, "run": used.index(scenario["run"])}
                        for identity, scenario in scenarios.items()})
