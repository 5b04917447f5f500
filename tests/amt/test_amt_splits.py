"""Train, val and test: their sizes, and that none knows the others' scenes."""

from __future__ import annotations

from pathlib import Path

from amt.config.schema import DataConfig
from amt.data.splits import Split, open_split
from tests.amt.micro import make_config

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def data_config(**changes: object) -> DataConfig:
    return make_config(**({"train_scenes": 12, "val_scenes": 10, "test_scenes": 10} | changes)).data


def test_the_splits_have_their_sizes_and_no_scene_in_common(cache: Path) -> None:
    sets = [open_split(data_config(batch_size=4), split, cache) for split in SPLITS]

    assert [len(one) for one in sets] == [12, 10, 10]
    wrists = [{tuple(wrist) for wrist in one.joints[:, 0].tolist()} for one in sets]
    assert not wrists[0] & wrists[1]
    assert not wrists[0] & wrists[2]
    assert not wrists[1] & wrists[2]


def test_only_training_crops_have_context(cache: Path) -> None:
    config = data_config(batch_size=4, crop_context=1.5)

    borders = [open_split(config, split, cache).border_px for split in SPLITS]

    assert borders == [7, 0, 0]
