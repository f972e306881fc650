"""The API reference, as Markdown made from docstrings and examples.

An example of each public name stands in book/examples, written as in an
interactive session; tests/book/test_api_examples.py runs them.
"""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE, MARK = "book/api", "% api:here"
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PACKAGES = ("reference", "data", "plots")

# Names by what they are for. A test requires every public name once. A dotted
# name is imported from the module before its last dot.
GROUPS = {
    "Attention": ("diff_attention", "attention_maps", "lambda_init"),
    "Modules": (
        "MultiheadDiffAttention",
        "MultiheadDiffAttentionV2",
        "MultiheadAttention",
    ),
    "Models": ("DecoderLM", "ModelConfig", "KVCache"),
    "Text": ("generate", "sample"),
    "Training": ("train", "TrainConfig", "Compute"),
    "Measures": ("evaluate",),
    "Files": (
        "save",
        "load",
        "load_tokenizer",
        "save_diffllama",
        "load_diffllama",
    ),
    "DiffLlama": (
        "convert.diffllama.to_diffllama",
        "convert.diffllama.from_diffllama",
        "convert.diffllama.attention_to_diffllama",
        "convert.diffllama.attention_from_diffllama",
    ),
    "Llama": (
        "convert.llama.save_llama",
        "convert.llama.load_llama",
        "convert.llama.to_llama",
        "convert.llama.from_llama",
    ),
    "A second branch": ("convert.second_branch.add_second_branch",),
    "Exercises": (
        "check.ex03_2",
        "check.hint",
        "check.hints",
        "check.solution",
        "check.solution_source",
        "check.mine",
        "check.report",
        "check.subjects",
        "check.sets",
        "check.exercises",
        "check.exercises_by_set",
        "check.set_of",
    ),
}

# Groups that begin with the docstring of a module.
MODULES = {
    "DiffLlama": "convert.diffllama",
    "Llama": "convert.llama",
    "A second branch": "convert.second_branch",
    "Exercises": "check",
}

ENTRIES = ("Parameters", "Attributes", "Raises")


def inline(text: str) -> str:
    """Return reStructuredText's inline markup as Markdown's."""
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text)
    return re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)


def sections(docstring: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the lines of each section; the first has no name."""
    name, lines = "", []
    rest = docstring.splitlines()
    while rest:
        line = rest.pop(0)
        if rest and line and set(rest[0]) == {"-"}:
            yield name, lines
            name, lines = line, []
            rest.pop(0)
        else:
            lines.append(line)
    yield name, lines


def entries(lines: list[str]) -> str:
    """Return "name : type" lines, each with its indented text, as a list."""
    out = []
    for line in lines:
        if not line.strip():
            continue
        if line.startswith(" "):
            out.append("  " + line.removeprefix("    "))
        else:
            name, _, kind = line.partition(" : ")
            kind = f": {kind}" if kind else ""
            out += ["", f"- **{name}**{kind}", ""]
    return "\n".join(out)


def markdown(docstring: str) -> str:
    """Return a docstring as Markdown."""
    out = []
    for name, lines in sections(docstring):
        text = entries(lines) if name in ENTRIES else "\n".join(lines)
        out += [f"**{name}**", text] if name else [text]
    return inline("\n\n".join(part.strip("\n") for part in out))


def signature(name: str, what: Any) -> str:
    """Return a call with all arguments and defaults, without the types."""
    parameters = [
        p.replace(annotation=inspect.Parameter.empty)
        for p in inspect.signature(what).parameters.values()
        if p.name != "self"
    ]
    whole = str(inspect.Signature(parameters))
    if len(name + whole) <= 75:
        return name + whole
    arguments = [f"    {argument}," for argument in _split(whole[1:-1])]
    return "\n".join([f"{name}(", *arguments, ")"])


def _split(arguments: str) -> list[str]:
    """Split at the commas that are in no bracket."""
    return re.split(r", (?![^(]*\))", arguments)


def fields(what: type) -> str:
    """Return a table of a dataclass's fields, from its source."""
    rows = ["| field | default | why |", "|---|---|---|"]
    before: list[str] = []
    for line in inspect.getsource(what).splitlines():
        comment = re.fullmatch(r"    # (.*)", line)
        field = re.fullmatch(r"    (\w+): (.+?) = (.+?)(?:  # (.*))?", line)
        if comment:
            before.append(comment[1])
        elif field:
            why = " ".join([*before, field[4] or ""]).strip()
            rows.append(f"| `{field[1]}` | `{field[3]}` | {why} |")
            before = []
    return "\n".join(rows)


def methods(what: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods that minidiff itself gives to a class."""
    seen = set()
    for owner in what.__mro__:
        if not owner.__module__.startswith("minidiff"):
            continue
        for name, member in vars(owner).items():
            function = inspect.unwrap(getattr(member, "fget", member))
            if name.startswith("_") or name in seen:
                continue
            if inspect.isfunction(function) and function.__doc__:
                seen.add(name)
                yield name, member


def code(language: str, text: str) -> str:
    """Return a block of code."""
    return f"```{language}\n{text.strip()}\n```"


def public(name: str) -> Any:
    """Return what a name stands for, "load" or "check.hint"."""
    module, _, last = f"minidiff.{name}".rpartition(".")
    return getattr(import_module(module), last)


def entry(name: str) -> str:
    """Return the entry of one public name."""
    what = public(name)
    parts = [f"### {name}", code("python", signature(name, what))]
    parts.append(markdown(inspect.getdoc(what) or ""))
    if hasattr(what, "__dataclass_fields__"):
        parts.append(fields(what))
    example = (EXAMPLES / f"{name}.txt").read_text(encoding="utf-8")
    parts += ["**Example**", code("pycon", example)]
    if isinstance(what, type):
        for method, member in methods(what):
            parts.append(_method(name, method, member))
    return "\n\n".join(parts)


def _method(owner: str, name: str, member: Any) -> str:
    if isinstance(member, property):
        head = f"**{owner}.{name}** (property)"
    else:
        function = inspect.unwrap(member)
        head = code("python", signature(f"{owner}.{name}", function))
    return head + "\n\n" + markdown(inspect.getdoc(member) or "")


def package(name: str) -> str:
    """Return a table of the public names of a package of minidiff."""
    module = import_module(f"minidiff.{name}")
    rows = [f"### minidiff.{name}", markdown(inspect.getdoc(module) or "")]
    table = ["| name | what it is |", "|---|---|"]
    for public in module.__all__:
        what = getattr(module, public)
        if callable(what):
            first = (inspect.getdoc(what) or "").split("\n\n")[0]
            text = inline(" ".join(first.split())).replace("|", "\\|")
            table.append(f"| `{public}` | {text} |")
    return "\n\n".join([*rows, "\n".join(table)])


def page() -> str:
    """Return the whole reference."""
    parts = []
    for title, names in GROUPS.items():
        parts.append(f"## {title}")
        if title in MODULES:
            module = import_module(f"minidiff.{MODULES[title]}")
            parts.append(markdown(inspect.getdoc(module) or ""))
        parts += map(entry, names)
    parts += ["## Packages", *map(package, PACKAGES)]
    return "\n\n".join(parts)


def fill(app: Any, name: str, source: list[str]) -> None:
    """Put the reference into its page while that is read."""
    if name == PAGE:
        source[0] = source[0].replace(MARK, page())
