"""Exercise 7.5: two mistakes at once, of which one loses the configuration."""

import pytest

from minidiff.check.core import check as run
from minidiff.check.edited import edited
from minidiff.check.ex07 import model
from minidiff.check.ex07.transformer import Transformer

BASE = (", self.config.rope_base", "")
EPS = ("(E, eps=config.norm_eps)", "(E)")
LOST = ("self.config", "self.settings")
OTHERS = (
    ("Block(config, layer) for", "Block(config, 0) for"),
    ("std=0.02", "std=0.2"),
    ("self.norm(x) @", "x @"),
    ("a.cos().to(x), a.sin().to(x)", "a.sin().to(x), a.cos().to(x)"),
)


FIRST = {
    "base ignored": BASE,
    "configuration not kept": LOST,
    "eps ignored": EPS,
}
PAIRS = [
    (key, other)
    for key in FIRST
    for other in OTHERS
    # Without a last norm there is no eps to ignore.
    if (key, other[1]) != ("eps ignored", "x @")
]


@pytest.mark.parametrize(("key", "other"), PAIRS)
def test_the_configuration_is_named_first(key, other):
    change = FIRST[key]
    result = run(model.EXERCISE, edited(Transformer, change, other))
    assert result.mistake == key, result.text


def test_what_a_lost_configuration_says():
    result = run(model.EXERCISE, edited(Transformer, LOST))
    assert "model.config is not the ModelConfig" in result.text
    assert "look at model.config" in result.text
