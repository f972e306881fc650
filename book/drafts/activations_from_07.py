# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Draft: what a layer keeps for the way back, from chapter 07

# %%
import torch
from torch import Tensor

from minidiff import DecoderLM, ModelConfig
from minidiff.nn.layers import rope_angles


# %%
def new_model(kind: str, V: int, E: int, L: int, seed: int = 0) -> DecoderLM:
    """An untrained model with 4 plain or 2 differential heads."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": V, "embed_dim": E, "num_layers": L}
    return DecoderLM(ModelConfig(**sizes, num_heads=4, attention=kind))


# %% [markdown]
# ### Where the activations go
#
# Going back needs *activations*: what the way forward computed. By chapter 4,
# softmax needs its maps, $dV$ the map that met the values, and $d\lambda$ the
# second softmax. Autograd tells what it keeps. We ask one layer, its maps
# written out (`eager`), 4 plain heads or 2 differential. Which keeps more?


# %%
def kept(block: torch.nn.Module, T: int) -> list[tuple[torch.Size, int]]:
    """Shape and bytes of what a layer keeps of one row of T tokens."""
    found, x = {}, torch.randn(1, T, 128, requires_grad=True)
    weights = {p.data_ptr() for p in block.parameters()}

    def note(array: Tensor) -> Tensor:
        memory = array.untyped_storage()  # views share it: count it once
        found[memory.data_ptr()] = array.shape, memory.nbytes()
        return array

    with torch.autograd.graph.saved_tensors_hooks(note, lambda array: array):
        a = block.attention_norm(x)
        y = x + block.attention(a, rope=rope_angles(T, 32), backend="eager")
        block.ffn(block.ffn_norm(y))
    return [found[at] for at in found.keys() - weights]


# %%
print("kind         T   maps  MB of maps  MB of all else")
for kind, maps in (("softmax", 8), ("diff", 10)):
    block = new_model(kind, V=8, E=128, L=1).blocks[0]
    for T in (256, 512, 1024):
        is_map = {True: 0, False: 0}
        for shape, size in kept(block, T):
            is_map[shape[-2:] == (T, T)] += size
        n = is_map[True] / (4 * T * T)  # float32: 4 bytes
        inside, other = is_map[True] / 1e6, is_map[False] / 1e6
        print(f"{kind:8s} {T:5d} {n:6.1f} {inside:11.1f} {other:15.1f}")
        assert n == maps + 0.5

# %% [markdown]
# Maps grow with $T^2$, all else with $T$. Both kinds have four maps, and
# `eager` keeps each twice: before and after it sets what the mask hides to 0.
# DIFF also keeps its two differences: 10 for 8. (The odd half is two masks, a
# byte an entry. The rest of DIFF is larger by two arrays for the head norm.)
# A kernel that never writes a map keeps none (chapters 10 to 12).
