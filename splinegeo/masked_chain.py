"""The outputs and Jacobian norms of a chain of linear layers and ReLUs, with a hand-written gradient of both."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


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
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, directions: Tensor, slopes: list[float], *parameters: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        depth = len(slopes)
        weights: Any = parameters[:depth]
        hidden, masks = x, []
        inputs = []
        for weight, bias, slope in zip(weights, parameters[depth:], slopes, strict=True):
            inputs.append(hidden)
            hidden = _product(hidden, weight.mT)
            if bias is not None:
                hidden += bias
            if slope < 1:
                hidden = hidden.relu_() if slope == 0 else nn.functional.leaky_relu_(hidden, slope)
            # From the sign: a comparison and the conversion of its result take ten times longer.
            masks.append(hidden.sign().clamp_(min=slope) if slope < 1 else None)

        n_projections, _, n_outputs = directions.shape
        u = directions.flatten(0, 1)
        cotangents: list[Tensor] = []
        for layer in reversed(range(depth)):
            u = _masked(u, masks[layer])
            cotangents.insert(0, u)
            if layer > 0:
                u = _product(u, weights[layer])
        height, width = weights[0].shape
        # Forward and backward, of the Gram matrix on the left and of the weights themselves on the right.
        ctx.by_gram = 2 * height * (width + u.shape[0]) < 3 * u.shape[0] * width
        if ctx.by_gram:
            image = _product(u, _product(weights[0], weights[0].mT))
            squares = torch.linalg.vecdot(u, image)
        else:
            image = _product(u, weights[0])
            squares = torch.linalg.vecdot(image, image)
        scale = n_outputs / n_projections
        # A Gram matrix's rounding may leave a zero slightly negative.
        norms = (scale * squares.view(n_projections, -1).sum(0)).clamp_(min=0).sqrt_()

        ctx.depth, ctx.scale = depth, scale
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*weights, *inputs, *masks, *cotangents, image, norms)
        return hidden, norms

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor | None, grad_norms: Tensor | None) -> tuple[Tensor | None, ...]:
        depth = ctx.depth
        *layers, image, norms = ctx.saved_tensors
        weights, inputs, masks, cotangents = (layers[i * depth : (i + 1) * depth] for i in range(4))
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
                weight_grads[0] = _product(_product(_scaled(u, factor).mT, u), weights[0]) if wanted[0] else None
            else:
                weight_grads[0] = _product(u.mT, tangent) if wanted[0] else None
                tangent = _product(tangent, weights[0].mT)
            for layer in range(1, depth):
                tangent = _masked(tangent, masks[layer - 1])
                if wanted[layer]:
                    weight_grads[layer] = _product(cotangents[layer].mT, tangent)
                if layer < depth - 1:
                    tangent = _product(tangent, weights[layer].mT)

        if grad_outputs is not None:
            delta = grad_outputs
            for layer in reversed(range(depth)):
                delta = _masked(delta, masks[layer])
                if wanted[layer]:
                    of_loss, of_norms = _product(delta.mT, inputs[layer]), weight_grads[layer]
                    weight_grads[layer] = of_loss if of_norms is None else of_norms.add_(of_loss)
                if ctx.needs_input_grad[3 + depth + layer]:
                    bias_grads[layer] = delta.sum(0)
                if layer > 0:
                    delta = _product(delta, weights[layer])
                elif ctx.needs_input_grad[0]:
                    x_grad = _product(delta, weights[0])
        return x_grad, None, None, *weight_grads, *bias_grads


def _masked(rows: Tensor, mask: Tensor | None) -> Tensor:
    """Rows for each projection and sample, times the mask of the sample."""
    return rows if mask is None else (rows.view(-1, *mask.shape) * mask).view(rows.shape)


def _scaled(rows: Tensor, factor: Float[Tensor, " n"]) -> Tensor:
    return (rows.view(-1, factor.shape[0], rows.shape[1]) * factor[:, None]).view(rows.shape)


def _product(a: Float[Tensor, "m k"], b: Float[Tensor, "k n"]) -> Float[Tensor, "m n"]:
    """Matrix product: in float32 on a CPU by oneDNN, whose AVX-512 kernels run on every make (MKL's on one only)."""
    linear = _onednn_linear()
    if linear is None or a.dtype != torch.float32 or a.device.type != "cpu" or not torch.backends.mkldnn.enabled:
        return a @ b
    # Other strides fall to a reference loop a thousand times slower.
    if not all(matrix.is_contiguous() or matrix.mT.is_contiguous() for matrix in (a, b)):
        return a @ b
    product: Tensor = linear(a, b.mT, None, "none", [], "")
    return product


@cache
def _onednn_linear() -> Callable[..., Tensor] | None:
    """The product x Wᵀ that torch's own compiler calls; None in a build that lacks it or gives it another meaning."""
    a = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float32, device="cpu")
    try:
        linear: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise
        same = torch.equal(linear(a, a, None, "none", [], ""), a @ a.mT)
    except (AttributeError, RuntimeError, TypeError):
        return None
    return linear if same else None
