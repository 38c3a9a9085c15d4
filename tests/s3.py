"""A real S3 server (SeaweedFS) in a folder that is thrown away, on free ports of 127.0.0.1."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

START_SECONDS = 60
PARTS = ("master", "volume", "filer", "s3")


class S3Server:
    """One server with one identity that may do everything; `with S3Server() as server`."""

    access_key_id = "rekollect-test"
    secret_access_key = "rekollect-test-secret"
    region = "us-east-1"

    def __enter__(self) -> "S3Server":
        self._folder = Path(tempfile.mkdtemp(prefix="rekollect-s3-"))
        self._ports = dict(zip([*PARTS, *(f"{part}.grpc" for part in PARTS)], _free_ports(2 * len(PARTS)), strict=True))
        self.endpoint_url = f"http://127.0.0.1:{self._ports['s3']}"
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, env=self._environment())
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self) -> Any:
        """Make a boto3 client that may do everything."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},
                connect_timeout=3,
                read_timeout=20,
            ),
        )

    def stop(self) -> None:
        """End the server at once: a clean stop takes it 15 s, and its files are thrown away."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        for part in PARTS:
            port = self._ports[f"{part}.grpc"]
            Path(tempfile.gettempdir(), f"seaweedfs-{part}-grpc-{port}.sock").unlink(missing_ok=True)

    def _command(self) -> list[str]:
        data = self._folder / "data"
        data.mkdir()
        identity = {
            "name": "test",
            "credentials": [{"accessKey": self.access_key_id, "secretKey": self.secret_access_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = self._folder / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        weed = Path(sysconfig.get_path("scripts"), "weed")
        ports = [f"-{part.split('.')[0]}.port{'.grpc' * ('.' in part)}={port}" for part, port in self._ports.items()]
        return [
            *(str(weed), "-logtostderr", "server", "-s3", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(*ports, "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", f"-s3.config={config}"),
            *(f"-filer.localSocket={self._folder}/filer.sock", f"-s3.localSocket={self._folder}/s3.sock"),
            *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=200"),
        ]

    def _environment(self) -> dict[str, str]:
        """Give an environment in which no AWS_* variable names another identity."""
        return {"PATH": os.environ.get("PATH", ""), "HOME": str(self._folder), "TMPDIR": str(self._folder)}

    def _wait(self) -> None:
        client = self.client()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                client.create_bucket(Bucket="first")
                client.put_object(Bucket="first", Key="first", Body=b"x")
                return
            except (BotoCoreError, ClientError):
                if time.monotonic() > deadline or self._process.poll() is not None:
                    log = (self._folder / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"the S3 server did not start: {log}") from None
                time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    """Find ports that are free together; somebody may still be quicker than the server."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
