"""Runner of a recipe's jobs: a process for each GPU, results in a record.

A recipe is a list of jobs and a function that does one job. The rows of each
job are added to the record when it ends, in a file that is complete at any
moment. A recipe that was stopped resumes with the jobs that are not in it.
"""

import json
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty
from typing import Any

import torch
import torch.multiprocessing as mp

from minidiff.files.checks import shown
from minidiff.files.difference import difference
from minidiff.files.json import write_json
from minidiff.files.provenance import provenance

Job = dict[str, Any]


def run_jobs(
    do: Callable[[Job, torch.device], list[dict[str, Any]]],
    jobs: Sequence[Job],
    out: Path,
    about: dict[str, Any],
    *,
    device: str,
    minutes: float,
) -> None:
    """Do the jobs that are not in ``out`` yet; write it after each job.

    Parameters
    ----------
    do : function
        Takes a job and a device, returns the job's rows. It must be
        importable, because other processes call it.
    jobs : list of dicts that JSON can hold
    out : path of the record
    about : entries of the record that apply to all rows
    device : "cpu" or "cuda"
        With "cuda" all GPUs are used, each for one job at a time.
    minutes : number
        No job begins later than this after the start; the record lists the
        jobs that were not run.

    Raises
    ------
    ValueError
        If ``out`` is the record of another recipe or other settings.
    """
    jobs = json.loads(json.dumps(jobs))  # the form that a saved record has
    record = _open(out, about, device)
    done = [e["job"] for e in record["jobs"] if "error" not in e]
    left = [job for job in jobs if job not in done]
    deadline = time.monotonic() + 60 * minutes
    workers = torch.cuda.device_count() if device == "cuda" else 1
    context = mp.get_context("spawn")
    asked, answers = context.Queue(), context.Queue()
    for job in left:
        asked.put(job)
    for _ in range(workers):
        asked.put(None)
    processes = [
        context.Process(
            target=_work, args=(do, asked, answers, device, i, deadline)
        )
        for i in range(workers)
    ]
    for process in processes:
        process.start()
    running = workers
    while running:
        try:
            answer = answers.get(timeout=2)
        except Empty:
            # A process that was killed says nothing; its job was not run.
            if any(process.is_alive() for process in processes):
                continue
            break
        if answer is None:
            running -= 1
            continue
        record["jobs"].append(answer)
        if "error" not in answer:
            done.append(answer["job"])
        record["not_run"] = [job for job in jobs if job not in done]
        write_json(out, record)
        print(_line(answer), flush=True)
    for process in processes:
        process.join()
    record["not_run"] = [job for job in jobs if job not in done]
    write_json(out, record)
    print(f"{out}: {len(done)} jobs, {len(record['not_run'])} not run")


def rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every row of a record, each with its job's fields."""
    return [
        entry["job"] | row for entry in record["jobs"] for row in entry["rows"]
    ]


def _open(out: Path, about: dict[str, Any], device: str) -> dict[str, Any]:
    if not out.exists():
        command = shlex.join(["python", *sys.argv])
        return {
            **about,
            "provenance": provenance(device, command),
            "jobs": [],
            "not_run": [],
        }
    record = json.loads(out.read_text(encoding="utf-8"))
    # Compare in the form of JSON, where tuples become lists.
    given = json.loads(json.dumps(about))
    found = difference(
        _used({name: record.get(name) for name in given}), _used(given)
    )
    if found is not None:
        raise ValueError(
            f"--out: {out} has {found.path[1:]} = {shown(found.first)}, "
            f"expected {shown(found.second)} as in this recipe, or a new file"
        )
    return record


def _used(value: Any) -> Any:
    """Leave out the packages that were looked at and not read.

    Their versions say nothing about the data, whose hashes are compared.
    """
    if isinstance(value, dict):
        return {key: _used(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_used(part) for part in value if not _is_unused(part)]
    return value


def _is_unused(value: Any) -> bool:
    return isinstance(value, dict) and value.get("used") is False


def _work(
    do: Callable[[Job, torch.device], list[dict[str, Any]]],
    asked: Any,
    answers: Any,
    device: str,
    number: int,
    deadline: float,
) -> None:
    place = (
        torch.device(device, number)
        if device == "cuda"
        else torch.device(device)
    )
    if device == "cuda":
        torch.cuda.set_device(place)
    while (job := asked.get()) is not None:
        if time.monotonic() > deadline:
            continue
        start = time.monotonic()
        try:
            found = do(job, place)
        except Exception as error:  # other jobs can still run
            traceback.print_exc()
            answers.put({"job": job, "rows": [], "error": repr(error)})
            continue
        seconds = round(time.monotonic() - start, 1)
        answers.put({"job": job, "seconds": seconds, "rows": found})
    answers.put(None)


def _line(answer: dict[str, Any]) -> str:
    said = answer.get("error") or f"{len(answer['rows'])} rows"
    job = {k: v for k, v in answer["job"].items() if k != "config"}
    return f"{answer.get('seconds', 0):7.1f} s  {job}  {said}"
