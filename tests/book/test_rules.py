"""Each house rule is shown to fail on a small notebook made to break it."""

import nbformat
import pytest
import rules

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
        (rules.executed, code()),
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
