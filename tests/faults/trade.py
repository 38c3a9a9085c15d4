"""What clients ask for while faults happen: quick operations, searches by small pictures, pictures from a store to index."""

import uuid
from dataclasses import dataclass
from typing import Any

import cv2

from tests.faults.fleet import Fleet
from tests.s3 import S3Server
from tests.vision.pictures import decoded, jpeg

PEOPLE, CROWD = "people", "crowd"
_SIDE = 240


@dataclass(frozen=True)
class Trade:
    """Pictures, a face that is known, and the results of a run without faults."""

    bucket: str
    face_id: str
    probe: bytes
    expected: dict[str, Any]

    def order(self, number: int) -> tuple[str, dict[str, Any]]:
        """Give the operation and the input of a job; its number is its ExternalImageId."""
        if number % 10 == 9:
            picture = {"S3Object": {"Bucket": self.bucket, "Name": f"{number % 3}.jpg"}}
            return "IndexFaces", {"CollectionId": CROWD, "Image": picture, "ExternalImageId": f"fault-{number}"}
        if number % 10 >= 7:
            return "SearchFacesByImage", {"CollectionId": PEOPLE, "Image": {"Bytes": self.probe}}
        return "SearchFaces", {"CollectionId": PEOPLE, "FaceId": self.face_id}

    def batch(self, items: int, hook: str, collection: str = CROWD) -> dict[str, Any]:
        """Give the body of a batch that indexes so many pictures into a collection."""
        listed = [
            {
                "CustomId": str(number),
                "Input": {
                    "Image": {"S3Object": {"Bucket": self.bucket, "Name": f"{number % 3}.jpg"}},
                    "ExternalImageId": f"fault-{collection}-{number}",
                },
            }
            for number in range(items)
        ]
        defaults = {"CollectionId": collection}
        return {"Operation": "IndexFaces", "Defaults": defaults, "Items": listed, "Webhook": {"Url": hook}}


def open_trade(fleet: Fleet, s3: S3Server, portraits: dict[str, bytes]) -> Trade:
    """Fill the store and the collections, and see what each operation gives while nothing is wrong."""
    store = s3.client()
    bucket = f"faults-{uuid.uuid4().hex}"
    store.create_bucket(Bucket=bucket)
    for number, name in enumerate(("biden", "obama", "obama3")):
        store.put_object(Bucket=bucket, Key=f"{number}.jpg", Body=_small(portraits[name]))
    rekognition = fleet.rekognition()
    for collection in (PEOPLE, CROWD):
        rekognition.create_collection(CollectionId=collection)
    for name in ("obama", "obama3"):
        indexed = rekognition.index_faces(CollectionId=PEOPLE, Image={"Bytes": _small(portraits[name])})
    trade = Trade(bucket, indexed["FaceRecords"][0]["Face"]["FaceId"], _small(portraits["obama2"]), {})
    for number in (0, 7):
        operation, input_ = trade.order(number)
        job = fleet.finished(fleet.submit(operation, input_).json["JobId"])
        assert job["Result"]["FaceMatches"], job
        trade.expected[operation] = job["Result"]
    fleet.query("DELETE FROM jobs")
    return trade


def _small(picture: bytes) -> bytes:
    pixels = decoded(picture)
    factor = _SIDE / max(pixels.shape)
    return jpeg(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
