"""A transformer in training on modular addition, with or without GrokAlign, and what is measured on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from experiments.checkpoint import WEIGHTS_PREFIX
from experiments.errors import CheckpointError, SettingsError
from experiments.fourier import fourier_gini
from experiments.losses import cross_entropy
from experiments.metrics import accuracy_and_loss
from experiments.modular_addition import ModularAddition, ordered_pairs
from experiments.training import Training
from experiments.transformer import AfterEmbedding, Transformer, TransformerSettings
from splinegeo.grokalign import GrokAlign
from splinegeo.jacobian import centroids, normal_like

_NEXT_STREAM = 2**62
"""Added to the seed for GrokAlign's directions, so that they are not those of the initial weights."""


@dataclass(frozen=True)
class AdditionSettings:
    """All that decides the numbers of a run, save the machine; the defaults are those of arXiv 2506.12284, Figure 8."""

    transformer: TransformerSettings = field(default_factory=TransformerSettings)
    grokalign: float = 0.0
    """Coefficient λ of the GrokAlign penalty; 0 trains without it."""
    train_fraction: float = 0.3
    learning_rate: float = 1e-3
    weight_decay: float = 1.0
    betas: tuple[float, ...] = (0.9, 0.98)
    steps: int = 48_000
    logs_per_decade: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        if self.grokalign < 0:
            raise SettingsError(f"the coefficient of GrokAlign must not be negative, got {self.grokalign}")
        if self.steps < 1:
            raise SettingsError(f"the number of steps must be at least 1, got {self.steps}")


class TransformerGrokAlign(GrokAlign):
    """GrokAlign with respect to the embedded prompts of a transformer: the penalty and one backward pass.

    The same numbers as `GrokAlign(AfterEmbedding(transformer))` at `transformer.embed(pairs)`, gradient included.
    """

    def __init__(self, transformer: Transformer, coefficient: float, generator: torch.Generator) -> None:
        super().__init__(transformer, coefficient, generator=generator)
        self.transformer = transformer

    def __call__(self, x: Int64[Tensor, "n 2"]) -> Float[Tensor, ""]:
        """The penalty at the pairs."""
        return self.outputs_and_penalty(x)[1]

    def outputs_and_penalty(self, x: Int64[Tensor, "n 2"]) -> tuple[Float[Tensor, "n C"], Float[Tensor, ""]]:
        """The logits and the penalty at the pairs."""
        logits, norms = self.transformer.logits_and_jacobian_norms(x, self._directions(x))
        return logits, self.penalty_of(norms)

    def _directions(self, x: Int64[Tensor, "n 2"]) -> Float[Tensor, "n C"]:
        unembedding = self.transformer.unembedding
        return functional.normalize(normal_like((len(x), unembedding.shape[1]), unembedding, self.generator), dim=-1)


class AdditionTraining:
    """Full-batch training with AdamW, as `experiments.steps` takes it; the pairs are those of the settings' seed."""

    def __init__(self, settings: AdditionSettings, device: torch.device) -> None:
        chosen = settings.transformer
        self.data: ModularAddition = ordered_pairs(chosen.modulus, settings.train_fraction, settings.seed).to(device)
        self.transformer = Transformer(chosen, settings.seed).to(device)
        learnt = [parameter for parameter in self.transformer.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            learnt,
            lr=settings.learning_rate,
            betas=(settings.betas[0], settings.betas[1]),
            weight_decay=settings.weight_decay,
            fused=True,
        )
        grokalign = None
        if settings.grokalign > 0:
            generator = torch.Generator().manual_seed(settings.seed + _NEXT_STREAM)
            grokalign = TransformerGrokAlign(self.transformer, settings.grokalign, generator)
        self.training = Training(
            self.transformer,
            self.data.x_train,
            self.data.y_train,
            cross_entropy,
            optimizer,
            grokalign=grokalign,
            batch_size=len(self.data.x_train),
        )

    def step(self) -> None:
        """Take one step on all training pairs. Raises TrainingError when loss or weights are no longer finite."""
        self.training.run_epoch()

    def measure(self) -> dict[str, float]:
        """Accuracies, losses, centroid and Jacobian statistics at the training pairs, Gini coefficients, weight norm.

        jacobian_norm_mean is GrokAlign's estimate, with the same directions at every call. gini_embedding is that of
        the numbers' embeddings, gini_neuron_logit that of W_out W_U, the map from neurons to logits.
        """
        train_accuracy, train_loss = accuracy_and_loss(
            self.transformer, self.data.x_train, self.data.y_train, cross_entropy
        )
        test_accuracy, test_loss = accuracy_and_loss(
            self.transformer, self.data.x_test, self.data.y_test, cross_entropy
        )
        with torch.no_grad():
            x = self.transformer.embed(self.data.x_train)
            found = centroids(AfterEmbedding(self.transformer), x).flatten(1)
            alignments = functional.cosine_similarity(x.flatten(1), found)
            fixed = TransformerGrokAlign(self.transformer, 1.0, torch.Generator().manual_seed(0))
            neuron_logit = self.transformer.mlp_out @ self.transformer.unembedding[:, :-1]
            return {
                "train_accuracy": train_accuracy,
                "test_accuracy": test_accuracy,
                "train_loss": train_loss,
                "test_loss": test_loss,
                "centroid_alignment_mean": alignments.mean().item(),
                "centroid_alignment_min": alignments.min().item(),
                "centroid_alignment_max": alignments.max().item(),
                "centroid_norm_mean": found.norm(dim=1).mean().item(),
                "jacobian_norm_mean": fixed(self.data.x_train).item(),
                "gini_embedding": fourier_gini(self.transformer.embedding[:-1]),
                "gini_neuron_logit": fourier_gini(neuron_logit.T),
                "weight_norm": torch.stack([p.norm() for p in self.transformer.parameters()]).norm().item(),
            }

    def tensors(self) -> dict[str, Tensor]:
        """Weights, the optimiser's moments and the state of GrokAlign's directions."""
        return self.training.state()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `tensors` gave. Raises CheckpointError when it is of other settings."""
        weights = {
            name.removeprefix(WEIGHTS_PREFIX): tensor
            for name, tensor in tensors.items()
            if name.startswith(WEIGHTS_PREFIX)
        }
        try:
            self.transformer.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(f"the weights are of another network ({str(error).splitlines()[0]})") from None
        self.training.load_optimizer_and_methods(tensors)
