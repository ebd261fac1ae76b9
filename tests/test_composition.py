"""Methods together with GrokAlign, on models, losses and optimisers of all kinds: they train and resume exactly."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import splinegeo as sg
from experiments.checkpoint import load_weights, read_checkpoint, write_checkpoint
from experiments.grokfast import GrokfastEMA, GrokfastMA
from experiments.losses import cross_entropy, squared_error
from experiments.methods import AdversarialNoise, WeightDecay
from experiments.training import Training


class Residual(nn.Module):
    """Convolutions with batch norm and a skip connection, and a layer that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head, self.unused = nn.Linear(64, 3), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu()
        outputs: Tensor = self.head(functional.avg_pool2d((x + self.second(x)).relu(), 2).flatten(1))
        return outputs


class Attention(nn.Module):
    """A token for each of eight parts of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Linear(16, 8), nn.Linear(8, 3)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.block(self.embedding(x.reshape(len(x), -1, 16))).mean(1))
        return outputs


class Recurrent(nn.Module):
    """The same parts one after another."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(16, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.cells(x.reshape(len(x), -1, 16))[0][:, -1])
        return outputs


class Tied(nn.Module):
    """One layer that is gone through twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(128, 128, bias=False), nn.Linear(128, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(functional.gelu(self.layer(self.layer(x.flatten(1)).relu())))
        return outputs


def dense() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 3))


def half_frozen() -> nn.Module:
    model = dense()
    model.get_submodule("1").requires_grad_(False)
    return model


def of_doubles() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 16), nn.Dropout(0.3), nn.Tanh(), nn.Linear(16, 3)).double()


MODELS: dict[str, Callable[[], nn.Module]] = {
    "dense": dense,
    "half frozen": half_frozen,
    "of doubles": of_doubles,
    "residual": Residual,
    "attention": Attention,
    "recurrent": Recurrent,
    "tied": Tied,
}
OPTIMIZERS: dict[str, Callable[[Iterable[Tensor]], torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.01),
    "Nesterov": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
    "AMSGrad": lambda p: torch.optim.Adam(p, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, weight_decay=0.0, fused=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, momentum=0.5, centered=True),
} | {
    name: getattr(torch.optim, name)
    for name in ("Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop", "Adafactor")
    if hasattr(torch.optim, name)
}
LOSSES = {
    "squared error": squared_error,
    "cross-entropy": cross_entropy,
    "smoothed": nn.CrossEntropyLoss(label_smoothing=0.1),
    "margin": nn.MultiMarginLoss(),
}


def training_of(model_name: str, optimizer_name: str, loss_name: str, level: float | None) -> Training:
    torch.manual_seed(0)
    model = MODELS[model_name]()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(24, 2, 8, 8, generator=generator).to(next(model.parameters()).dtype)
    y = torch.randint(3, (24,), generator=generator)
    optimizer = OPTIMIZERS[optimizer_name](list(model.parameters()))
    methods = [
        WeightDecay(optimizer, 0.01),
        AdversarialNoise(torch.Generator().manual_seed(3)),
        GrokfastEMA(model),
        GrokfastMA(model, window=5, factor=1.0),
    ]
    penalty = sg.GrokAlign(model, 1e-2, level, generator=torch.Generator().manual_seed(5))
    return Training(model, x, y, LOSSES[loss_name], optimizer, grokalign=penalty, methods=methods, batch_size=8)


@pytest.mark.parametrize(
    "names",
    [
        *((model, "AdamW", "cross-entropy") for model in MODELS),
        *(("dense", optimizer, "squared error") for optimizer in OPTIMIZERS),
        *(("residual", "Nesterov", loss) for loss in LOSSES),
    ],
    ids=", ".join,
)
@pytest.mark.parametrize("level", [None, 5.0])
def test_all_of_them_train_and_resume_exactly(
    tmp_path: Path, names: tuple[str, str, str], level: float | None, one_thread
):
    training, again = training_of(*names, level), training_of(*names, level)
    before = [parameter.clone() for parameter in training.model.parameters()]
    torch.manual_seed(9)  # for dropout
    for _ in range(2):
        assert training.run_epoch().penalty > 0
    path = tmp_path / "state.safetensors"
    write_checkpoint(path, training.state(), {"epoch": 2, "events": []})
    dropout = torch.get_rng_state()
    expected = [training.run_epoch() for _ in range(2)]
    checkpoint = read_checkpoint(path)
    load_weights(again.model, checkpoint, path)
    again.load_optimizer_and_methods(checkpoint.tensors)
    torch.set_rng_state(dropout)
    assert [again.run_epoch() for _ in range(2)] == expected
    for (name, left), right, start in zip(
        training.model.named_parameters(), again.model.parameters(), before, strict=True
    ):
        assert torch.equal(left, right)
        assert torch.equal(left, start) == (not left.requires_grad or name.startswith("unused"))
