"""A Hugging Face dataset, streamed: read as it arrives, never kept whole."""

from collections.abc import Iterator, Sequence

from minidiff.data.corpus import is_held_out
from minidiff.files.extras import need

VALID_FRACTION = 0.01
"""Share of rows held out; of a large dataset that is plenty."""


def stream_dataset(
    name: str,
    *,
    split: str = "train",
    column: str = "text",
    files: Sequence[str] | None = None,
) -> Iterator[tuple[str, str]]:
    """Yield every text of a dataset with its side, "train" or "valid".

    A row's number decides its side by a hash, so it is the same each time.

    Parameters
    ----------
    name : str
        On the hub, as in "owner/name"; or a format, such as "json" or
        "parquet", for ``files`` of one's own.
    split : str
        Of the dataset, as its authors made it.
    column : str
        Where the text stands.
    files : paths or patterns, optional

    Raises
    ------
    MissingPackageError
        If the library datasets is not installed.
    ValueError
        If the column is not there.
    """
    need("datasets", "reading a Hugging Face dataset")
    from datasets import load_dataset

    rows = load_dataset(
        name,
        split=split,
        streaming=True,
        data_files=None if files is None else list(files),
    )
    for number, row in enumerate(rows):
        if not isinstance(row.get(column), str):
            raise ValueError(
                f"column: got {column!r}, expected one with text among "
                f"{', '.join(map(repr, row))}"
            )
        held_out = is_held_out(f"{name}/{split}/{number}", VALID_FRACTION)
        yield ("valid" if held_out else "train"), row[column]
