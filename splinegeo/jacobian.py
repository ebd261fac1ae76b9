"""The spline at data points: Jacobians, centroids, and how well both align with the inputs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splinegeo.errors import (
    InvalidArgumentError,
    InvalidNetworkError,
    ShapeError,
    SplineGeoError,
    UnknownComponentError,
    UnsupportedModuleError,
)

SAMPLES_PER_PASS = 256
JACOBIAN_ELEMENTS_PER_PASS = 2**26  # 256 MiB of float32


def jacobian(
    model: nn.Module, x: Float[Tensor, "n ..."], samples_per_pass: int = SAMPLES_PER_PASS
) -> Float[Tensor, "n C ..."]:
    """The Jacobian A_ω at each point, (n, C, *input_shape): the linear part of the network on the point's region.

    `model` maps (n, *input_shape) to (n, C), each sample independently of the others; it is evaluated in eval mode and
    left as it was. Intermediate values are held for `samples_per_pass` samples at a time.

    Raises ShapeError (x or the output does not fit), InvalidArgumentError (x not finite, or of another type or device
    than the weights), InvalidNetworkError (a Jacobian that is not finite), UnsupportedModuleError (samples that mix).
    """
    if samples_per_pass < 1:
        raise InvalidArgumentError(f"samples_per_pass is {samples_per_pass}: give at least 1")
    passes = checked_inputs(model, x).split(samples_per_pass)
    return torch.cat([torch.stack(list(_rows(model, part)), dim=1) for part in passes])


def centroids(model: nn.Module, x: Float[Tensor, "n ..."], component: str | None = None) -> Float[Tensor, "n ..."]:
    """The centroid μ = Aᵀ1 of the region that holds each point: one vector-Jacobian product with the vector of ones.

    `component` names a submodule (as in `model.named_modules()`): the centroid is then that of the map from the input
    to its output (arXiv 2604.11962). Without it, of the whole network (Balestriero et al. 2019; arXiv 2506.12284).

    Raises UnknownComponentError, and the errors of `jacobian`.
    """
    return torch.cat([_centroids(model, part, component) for part in checked_inputs(model, x).split(SAMPLES_PER_PASS)])


def local_centroids(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    spread: float = 0.15,
    n_samples: int = 30,
    component: str | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "n ..."]:
    """The mean centroid under Gaussian input noise, an estimate from `n_samples` draws (arXiv 2604.11962).

    The noise of a sample has the standard deviation `spread` × (max x − min x), in input units, of that sample alone:
    the result does not depend on what else is in the batch. Draws come from `generator` (default: torch's own).

    Raises InvalidArgumentError (negative spread, n_samples < 1) and the errors of `centroids`.
    """
    if not 0 <= spread < float("inf"):
        raise InvalidArgumentError(f"spread is {spread}: give a finite number that is not negative")
    if n_samples < 1:
        raise InvalidArgumentError(f"n_samples is {n_samples}: give at least 1")
    means = []
    for part in checked_inputs(model, x).split(SAMPLES_PER_PASS):
        value_range = part.flatten(1).amax(1) - part.flatten(1).amin(1)
        deviation = spread * value_range.view(-1, *[1] * (part.ndim - 1))
        total = torch.zeros_like(part)
        for _ in range(n_samples):
            total += _centroids(model, part + deviation * normal_like(part.shape, part, generator), component)
        means.append(total / n_samples)
    return torch.cat(means)


def alignment(model: nn.Module, x: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Centroid alignment: the cosine of each point with its centroid (arXiv 2506.12284); 0 where either is zero.

    Under cross-entropy the aligned optimum has a zero centroid: see `row_alignment` there. Raises as `centroids`.
    """
    at_points = centroids(model, x)  # refuses an x without samples
    return _cosine(x.flatten(1), at_points.flatten(1))


def row_alignment(model: nn.Module, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n C"]:
    """The cosine of each point with each row of its Jacobian (arXiv 2506.12284, Table 2); 0 where either is zero.

    Raises as `jacobian`.
    """
    passes = checked_inputs(model, x).split(SAMPLES_PER_PASS)
    return torch.cat(
        [
            torch.stack([_cosine(part.flatten(1), row.flatten(1)) for row in _rows(model, part)], dim=1)
            for part in passes
        ]
    )


def explained_variance(model: nn.Module, x: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """PC1 = σ₁² / Σσᵢ² of the Jacobian at each point, between 1 / min(C, d) and 1; 0 where the Jacobian is zero.

    From arXiv 2506.12284 (Figure 2); of the singular values themselves, nothing is centred. Raises as `jacobian`.
    """
    checked = checked_inputs(model, x)
    with evaluation(model), torch.no_grad():
        n_outputs = checked_outputs(model, checked[:1]).shape[1]
    elements_per_sample = max(1, n_outputs * checked[0].numel())
    samples_per_pass = min(SAMPLES_PER_PASS, max(1, JACOBIAN_ELEMENTS_PER_PASS // elements_per_sample))
    return torch.cat([_explained_variance(model, part) for part in checked.split(samples_per_pass)])


def checked_inputs(model: nn.Module, x: Tensor) -> Float[Tensor, "n ..."]:
    """The inputs without their graph, after the checks that all measurements share; raises as `jacobian`."""
    check_inputs(model, x)
    check_finite(x)
    return x.detach()


def differentiable_tensor(x: Tensor) -> Tensor:
    """The tensor itself, or a copy of one made in inference mode, which autograd would refuse."""
    with torch.inference_mode(False):
        return x.clone() if x.is_inference() else x


def check_finite(x: Tensor) -> None:
    """Raise InvalidArgumentError if x holds NaN or infinite values."""
    # One sum tells almost always, and takes a fortieth of the time; it may overflow, and only then is each value read.
    if not bool(torch.isfinite(x.sum())) and not bool(torch.isfinite(x).all()):
        raise InvalidArgumentError("x holds NaN or infinite values: remove or replace them")


def check_module(model: nn.Module) -> None:
    """Raise UnsupportedModuleError if the model is no torch.nn.Module."""
    if not isinstance(model, nn.Module):
        raise UnsupportedModuleError(f"the network must be a torch.nn.Module, but is a {type(model).__name__}")


def check_inputs(model: nn.Module, x: Tensor) -> None:
    """The checks of type and shape only: they read no value, and so never wait for an accelerator.

    Raises InvalidArgumentError, ShapeError or UnsupportedModuleError as `jacobian`.
    """
    check_module(model)
    if not isinstance(x, Tensor):
        raise InvalidArgumentError(f"x is a {type(x).__name__}: give a torch tensor, for instance torch.as_tensor(x)")
    if not x.is_floating_point():
        raise InvalidArgumentError(f"x has dtype {x.dtype}: give floating-point inputs, scaled as in training")
    if x.ndim < 2 or x.shape[0] == 0:
        raise ShapeError(f"x has shape {tuple(x.shape)}: give (n, *input_shape) with at least one sample")
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    if weight is not None and (weight.dtype, weight.device) != (x.dtype, x.device):
        raise InvalidArgumentError(
            f"x is {x.dtype} on {x.device} but the network is {weight.dtype} on {weight.device}: move one to the other"
        )
    for name, module in model.named_modules():
        # Without running statistics a batch norm uses its batch even in eval mode: no sample has a Jacobian of its own.
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise UnsupportedModuleError(f"{name} ({type(module).__name__}) has no running statistics: samples mix")


def checked_outputs(model: nn.Module, x: Tensor) -> Float[Tensor, "n C"]:
    """model(x) in the mode the model is in; ShapeError if x does not fit the network or the output is not (n, C)."""
    outputs = _forward(model, x)
    if not isinstance(outputs, Tensor):
        raise ShapeError(f"the network returns a {type(outputs).__name__}: wrap it to return one tensor, (n, C)")
    if outputs.ndim != 2 or outputs.shape[0] != x.shape[0]:
        raise ShapeError(
            f"the network maps {tuple(x.shape)} to {tuple(outputs.shape)}: its output must be (n, C), "
            f"here ({x.shape[0]}, C); flatten it, or check that x is (n, *input_shape)"
        )
    return outputs


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Eval mode and gradients on for the block, whatever the caller has set, and back again."""
    training = [module for module in model.modules() if module.training]
    try:
        # The flag itself: train() may be overridden, and would not restore a mixture of modes.
        for module in training:
            module.training = False
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module in training:
            module.training = True


def normal_like(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal values, drawn on the generator's device: one seed means one sequence wherever `like` lives."""
    device = like.device if generator is None else generator.device
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=device).to(like.device)


def _forward(model: nn.Module, x: Tensor) -> object:
    try:
        return model(x.clone())  # its first layer may write over its input
    except (SplineGeoError, torch.cuda.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ShapeError(
            f"the network cannot read x of shape {tuple(x.shape)} ({reason}): give (n, *input_shape)"
        ) from error


def input_gradient(
    outputs: Tensor,
    leaf: Tensor,
    direction: Tensor | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> Tensor:
    """The vector-Jacobian product, zero if the outputs do not depend on the leaf.

    Raises InvalidNetworkError where it is not finite; if it is to be differentiable, it is not checked.
    """
    if not outputs.requires_grad:
        return torch.zeros_like(leaf)
    (gradient,) = torch.autograd.grad(
        outputs, leaf, direction, retain_graph=retain_graph, create_graph=create_graph, materialize_grads=True
    )
    if not create_graph and not bool(torch.isfinite(gradient).all()):
        raise InvalidNetworkError("the Jacobian is not finite: the weights hold NaN or infinite values, or overflow")
    return gradient


def _rows(model: nn.Module, x: Tensor) -> Iterator[Float[Tensor, "n ..."]]:
    """The Jacobian's rows one after another, so that a caller need not hold them all."""
    with evaluation(model):
        leaf = differentiable_tensor(x).detach().requires_grad_()
        outputs = checked_outputs(model, leaf)
    for c in range(outputs.shape[1]):
        # Entered anew for each row: a generator that is waiting must not hold the caller in another mode.
        with evaluation(model):
            row = input_gradient(outputs[:, c].sum(), leaf, retain_graph=True)
        yield row


def _centroids(model: nn.Module, x: Tensor, component: str | None) -> Float[Tensor, "n ..."]:
    with evaluation(model):
        leaf = differentiable_tensor(x).detach().requires_grad_()
        total = checked_outputs(model, leaf).sum() if component is None else _component_sum(model, leaf, component)
        return input_gradient(total, leaf)


def _component_sum(model: nn.Module, x: Tensor, component: str) -> Tensor:
    modules = dict(model.named_modules(remove_duplicate=False))
    if component not in modules:
        names = ", ".join(name for name in modules if name) or "none"
        raise UnknownComponentError(f"the network has no component {component!r}; its components: {names}")
    sums: list[Tensor] = []

    def add_output(module: nn.Module, arguments: object, output: object) -> None:
        if not isinstance(output, Tensor):
            raise UnsupportedModuleError(f"component {component!r} returns a {type(output).__name__}, not a tensor")
        # Summed here: a later in-place activation would overwrite the output itself.
        sums.append(output.sum())

    handle = modules[component].register_forward_hook(add_output)
    try:
        _forward(model, x)
    finally:
        handle.remove()
    if len(sums) != 1:
        raise UnknownComponentError(f"component {component!r} is called {len(sums)} times in a forward pass, not once")
    return sums[0]


def _unit(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Each row over its norm, or zero; scaled first, because the square of a small float32 number underflows."""
    largest = vectors.abs().amax(1, keepdim=True)
    scaled = vectors / torch.where(largest > 0, largest, torch.ones_like(largest))
    norm = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    return scaled / torch.where(norm > 0, norm, torch.ones_like(norm))


def _cosine(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    return (_unit(a.detach()) * _unit(b)).sum(1).clamp(-1.0, 1.0)


def _explained_variance(model: nn.Module, x: Tensor) -> Float[Tensor, " n"]:
    rows = torch.stack([row.flatten(1) for row in _rows(model, x)], dim=1)
    largest = rows.abs().amax((1, 2), keepdim=True)
    rows = rows / torch.where(largest > 0, largest, torch.ones_like(largest))
    # The squared singular values are the eigenvalues of the smaller Gram matrix; their largest is accurate to rounding.
    gram = rows @ rows.mT if rows.shape[1] <= rows.shape[2] else rows.mT @ rows
    squares = torch.linalg.eigvalsh(gram.to(torch.promote_types(gram.dtype, torch.float32)))
    total = squares.sum(1)
    return (squares[:, -1] / torch.where(total > 0, total, torch.ones_like(total))).clamp(max=1.0).to(x.dtype)
