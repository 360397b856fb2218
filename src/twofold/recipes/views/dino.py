"""DINO (Caron et al., ICCV 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from twofold.contrast.objectives import self_distillation
from twofold.contrast.prototypes import Center
from twofold.nn.heads import DINOHead
from twofold.nn.teacher import Teacher, cosine_momentum
from twofold.options import Fraction, Positive, PositiveInt, ViewCount
from twofold.recipes.base import Batch, Card, Outputs, Recipe, by_view

GLOBAL_VIEWS = 2


class DINO(Recipe):
    """DINO: a student matches a momentum teacher's soft clusters across views (Caron et al., ICCV 2021).

    With t = softmax((T − c)/τ_t) of the teacher on global views and s = softmax(S/τ_s) of the student on all, eqs. 1-4:

        L = mean over global g, v ≠ g of −Σ_k t_g log s_v;    c ← 0.9 c + 0.1 mean(T);    teacher by momentum

    What is new: self-distillation without negatives, clusters or predictor; centering and sharpening balance each
    other. Without centering one prototype takes all; without sharpening the output becomes uniform. The encoder kept is
    the student's; the authors evaluate the teacher's.

    Args:
        prototypes: K, the outputs of the head; 65536 for ImageNet. The 1024 given here suits small data.
        student_temperature: τ_s; the paper's 0.1.
        teacher_temperature: τ_t after its warm-up; the 0.04 of the authors' code, up to 0.07 in their longest runs.
        warmup_temperature: τ_t at the start; the paper's 0.04.
        temperature_warmup: Share of the training in which τ_t rises; 30 of 100 epochs in the paper.
        center_momentum: Weight of the old center; the paper's 0.9. With 1 the center stays 0: no centering.
        momentum: m of the teacher at the start, rising to 1; 0.996 in the paper over 10⁵ steps and more. Runs of a
            few thousand steps need the 0.99 given here.
        freeze_last_layer: Share of the training in which the prototypes stay fixed; 1 epoch of 100 in the paper.
        view_count: Views of each sample, of which two are global; 10 in the paper.
        hidden_dim: Width of the head; the paper's 2048.
        bottleneck_dim: Width before the prototypes; the paper's 256.
    """

    card: ClassVar[Card] = Card(
        name="dino",
        title="Emerging Properties in Self-Supervised Vision Transformers",
        paper="Caron et al., ICCV 2021",
        new="self-distillation with centering and sharpening, no negatives and no predictor",
    )
    preferred_views: ClassVar[str] = "multi-crop"
    training_defaults: ClassVar[dict[str, Any]] = {"grad_clip": 3.0, "weight_decay": 0.04, "lr": 5e-4}

    def __init__(
        self,
        *,
        prototypes: PositiveInt = 1024,
        student_temperature: Positive = 0.1,
        teacher_temperature: Positive = 0.04,
        warmup_temperature: Positive = 0.04,
        temperature_warmup: Fraction = 0.3,
        center_momentum: Fraction = 0.9,
        momentum: Fraction = 0.99,
        freeze_last_layer: Fraction = 0.01,
        view_count: ViewCount = 8,
        hidden_dim: PositiveInt = 2048,
        bottleneck_dim: PositiveInt = 256,
        **common: Any,
    ) -> None:
        super().__init__(view_count=view_count, **common)
        self.prototype_count, self.momentum, self.center_momentum = prototypes, momentum, center_momentum
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.warmup_temperature, self.temperature_warmup = warmup_temperature, temperature_warmup
        self.freeze_last_layer = freeze_last_layer
        self.hidden_dim, self.bottleneck_dim = hidden_dim, bottleneck_dim

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        self.head = DINOHead(dim, self.prototype_count, hidden_dim=self.hidden_dim, bottleneck_dim=self.bottleneck_dim)
        self.teacher = Teacher(nn.Sequential(self.encoder, self.head))
        self.center = Center(self.prototype_count, momentum=self.center_momentum)

    def represent(self, batch: Batch) -> Outputs:
        views = batch["views"]
        return {
            "student": by_view(lambda view: self.head(self.encoder(view)), views),
            "teacher": by_view(self.teacher, views[:GLOBAL_VIEWS]),
        }

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        return self_distillation(
            outputs["student"],
            outputs["teacher"],
            student_temperature=self.student_temperature,
            teacher_temperature=self.temperature_at(batch["progress"]),
            center=self.center.value,
        )

    def temperature_at(self, progress: float) -> float:
        """τ_t: rises linearly over its warm-up, then stays."""
        risen = min(1.0, progress / self.temperature_warmup) if self.temperature_warmup else 1.0
        return self.warmup_temperature + risen * (self.teacher_temperature - self.warmup_temperature)

    def before_update(self, batch: Batch) -> None:
        if batch["progress"] < self.freeze_last_layer:
            self.head.prototypes.grad = None

    def after_step(self, outputs: Outputs, batch: Batch) -> None:
        self.center.update(outputs["teacher"])
        student = nn.Sequential(self.encoder, self.head)
        self.teacher.update(student, cosine_momentum(batch["progress"], self.momentum))

    def chance_level(self, batch_size: int) -> float | None:
        return math.log(self.prototype_count)
