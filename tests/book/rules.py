"""The house rules for chapters, each a function that lists what breaks it.

They take notebooks, so that test_rules.py can show each of them failing on a
small one made for it.
"""

import ast
import importlib
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from builder import card, source
from nbformat import NotebookNode

from minidiff.check.compare import source_of

MAX_LINES = 15
MAX_COLUMNS = 79
MIN_ALT = 12


def cells(nb: NotebookNode, kind: str) -> list[NotebookNode]:
    """The cells of one type, in order."""
    return [cell for cell in nb.cells if cell.cell_type == kind]


def code(nb: NotebookNode) -> Iterator[str]:
    """No magics; short cells; 79 columns; each cell is Python."""
    for cell in cells(nb, "code"):
        lines = cell.source.splitlines()
        head = lines[0] if lines else "an empty cell"
        for line in lines:
            if line.lstrip().startswith(("%", "!")):
                yield f"magic: {line}"
            if len(line) > MAX_COLUMNS:
                yield f"{len(line)} columns: {line}"
        whole = source.tagged(cell, "same:") or source.tagged(cell, "stub:")
        if len(lines) > MAX_LINES and not whole:
            yield f"{len(lines)} lines in the cell of: {head}"


def figures(nb: NotebookNode) -> Iterator[str]:
    """One figure a cell, with an alternative text."""
    for cell in cells(nb, "code"):
        pictures = [
            out
            for out in cell.outputs
            if any(kind.startswith("image/") for kind in out.get("data", {}))
        ]
        if not pictures:
            continue
        head = cell.source.splitlines()[0]
        if len(pictures) > 1:
            yield f"{len(pictures)} figures in one cell: {head}"
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if len(alt) < MIN_ALT:
            yield f"alt text {alt!r} in the cell of: {head}"


def mathematics(nb: NotebookNode) -> Iterator[str]:
    r"""`$$` alone on its line between blank lines; no `\\` beside a tag."""
    for cell in cells(nb, "markdown"):
        inside: list[str] | None = None
        lines = ["", *_without_code(cell.source).splitlines(), ""]
        for i, line in enumerate(lines):
            if "$$" not in line:
                if inside is not None:
                    inside.append(line)
                continue
            if line.strip() != "$$":
                yield f"$$ shares a line: {line}"
                return
            neighbour = lines[i - 1] if inside is None else lines[i + 1]
            if neighbour.strip():
                yield f"$$ without a blank line: {neighbour}"
            if inside is None:
                inside = []
                continue
            block = "\n".join(inside)
            if r"\tag" in block and (
                r"\\" in block or block.count(r"\tag") > 1
            ):
                yield f"\\tag beside \\\\ or another one: {block}"
            inside = None
        if inside is not None:
            yield "a $$ is not closed"


ORDER = [
    ("the claim", r"(?i)by the end"),
    ("goals", r"(?i)\bgoals\b"),
    ("prerequisites", r"(?i)\bprerequisites\b"),
    ("common mistakes", r"(?m)^#+ .*Common mistakes"),
    ("summary", r"(?m)^#+ .*Summary"),
    ("further reading", r"(?m)^#+ .*Further reading"),
]


def template(nb: NotebookNode) -> Iterator[str]:
    """The order of a chapter; its title; a strict last cell."""
    prose = "\n\n".join(c.source for c in cells(nb, "markdown"))
    if not re.match(r"# \d+\.? \S", prose):
        yield f"title: expected `# N. Name`, got {prose[:40]!r}"
    place = 0
    for name, pattern in ORDER:
        found = re.compile(pattern).search(prose, place)
        if not found:
            yield f"{name}: missing, or before what comes first"
            continue
        place = found.end()
    levels = re.findall(r"(?m)^(#+) ", _without_code(prose))
    if sum(level == "#" for level in levels) != 1:
        yield "more than one title (`# `)"
    last = cells(nb, "code")[-1]
    if "nbval-ignore-output" in source.tags(last):
        yield "the last code cell must be strict"


def problem_set(nb: NotebookNode) -> Iterator[str]:
    """Its title; each problem labelled, then a stub, then its check."""
    prose = [c.source for c in cells(nb, "markdown")]
    if not re.match(r"# Problem set \d: \S", prose[0]):
        yield f"title: expected `# Problem set N: Name`, got {prose[0][:40]!r}"
    for word in ("Prerequisites", "Further reading"):
        if not any(f"## {word}" in text for text in prose):
            yield f"no section {word}"
    above = ""
    for here, cell in enumerate(nb.cells):
        if cell.cell_type == "markdown":
            above += "\n" + cell.source
        name = source.tagged(cell, source.STUB)
        if name is None:
            continue
        if not re.search(rf"(?m)^## Problem {re.escape(name)}: ", above):
            yield f"{name}: no `## Problem {name}: ...` above its stub"
        if not card.LABEL.search(above):
            yield f"{name}: no label such as *Easy, 5 minutes.* above it"
        if source.tagged(nb.cells[here + 1], "check:") != name:
            yield f"{name}: its check does not follow its stub"
        above = ""
    if "nbval-ignore-output" in source.tags(cells(nb, "code")[-1]):
        yield "the last code cell must be strict"


