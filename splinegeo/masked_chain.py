"""The outputs and Jacobian norms of a chain of linear layers and ReLUs, with a hand-written gradient of both."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_SMALLEST_HALF = 64
"""Rows: with fewer, three quarters of a product take as long as all of it."""


class Chain(NamedTuple):
    """Linear layers, each followed by x ↦ max(x, slope · x) with 0 ≤ slope ≤ 1; slope 1 is no activation."""

    weights: list[Tensor]
    biases: list[Tensor | None]
    slopes: list[float]
    flattens: bool


def read_chain(model: nn.Module, x: Tensor) -> Chain | None:
    """The module as a chain of layers, or None where it is not one, or something could change what a layer does."""
    chain = Chain([], [], [], flattens=False)
    for module in _layers(model):
        if module is None:
            return None
        if type(module) is nn.Linear:
            chain.weights.append(module.weight)
            chain.biases.append(module.bias)
            chain.slopes.append(1.0)
        elif type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
            chain = chain._replace(flattens=chain.flattens or not chain.weights)
        elif type(module) in (nn.ReLU, nn.LeakyReLU) and chain.weights:
            slope = getattr(module, "negative_slope", 0.0)
            if not 0 <= slope <= 1:
                return None
            chain.slopes[-1] *= slope
        elif type(module) not in (nn.Identity, nn.Dropout):
            return None
    if not chain.weights or torch.is_autocast_enabled(x.device.type) or not (chain.flattens or x.ndim == 2):
        return None
    widths = [x[0].numel(), *(weight.shape[0] for weight in chain.weights)]
    fits = all(weight.shape[1] == width for weight, width in zip(chain.weights, widths, strict=False))
    parameters = [*chain.weights, *(bias for bias in chain.biases if bias is not None)]
    same = all(parameter.dtype == x.dtype and parameter.device == x.device for parameter in parameters)
    return chain if fits and same else None


def _layers(module: nn.Module) -> Iterator[nn.Module | None]:
    """The modules of nested nn.Sequentials in order of execution; None for one that need not do what its class says."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    if any(hooks) or "forward" in vars(module) or module._compiled_call_impl is not None or _has_global_hook():
        yield None
    elif type(module) is nn.Sequential:
        for child in module:
            yield from _layers(child)
    else:
        yield module


def _has_global_hook() -> bool:
    return bool(torch.nn.modules.module._has_any_global_hook())


