"""Convolutional networks of real size for 32x32 colour images, at their initialisation: batch norm, where there is any,
with random scales and the statistics of real images.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import models


def paper_cnn(images: np.ndarray) -> nn.Module:
    """GrokAlign's CIFAR-10 network: six bias-free convolutions, filters 32, 64, 128, and a head of 128 units."""
    from experiments.models import cnn

    return cnn(images.shape[1:], 10)


def resnet18(images: np.ndarray) -> nn.Module:
    """ResNet-18, widths 64 to 512, for 32x32 images: a 3x3 stem, no max pooling."""
    torch.manual_seed(0)
    model = models.resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return _with_statistics(model, images)


def densenet(images: np.ndarray) -> nn.Module:
    """DenseNet with a bottleneck in each of its twelve layers, growth 12: max pooling in the stem, concatenations in
    three blocks, average pooling between them.
    """
    torch.manual_seed(0)
    model = models.DenseNet(growth_rate=12, block_config=(4, 4, 4), num_init_features=24, num_classes=10)
    model.features.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    return _with_statistics(model, images)


def every_layer(images: np.ndarray) -> nn.Module:
    """Every kind of layer that can be read, each of its options once; see `EveryLayer`."""
    torch.manual_seed(0)
    return _with_statistics(EveryLayer(), images)


class EveryLayer(nn.Module):
    """Convolutions with stride, padding, dilation and groups, in one and two dimensions; average, max and adaptive
    pooling; batch norm; ReLU, LeakyReLU, PReLU, Hardtanh, ReLU6 and abs; one concatenating and one residual skip.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU())
        self.dilated = nn.Sequential(nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=4), nn.PReLU(16))
        self.smooth = nn.AvgPool2d(3, stride=1, padding=1)
        self.joined = nn.Sequential(nn.BatchNorm2d(32), nn.LeakyReLU(0.2), nn.MaxPool2d(3, stride=2, padding=1))
        self.residual = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.Hardtanh())
        self.narrow = nn.Sequential(nn.Conv2d(32, 48, 3, stride=2), nn.ReLU6(), nn.AdaptiveAvgPool2d(4), nn.Flatten(2))
        self.series = nn.Sequential(nn.Conv1d(48, 24, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, 10) of images (n, 3, 32, 32)."""
        h = self.stem(x)
        h = self.joined(torch.cat([self.dilated(h), self.smooth(h)], 1))
        h = torch.abs(h + self.residual(h))
        return self.head(self.series(self.narrow(h)))


def _with_statistics(model: nn.Module, images: np.ndarray) -> nn.Module:
    """The model in evaluation mode, after one pass of the images in training mode."""
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.1)
        norm.momentum = None
    with torch.no_grad():
        model.train()(torch.from_numpy(images).float())
    return model.eval()


NETWORKS: dict[str, Callable[[np.ndarray], nn.Module]] = {
    "cnn": paper_cnn,
    "resnet18": resnet18,
    "densenet": densenet,
    "every_layer": every_layer,
}
