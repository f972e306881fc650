"""JSON files: read with a schema, written atomically.

Everything that comes from a file is checked here, so that no other module
sees a key that is missing or a value of another type.
"""

import json
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

from minidiff.files.atomic import write_text
from minidiff.files.reading import MOST_BYTES, read_text
from minidiff.files.schema import Schema


def read_json(
    path: Path,
    schema: Schema,
    expected: str,
    *,
    wrong: str = "cannot be read",
    most: int = MOST_BYTES,
) -> Any:
    """Read a JSON file whose value has the given schema.

    ``expected`` says in the error what the file should be, and ``wrong`` what
    it is not. Raises ValueError, naming the file and the key at fault, if the
    file cannot be read, is larger than ``most`` bytes, is not JSON, has a key
    twice, or has another schema.
    """
    text = read_text(path, expected, most)
    return parse_json(text, schema, str(path), expected, wrong=wrong)


def parse_json(
    text: str,
    schema: Schema,
    where: str,
    expected: str,
    *,
    wrong: str = "cannot be read",
) -> Any:
    """Parse JSON text that was found in ``where``, as ``read_json`` does."""
    try:
        value = json.loads(
            text, parse_constant=_refuse, object_pairs_hook=_once
        )
        schema(value, "")
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:
        reason = str(error)
    else:
        return value
    raise ValueError(f"{where}: {wrong} ({reason}), expected {expected}")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write ``value`` as JSON to ``path``, atomically.

    A number that JSON does not have, NaN or an infinity, is written as null.
    Missing folders are created. Raises OSError if it cannot be written.
    """
    text = json.dumps(_finite(value), indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; raise ValueError if it has a key twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the key {twice[:60]!r} comes twice")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")
