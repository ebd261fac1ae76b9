"""Piecewise affine networks of every kind that can be read: each layer among others, functions, architectures."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, ...]
Case = tuple[Callable[[], nn.Module], Shape]


class Forward(nn.Module):
    """A module whose forward is a function of it and the input."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **parts: nn.Module | Tensor) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            else:
                self.register_parameter(name, nn.Parameter(part))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in float64 and evaluation mode, every parameter and running statistic random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model.double().eval().requires_grad_(False)


def among_others(layer: nn.Module, dims: int = 2) -> Callable[[], nn.Module]:
    """A network with the layer between a convolution with ReLU and another ReLU with a linear head on the mean."""
    conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]

    def head(_: Any, x: Tensor) -> Tensor:
        return torch.stack([x.flatten(1).mean(1), x.flatten(1)[:, 0], x.flatten(1)[:, -1]], 1)

    return lambda: nn.Sequential(
        conv(2, 4, 3, padding=1), nn.ReLU(), copy.deepcopy(layer), nn.LeakyReLU(0.2), Forward(head)
    )


IMAGE: Shape = (2, 8, 8)
SERIES: Shape = (2, 9)
VOLUME: Shape = (2, 4, 5, 4)

LAYERS: dict[str, Case] = {
    **{
        name: (among_others(layer), IMAGE)
        for name, layer in {
            "Conv2d, strided": nn.Conv2d(4, 3, 3, stride=2, padding=1),
            "Conv2d, dilated, in groups": nn.Conv2d(4, 6, (3, 2), dilation=2, groups=2, bias=False),
            "Conv2d, padded to the same size": nn.Conv2d(4, 3, 3, padding="same"),
            **{
                f"Conv2d, {mode} padding": nn.Conv2d(4, 3, 3, padding=2, padding_mode=mode)
                for mode in ("reflect", "replicate", "circular")
            },
            "ConvTranspose2d": nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
            "AvgPool2d": nn.AvgPool2d(2),
            "AvgPool2d, padded": nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
            "AdaptiveAvgPool2d": nn.AdaptiveAvgPool2d((3, 2)),
            "BatchNorm2d": nn.BatchNorm2d(4),
            "BatchNorm2d, not affine": nn.BatchNorm2d(4, affine=False),
            "Linear on the last dimension": nn.Linear(8, 5),
            "Upsample, nearest": nn.Upsample(scale_factor=2),
            "Upsample, bilinear": nn.Upsample(scale_factor=1.5, mode="bilinear"),
            "UpsamplingBilinear2d": nn.UpsamplingBilinear2d(scale_factor=2),
            "ZeroPad2d": nn.ZeroPad2d((1, 2, 0, 1)),
            "ConstantPad2d": nn.ConstantPad2d(1, 3.0),
            "ReflectionPad2d": nn.ReflectionPad2d(1),
            "ReplicationPad2d": nn.ReplicationPad2d(2),
            "CircularPad2d": nn.CircularPad2d(1),
            "PixelShuffle": nn.PixelShuffle(2),
            "PixelUnshuffle": nn.PixelUnshuffle(2),
            "ChannelShuffle": nn.ChannelShuffle(2),
            "Unfold": nn.Unfold(3, stride=2),
            "Unflatten": nn.Unflatten(1, (2, 2)),
            "Dropout2d": nn.Dropout2d(0.9),
            "PReLU": nn.PReLU(4),
            "PReLU, one slope": nn.PReLU(),
            "RReLU": nn.RReLU(),
            "ReLU6": nn.Sequential(nn.Conv2d(4, 4, 1), Forward(lambda m, x: 8 * x), nn.ReLU6()),
            "Hardtanh": nn.Sequential(nn.Conv2d(4, 4, 1), nn.Hardtanh(-0.3, 0.5, inplace=True)),
            "Hardsigmoid": nn.Sequential(nn.Conv2d(4, 4, 1), nn.Hardsigmoid()),
            "Softshrink": nn.Sequential(nn.Conv2d(4, 4, 1), nn.Softshrink(0.3)),
            "Threshold": nn.Sequential(nn.Conv2d(4, 4, 1), nn.Threshold(0.2, 0.2, inplace=True)),
            "SyncBatchNorm": nn.SyncBatchNorm(4),
            "MaxPool2d": nn.MaxPool2d(2),
            "MaxPool2d, overlapping": nn.Sequential(nn.Conv2d(4, 4, 1), nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
            "MaxPool2d, dilated": nn.Sequential(nn.Conv2d(4, 4, 1), nn.MaxPool2d((2, 3), 1, dilation=(2, 1))),
            "MaxPool2d of one place": nn.MaxPool2d(1, 2),
            "AdaptiveMaxPool2d": nn.Sequential(nn.Conv2d(4, 4, 1), nn.AdaptiveMaxPool2d((3, 1))),
        }.items()
    },
    **{
        name: (among_others(layer, dims=1), SERIES)
        for name, layer in {
            "Conv1d": nn.Conv1d(4, 3, 3, stride=2, padding=1),
            "ConvTranspose1d": nn.ConvTranspose1d(4, 3, 3, stride=2),
            "AvgPool1d": nn.AvgPool1d(2),
            "AdaptiveAvgPool1d": nn.AdaptiveAvgPool1d(4),
            "BatchNorm1d": nn.BatchNorm1d(4),
            "MaxPool1d": nn.Sequential(nn.Conv1d(4, 4, 1), nn.MaxPool1d(3, 2, 1)),
            "AdaptiveMaxPool1d": nn.Sequential(nn.Conv1d(4, 4, 1), nn.AdaptiveMaxPool1d(2)),
            "ConstantPad1d": nn.ConstantPad1d(2, -1.0),
            "Upsample, linear": nn.Upsample(scale_factor=2, mode="linear"),
        }.items()
    },
    **{
        name: (among_others(layer, dims=3), VOLUME)
        for name, layer in {
            "Conv3d": nn.Conv3d(4, 2, 3, padding=1),
            "ConvTranspose3d": nn.ConvTranspose3d(4, 2, 2),
            "AvgPool3d": nn.AvgPool3d(2),
            "BatchNorm3d": nn.BatchNorm3d(4),
            "MaxPool3d": nn.Sequential(nn.Conv3d(4, 2, 1), nn.MaxPool3d(2)),
            "AdaptiveAvgPool3d": nn.AdaptiveAvgPool3d(2),
        }.items()
    },
}


def called(function: Callable[[Any, Tensor], Tensor]) -> Callable[[], nn.Module]:
    """A network that calls the function on activations of both signs, with a weight of the same size at hand."""
    weight = torch.linspace(-1.0, 1.5, 64).reshape(4, 4, 4)
    return lambda: nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.LeakyReLU(0.3)),
        *(Forward(function, w=weight), nn.Flatten(), nn.LazyLinear(5), nn.ReLU(), nn.Linear(5, 2)),
    )


