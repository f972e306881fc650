"""Each house rule is shown to fail on a small notebook made to break it."""

import inspect
import textwrap

import nbformat
import pytest
import rules
from builder import source

from minidiff import reference
from minidiff.check.compare import source_of
from minidiff.check.core import Result

PIXEL = {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"}


def notebook(*cells):
    nb = nbformat.v4.new_notebook()
    nb.cells = list(cells)
    return nb


def code(source="x = 1", outputs=(), count=1, **metadata):
    cell = nbformat.v4.new_code_cell(source, execution_count=count)
    cell.outputs = list(outputs)
    cell.metadata.update(metadata)
    return cell


def prose(text):
    return nbformat.v4.new_markdown_cell(text)


def figure(times=1):
    return [nbformat.v4.new_output("display_data", data=PIXEL)] * times


def widget():
    data = {"application/vnd.jupyter.widget-view+json": {}}
    return [nbformat.v4.new_output("display_data", data=data)]


def said(text):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


ALT = {"mystnb": {"image": {"alt": "a picture of three bars"}}}


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        (rules.code, code("%matplotlib inline")),
        (rules.code, code("!ls")),
        (rules.code, code("x = 1\n" * 16)),
        (rules.code, code("x = " + "1" * 80)),
        (rules.figures, code(outputs=figure())),
        (rules.figures, code(outputs=figure(2), **ALT)),
        (rules.mathematics, prose("text $$x$$ text")),
        (rules.mathematics, prose("text\n$$\nx\n$$\n")),
        (rules.mathematics, prose("a\n\n$$\nx \\\\ y \\tag{1}\n$$\n\nb")),
        (rules.mathematics, prose("a\n\n$$\nx\n")),
        (rules.executed, code(count=None)),
        (rules.executed, code(count=2)),
        (rules.executed, code(outputs=widget())),
    ],
)
def test_a_broken_cell_is_named(rule, broken):
    assert list(rule(notebook(broken)))


@pytest.mark.parametrize(
    ("rule", "fine"),
    [
        (rules.code, code("x = 1\n" * 15)),
        (rules.code, code("x = 1\n" * 30, tags=["stub:1.1"])),
        (rules.figures, code(outputs=figure(), **ALT)),
        (rules.mathematics, prose("a\n\n$$\nx \\tag{1}\n$$\n\nb $y$")),
        (rules.executed, code(outputs=figure())),
    ],
)
def test_a_good_cell_passes(rule, fine):
    assert list(rule(notebook(fine))) == []


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("The loss is 0.25 here.", True),
        ("The loss is 0.26 here.", False),
        ("The paper says 0.26 [P, Table 6].", True),
        ("Somebody says 0.26 [Q].", False),
        ("See exercise 3.99, and use Python 3.12.", True),
    ],
)
def test_numbers_are_computed_or_sourced(text, passes):
    nb = notebook(prose(text), code(outputs=[said("loss 0.25\n")]))
    assert (list(rules.numbers(nb, {"P"})) == []) is passes


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("so it is [P]\n\n$$\n0.8 - 0.6\n$$", True),
        ("so it is\n\n$$\n0.8 - 0.6\n$$", False),
        ("0.26 here\n\nand there 0.3 [P]", False),
        ("it is 0.26 [P](other.md)", False),
    ],
)
def test_a_source_key_covers_its_paragraph_and_formula_only(text, passes):
    found = list(rules.numbers(notebook(prose(text)), {"P"}))
    assert (found == []) is passes


CHAPTER = """# 3. A name

By the end you will see.

## Goals
## Prerequisites
## Common mistakes
## Summary
## Further reading
"""


def template(text, tags=()):
    return list(rules.template(notebook(prose(text), code(tags=list(tags)))))


def test_a_whole_chapter_keeps_the_template():
    assert template(CHAPTER) == []


@pytest.mark.parametrize("name", [name for name, _ in rules.ORDER])
def test_a_missing_part_is_named(name):
    word = {"the claim": "by the end"}.get(name, name)
    lines = CHAPTER.splitlines(keepends=True)
    rest = "".join(line for line in lines if word not in line.lower())
    assert any(line.startswith(name) for line in template(rest))


@pytest.mark.parametrize(
    "text",
    [
        "#" + CHAPTER,
        CHAPTER + "# Another title\n",
        CHAPTER.replace("## Summary\n", "") + "## Summary\n",
    ],
)
def test_a_wrong_title_or_order_is_named(text):
    assert template(text)


def test_the_last_code_cell_must_be_strict():
    assert template(CHAPTER, tags=["nbval-ignore-output"])


def tied(text, name="lambda_init"):
    tag = f"same:minidiff.reference.{name}"
    return list(rules.ties(notebook(code(text, tags=[tag]))))


def test_a_tie_holds_code_and_annotations_but_not_docstrings():
    text = inspect.getsource(reference.lambda_init)
    body = text.partition('"""')[2].partition('"""')[2]
    head = text.partition('"""')[0]
    assert tied(text) == []
    assert tied(f'{head}"""Said otherwise."""{body}') == []
    assert tied(text.replace("0.3", "0.31"))
    assert tied(text.replace(": int", ""))
    assert tied(text, name="gone")


def test_a_tie_holds_a_kernel_with_its_decorator():
    first = pytest.importorskip("minidiff.course.kernels.first")
    text = source_of(first.add_kernel)

    def tied(text):
        tag = "same:minidiff.course.kernels.first.add_kernel"
        return list(rules.ties(notebook(code(text, tags=[tag]))))

    assert tied(text) == []
    assert tied(text.replace("@triton.jit\n", ""))
    assert tied(text.replace("b_x + b_y", "b_x - b_y"))


def test_solving_only_adds_lines():
    stub = "def f(x):\n    y = 1\n    # your code\n"
    added = "def f(x):\n    y = 1\n    return y\n"
    assert list(rules.only_adds(stub, added)) == []
    assert list(rules.only_adds(stub, added.replace("1", "2")))
    assert list(rules.only_adds(stub, "    y = 1\ndef f(x):\n"))


def problems(text):
    return list(rules.problem_set(source.from_text(text)))


PROBLEMS = """# %% [markdown]
# # Problem set 1: A name
#
# ## Prerequisites
#
# ## Problem P1.1: first
#
# *Easy, 5 minutes.* Do this.

# %% tags=["stub:P1.1"]
def f(x): ...

# %% tags=["check:P1.1"]
passed = 1

# %% [markdown]
# ## Further reading
"""


def test_a_whole_problem_set_keeps_the_rules():
    assert problems(PROBLEMS) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# # Problem set 1: A name", "# # 1. A name"),
        ("## Prerequisites", "## Before"),
        ("## Further reading", "## After"),
        ("Problem P1.1", "Problem P1.2"),
        ("*Easy, 5 minutes.*", "Five minutes."),
        ("check:P1.1", "check:P1.2"),
        ("passed = 1", '\n# %% tags=["nbval-ignore-output"]\n1'),
    ],
)
def test_a_problem_set_that_breaks_a_rule_is_named(old, new):
    assert old in PROBLEMS
    assert problems(PROBLEMS.replace(old, new))


def test_a_tie_may_name_a_method():
    def tied_to(text, path):
        return list(rules.ties(notebook(code(text, tags=[f"same:{path}"]))))

    path = "minidiff.check.core.Result.__bool__"
    text = textwrap.dedent(inspect.getsource(Result.__bool__))
    assert tied_to(text, path) == []
    assert tied_to(text.replace("passed", "failed"), path)
    assert tied_to(text, "minidiff.check.core.Result.gone")
    assert tied_to(text, "minidiff.gone.Result")
