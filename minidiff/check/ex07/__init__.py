"""Chapter 07: the DIFF Transformer."""

from minidiff.check.ex07 import layer, loss, model, parameters, rotate

EXERCISES = (
    rotate.EXERCISE,
    layer.EXERCISE,
    loss.EXERCISE,
    parameters.EXERCISE,
    model.EXERCISE,
)
