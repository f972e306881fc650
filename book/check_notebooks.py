"""Reject notebooks that differ from their sources in book/.

    python book/check_notebooks.py notebooks/03_differential_attention.ipynb

Cells, tags and metadata are compared, but not outputs, as nothing is executed.
A notebook whose records in book/results have changed since is rejected too.
pre-commit calls this with the notebooks of a commit.
"""

import sys
from pathlib import Path

import nbformat
from build_notebooks import ROOT, Job, draft, jobs
from builder import card, records
from nbformat import NotebookNode
from nbformat.validator import ValidationError

# Raised for text that is no JSON, and for JSON of another shape.
_NO_NOTEBOOK = (
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValidationError,
    ValueError,
)


def expected(job: Job) -> NotebookNode:
    """Return the notebook made from the sources, before execution."""
    nb = draft(job)
    timings = card.load(ROOT / "book" / "results" / "timings.json")
    if job.name in timings:
        card.fill(nb, timings[job.name])
    return nb


def problem(nb: NotebookNode, job: Job) -> str | None:
    """Describe where a notebook differs from its source, or return None."""
    want, script = expected(job), job.script.name
    if len(nb.cells) != len(want.cells):
        return f"{len(nb.cells)} cells, {script} makes {len(want.cells)}"
    pairs = zip(nb.cells, want.cells, strict=True)
    for number, (got, made) in enumerate(pairs, 1):
        for part in ("cell_type", "source", "metadata", "id"):
            if got.get(part) != made[part]:
                return f"cell {number}: {part} is not what {script} makes"
    stale = records.changed(
        nb.metadata.get("records", {}), want.metadata.get("records", {})
    )
    if stale:
        return f"its outputs are older than book/{', book/'.join(stale)}"
    if nb.metadata != want.metadata:
        return f"metadata is not what {script} makes"
    return None


def _read(path: str) -> tuple[NotebookNode, str | None]:
    """Return a notebook, and why it cannot be read."""
    try:
        nb = nbformat.read(path, as_version=4)
        shaped = all(cell.source is not None for cell in nb.cells)
        return nb, None if shaped else "not a notebook"
    except OSError as error:
        return NotebookNode(), f"not readable ({error.strerror})"
    except _NO_NOTEBOOK:
        return NotebookNode(), "not a notebook"


def main(paths: list[str]) -> int:
    """Check the notebooks at ``paths``; return 1 if one fails, else 0."""
    known = {job.target: job for job in jobs(ROOT)}
    refused = 0
    for path in paths:
        job = known.get(Path(path).resolve())
        if job is None:
            wrong: str | None = "no source in book/ makes it"
        else:
            nb, wrong = _read(path)
            wrong = wrong or problem(nb, job)
        if wrong:
            refused = 1
            print(f"{path}: {wrong}")
    if refused:
        print("Edit the source in book/, then run `make notebooks`.")
    return refused


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
