"""Streaming of a Hugging Face dataset, without storing all of it."""

from collections.abc import Iterator, Sequence

from minidiff.data.corpus import is_held_out
from minidiff.files.extras import need

VALID_FRACTION = 0.01
"""Share of rows held out; enough, as streamed datasets are large."""


def stream_dataset(
    name: str,
    *,
    split: str = "train",
    column: str = "text",
    files: Sequence[str] | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield every text of a dataset with its side, "train" or "valid".

    A hash of a row's number decides its side, so it is always the same.

    Parameters
    ----------
    name : str
        Name on the hub, as in "owner/name"; or a format, such as "json" or
        "parquet", to read your own ``files``.
    split : str
        Split of the dataset, as named by its authors.
    column : str
        Column with the text.
    files : paths or patterns, optional
        Files of the dataset to read; all of them if not given.

    Raises
    ------
    MissingPackageError
        If the library ``datasets`` is not installed.
    ValueError
        If there is no such column, or a file of ``files`` is missing.
    """
    need("datasets", "reading a Hugging Face dataset")
    from datasets import load_dataset

    try:
        rows = load_dataset(
            name,
            split=split,
            streaming=True,
            data_files=None if files is None else list(files),
        )
    except FileNotFoundError as error:
        if files is None:
            raise
        raise ValueError(
            f"files: {', '.join(files)} not found ({error}), expected files "
            "or patterns"
        ) from error
    for number, row in enumerate(rows):
        if not isinstance(row.get(column), str):
            raise ValueError(
                f"column: got {column!r}, expected one with text among "
                f"{', '.join(map(repr, row))}"
            )
        held_out = is_held_out(f"{name}/{split}/{number}", VALID_FRACTION)
        yield ("valid" if held_out else "train"), row[column]
