"""The changes that `mutants` makes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change, and tests of which at least one must fail with it."""

    name: str
    file: str
    before: str  # stands once in the file
    after: str
    tests: tuple[str, ...]


def _at(name: str, file: str, before: str, after: str, *tests: str) -> Mutant:
    return Mutant(name, f"amt/{file}", before, after, tuple(f"tests/amt/{one}" for one in tests))


MUTANTS = (
    # settings
    _at(
        "files beat arguments",
        "config/load.py",
        "return {**before, **replaced, **later}",
        "return {**later, **replaced, **before}",
        "test_amt_config.py",
    ),
    _at(
        "no upper bounds",
        "config/kinds.py",
        "self.limits.low <= float(converted) <= self.limits.high",
        "self.limits.low <= float(converted)",
        "test_amt_config.py",
    ),
    # scenes and pictures
    _at(
        "fingers sink in",
        "data/synthetic/grasp.py",
        "SINK_M = 0.002",
        "SINK_M = 0.02",
        "test_amt_data.py",
    ),
    _at(
        "objects are not pushed clear",
        "data/synthetic/grasp.py",
        "PUSHES = 8",
        "PUSHES = 0",
        "test_amt_data.py",
    ),
    _at(
        "what is farther is seen",
        "data/synthetic/capsules.py",
        "(own < before[place])",
        "(own > before[place])",
        "test_amt_render.py",
    ),
    _at(
        "the crop is off its hand",
        "data/synthetic/render.py",
        "jitter * side - side / 2",
        "jitter * side - side / 3",
        "test_amt_render.py",
        "test_amt_data.py",
    ),
    _at(
        "context shifts the picture",
        "data/synthetic/__init__.py",
        "np.array([0, 0, border_px, border_px], np.float32)",
        "np.array([0, 0, border_px, 0], np.float32)",
        "test_amt_render.py",
    ),
    _at(
        "a cut cache is used",
        "data/cache.py",
        "if mapped.shape != (rows, *column.shape) or mapped.dtype != column.kind:",
        "if mapped.dtype != column.kind:",
        "test_amt_disk.py",
    ),
    # batches
    _at(
        "every pass has the same order",
        "data/dataset.py",
        "np.random.default_rng((seed, passed))",
        "np.random.default_rng((seed, 0))",
        "test_amt_training.py::test_every_scene_is_seen_once_per_pass_in_another_order_each_time",
    ),
    _at(
        "half the roll",
        "data/augment.py",
        "limit = math.radians(how.aug_rotation_range)",
        "limit = math.radians(how.aug_rotation_range) / 2",
        "test_amt_augment.py",
    ),
    _at(
        "the zoom's range is mirrored",
        "data/augment.py",
        "zoom=uniform(how.aug_scale_min, how.aug_scale_max)",
        "zoom=uniform(2 - how.aug_scale_max, 2 - how.aug_scale_min)",
        "test_amt_augment.py",
    ),
    _at(
        "one gain for all channels",
        "data/augment.py",
        "1 + how.aug_color_jitter, 3, 1, 1)",
        "1 + how.aug_color_jitter, 1, 1, 1)",
        "test_amt_augment.py",
    ),
    _at(
        "joints are rolled the other way",
        "data/augment.py",
        "joints=batch.joints @ rolled.mT",
        "joints=batch.joints @ rolled",
        "test_amt_augment.py",
    ),
    _at(
        "training images are not normalized",
        "training/step.py",
        "self.model(normalize(part.images), part.intrinsics, noise.part(rows))",
        "self.model(part.images, part.intrinsics, noise.part(rows))",
        "test_amt_training.py::test_training_and_validation_show_the_trunk_normalized_crops",
    ),
    _at(
        "pixels roll as if fx were fy",
        "geometry.py",
        "* focal[:, :, None] / focal[:, None, :]",
        "* focal[:, :1, None] / focal[:, :1, None]",
        "test_amt_geometry.py",
    ),
    # network
    _at(
        "patches are off by one",
        "trunk.py",
        "tokens[:, self.prefix :]",
        "tokens[:, : -self.prefix]",
        "test_amt_model.py",
    ),
    _at(
        "the position embedding is not frozen",
        "trunk.py",
        "(vit.cls_token, vit.pos_embed, vit.reg_token)",
        "(vit.cls_token, vit.reg_token)",
        "test_amt_model.py",
        "test_amt_training.py",
    ),
    _at(
        "the decoder does not know the camera",
        "model/tokens.py",
        "self.queries + self.camera(camera)[:, None]",
        "self.queries + 0 * self.camera(camera)[:, None]",
        "test_amt_model.py",
    ),
    _at(
        "features are read at relative joints",
        "model/hand.py",
        "here + root.detach()[:, None], camera",
        "here + 0 * root.detach()[:, None], camera",
        "test_amt_model.py",
    ),
    _at(
        "votes reach half as far",
        "model/hand.py",
        "votes[..., 1:3] * (2 / self.grid)",
        "votes[..., 1:3] * (1 / self.grid)",
        "test_amt_model.py",
    ),
    _at(
        "noise does not reach the refinement",
        "model/network.py",
        "else votes.joints + noise.joints",
        "else votes.joints + 0 * noise.joints",
        "test_amt_parameters.py::test_a_parameter_is_what_it_names[aug_joint_noise_std]",
    ),
    # losses and metrics
    _at(
        "knuckles are taken for fingertips",
        "anatomy.py",
        "FINGERTIPS = (4, 8, 12, 16, 20)",
        "FINGERTIPS = (1, 5, 9, 13, 17)",
        "test_amt_losses.py",
    ),
    _at(
        "only the first refinement is trained",
        "losses/total.py",
        "torch.stack(refined).mean()",
        "refined[0]",
        "test_amt_losses.py",
    ),
    _at(
        "the coarse stage is reprojected",
        "losses/total.py",
        "absolute = last + predicted.root[:, None]",
        "absolute = predicted.stages[0] + predicted.root[:, None]",
        "test_amt_losses.py",
    ),
    _at(
        "hands of another size are not forgiven",
        "metrics/hand.py",
        "roma.rigid_points_registration(source, joints, compute_scaling=True)",
        "(*roma.rigid_points_registration(source, joints), torch.ones(len(joints)))",
        "test_amt_metrics.py",
    ),
    _at(
        "the coarse stage is scored",
        "metrics/scores.py",
        "relative, joints = predicted.stages[-1], batch.joints",
        "relative, joints = predicted.stages[0], batch.joints",
        "test_amt_scores.py",
    ),
    _at(
        "missing labels are scored",
        "metrics/scores.py",
        "self.sums[place] += torch.where(valid, each, 0).sum()",
        "self.sums[place] += each.sum()",
        "test_amt_scores.py",
    ),
    _at(
        "contact begins elsewhere",
        "metrics/scores.py",
        "CONTACT_THRESHOLD = math.exp(-grasped.TOUCHES_M / CONTACT_M)",
        "CONTACT_THRESHOLD = math.exp(-2 * grasped.TOUCHES_M / CONTACT_M)",
        "test_amt_scores.py",
    ),
    _at(
        "the test split is the validation's",
        "data/splits.py",
        '"val": 2, "test": 3',
        '"val": 2, "test": 2',
        "test_amt_splits.py",
    ),
    # object, contact, latent
    _at(
        "the object is not rolled",
        "data/augment.py",
        "object_rotation=rolled @ batch.object_rotation",
        "object_rotation=batch.object_rotation",
        "test_amt_augment.py",
    ),
    _at(
        "symmetry is ignored",
        "rotations.py",
        "box = geodesic_angle(one, other @ nearest)",
        "box = geodesic_angle(one, other)",
        "test_amt_rotations.py",
    ),
    _at(
        "no way back from 180 degrees",
        "rotations.py",
        "real = torch.where(real < 0, -real, real)",
        "real = real.abs()",
        "test_amt_rotations.py",
    ),
    _at(
        "the object is turned in the camera",
        "model/grasped.py",
        "palm @ in_palm, in_palm)",
        "in_palm, in_palm)",
        "test_amt_model.py",
    ),
    _at(
        "the latent is not sampled",
        "model/tokens.py",
        "sample = mean if noise is None else mean + noise * (log_variance / 2).exp()",
        "sample = mean",
        "test_amt_model.py",
    ),
    _at(
        "kl is the mean over the latent",
        "losses/terms.py",
        "(mean.square() + log_variance.exp() - 1 - log_variance).sum(-1) / 2",
        "(mean.square() + log_variance.exp() - 1 - log_variance).mean(-1) / 2",
        "test_amt_losses.py",
    ),
    _at(
        "missing labels count",
        "losses/total.py",
        "mask.sum().clamp(min=1) for mask in masks",
        "torch.ones_like(mask).sum() for mask in masks",
        "test_amt_losses.py",
    ),
    _at(
        "contact's gap is thinned out",
        "losses/total.py",
        "_mean(gap, known, counts.grasps)",
        "_mean(gap, known, counts.pairs)",
        "test_amt_losses.py",
    ),
    _at(
        "constants are sent in each step",
        "devices.py",
        "@functools.cache",
        "@functools.lru_cache(maxsize=0)",
        "test_amt_waits.py",
    ),
    _at(
        "depth has no gradient near the camera",
        "geometry.py",
        "nearer = NEAREST_M**2 / (2 * NEAREST_M - depth.clamp(max=NEAREST_M))",
        "nearer = torch.full_like(depth, NEAREST_M)",
        "test_amt_losses.py",
    ),
    # optimization
    _at(
        "multipliers are swapped",
        "training/optim.py",
        '"trunk": config.lr_mult_pretrained,',
        '"trunk": config.lr_mult_new_encoders,',
        "test_amt_optim.py",
    ),
    _at(
        "the average lags behind at first",
        "training/optim.py",
        "((1 - self.decay) / correction * finite).float()",
        "((1 - self.decay) * finite).float()",
        "test_amt_optim.py",
    ),
    _at(
        "the gradient is not clipped",
        "training/step.py",
        "clip_grad_norm_(self.weights.vectors, limit, foreach=True)",
        "clip_grad_norm_(self.weights.vectors, 1e9, foreach=True)",
        "test_amt_optim.py",
    ),
    _at(
        "live weights are kept as the best",
        "training/loop.py",
        '"model": self.training.ema.state_dict(),',
        '"model": self.training.state_dict()["model"],',
        "test_amt_run.py",
    ),
    _at(
        "the worst is kept as the best",
        "training/loop.py",
        "return value < self.best if self.config",
        "return value > self.best if self.config",
        "test_amt_run.py",
    ),
    _at(
        "the rate does not begin anew",
        "training/schedule.py",
        "math.cos(math.pi * (cycles % 1))",
        "math.cos(math.pi * min(cycles, 1))",
        "test_amt_schedule.py",
    ),
    _at(
        "a part counts its own labels",
        "training/step.py",
        "loss_terms(predicted, part, counts, self._context)",
        "loss_terms(predicted, part, Counts.of(part), self._context)",
        "test_amt_memory.py",
    ),
    _at(
        "noise is not split with its images",
        "model/network.py",
        "return Noise(self.joints[rows], self.latent[rows])",
        "return Noise(self.joints[: len(self.joints[rows])], self.latent[rows])",
        "test_amt_memory.py",
    ),
    _at(
        "steps that are not finite are taken",
        "training/precision.py",
        "optimizer.found_inf = (~finite).float()",
        "optimizer.found_inf = (0 * finite).float()",
        "test_amt_training.py",
    ),
    _at(
        "frozen blocks count for the ratio",
        "trunk.py",
        "trained = list(typed.blocks)[freeze_layers:]",
        "trained = list(typed.blocks)",
        "test_amt_memory.py",
    ),
    # the run
    _at(
        "one stream for all chance",
        "training/streams.py",
        "place = get_args(Stream).index(stream)",
        "place = 0 * get_args(Stream).index(stream)",
        "test_amt_streams.py",
    ),
    _at(
        "a resumed run forgets its average",
        "training/optim.py",
        "value.copy_(state[name])",
        "value.add_(0 * state[name])",
        "test_amt_training.py",
    ),
)