def _in_place(m: Any, x: Tensor) -> Tensor:
    y = 2 * x
    y.relu_()
    return y - 0.5 * x


def _max_over_channels(m: Any, x: Tensor) -> Tensor:
    values, _ = torch.max(x, dim=1)
    return values - x.min(2, keepdim=True).values[:, 0] + x.amax((1, 2)).unsqueeze(1) + x.amin(-1).sum(1, keepdim=True)


def _chunks_across_a_layer(m: Any, x: Tensor) -> Tensor:
    parts = x.chunk(2, 1)
    return functional.relu(parts[0]) - torch.cat(parts, 1)[:, 1:3]


FUNCTIONS: dict[str, Case] = {
    name: (called(function), (2, 4, 4))
    for name, function in {
        "relu": lambda m, x: torch.relu(x) - functional.relu(-x) * 0.5 + (x + 1).relu(),
        "relu in place": _in_place,
        "leaky_relu": lambda m, x: functional.leaky_relu(x, 2.0) + functional.leaky_relu(x - 1, -0.3),
        "prelu": lambda m, x: functional.prelu(x, m.w[0, 0]),
        "abs": lambda m, x: x.abs() + torch.abs(x - 0.3) * 2,
        "clamp": lambda m, x: x.clamp(-0.4, 0.2) + x.clamp(min=0.1) + torch.clamp(x, max=0.2) + x.clip(-1, 1),
        "clamp to a tensor": lambda m, x: x.clamp(min=m.w) + torch.clamp_max(x, 0.3) + torch.clamp_min(x, -0.1),
        "hardtanh": lambda m, x: functional.hardtanh(x, -0.2, 0.6) + functional.relu6(7 * x),
        "hardsigmoid": lambda m, x: functional.hardsigmoid(5 * x),
        "softshrink": lambda m, x: functional.softshrink(x, 0.1) + functional.threshold(x, -0.2, -0.2),
        "threshold": lambda m, x: torch.threshold(x, 0.1, 0.1) - functional.softshrink(x, 0.0),
        "maximum": lambda m, x: torch.maximum(x, x.flip(2)) + torch.minimum(x[:, :1], x * 2) + torch.max(x, m.w),
        "minimum with a constant": lambda m, x: torch.minimum(m.w, x) + torch.max(x, torch.zeros_like(x)),
        "max over dimensions": _max_over_channels,
        "max pooling": lambda m, x: functional.max_pool2d(x, 2, stride=1) + functional.adaptive_max_pool2d(x, 3),
        "min pooling": lambda m, x: -functional.max_pool2d(-x, 2),
        "average pooling": lambda m, x: functional.avg_pool2d(x, 2) + functional.adaptive_avg_pool2d(x, 1),
        "arithmetic": lambda m, x: 1 - x / 2 + torch.add(x, 3, alpha=2) * m.w - torch.sub(2 * x, m.w) + (-x),
        "matrix products": lambda m, x: m.w @ x + torch.matmul(x, m.w[0]) + torch.einsum("bchw,wk->bchk", x, m.w[1]),
        "linear and convolution": lambda m, x: (
            functional.linear(x, m.w[0], m.w[0, 0])
            + functional.conv2d(x, m.w[:, :, :3, None], m.w[0, 0], padding=(1, 0))
        ),
        "batch_norm": lambda m, x: functional.batch_norm(x, m.w[0, 0], m.w[0, 0] ** 2 + 1, m.w[0, 1], m.w[0, 2]),
        "sums and means": lambda m, x: x.sum(1) + x.mean((1, 2), keepdim=True)[:, 0] + torch.sum(x, dim=-1),
        "shapes": lambda m, x: x.view(x.size(0), -1).reshape(x.shape[0], 8, 8).permute(0, 2, 1).transpose(1, 2),
        "more shapes": lambda m, x: torch.flatten(x, 2).unsqueeze(1).squeeze(1).unflatten(2, (2, 8)).movedim(1, -1),
        "views as another": lambda m, x: x.reshape(-1, 64).view_as(x) + x.mean(1, keepdim=True).expand_as(x),
        "parts": lambda m, x: x[:, 1:3, ..., ::2] + x.narrow(1, 0, 2)[..., :2] + x.select(1, 3)[:, None, :, 1:3],
        "index": lambda m, x: x[:, [2, 0]] + torch.index_select(x, 1, torch.tensor([1, 3])),
        "chunks": lambda m, x: torch.cat(x.chunk(2, 1)[::-1], 1) + x.split(1, 1)[2] + x.unbind(1)[0].unsqueeze(1),
        "chunks across a layer": _chunks_across_a_layer,
        "stack, cat": lambda m, x: torch.cat([torch.stack([x, 2 * x], 1).flatten(1, 2), m.w[None] + 0 * x], 1),
        "padding": lambda m, x: functional.pad(x, (1, 1), value=2.0)[:, :, :, 1:5] + functional.pad(x, (0, 0, 1, -1)),
        "interpolate": lambda m, x: functional.interpolate(x, size=(6, 5), mode="bilinear"),
        "repeat, roll, flip": lambda m, x: x.repeat(1, 1, 2, 1).roll(1, 2)[:, :, :4] + torch.flip(x, [1]),
        "to and fro": lambda m, x: (
            x.to(x.dtype).double().transpose(1, 2).contiguous().view(x.size(0), -1).clone().type_as(x)
        ),
        "constants of another type": lambda m, x: torch.einsum("bchw,wk->bchk", x, torch.ones(4, 2).half().to(x)),
        "constants as another": lambda m, x: x @ torch.eye(4).type_as(x) + m.w[:, :1].expand_as(x) * x,
        "dropout": lambda m, x: functional.dropout(x, 0.9, m.training) + functional.dropout2d(x, 0.5, training=False),
        "the layer's input again": lambda m, x: functional.relu(x) + x + functional.relu(x),
    }.items()
}


