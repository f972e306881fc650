"""Every test of the project, stage by stage, with a table at the end.

    python tests/run.py                all stages (`make test`)
    python tests/run.py --fast         quick unit tests only
    python tests/run.py unit site      some stages

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
from pathlib import Path

import committed
from builder import execute

ROOT = committed.ROOT

PYTEST = [sys.executable, "-m", "pytest", "-q"]
# Two workers with one thread each: two cores, and no fight over them.
ONE_THREAD = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
TWO = ["-n", "2", "--dist", "worksteal"]
SLOW_FOLDERS = ("tests/site", "tests/lab", "tests/filled")


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


def unit() -> Count:
    """Quick tests: the package, the checks, the book's text."""
    skip = [f"--ignore={folder}" for folder in SLOW_FOLDERS]
    return pytest_run(["tests", *TWO, "-m", "not slow", *skip], ONE_THREAD)


def slow() -> Count:
    """Tests marked slow: trainings, and resuming after a kill."""
    skip = [f"--ignore={folder}" for folder in SLOW_FOLDERS]
    return pytest_run(["tests", *TWO, "-m", "slow", *skip], ONE_THREAD)


def notebooks() -> Count:
    """nbval, strict, on what is committed: outputs must come out again."""
    total = Count()
    # Chapters that train on both cores run alone, and first, as when built.
    alone = [
        path
        for path in committed.JOBS
        if execute.threads(committed.notebook(path), Path(path).stem) > 1
    ]
    with tempfile.TemporaryDirectory() as folder:

        def check(path: str) -> Count:
            file = committed.export(path, Path(folder))
            threads = 2 if path in alone else 1
            options = ["--nbval", "--nbval-current-env"]
            options += ["--nbval-cell-timeout", str(execute.CELL_TIMEOUT)]
            options += ["-p", "no:cacheprovider", "--rootdir", folder]
            env = execute.environment(threads)
            return pytest_run(
                [*options, str(file)], env, Path(folder), quiet=True
            )

        for path in alone:
            total += check(path)
        with ThreadPoolExecutor(2) as pool:
            rest = [p for p in committed.JOBS if p not in alone]
            rest = committed.slowest_first(rest)
            for count in pool.map(check, rest):
                total += count
    return total


def filled() -> Count:
    """Each chapter with its stubs filled in by the solutions."""
    return pytest_run(["tests/filled", *TWO], ONE_THREAD)


def site() -> Count:
    """The website: built, then looked at in a browser."""
    return pytest_run(["tests/site"], ONE_THREAD, quiet=True)


def lab() -> Count:
    """A chapter run from top to bottom in a real JupyterLab."""
    return pytest_run(["tests/lab"], ONE_THREAD, quiet=True)


STAGES: dict[str, Callable[[], Count]] = {
    stage.__name__: stage
    for stage in (unit, slow, notebooks, filled, site, lab)
}
ONE_CORE = ("site", "lab")  # run side by side, after the others


def timed(name: str) -> Count:
    """Run a stage, and count its seconds."""
    print(f"\n== {name}: {STAGES[name].__doc__}", flush=True)
    start = time.monotonic()
    count = STAGES[name]()
    count.seconds = time.monotonic() - start
    return count


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
    counts = {name: timed(name) for name in names if name not in ONE_CORE}
    last = [name for name in names if name in ONE_CORE]
    with ThreadPoolExecutor(2) as pool:
        counts |= dict(zip(last, pool.map(timed, last), strict=True))
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
