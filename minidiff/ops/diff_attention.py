"""The public operator: check the arguments, then call a backend."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.files.checks import one_of
from minidiff.files.extras import need
from minidiff.ops.arguments import Arguments, check_arguments
from minidiff.ops.dispatch import choose
from minidiff.ops.eager import eager_attention
from minidiff.ops.epilogue import finish
from minidiff.ops.low_bit import check_scales, restored, stand_ins
from minidiff.ops.low_bit_products import check_products, rounded_products
from minidiff.ops.sdpa import sdpa_attention


def _flex(x: Arguments) -> Tensor:
    # Imported on first use: it loads a part of PyTorch that no other backend
    # needs.
    from minidiff.ops.flex import flex_backend

    return flex_backend(x)


_BACKENDS: dict[str, Callable[[Arguments], Tensor]] = {
    "eager": eager_attention,
    "sdpa": sdpa_attention,
    "flex": _flex,
}
BACKENDS = ("auto", *_BACKENDS, "triton")


def diff_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lam: float | Tensor,
    *,
    causal: bool = True,
    scale: float | None = None,
    norm_weight: Tensor | None = None,
    norm_scale: float | None = None,
    eps: float = 1e-5,
    key_lengths: Tensor | None = None,
    k_scale: Tensor | None = None,
    v_scale: Tensor | None = None,
    precision: str | None = None,
    backend: str = "auto",
) -> Tensor:
    """Differential attention: ``(softmax(q1 k1') - lam softmax(q2 k2')) v``.

    This is Ye et al. 2025, eq. 1; with ``norm_scale`` the headwise norm of
    eq. 3 follows. Gradients flow to q, k, v, lam and norm_weight.

    Parameters
    ----------
    q : (B, H, 2, T, D)
        Queries. The axis of length 2 holds the two branches of each head.
    k : (B, Hkv, P, S, D)
        Keys. With P = 2 each branch has its own keys (V1); with P = 1 both
        branches share them (V2).
    v : (B, Hkv, S, Dv)
        Values, read by both branches. Dv = 2D in V1 and D in V2. H must be a
        multiple of Hkv: query *pairs* share a key/value head (GQA).
    lam : number, 0-d tensor, or (B or 1, H or 1, T or 1)
        Weight of the second map, of any sign. 1-d and 2-d tensors raise an
        error, because a tensor (H,) would silently broadcast over T.
    causal : bool
        Query t sees keys 0 to t + S - T, so that the last query sees all S
        keys. Needs T <= S.
    scale : float, optional
        Multiplies the logits; 1 / sqrt(D) if not given.
    norm_weight : (Dv,), optional
        Weight of the headwise RMSNorm; needs ``norm_scale``.
    norm_scale : float, optional
        If given, the result is ``norm_scale * RMSNorm(o) * norm_weight``,
        where each head of each token is normalised separately over Dv.
    eps : float
        Added to the mean square in the norm.
    key_lengths : (B,) integers, optional
        Keys from this position on are padding. They are masked and their
        values, even NaN, have no effect. A query that sees no key gets zeros.
    k_scale : (B, Hkv, P, S, 1), v_scale : (B, Hkv, S, 1), optional
        Both or none. With them k and v are codes of 8 bits, int8 or
        float8_e4m3fn, and stand for ``codes * scale``, as
        :func:`minidiff.ops.low_bit.quantise` makes them; no gradients flow to
        them. The kernels of "triton" read the codes of up to 16 queries as
        they are. In all other cases k and v are restored first, to the dtype
        of q.
    precision : "int8" or "fp8", optional
        Multiply queries and keys in 8 bits, for inference: no gradients, no
        codes for k and v. Keys lose their mean in each branch, and 128
        queries or 64 keys share a scale
        (:mod:`minidiff.ops.low_bit_products`); values stay as they are.
        Needs backend "triton", "eager", or "auto", which then means "eager"
        where it would not choose "triton". On a GPU "fp8" needs compute
        capability 8.9 or more. It is never chosen for you.
    backend : "auto", "eager", "sdpa", "flex" or "triton"
        - "eager" stores both attention maps.
        - "sdpa" makes two calls of PyTorch's fused attention. Some of its
          kernels have no second derivative and no forward-mode derivative.
        - "flex" makes two calls of FlexAttention. On a CPU it has no backward
          pass; on a GPU it needs D and Dv of at least 16.
        - "triton" runs this package's fused kernels. They need CUDA, D of 16,
          32, 64, 96 or 128, and Dv of D or 2D. On a CPU they run in Triton's
          interpreter, for inspection. torch.func.grad is not supported.
        - "auto" chooses "triton" for 16-bit numbers on an NVIDIA GPU of
          compute capability 8.0 or more, if the kernels support D and Dv and
          TRITON_INTERPRET is not set, and "sdpa" otherwise.

    Returns
    -------
    (B, H, T, Dv), laid out in memory as (B, T, H, Dv), so that merging the
    heads for the output projection is a view.

    Raises
    ------
    ValueError, TypeError
        The message names the argument, the value received and the value
        expected.

    Notes
    -----
    The backend "triton" rounds ``A2 v`` to the dtype of q before it is used
    again: for the gradients of lam, q and k always, and for the output where
    its kernels compute the branches one after the other (the table of block
    shapes says where; D = 128 with Dv = 256 is such a case). In bfloat16 this
    adds up to ``|lam A2 v| / 256`` to the difference before the norm, in
    float16 up to ``|lam A2 v| / 2048``. Where the branches nearly cancel,
    that is several times the error of "eager", which rounds only the result.
    """
    one_of("backend", backend, BACKENDS)
    low = k_scale is not None or v_scale is not None
    like_k, like_v = stand_ins(q, k, v) if low else (k, v)
    x = check_arguments(
        Arguments(
            *(q, like_k, like_v, lam, causal, scale),
            *(norm_weight, norm_scale, eps, key_lengths),
        )
    )
    scales = check_scales(k, v, k_scale, v_scale) if low else None
    x = x._replace(k=k, v=v)
    if x.scale is None:
        x = x._replace(scale=q.shape[-1] ** -0.5)
    if precision is not None:
        check_products(x, precision, backend, codes=low)
    if backend == "auto":
        backend = choose(q, v)
        if precision is not None and backend != "triton":
            backend = "eager"
    if backend == "triton":  # Triton is imported only when it is used
        if not torch.compiler.is_compiling():  # it reads the file system
            need("triton", 'backend="triton"')
        from minidiff.ops.triton.operator import triton_attention

        return triton_attention(x, scales, precision)
    if scales is not None:
        x = restored(x, scales)
    if precision is not None:
        x = rounded_products(x, precision)
    out = _BACKENDS[backend](x)
    return finish(out, q.dtype, norm_weight, x.norm_scale, x.eps)
