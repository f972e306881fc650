"""Many small models of one configuration, trained in one step.

A small model leaves a GPU idle, and evidence needs many seeds. Here the
weights of all models lie along a leading axis, and ``torch.vmap`` maps one
model's loss over it: the modules are those that are trained alone, each
linear layer becomes one batched product, and the whole step is one CUDA
graph. Models do not touch each other: each has its own rows, gradient,
clipping, rate and optimiser state.
"""
