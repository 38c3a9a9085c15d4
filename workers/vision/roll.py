"""Faces that are rolled in the plane of the picture, seen again with their eyes level.

The detector still finds many faces that lie or stand on their head, but with landmarks as if they were upright; what is
embedded then is noise, and nothing but the length of the embedding tells. So there are two signs of a rolled face, its
eye line and a short embedding, and one cure: a patch around the face is turned and looked at again. What is given is
true of the picture: landmarks are where they are, and a box is as wide and high as the face lies in it.

At similarity 80 between 94 and 99 % of genuine pairs match at any angle, where 94 % do upright and 1 % did upside down;
of those that match upright 98 % or more do at each angle. Of 43,000 impostor pairs turned at random 4 match, and 2
upright. Upright portraits pay 1.9 % of their time, with what is embedded again (tests/benchmarks/test_turned_faces.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from workers.vision.arrays import Floats, Pixels
from workers.vision.detector import Detections, Detector

LEVEL_DEGREES = 6.0  # eye lines nearer to level than this are left as they are

#: A patch has few pixels so that a look costs a millisecond, and shows of a face what the detector was trained on.
_PATCH_SIDE = 192
_PATCH_FACES = 2.2  # side of the patch in boxes

#: In such a patch the detector gives a fifth of the true roll: 1.5 degrees for 8, 2.9 for 16, 4.1 for 25, all ± 1.
_GAIN = 5.0
_LARGEST_LEAN = 30.0
_SMALLEST_LEAN = 7.5  # a degree and a half of seen roll: more looks would follow noise
_MOST_LOOKS = 3

#: A face that scores so much as it is, and less on its head, stands: half of the doubtful faces of ordinary pictures do, none
#: of 1,406 that were turned did. The first look alone does not tell: some that stand on their head score 0.92 in it.
_STANDING_SCORE = 0.91
_STANDING_OR_NOT = (0, 180)
_OTHER_TURNS = (45, 90, 135, 225, 270, 315)
_FINE_TURN = 22.5
_LOOKS_OF_ONE = 8 + 3 + _MOST_LOOKS

#: Of one picture. To embed a hundred faces takes about 1.6 s; these looks take 0.5 s and lead to at most two more
#: embeddings for each of 28 faces, 0.9 s, so that no picture takes twice the time of another with as many faces.
MOST_LOOKS = 400


class Looks:
    """The looks at patches of one picture; when they are used up, the faces that are left stay as they were found."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._left = MOST_LOOKS

    def suffice(self) -> bool:
        """Tell whether enough are left for all that one more face may need."""
        return self._left >= _LOOKS_OF_ONE

    def at(self, patch: Pixels) -> Detections:
        """Find the faces of a patch."""
        self._left -= 1
        return self._detector.detect(patch, long_side=_PATCH_SIDE)


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A face in its true place, how far the patch was turned to show it, and how far it still leant there, in degrees."""

    face: Detections
    turn: float
    lean: float


def rolls(found: Detections) -> Floats:
    """Give the slopes of the eye lines in degrees, -180..180, clockwise positive."""
    x, y = (found.points[:, 1] - found.points[:, 0]).T
    return np.asarray(np.degrees(np.arctan2(y, x)))


def level(looks: Looks, pixels: Pixels, found: Detections) -> Detections:
    """Look again at each face whose eyes are not level; the others stay as they are, and the order does."""
    slopes = rolls(found)
    for index in map(int, np.flatnonzero(np.abs(slopes) > LEVEL_DEGREES)):
        if looks.suffice():
            found = found.but(index, _levelled(looks, pixels, found.at([index]), float(slopes[index])))
    return found


def turned(looks: Looks, pixels: Pixels, found: Detections) -> Detections:
    """Turn each face all around and give it as it looks most like one; leave out what looks like a face in no turn."""
    kept = found.at([])
    for index in range(len(found)):
        if not looks.suffice():
            break
        best = _swept(looks, pixels, found.at([index]))
        if best is not None:
            kept = kept.and_those(_levelled(looks, pixels, best.face, best.turn + best.lean))
    return kept


def _swept(looks: Looks, pixels: Pixels, face: Detections) -> _Seen | None:
    """Find the turn in which a face looks most like one; None if it does in no turn."""
    seen = _seen(looks, pixels, face, _STANDING_OR_NOT)
    best = _best(seen)
    if best is not None and best.turn == 0 and best.face.scores[0] >= _STANDING_SCORE:
        return best
    best = _best(seen + _seen(looks, pixels, face, _OTHER_TURNS))
    if best is None:
        return None
    around = (best.turn - _FINE_TURN, best.turn, best.turn + _FINE_TURN)
    return _best(_seen(looks, pixels, best.face, around)) or best


def _seen(looks: Looks, pixels: Pixels, face: Detections, turns: Iterable[float]) -> list[_Seen]:
    return [one for turn in turns if (one := _look(looks, pixels, face, turn)) is not None]


def _best(seen: list[_Seen]) -> _Seen | None:
    return max(seen, key=lambda one: float(one.face.scores[0]), default=None)


def _levelled(looks: Looks, pixels: Pixels, face: Detections, turn: float) -> Detections:
    """Turn the patch until the face leans no more in it."""
    for _ in range(_MOST_LOOKS):
        seen = _look(looks, pixels, face, turn)
        if seen is None:
            break
        face, turn = seen.face, turn + seen.lean
        if abs(seen.lean) <= _SMALLEST_LEAN:
            break
    return face


def _look(looks: Looks, pixels: Pixels, face: Detections, turn: float) -> _Seen | None:
    """Turn a patch around a face counter-clockwise and find the face in its middle; None if there is none."""
    scale = _PATCH_SIDE / (float(face.boxes[0, 2:].max()) * _PATCH_FACES)
    x, y = (float(value) for value in face.points[0].mean(axis=0))
    to_patch: Floats = np.asarray(cv2.getRotationMatrix2D((x, y), turn, scale), np.float64)
    to_patch[:, 2] += _PATCH_SIDE / 2 - np.array([x, y])
    patch = np.asarray(cv2.warpAffine(pixels, to_patch, (_PATCH_SIDE, _PATCH_SIDE)), np.uint8)
    found = looks.at(patch)
    distances = np.abs(found.boxes[:, :2] + found.boxes[:, 2:] / 2 - _PATCH_SIDE / 2).max(axis=1)
    if distances.min(initial=_PATCH_SIDE) > _PATCH_SIDE / _PATCH_FACES / 2:
        return None  # at most a neighbour
    seen = found.at([int(distances.argmin())])
    lean = float(np.clip(_GAIN * rolls(seen)[0], -_LARGEST_LEAN, _LARGEST_LEAN))
    return _Seen(seen.placed(np.asarray(cv2.invertAffineTransform(to_patch))), turn, lean)