class MaskedChain(torch.autograd.Function):
    """Outputs and Jacobian norms of a chain, and the gradient of both with as few matrix products as they need.

    With the activations' slopes as masks D_l (constant within a region), u_l = u_{l+1} D_{l+1} W_{l+1} runs down from a
    direction v to u_0 D_0 W_0 = vᵀJ. The first layer is by far the largest: ‖uW‖² = u G uᵀ with G = W Wᵀ, and the
    gradient (Σ uᵀu) W, leave no product of the batch with W but those of the loss.

    Weights (S, h, w), biases (S, h) and directions (S, k, n, C) are S networks at once; x is one batch for all of them
    without a gradient, (n, d), or one for each, (S, n, d).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, directions: Tensor, slopes: list[float], *parameters: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        depth = len(slopes)
        weights: Any = parameters[:depth]
        # The inputs of each layer, and after them the outputs.
        values = [x]
        for weight, bias, slope in zip(weights, parameters[depth:], slopes, strict=True):
            hidden = _product(values[-1], weight.mT)
            if bias is not None:
                hidden += bias.unsqueeze(-2)
            if slope < 1:
                hidden = hidden.relu_() if slope == 0 else nn.functional.leaky_relu_(hidden, slope)
            values.append(hidden)

        n_projections, n, n_outputs = directions.shape[-3:]
        u = _masked(directions.flatten(-3, -2), values[depth], slopes[-1])
        cotangents = [u]
        for layer in reversed(range(1, depth)):
            u = _mask(_product(u, weights[layer]), values[layer], slopes[layer - 1])
            cotangents.insert(0, u)
        height, width = weights[0].shape[-2:]
        # Forward and backward, of the Gram matrix on the left and of the weights themselves on the right.
        ctx.by_gram = 2 * height * (width + u.shape[-2]) < 3 * u.shape[-2] * width
        if ctx.by_gram:
            image = _product(u, _symmetric_product(weights[0], weights[0].mT))
            squares = torch.linalg.vecdot(u, image)
        else:
            image = _product(u, weights[0])
            squares = torch.linalg.vecdot(image, image)
        scale = n_outputs / n_projections
        # A Gram matrix's rounding may leave a zero slightly negative.
        norms = (scale * squares.unflatten(-1, (n_projections, n)).sum(-2)).clamp_(min=0).sqrt_()

        ctx.slopes, ctx.scale = slopes, scale
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*weights, *values, *cotangents, image, norms)
        return values[depth], norms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor | None, grad_norms: Tensor | None) -> tuple[Tensor | None, ...]:
        slopes = ctx.slopes
        depth = len(slopes)
        saved = ctx.saved_tensors
        weights, values, cotangents = saved[:depth], saved[depth : 2 * depth + 1], saved[2 * depth + 1 : -2]
        image, norms = saved[-2:]
        wanted = ctx.needs_input_grad[3 : 3 + depth]
        weight_grads: list[Tensor | None] = [None] * depth
        bias_grads: list[Tensor | None] = [None] * depth
        x_grad = None

        if grad_norms is not None:
            # d‖J‖ = ⟨J, dJ⟩ / ‖J‖, and 0 where the norm is 0.
            factor = (grad_norms * ctx.scale / norms).masked_fill_(norms == 0, 0.0)
            tangent = _scaled(image, factor)
            u = cotangents[0]
            if ctx.by_gram:
                if wanted[0]:
                    weight_grads[0] = _product(_symmetric_product(_scaled(u, factor).mT, u), weights[0])
            else:
                weight_grads[0] = _product(u.mT, tangent) if wanted[0] else None
                tangent = _product(tangent, weights[0].mT)
            for layer in range(1, depth):
                tangent = _mask(tangent, values[layer], slopes[layer - 1])
                if wanted[layer]:
                    weight_grads[layer] = _product(cotangents[layer].mT, tangent)
                if layer < depth - 1:
                    tangent = _product(tangent, weights[layer].mT)

        if grad_outputs is not None:
            delta = _masked(grad_outputs, values[depth], slopes[-1])
            for layer in reversed(range(depth)):
                if wanted[layer]:
                    weight_grads[layer] = _sum_of_product(weight_grads[layer], delta.mT, values[layer])
                if ctx.needs_input_grad[3 + depth + layer]:
                    bias_grads[layer] = delta.sum(-2)
                if layer > 0:
                    delta = _mask(_product(delta, weights[layer]), values[layer], slopes[layer - 1])
                elif ctx.needs_input_grad[0]:
                    x_grad = _product(delta, weights[0])
        return x_grad, None, None, *weight_grads, *bias_grads


def _masked(
    rows: Float[Tensor, "*s kn h"], activated: Float[Tensor, "*s n h"], slope: float
) -> Float[Tensor, "*s kn h"]:
    """Rows for each projection and sample, times the slope of the activation at its sample."""
    return rows if slope == 1 else _mask(rows.clone(), activated, slope)


def _mask(rows: Float[Tensor, "*s kn h"], activated: Float[Tensor, "*s n h"], slope: float) -> Float[Tensor, "*s kn h"]:
    """The same in place."""
    if slope == 1:
        return rows
    shaped, at_samples = rows.unflatten(-2, (-1, activated.shape[-2])), activated.unsqueeze(-3)
    if slope == 0:
        torch.ops.aten.threshold_backward.grad_input(shaped, at_samples, 0, grad_input=shaped)
    else:
        torch.ops.aten.leaky_relu_backward.grad_input(shaped, at_samples, slope, True, grad_input=shaped)
    return rows


def _scaled(rows: Float[Tensor, "*s kn h"], factor: Float[Tensor, "*s n"]) -> Float[Tensor, "*s kn h"]:
    return (rows.unflatten(-2, (-1, factor.shape[-1])) * factor[..., None, :, None]).flatten(-3, -2)


def _symmetric_product(a: Float[Tensor, "*s m k"], b: Float[Tensor, "*s k m"]) -> Float[Tensor, "*s m m"]:
    """The product of matrices of which it is known that it is symmetric."""
    half = a.shape[-2] // 2
    quarter = (a[..., :half, :], b[..., :half])
    if half < _SMALLEST_HALF or a.device.type != "cpu" or _takes_onednn(a, b) != _takes_onednn(*quarter):
        return _product(a, b)
    product = a.new_empty(*a.shape[:-1], a.shape[-2])
    product[..., :half, :half] = _product(*quarter)
    product[..., half:, :] = _product(a[..., half:, :], b)
    product[..., :half, half:] = product[..., half:, :half].mT
    return product


def _sum_of_product(
    total: Tensor | None, a: Float[Tensor, "*s m k"], b: Float[Tensor, "*s k n"]
) -> Float[Tensor, "*s m n"]:
    """The matrix product, added in place to what there is already."""
    if total is None:
        return _product(a, b)
    return total.addmm_(a, b) if a.ndim == b.ndim == 2 and not _takes_onednn(a, b) else total.add_(_product(a, b))


def _product(a: Float[Tensor, "*s m k"], b: Float[Tensor, "*s k n"]) -> Float[Tensor, "*s m n"]:
    """Matrix product: in float32 on a CPU by oneDNN, whose AVX-512 kernels run on every make (MKL's on one only)."""
    if not _takes_onednn(a, b):
        return a @ b
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.mT, None, "none", [], "")
    return product


def _takes_onednn(a: Tensor, b: Tensor) -> bool:
    if a.dtype != torch.float32 or a.device.type != "cpu" or a.ndim + b.ndim > 4 or not torch.backends.mkldnn.enabled:
        return False
    # Other strides fall to a reference loop a thousand times slower.
    return _has_onednn_linear() and all(matrix.is_contiguous() or matrix.mT.is_contiguous() for matrix in (a, b))


@cache
def _has_onednn_linear() -> bool:
    """Whether this build has the product x Wᵀ that torch's own compiler calls, with that meaning."""
    a = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float32, device="cpu")
    try:
        return torch.equal(torch.ops.mkldnn._linear_pointwise(a, a, None, "none", [], ""), a @ a.mT)
    except (AttributeError, RuntimeError, TypeError):
        return False