def executed(nb: NotebookNode) -> Iterator[str]:
    """Every code cell was run, in order; no errors and no dead widgets."""
    for n, cell in enumerate(cells(nb, "code"), 1):
        head = (cell.source.splitlines() or ["an empty cell"])[0]
        if cell.execution_count != n:
            yield f"run as {cell.execution_count}, expected {n}: {head}"
        for out in cell.outputs:
            if out.output_type == "error" and (
                "raises-exception" not in source.tags(cell)
            ):
                yield f"{out.ename} in the cell of: {head}"
            if out.get("name") == "stderr":
                yield f"stderr kept in the cell of: {head}"
            if any("widget" in kind for kind in out.get("data", {})):
                yield f"a widget, dead on a page, in the cell of: {head}"


def numbers(nb: NotebookNode, keys: set[str]) -> Iterator[str]:
    """Every decimal is computed here, or stands beside a source key."""
    shown = set()
    for cell in cells(nb, "code"):
        for out in cell.outputs:
            data = out.get("data", {}).get("text/plain", "")
            text = data + out.get("text", "")
            shown |= {float(x) for x in re.findall(r"\d+\.\d+", text)}
    for cell in cells(nb, "markdown"):
        paragraphs = re.split(r"\n\s*\n", _plain(cell.source))
        for i, paragraph in enumerate(paragraphs):
            # A displayed formula is part of the sentences around it.
            display = paragraph.lstrip().startswith("$$")
            around = paragraphs[max(i - 1, 0) : i + 2] if display else []
            said = " ".join([paragraph, *around])
            if set(source_keys(said)) & keys:
                continue
            for number in DECIMAL.findall(paragraph):
                if float(number) not in shown:
                    yield f"{number} in: {paragraph[:70]}"


DECIMAL = re.compile(r"(?<![\w.])\d+\.\d+(?![\w]|\.\d)")
# Numbers that name something: an equation, an exercise, a version.
NAMES = re.compile(
    r"\\tag\{[^}]*\}"
    r"|(?im:^#+ +\d+\.\d+)"
    r"|(?i:\b(?:exercises?|sections?|sec\.|chapters?|tables?|figures?"
    r"|fig\.|equations?|eqs?\.|hints?|steps?|problems?)[ *]*"
    r"\(?\d+\.\d+\)?(?:(?:,| and| to) \(?\d+\.\d+\)?)*)"
    r"|\(\d+\.\d+\)"
    r"|(?i:\b(?:python|torch|pytorch|numpy|triton|version|jupyterlab)"
    r"[ -]\d+\.\d+(?:\.\d+)?)"
    r"|arXiv[: ]\d{4}\.\d{5}"
)
# One of these bracketed keys may say where in the source: [P, Table 6].
KEY = re.compile(r"\[([A-Za-z][\w-]{0,7})(?:,[^\]]*)?\](?!\()")


def source_keys(text: str) -> list[str]:
    """The source keys used in `text`: "[P, Table 6]" gives "P"."""
    return KEY.findall(_without_code(text))


def _without_code(text: str) -> str:
    text = re.sub(r"(?ms)^```.*?^```", "", text)
    return re.sub(r"`[^`\n]*`", "", text)


def _plain(text: str) -> str:
    text = _without_code(text)
    # A link is its words: [P](x.md) leads somewhere, it is no source key.
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"<https?:[^>]*>|https?://\S+", "", text)
    return NAMES.sub("", text)


def ties(nb: NotebookNode) -> Iterator[str]:
    """A cell tagged same:PATH equals that object, docstrings apart."""
    for cell in cells(nb, "code"):
        path = source.tagged(cell, "same:")
        if path is None:
            continue
        try:
            theirs = bare(source_of(resolve(path)))
        except (AttributeError, ImportError) as error:
            yield f"same:{path}: {error}"
            continue
        if bare(cell.source) != theirs:
            yield f"same:{path}: the cell and the package differ"


def resolve(path: str) -> Any:
    """The function, class or method that a dotted path names."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        return getattr(resolve(module), name)


def bare(text: str) -> str:
    """A syntax tree as text, without docstrings; annotations stay."""
    tree = ast.parse(textwrap.dedent(text))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body:
            continue
        first = body[0]
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            body[:1] = [] if len(body) > 1 else [ast.Pass()]
    return ast.dump(tree, indent=1)


def only_adds(stub: str, solution: str) -> Iterator[str]:
    """Solving only adds lines: the stub's are found in order."""
    rest = iter(line.rstrip() for line in solution.splitlines())
    for line in stub.splitlines():
        if not line.strip() or line.strip().startswith("# your code"):
            continue
        if line.rstrip() not in rest:
            yield f"the solution changes or drops: {line}"
