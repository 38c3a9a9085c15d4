"""How good the picture of one face is: brightness, sharpness, pose, and the detector's belief as a confidence.

The scales imitate Rekognition's and were set on LFW: sharpness of its photos has the median 75, and 27 after a blur
of two pixels. Signs of the pose agree with answers of Rekognition itself: a positive yaw turns the nose to the right
of the image, a positive pitch lifts it, a positive roll is clockwise.
"""

import math

import cv2
import numpy as np

from app.domain.faces import Pose
from workers.vision.alignment import CROP_SIZE
from workers.vision.arrays import Floats, Pixels

#: Detector score to confidence, from counted photos: among 158 faces no false box above a score of 0.8, four above 0.7.
_SCORES = (0.6, 0.7, 0.8, 0.9, 1.0)
_CONFIDENCES = (90.0, 97.0, 99.0, 99.9, 100.0)

#: The five landmarks of a mean head in millimetres: x to the right of the image, y down, z away from the camera.
_HEAD = np.array([[-31.5, -32.0, 30.0], [31.5, -32.0, 30.0], [0.0, 0.0, 0.0], [-25.0, 31.0, 24.0], [25.0, 31.0, 24.0]])

#: Gives the 3 x 2 linear map from the centred head to five centred image points, by least squares.
_FIT = np.linalg.pinv(_HEAD - _HEAD.mean(axis=0))

#: What the fit reads, in degrees, for people who look into the camera: the median of 418 official portraits.
_FRONTAL_PITCH = -10.0

_LEAST_VARIANCE = 25.0  # of grey values; below it a crop is flat and the sharpness would be the sensor's noise
_SHARPNESS_RANGE = (0.004, 0.3)  # normalised sharpness that reads 0 and 100


def _face_ellipse() -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """The part of an aligned crop that shows skin, not hair or background."""
    mask = np.zeros((CROP_SIZE, CROP_SIZE), np.uint8)
    cv2.ellipse(mask, (56, 66), (38, 46), 0.0, 0.0, 360.0, 1, -1)
    return np.asarray(mask, np.bool_)


_FACE = _face_ellipse()


def confidence(score: float) -> float:
    """Map a detector score in 0..1 to a confidence in 0..100."""
    return float(np.interp(score, _SCORES, _CONFIDENCES))


def luma_and_sharpness(crop: Pixels) -> tuple[float, float]:
    """Measure an aligned crop: mean grey value (0..255), and variance of the Laplacian over variance of the greys."""
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).astype(np.float32)
    inside = grey[_FACE]
    edges = np.asarray(cv2.Laplacian(grey, cv2.CV_32F))[_FACE]
    return float(inside.mean()), float(edges.var() / max(float(inside.var()), _LEAST_VARIANCE))


def brightness(luma: float) -> float:
    """Map a mean grey value to 0..100."""
    return luma / 255.0 * 100.0


def sharpness(normalised: float) -> float:
    """Map the normalised sharpness to 0..100, logarithmically."""
    low, high = _SHARPNESS_RANGE
    return 100.0 * min(max(math.log(max(normalised, low) / low) / math.log(high / low), 0.0), 1.0)


def pose(points: Floats) -> Pose:
    """Estimate the head's rotation in degrees from 5 x 2 landmarks in pixels; roll is the slope of the eye line.

    A mean head under scaled orthographic projection (the POS step of DeMenthon and Davis 1995) needs no guess about the
    lens, so that the answer does not depend on where in the picture a face is, and a closed form cannot diverge.
    """
    left_eye, right_eye = points[0], points[1]
    roll = math.atan2(float(right_eye[1] - left_eye[1]), float(right_eye[0] - left_eye[0]))
    rows = (_FIT @ (points - points.mean(axis=0))).T
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    across, down = left @ right  # the nearest pair of orthonormal vectors: the head's turn without its scale
    ahead = np.cross(across, down)
    yaw = math.atan2(ahead[0], math.hypot(across[0], down[0]))
    pitch = -math.atan2(ahead[1], ahead[2])
    return Pose(math.degrees(roll), math.degrees(yaw), math.degrees(pitch) - _FRONTAL_PITCH)
