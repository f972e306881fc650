"""Make notebooks/ and exercises/ from the percent scripts in book/.

    python book/build_notebooks.py              everything
    python book/build_notebooks.py 03 part_1    these chapters and parts

book/chapters/NN_name.py becomes notebooks/NN_name.ipynb, executed.
book/problems/part_N.py becomes exercises/part_N.ipynb (stubs, executed) and
exercises/solutions/part_N.ipynb (stubs filled in, executed).

A notebook is overwritten only if it is as this program wrote it last or as the
last commit holds it, unless FORCE=1 is set. One that is saved during the build
is left alone in any case. A notebook whose cells fail is not written at all.
"""

import argparse
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
from builder import (
    card,
    colab,
    evidence,
    execute,
    exercise_list,
    guard,
    records,
    source,
)
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from website import address

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Job:
    """One notebook to make."""

    script: Path
    target: Path
    solved: bool = False  # fill in the solutions before it runs

    @property
    def name(self) -> str:
        """Return the key of its recorded run time."""
        return ("solutions/" if self.solved else "") + self.script.stem


def jobs(root: Path, names: list[str] | None = None) -> list[Job]:
    """Return the notebooks to build, for all scripts or those in `names`.

    Names can be abbreviated to their beginnings ("03"). Raises ValueError for
    a name that matches no script.
    """
    found = [
        Job(script=s, target=root / "notebooks" / f"{s.stem}.ipynb")
        for s in sorted((root / "book" / "chapters").glob("[0-9]*.py"))
    ]
    out = root / "exercises"
    for script in sorted((root / "book" / "problems").glob("part_*.py")):
        file = f"{script.stem}.ipynb"
        found.append(Job(script=script, target=out / file))
        solutions = out / "solutions" / file
        found.append(Job(script=script, target=solutions, solved=True))
    if not names:
        return found
    for name in names:
        if not any(_fits(job, name) for job in found):
            known = ", ".join(dict.fromkeys(j.script.stem for j in found))
            raise ValueError(f"names: no chapter {name!r}; there are {known}")
    return [job for job in found if any(_fits(job, n) for n in names)]


def _fits(job: Job, name: str) -> bool:
    stem = job.script.stem
    name = Path(name).stem
    return stem == name or stem.startswith(f"{name}_")


def draft(job: Job) -> NotebookNode:
    """Return the notebook of `job` before execution."""
    nb = source.read(job.script)
    if job.solved:
        from minidiff.check import solution_source

        nb, _ = source.fill(nb, solution_source)
        source.as_solutions(nb)
    colab.add_cell(nb, address.read())
    source.give_ids(nb)
    source.sign_ids(nb, job.name)
    if shown := records.hashes(nb, job.script.parents[2]):
        nb.metadata["records"] = shown
    return nb


def build(job: Job, root: Path) -> tuple[NotebookNode, float, int]:
    """Execute one notebook; return it with its seconds and its threads."""
    nb = draft(job)
    threads = execute.threads(nb, job.script.stem)
    folder = root / "notebooks"
    folder.mkdir(exist_ok=True)
    return nb, execute.run(nb, folder, threads), threads


def build_all(
    todo: list[Job],
    root: Path,
    force: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Build the jobs in `todo`; return the number of notebooks that failed."""
    ledger = guard.Ledger(root)
    for job in todo:
        ledger.look(job.target)
    if not force:
        kept = [job for job in todo if not ledger.may_write(job.target)]
        for job in kept:
            where = job.target.relative_to(root)
            say(f"{where}: neither as built nor as in the last commit")
        if kept:
            say(
                "Nothing was built, so that no work is lost. Commit or copy "
                "these notebooks, or overwrite them with FORCE=1."
            )
            return len(kept)
    times = root / "book" / "results" / "timings.json"
    timings = card.load(times)
    failed = 0
    # Notebooks with two threads train models. Run them first, one at a time,
    # so that nothing else slows them down.
    alone = [j for j in todo if execute.threads(draft(j), j.script.stem) > 1]
    paired = [j for j in todo if j not in alone]
    for group, workers in ((alone, 1), (paired, 2)):
        with ThreadPoolExecutor(workers) as pool:
            runs = {job: pool.submit(build, job, root) for job in group}
            for job, run in runs.items():
                where = job.target.relative_to(root)
                try:
                    nb, seconds, threads = run.result()
                except CellExecutionError as error:
                    failed += 1
                    say(f"{where}: not written, a cell failed\n{error}")
                    continue
                before = timings.get(job.name, {}).get("under")
                timing = {
                    "threads": threads,
                    "under": card.bucket(seconds, before),
                }
                timings[job.name] = timing
                card.fill(nb, timing)
                try:
                    new = ledger.write(job.target, nbformat.writes(nb) + "\n")
                except guard.SavedMeanwhileError:
                    failed += 1
                    say(f"{where}: not written, it was saved meanwhile")
                    continue
                change = "written" if new else "unchanged"
                say(f"{where}: {change} ({seconds:.1f} s)")
    card.save(times, timings)
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", help="chapters or parts")
    names = parser.parse_args(arguments).names
    force = os.environ.get("FORCE", "") not in ("", "0")
    try:
        todo = jobs(ROOT, names)
        exercise_list.update(ROOT)
        evidence.update(ROOT)
        return 1 if build_all(todo, ROOT, force) else 0
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
