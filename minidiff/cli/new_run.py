"""The first files of a run folder, written when everything was checked."""

import os
from pathlib import Path
from typing import Any

from minidiff.cli.run_data import FILES_NAME, RunData
from minidiff.training.saved_run import RUN_NAME, TOKENIZER_NAME


def check_new(out: Path) -> None:
    """Raise ValueError unless a new run can be written to a folder.

    What a killed process left before it began its run is no hindrance.
    """
    if not os.path.lexists(out):
        return
    check_free(out)
    if not out.is_dir() or os.listdir(out):
        raise ValueError(
            f"--out: {out} is not empty, expected a new folder, or "
            "--resume to go on with the run in it"
        )


def check_free(out: Path) -> None:
    """Raise ValueError if another process writes the run in a folder.

    The lock and the temporary files of a killed process are removed.
    """
    from minidiff.files.lock import locked
    from minidiff.training.run_folder import LOCK_NAME

    if (out / LOCK_NAME).exists():
        with locked(out / LOCK_NAME, f"--out: {out}"):
            pass


def has_begun(out: Path) -> bool:
    """Tell whether a run has written its first checkpoint."""
    from minidiff.training.checkpoint import FILE_NAME, PREVIOUS_NAME

    names = (FILE_NAME, PREVIOUS_NAME)
    return any(os.path.lexists(out / name) for name in names)


def write_start(
    out: Path, card: dict[str, Any], data: RunData, *, new: bool
) -> None:
    """Write ``run.json``, then what the run keeps of its data.

    A process killed after ``run.json`` leaves a run that can be resumed, one
    killed before leaves a folder that counts as new. After an error a new
    folder is as before.
    """
    from minidiff.files.json import write_json
    from minidiff.files.lock import locked
    from minidiff.training.run_folder import LOCK_NAME

    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out / LOCK_NAME, f"--out: {out}"):
            if new and set(os.listdir(out)) != {LOCK_NAME}:
                raise ValueError(
                    f"--out: {out} is not empty any more, expected nobody "
                    "else to write to it"
                )
            try:
                write_json(out / RUN_NAME, card)
                if data.files is not None:
                    write_json(out / FILES_NAME, {"files": data.files})
                if data.tokenizer is not None:
                    data.tokenizer.save(out / TOKENIZER_NAME)
            except BaseException:
                if new:
                    for name in (TOKENIZER_NAME, FILES_NAME, RUN_NAME):
                        (out / name).unlink(missing_ok=True)
                raise
    except BaseException:
        if made and not os.listdir(out):
            out.rmdir()
        raise