class Block(nn.Module):
    """A residual block of a ResNet; its convolution on the skip halves the image."""

    def __init__(self, channels_in: int, channels: int, stride: int, normed: bool) -> None:
        super().__init__()
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d if normed else lambda _: nn.Identity()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = norm(channels)
        self.relu = nn.ReLU(inplace=True)
        self.skip = None
        if stride > 1 or channels_in != channels:
            self.skip = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        y += x if self.skip is None else self.skip(x)
        return self.relu(y)


def resnet(widths: tuple[int, ...], normed: bool) -> nn.Module:
    """A ResNet of two blocks for each width, as ResNet-18 for small images."""
    blocks: list[nn.Module] = []
    channels = widths[0]
    for width in widths:
        blocks += [Block(channels, width, 1 if width == widths[0] else 2, normed), Block(width, width, 1, normed)]
        channels = width
    stem = [nn.Conv2d(3, widths[0], 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def paper_cnn(filters: tuple[int, int, int] = (32, 64, 128), head: int = 128) -> nn.Module:
    """GrokAlign's CIFAR-10 network, read so: six bias-free 3x3 convolutions in pairs, the second of each with stride 2;
    average pooling by 2 after the second and third pair; two bias-free linear layers.
    """
    layers: list[nn.Module] = []
    channels = 3
    for i, width in enumerate(filters):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.ReLU()]
        layers += [nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False), nn.ReLU()]
        layers += [nn.AvgPool2d(2)] if i else []
        channels = width
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(channels, head, bias=False), nn.ReLU(), nn.Linear(head, 10, bias=False)
    )


