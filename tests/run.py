"""Every test of the project, stage by stage, with a table at the end.

    python tests/run.py                all stages (`make test`)
    python tests/run.py --fast         quick unit tests only
    python tests/run.py unit site      some stages

Notebooks, site and Lab use one core each, so two of them run at a time, and
the seconds of such a stage are those of its parts together.

The last line is `N passed, N failed, N skipped`; the exit status is 0 when
nothing failed and something passed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import committed
from builder import execute

ROOT = committed.ROOT

SANITIZE = ROOT / "tests" / "nbval_sanitize.cfg"
PYTEST = [sys.executable, "-m", "pytest", "-q"]
# Two workers with one thread each: two cores, and no fight over them.
ONE_THREAD = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
TWO = ["-n", "2", "--dist", "worksteal"]
WITHOUT_SLOW_FOLDERS = [
    f"--ignore=tests/{folder}" for folder in ("site", "lab", "filled")
]


@dataclass
class Count:
    """Tests of one stage and the seconds it took."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
            self.seconds + other.seconds,
        )


@dataclass
class Job:
    """A part of a stage, and the cores that it keeps busy."""

    stage: str
    run: Callable[[], Count]
    cores: int = 1


def pytest_run(
    arguments: list[str],
    env: dict[str, str],
    cwd: Path = ROOT,
    quiet: bool = False,
) -> Count:
    """Run pytest in a process of its own and count from its report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        done = subprocess.run(
            [*PYTEST, f"--junitxml={report}", *arguments],
            cwd=cwd,
            env=env,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
        )
        count = read_report(report)
    # 5: nothing was collected, which is an empty stage and no failure.
    if done.returncode not in (0, 5) and not count.failed:
        count.failed = 1
    if quiet:
        # Whole, in one write: two of them report at the same time.
        print(done.stdout, end="", flush=True)
    return count


def read_report(report: Path) -> Count:
    """Passed, failed (with errors) and skipped of a JUnit report."""
    if not report.exists():
        return Count()
    count = Count()
    for suite in ET.parse(report).getroot().iter("testsuite"):
        number = {
            key: int(suite.get(key, 0))
            for key in ("tests", "failures", "errors", "skipped")
        }
        bad = number["failures"] + number["errors"]
        count.failed += bad
        count.skipped += number["skipped"]
        count.passed += number["tests"] - bad - number["skipped"]
    return count


def unit() -> list[Job]:
    """Quick tests: the package, the checks, the book's text."""
    return on_two_cores(
        "unit", "tests", "-m", "not slow", *WITHOUT_SLOW_FOLDERS
    )


def slow() -> list[Job]:
    """Tests marked slow: trainings, and resuming after a kill."""
    return on_two_cores("slow", "tests", "-m", "slow", *WITHOUT_SLOW_FOLDERS)


def filled() -> list[Job]:
    """Each chapter with its stubs filled in by the solutions."""
    return on_two_cores("filled", "tests/filled")


def on_two_cores(stage: str, *arguments: str) -> list[Job]:
    """Return the job of a stage that pytest shares out to two workers."""
    run = partial(pytest_run, [*arguments, *TWO], ONE_THREAD)
    return [Job(stage, run, cores=2)]


def site() -> list[Job]:
    """The website: built, then looked at in a browser."""
    run = partial(pytest_run, ["tests/site"], ONE_THREAD, quiet=True)
    return [Job("site", run)]


def notebooks() -> list[Job]:
    """nbval, strict, on what is committed: outputs must come out again."""
    return [
        Job("notebooks", partial(check_notebook, path))
        for path in committed.slowest_first(committed.JOBS)
    ]


def check_notebook(path: str) -> Count:
    """Execute a notebook on one thread, and compare its outputs.

    Those that are built on two threads too: two notebooks at a time keep the
    cores busier, and what is compared does not depend on rounding.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = committed.export(path, Path(folder))
        options = ["--nbval", "--nbval-current-env"]
        options += ["--nbval-cell-timeout", str(execute.CELL_TIMEOUT)]
        options += ["-p", "no:cacheprovider", "--rootdir", folder]
        options += ["--nbval-sanitize-with", str(SANITIZE)]
        env = execute.environment(1)
        return pytest_run([*options, str(file)], env, Path(folder), quiet=True)


def lab() -> list[Job]:
    """A chapter run from top to bottom in a real JupyterLab."""
    run = partial(pytest_run, ["tests/lab"], ONE_THREAD, quiet=True)
    return [Job("lab", run)]


# Of the jobs for one core, the longest come first.
STAGES: dict[str, Callable[[], list[Job]]] = {
    stage.__name__: stage
    for stage in (unit, slow, filled, site, lab, notebooks)
}


def run_all(jobs: list[Job]) -> dict[str, Count]:
    """Run jobs for two cores one by one, then two of the others at a time."""
    counts = {job.stage: Count() for job in jobs}

    def run(job: Job) -> tuple[str, Count]:
        start = time.monotonic()
        count = job.run()
        count.seconds = time.monotonic() - start
        return job.stage, count

    for job in jobs:
        if job.cores > 1:
            print(f"\n== {job.stage}: {STAGES[job.stage].__doc__}", flush=True)
            counts[job.stage] += run(job)[1]
    others = [job for job in jobs if job.cores == 1]
    for name in dict.fromkeys(job.stage for job in others):
        print(f"\n== {name}: {STAGES[name].__doc__}", flush=True)
    with ThreadPoolExecutor(2) as pool:
        for name, count in pool.map(run, others):
            counts[name] += count
    return counts


def main() -> int:
    """Run the stages, print the table; 0 when nothing failed."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--fast", action="store_true", help="only unit")
    parser.add_argument("stages", nargs="*", help=", ".join(STAGES))
    options = parser.parse_args()
    for name in options.stages:
        if name not in STAGES:
            parser.error(f"no stage {name!r}; there are {', '.join(STAGES)}")
    names = options.stages or (["unit"] if options.fast else list(STAGES))
    start = time.monotonic()
    counts = run_all([job for name in names for job in STAGES[name]()])
    total = sum(counts.values(), Count())
    total.seconds = time.monotonic() - start
    print("\nstage      passed  failed  skipped   seconds")
    for name, c in [*counts.items(), ("all", total)]:
        print(
            f"{name:10} {c.passed:6}  {c.failed:6}  {c.skipped:7}"
            f"  {c.seconds:8.1f}"
        )
    print(
        f"{total.passed} passed, {total.failed} failed, "
        f"{total.skipped} skipped"
    )
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    sys.exit(main())
