"""Many small models of one configuration, trained in one step.

A single small model cannot keep a GPU busy, and experiments need many seeds.
Here the weights of all models are stacked along a leading axis, and
``torch.vmap`` maps one model's loss over it. The modules are the same as in
single training; each linear layer becomes one batched product, and the whole
step is one CUDA graph. The models are independent: each has its own rows,
gradient, clipping, learning rate and optimiser state.
"""
