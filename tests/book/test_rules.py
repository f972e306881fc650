"""Each rule of rules.py fails on a small notebook made to break it."""

import nbformat.v4 as v4
import pytest
import rules
from builder import source

PNG = v4.new_output("display_data", data={"image/png": "AA=="})
ALT = {"mystnb": {"image": {"alt": "A line that rises"}}}


def book(*cells):
    return v4.new_notebook(cells=list(cells))


def prose(text):
    return book(v4.new_markdown_cell(text))


def cell(text, outputs=(), n=1, **metadata):
    return v4.new_code_cell(
        text, outputs=list(outputs), execution_count=n, metadata=metadata
    )


def said(text):
    return cell("print()", [v4.new_output("stream", text=text)])


def count(problems):
    return len(list(problems))


@pytest.mark.parametrize(
    ("text", "tags", "wrong"),
    [
        ("x = 1", [], 0),
        ("%matplotlib inline", [], 1),
        ("!pip install x", [], 1),
        ("x = " + "1" * 75, [], 0),
        ("x = " + "1" * 76, [], 1),
        ("x = 1\n" * 15, [], 0),
        ("x = 1\n" * 16, [], 1),
        ("x = 1\n" * 16, ["same:a.b"], 0),
        ("x = 1\n" * 16, ["stub:3.1"], 0),
    ],
)
def test_code(text, tags, wrong):
    assert count(rules.code(book(cell(text, tags=tags)))) == wrong


def test_figures():
    good = cell("plot()", [PNG], **ALT)
    two = cell("plot()", [PNG, PNG], **ALT)
    short = {"mystnb": {"image": {"alt": "A line"}}}
    assert count(rules.figures(book(good))) == 0
    assert count(rules.figures(book(two))) == 1
    assert count(rules.figures(book(cell("plot()", [PNG])))) == 1
    assert count(rules.figures(book(cell("plot()", [PNG], **short)))) == 1


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("so\n\n$$\nx \\tag{1}\n$$\n\nthen", 0),
        ("so\n\n$$\nx \\\\ y\n$$", 0),
        ("so\n\n$$\nx \\\\ y \\tag{1}\n$$", 1),
        ("so\n\n$$\nx \\tag{1} \\tag{2}\n$$", 1),
        ("so\n\n$$ x $$\n\nthen", 1),
        ("so\n$$\nx\n$$\n\nthen", 1),
        ("so\n\n$$\nx\n$$\nthen", 1),
        ("so\n\n$$\nx\n", 1),
        ("the code `$$` is fine", 0),
    ],
)
def test_mathematics(text, wrong):
    assert count(rules.mathematics(prose(text))) == wrong


CHAPTER = """# 3. A name

By the end you will see.

## Goals
## Prerequisites
## Common mistakes
## Summary
## Further reading
"""


def chapter(text=CHAPTER, tags=()):
    last = cell("assert True", tags=list(tags))
    return book(v4.new_markdown_cell(text), last)


def test_template():
    assert count(rules.template(chapter())) == 0
    assert count(rules.template(chapter("#" + CHAPTER))) == 2
    assert count(rules.template(chapter(CHAPTER + "# Another"))) == 1
    ignored = chapter(tags=["nbval-ignore-output"])
    assert count(rules.template(ignored)) == 1


@pytest.mark.parametrize(("name", "pattern"), rules.ORDER)
def test_template_misses_each_part(name, pattern):
    word = {"the claim": "By the end"}.get(name, name)
    lines = CHAPTER.splitlines(keepends=True)
    rest = "".join(x for x in lines if word.lower() not in x.lower())
    found = list(rules.template(chapter(rest)))
    assert [f for f in found if f.startswith(name)], found


def test_template_sees_a_wrong_order():
    text = CHAPTER.replace("## Summary\n", "") + "## Summary\n"
    assert count(rules.template(chapter(text))) == 1


def test_executed():
    error = v4.new_output("error", ename="E", evalue="", traceback=[])
    noise = v4.new_output("stream", name="stderr", text="bar")
    assert count(rules.executed(book(cell("x"), cell("y", n=2)))) == 0
    assert count(rules.executed(book(cell("x"), cell("y", n=3)))) == 1
    assert count(rules.executed(book(cell("x", n=None)))) == 1
    assert count(rules.executed(book(cell("x", [error])))) == 1
    assert count(rules.executed(book(cell("x", [noise])))) == 1
    allowed = cell("x", [error], tags=["raises-exception"])
    assert count(rules.executed(book(allowed))) == 0


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("we saw 0.25 here", 0),
        ("we saw 0.250 here", 0),
        ("we saw 0.26 here", 1),
        ("at -0.26, or 0.26.", 2),
        ("it is 0.26 [P, Table 6]", 0),
        ("it is 0.26 [X, Table 6]", 1),
        ("it is 0.26 [P](http://x.y)", 1),
        ("0.26 here\n\nand there 0.3 [P]", 1),
        ("so it is [P]\n\n$$\n0.8 - 0.6\n$$", 0),
        ("so it is\n\n$$\n0.8 - 0.6 \\tag{3.1}\n$$", 2),
        ("`0.26` in code, \n\n```\n0.26\n```\n", 0),
        ("exercise 3.2, eq. (3.4), section 2.1, Python 3.11", 0),
        ("equations 3.1 and 3.2; torch 2.13.0; (3.7)", 0),
        ("## 3.4 A heading", 0),
        ("arXiv 2410.05258 at https://x.y/1.25", 0),
        ("$\\lambda = 0.26$", 1),
        ("A table\n\n| a | 0.26 |", 1),
    ],
)
def test_numbers(text, wrong):
    nb = book(said("it is 0.25 and 1.5"), v4.new_markdown_cell(text))
    assert count(rules.numbers(nb, {"P"})) == wrong


HALF = "def half(x: float) -> float:\n    return x / 2\n"


def tie(text):
    path = "same:minidiff.reference.lambda_init"
    return book(cell(text, tags=[path]))


def test_ties():
    import inspect

    from minidiff import reference

    text = inspect.getsource(reference.lambda_init)
    assert count(rules.ties(tie(text))) == 0
    assert count(rules.ties(tie(text.replace("0.3", "0.31")))) == 1
    assert count(rules.ties(tie(text.replace(": int", "")))) == 1
    gone = book(cell(HALF, tags=["same:minidiff.reference.gone"]))
    assert count(rules.ties(gone)) == 1


def test_docstrings_do_not_count_in_a_tie():
    said = HALF.replace(":\n", ':\n    """Half."""\n')
    assert rules.bare(HALF) == rules.bare(said)
    assert rules.bare(HALF) != rules.bare(HALF.replace("2", "3"))


def test_only_adds():
    stub = "def f(x):\n    y = 1\n    # your code\n"
    assert count(rules.only_adds(stub, "def f(x):\n    y = 1\n    z\n")) == 0
    assert count(rules.only_adds(stub, "def f(x):\n    y = 2\n")) == 1
    assert count(rules.only_adds(stub, "    y = 1\ndef f(x):\n")) == 1


def test_source_keys():
    assert rules.source_keys("[P, Table 6] [U-V2] `[Q]` [a](b)") == [
        "P",
        "U-V2",
    ]


def test_filling_replaces_the_stub_and_its_id():
    nb = source.from_text('# %% tags=["stub:3.1"]\n# your code\n')
    filled, done = source.fill(nb, lambda name: f"answer = {name!r}\n")
    assert done == ["3.1"]
    assert filled.cells[0].source == "answer = '3.1'"
    assert filled.cells[0].id != nb.cells[0].id
    assert "your code" in nb.cells[0].source
