"""All scores of a data set, summed up batch by batch; on several ranks over all of them."""

from __future__ import annotations

import amt.vision  # noqa: F401 - first: torchmetrics imports torchvision

# isort: split

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import BinaryAveragePrecision, BinaryF1Score

from amt.data.dataset import Batch
from amt.losses.terms import CONTACT_M
from amt.metrics import grasped, hand
from amt.model.grasped import ObjectPose
from amt.model.network import Prediction

Goal = Literal["minimize", "maximize"]
KINDS: Mapping[str, tuple[Goal, str]] = {  # which way is better, and the unit
    "hand_mpjpe": ("minimize", "mm"),
    "hand_mpjpe_abs": ("minimize", "mm"),
    "hand_pa_mpjpe": ("minimize", "mm"),
    "hand_pck_auc": ("maximize", ""),
    "object_position": ("minimize", "mm"),
    "object_position_abs": ("minimize", "mm"),
    "object_rotation": ("minimize", "degrees"),
    "object_rotation_palm": ("minimize", "degrees"),
    "object_add_s": ("maximize", ""),
    "contact_ap": ("maximize", ""),
    "contact_f1": ("maximize", ""),
}
# What the contact's soft target is where a joint begins to touch: from there on it counts as so.
CONTACT_THRESHOLD = math.exp(-grasped.TOUCHES_M / CONTACT_M)


def describe(name: str, value: float) -> str:
    """`48.8 mm` of a score, and a plain number of anything else."""
    _, unit = KINDS.get(name, ("", ""))
    return f"{value:.1f} {unit}" if unit else f"{value:.4g}"


class Scores:
    """Scores of predictions against their labels; where a label is missing nothing counts."""

    def __init__(self, device: torch.device) -> None:
        self._means = _Means([name for name in KINDS if not name.startswith("contact")]).to(device)
        self._contact: dict[str, Metric] = {
            "contact_ap": BinaryAveragePrecision(validate_args=False).to(device),
            "contact_f1": BinaryF1Score(CONTACT_THRESHOLD, validate_args=False).to(device),
        }

    def update(self, predicted: Prediction, batch: Batch) -> None:
        """Count a batch."""
        batch = batch.filled()
        self._means.update(_hand_scores(predicted, batch), batch.hand_valid)
        if predicted.object is not None:
            found = _object_scores(predicted, predicted.object, batch)
            self._means.update(found, batch.hand_valid & batch.object_valid)
        if predicted.contact_logits is not None:
            self._count_contact(predicted.contact_logits, batch)

    def compute(self) -> dict[str, float]:
        """Each score that had labels, by name; NaN where a prediction was not finite."""
        contact = {
            name: float(metric.compute())
            for name, metric in self._contact.items()
            if metric.update_called
        }
        return self._means.compute() | contact

    def _count_contact(self, logits: Tensor, batch: Batch) -> None:
        touches = batch.clearance[batch.contact_valid] < grasped.TOUCHES_M
        if len(touches):
            likely = logits[batch.contact_valid].sigmoid().flatten()
            for metric in self._contact.values():
                metric.update(likely, touches.flatten().int())


class _Means(Metric):
    """Means of several values over what is valid; torchmetrics adds them up over ranks.

    Its own MeanMetric waits for the device at each update, or ignores the weights (1.9).
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = list(names)
        for state in ("sums", "counts"):
            self.add_state(state, torch.zeros(len(self.names)), dist_reduce_fx="sum")

    def update(self, values: Mapping[str, Tensor], valid: Tensor) -> None:
        """Count values (B,) where `valid`."""
        for name, each in values.items():
            place = self.names.index(name)
            self.sums[place] += torch.where(valid, each, 0).sum()
            self.counts[place] += valid.sum()

    def compute(self) -> dict[str, float]:
        """The mean of each that was counted."""
        counts = dict(zip(self.names, self.counts.tolist(), strict=True))
        sums = dict(zip(self.names, self.sums.tolist(), strict=True))
        return {name: sums[name] / count for name, count in counts.items() if count}


def _hand_scores(predicted: Prediction, batch: Batch) -> dict[str, Tensor]:
    relative, joints = predicted.stages[-1], batch.joints
    return {
        "hand_mpjpe": hand.mpjpe_mm(relative, joints),
        "hand_mpjpe_abs": hand.absolute_mpjpe_mm(relative + predicted.root[:, None], joints),
        "hand_pa_mpjpe": hand.pa_mpjpe_mm(relative, joints),
        "hand_pck_auc": hand.pck_auc(relative, joints),
    }


def _object_scores(predicted: Prediction, pose: ObjectPose, batch: Batch) -> dict[str, Tensor]:
    shape = (batch.object_half, batch.object_round)
    in_camera = pose.position + predicted.root
    truth = (batch.object_rotation, batch.object_position)
    from_palm = grasped.in_true_palm(pose.in_palm, batch.joints)
    return {
        "object_position": grasped.position_mm(
            pose.position, batch.object_position - batch.joints[:, 0]
        ),
        "object_position_abs": grasped.position_mm(in_camera, batch.object_position),
        "object_rotation": grasped.rotation_deg(pose.rotation, batch.object_rotation, *shape),
        "object_rotation_palm": grasped.rotation_deg(from_palm, batch.object_rotation, *shape),
        "object_add_s": grasped.add_s_right((pose.rotation, in_camera), truth, *shape),
    }