def _dense_net(m: Any, x: Tensor) -> Tensor:
    features = [x]
    for layer in (m.a, m.b, m.c):
        features.append(layer(torch.cat(features, 1)))
    return m.head(torch.cat(features, 1))


def dense_net() -> nn.Module:
    """Each block reads all that came before it, batch norm first."""
    blocks = [
        nn.Sequential(nn.BatchNorm2d(2 + 3 * i), nn.ReLU(), nn.Conv2d(2 + 3 * i, 3, 3, padding=1)) for i in range(3)
    ]
    head = nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(11, 4))
    return Forward(_dense_net, a=blocks[0], b=blocks[1], c=blocks[2], head=head)


def _u_net(m: Any, x: Tensor) -> Tensor:
    wide = m.down1(x)
    narrow = m.down2(m.pool(wide))
    return m.out(torch.cat([m.up(narrow), wide], dim=1))


def u_net() -> nn.Module:
    """One level down and up again, the fine level concatenated across."""
    return Forward(
        _u_net,
        down1=nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU()),
        pool=nn.MaxPool2d(2),
        down2=nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 5, 3, padding=1), nn.ReLU()),
        up=nn.ConvTranspose2d(5, 3, 2, stride=2),
        out=nn.Sequential(nn.Conv2d(6, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 1, 1)),
    )


def _pre_activation(m: Any, x: Tensor) -> Tensor:
    for block in (m.a, m.b, m.c):
        x = x + block(x)
    return m.head(x)


def pre_activation_mlp() -> nn.Module:
    """A residual MLP whose stream is never rectified: the stream itself is what is carried."""
    blocks = {name: nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 6)) for name in "abc"}
    return Forward(_pre_activation, **blocks, head=nn.Linear(6, 3))


ARCHITECTURES: dict[str, Case] = {
    "ResNet": (lambda: resnet((4, 6), normed=False), (3, 8, 8)),
    "ResNet with batch norm": (lambda: resnet((3, 4, 5), normed=True), (3, 8, 8)),
    "DenseNet": (dense_net, (2, 6, 6)),
    "U-Net": (u_net, (2, 6, 6)),
    "residual MLP": (pre_activation_mlp, (6,)),
    "the paper's CNN, narrow": (lambda: paper_cnn((4, 6, 8), 16), (3, 32, 32)),
    "two branches": (
        lambda: Forward(
            lambda m, x: torch.maximum(m.a(x).relu(), m.b(x)) - m.a(x.abs()), a=nn.Linear(4, 3), b=nn.Linear(4, 3)
        ),
        (4,),
    ),
    "an activation first": (lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 4), nn.Hardtanh()), (5,)),
    "no activation": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(48, 3)), (2, 6, 6)),
    "tokens": (lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2), nn.Flatten()), (3, 4)),
    "nothing but a layer": (lambda: nn.MaxPool2d(2), (2, 4, 4)),
}

ZOO: dict[str, Case] = LAYERS | FUNCTIONS | ARCHITECTURES


def build(name: str) -> tuple[nn.Module, Shape]:
    """A network of the zoo in float64 and evaluation mode, its parameters random, and its input shape."""
    make, shape = ZOO[name]
    model = make()
    with torch.no_grad():
        model(torch.zeros(2, *shape))  # gives lazy layers their size
    return randomised(model), shape
