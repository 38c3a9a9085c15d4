"""Faces in AWS's shapes. Numbers are handed over as they are; the service model gives them their wire form."""

from typing import Any

from app.domain.faces import BoundingBox, DetectedFace, Landmarks, RejectedFace

Document = dict[str, Any]

_LANDMARK_TYPES = {
    "eyeLeft": "eye_left",
    "eyeRight": "eye_right",
    "mouthLeft": "mouth_left",
    "mouthRight": "mouth_right",
    "nose": "nose",
}


def bounding_box(box: BoundingBox) -> Document:
    """Render a box."""
    return {"Width": box.width, "Height": box.height, "Left": box.left, "Top": box.top}


def face_detail(face: DetectedFace) -> Document:
    """Render the five members that every FaceDetail has."""
    return {
        "BoundingBox": bounding_box(face.box),
        "Confidence": face.confidence,
        "Landmarks": _landmarks(face.landmarks),
        "Pose": {"Roll": face.pose.roll, "Yaw": face.pose.yaw, "Pitch": face.pose.pitch},
        "Quality": {"Brightness": face.measures.brightness, "Sharpness": face.measures.sharpness},
    }


def unindexed_face(rejected: RejectedFace) -> Document:
    """Render a face that was left out, with the reasons."""
    return {"Reasons": list(rejected.reasons), "FaceDetail": face_detail(rejected.face)}


def _landmarks(landmarks: Landmarks) -> list[Document]:
    points = {name: getattr(landmarks, field) for name, field in _LANDMARK_TYPES.items()}
    return [{"Type": name, "X": x, "Y": y} for name, (x, y) in points.items()]
