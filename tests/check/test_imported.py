"""Answers that call the package's own solution are refused."""

import pytest

from minidiff import reference
from minidiff.check.imported import ImportedAnswerError, own_work
from minidiff.reference import softmax
from minidiff.reference import softmax as renamed

run = own_work(softmax)


def nested(x):
    def rows():
        return [renamed(row) for row in x]

    return rows()


@pytest.mark.parametrize(
    "answer",
    [
        softmax,
        lambda x: softmax(x),
        lambda x: renamed(x),
        lambda x: reference.softmax(x),
        nested,
    ],
)
def test_the_package_s_own_function_is_refused(answer):
    with pytest.raises(ImportedAnswerError, match="softmax is what you are"):
        run(answer, 1)


def softmax_of_mine(x):
    return x + 1


@pytest.mark.parametrize(
    "answer", [softmax_of_mine, lambda x: softmax_of_mine(x), abs, float]
)
def test_other_functions_are_called(answer):
    assert run(answer, 1) == answer(1)


def test_an_import_inside_the_answer_is_found():
    def inside(x):
        from minidiff.reference import lambda_init as other

        return other(x)

    with pytest.raises(ImportedAnswerError, match="lambda_init"):
        own_work(reference.lambda_init)(inside, 1)
    assert run(inside, 0) == inside(0)
