"""Data sets as pytrees of arrays, and batches drawn from them inside the compiled step.

A set is `Images(image [N, H, W, C] float32 in [0, 1], label [N] int32)`, or any dict of arrays with one leading
axis. A batch is a flat dict: the fields of the set, plus `"index"` `[B]`, the rows that were drawn:
`draw(images, key, batch_size=64)` gives `{"image", "label", "index"}`. Everything that is random comes from a
key or a seed, so the same call gives the same data on every machine.
"""

from jaxlab.data._action_clips import Clips, action_clips, reversed_action, swing_orders
from jaxlab.data._answers import (
    PreferenceAnswers,
    most_similar_pair,
    preference_answers,
    similarity_answers,
)
from jaxlab.data._audio_visual import (
    AudioVisualScenes,
    audio_visual_scenes,
)
from jaxlab.data._augment import crop_flip
from jaxlab.data._blob_volumes import BlobVolumes, blob_volumes, volume_slices
from jaxlab.data._digits import digits
from jaxlab.data._draw import draw, take
from jaxlab.data._event_camera import camera_events, count_voxels, reverse_counts, reverse_events, voxel_grid
from jaxlab.data._event_scenes import EventScenes, class_clicks, event_scenes
from jaxlab.data._factor_images import SHAPES, TEXTURES, FactorImages, factor_images
from jaxlab.data._fashion_mnist import fashion_mnist
from jaxlab.data._few_labels import few_labels
from jaxlab.data._grid_robot import RobotPaths, robot_paths
from jaxlab.data._hierarchy import image_hierarchy, superclass
from jaxlab.data._image_files import images_from_csv, images_from_folder
from jaxlab.data._image_sets import images_from_arrays
from jaxlab.data._images import Images
from jaxlab.data._npz import images_from_npz
from jaxlab.data._other_libraries import images_from_datasets, images_from_torch
from jaxlab.data._point_clouds import (
    POINT_CLASSES,
    PointScenes,
    point_cloud_scenes,
)
from jaxlab.data._quadrants import (
    random_quadrants,
    shuffle_quadrants,
    unshuffle_indices,
    unshuffle_quadrants,
)
from jaxlab.data._ranking_queries import RankingQueries, ranking_queries
from jaxlab.data._sight import SIGHT_CATEGORIES, RaterLabels, sight_labels
from jaxlab.data._sources import ArrowRows, JoinedRows, NpyRows, PackedTexts
from jaxlab.data._split import split, split_images
from jaxlab.data._task_stream import (
    SCENARIOS,
    TaskStream,
    permuted_pixels,
    split_classes,
    task_batch,
    task_examples,
    task_steps,
    turned_images,
)
from jaxlab.data._transformed_copies import CHANNEL_ORDERS, CYCLIC_ORDERS, transformed_copies
from jaxlab.data._two_view_retrieval import TwoViews, two_view_pairs
from jaxlab.data._views import cutout, random_affine, random_views

__all__ = [
    "CHANNEL_ORDERS",
    "CYCLIC_ORDERS",
    "POINT_CLASSES",
    "SCENARIOS",
    "SHAPES",
    "SIGHT_CATEGORIES",
    "TEXTURES",
    "ArrowRows",
    "AudioVisualScenes",
    "BlobVolumes",
    "Clips",
    "EventScenes",
    "FactorImages",
    "Images",
    "JoinedRows",
    "NpyRows",
    "PackedTexts",
    "PointScenes",
    "PreferenceAnswers",
    "RankingQueries",
    "RaterLabels",
    "RobotPaths",
    "TaskStream",
    "TwoViews",
    "action_clips",
    "audio_visual_scenes",
    "blob_volumes",
    "camera_events",
    "class_clicks",
    "count_voxels",
    "crop_flip",
    "cutout",
    "digits",
    "draw",
    "event_scenes",
    "factor_images",
    "fashion_mnist",
    "few_labels",
    "image_hierarchy",
    "images_from_arrays",
    "images_from_csv",
    "images_from_datasets",
    "images_from_folder",
    "images_from_npz",
    "images_from_torch",
    "most_similar_pair",
    "permuted_pixels",
    "point_cloud_scenes",
    "preference_answers",
    "random_affine",
    "random_quadrants",
    "random_views",
    "ranking_queries",
    "reverse_counts",
    "reverse_events",
    "reversed_action",
    "robot_paths",
    "shuffle_quadrants",
    "sight_labels",
    "similarity_answers",
    "split",
    "split_classes",
    "split_images",
    "superclass",
    "swing_orders",
    "take",
    "task_batch",
    "task_examples",
    "task_steps",
    "transformed_copies",
    "turned_images",
    "two_view_pairs",
    "unshuffle_indices",
    "unshuffle_quadrants",
    "volume_slices",
    "voxel_grid",
]
