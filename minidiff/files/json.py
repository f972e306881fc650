"""JSON files, written atomically."""

import json
from pathlib import Path
from typing import Any

from minidiff.files.atomic import write_text


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write ``value`` as JSON to ``path``, atomically.

    Missing folders are created. Raises OSError if it cannot be written.
    """
    text = json.dumps(value, indent=1) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
