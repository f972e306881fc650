"""The diagram's slopes are those of a softmax, and their sum is right."""

from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np

from minidiff.course.chain_rule_diagram import show_paths
from minidiff.reference import softmax_backward


def test_slopes_are_those_of_the_softmax():
    figure = show_paths()
    texts = [t.get_text() for t in figure.axes[0].texts]
    plt.close(figure)
    *_, total = texts[-1].split()
    slopes = []
    for text in texts[:-1]:
        try:
            slopes.append(float(Fraction(text)))
        except ValueError:
            assert text == "" or text.startswith("$")
    weights, dA = np.array([1 / 2, 1 / 4, 1 / 4]), np.array(slopes[1::2])
    assert len(slopes) == 6
    assert (softmax_backward(weights, np.eye(3))[:, 0] == slopes[::2]).all()
    assert softmax_backward(weights, dA)[0] == float(Fraction(total))
