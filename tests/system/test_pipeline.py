"""The files of the pipeline, as far as they can be looked at here; tools/check-pipeline holds them to their schema."""
import re
import subprocess

from program import ROOT


def test_pipeline_does_what_is_done_here():
    """Each command of .ci/run is a job, and a release waits for all of them. Shows: I12"""
    workflows = {path.name: path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml")}
    matrix = re.search(r"command: \[(.*)\]", workflows["ci.yml"])[1]
    jobs = {words.split()[0] for words in matrix.split(", ")}
    jobs |= set(re.findall(r"run: \./dev (\w+)", workflows["ci.yml"]))
    done = set(re.findall(r"^\./dev (\w+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE))
    assert done and done <= jobs
    assert "uses: ./.github/workflows/ci.yml" in workflows["release.yml"] and "needs: [ci, " in workflows["release.yml"]
    assert "docker build" in workflows["scan.yml"] and "codeql-action/analyze" in workflows["scan.yml"]


def notes(version):
    return subprocess.run([ROOT / "tools" / "release-notes", version], capture_output=True, text=True)


def test_release_notes():
    """Of a version that the changelog knows, and of no other. Shows: I12"""
    assert notes("Unreleased").stdout.startswith("The first version.")
    assert notes("0.0.9").returncode == 1 and not notes("0.0.9").stdout
