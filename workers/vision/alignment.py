"""Five landmarks to a 112 x 112 crop in which every face has its eyes, nose and mouth in the same places.

The places are the ArcFace template (Deng et al. 2019), which SFace and the ArcFace family were trained on. The
transform is the least-squares similarity (Umeyama 1991) without reflection; written with complex numbers, in which a
rotation with a scale is one factor, it is a division.
"""

import cv2
import numpy as np

from workers.vision.arrays import Floats, Pixels

CROP_SIZE = 112

#: (x, y) of image-left eye, image-right eye, nose, image-left and image-right mouth corner.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def similarity_transform(source: Floats, target: Floats) -> Floats:
    """Give the 2 x 3 matrix of the scale, rotation and shift that bring n x 2 source points closest to the target."""
    points, goals = _complex(source), _complex(target)
    centre, goal_centre = points.mean(), goals.mean()
    arms = points - centre
    spread = float(np.sum(np.abs(arms) ** 2))
    factor = np.sum(np.conj(arms) * (goals - goal_centre)) / spread if spread > 0 else 1.0 + 0.0j
    shift = goal_centre - factor * centre
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def align(pixels: Pixels, landmarks: Floats) -> Pixels:
    """Cut n crops (n x 112 x 112 x 3, BGR) for n x 5 x 2 landmarks in pixels; outside the picture is black."""
    crops = np.zeros((len(landmarks), CROP_SIZE, CROP_SIZE, 3), np.uint8)
    for crop, points in zip(crops, landmarks, strict=True):
        cv2.warpAffine(pixels, similarity_transform(points, TEMPLATE), (CROP_SIZE, CROP_SIZE), dst=crop)
    return crops


def _complex(points: Floats) -> np.ndarray[tuple[int], np.dtype[np.complex128]]:
    doubles = np.asarray(points, np.float64)
    return doubles[:, 0] + 1j * doubles[:, 1]
