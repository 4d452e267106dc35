"""A batch endpoint beside the look-alike of Azure Resource Manager: datastore, blobs, jobs. The job is done by an endpoint double.

What it imitates because it bites: predictions come in another order than the rows, without a header, `text_features` as Python writes a
list; a row that failed is missing; the job takes several looks; the storage account wants its signature, and nothing else.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from doubles.azure_control_plane import BASE, ControlPlane, _Handler

CONTAINER, SAS = "azureml-blobstore", "sv=2024-11-04&sig=c2VjcmV0"
_PATH = re.compile(r"azureml://subscriptions/[^/]+/resourcegroups/[^/]+/workspaces/[^/]+/datastores/workspaceblobstore/paths/(.+)", re.I)


@dataclass
class BatchPlane(ControlPlane):
    """Attributes (beside ControlPlane's):
    model: answers a request's body as an online endpoint does.
    blobs: content by name in the container.
    jobs: by name.
    failing: (file, row) of rows that the model fails on.
    job_looks: how often a job is still running when it is looked at.
    job_end: the state that jobs end in.
    """

    model: Any = None
    blobs: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    failing: set[tuple[str, int]] = field(default_factory=set)
    job_looks: int = 1
    job_end: str = "Completed"

    def __enter__(self) -> BatchPlane:
        super().__enter__()
        self._server.RequestHandlerClass = type("BatchHandler", (_BatchHandler,), {"double": self})
        return self

    def run(self, body: dict[str, Any]) -> str:
        """Start a job; its name."""
        name = f"batchjob-{len(self.jobs) + 1}"
        (given,) = body["properties"]["inputData"].values()
        wanted = body["properties"].get("outputData", {}).get("score", {"uri": given["uri"] + "/predictions.csv"})
        source, target = (_PATH.fullmatch(each["uri"])[1] for each in (given, wanted))
        self.jobs[name] = {"left": self.job_looks, "source": source, "target": target}
        return name

    def look_at_job(self, name: str) -> str:
        job = self.jobs[name]
        job["left"] -= 1
        if job["left"] >= 0:
            return "Running"
        if self.job_end == "Completed" and job["target"] not in self.blobs:
            self.blobs[job["target"]] = self._predict(job["source"])
        return self.job_end

    def _predict(self, folder: str) -> bytes:
        lines = []
        for name, content in sorted(self.blobs.items()):
            if name.startswith(f"{folder}/"):
                file = name.rpartition("/")[2]
                csv.field_size_limit(2**29)
                for row in csv.DictReader(io.StringIO(content.decode())):
                    if (file, int(row[""])) not in self.failing:
                        lines.append([row[""], *self._answer(row["image"], row["text"]), file])
        text = io.StringIO()
        csv.writer(text).writerows(reversed(lines))
        return text.getvalue().encode()

    def _answer(self, image: str, text: str) -> list[str]:
        body = json.dumps({"input_data": {"columns": ["image", "text"], "index": [0], "data": [[image, text]]}}).encode()
        (row,) = json.loads(self.model(body))
        return [cell if isinstance(cell, str) else repr(cell) for cell in row.values()]


class _BatchHandler(_Handler):
    double: BatchPlane

    def do_PUT(self) -> None:
        if self.path.startswith(f"/storage/{CONTAINER}/"):
            self._blob("PUT")
        else:
            super().do_PUT()

    def do_GET(self) -> None:
        if self.path.startswith(f"/storage/{CONTAINER}/"):
            self._blob("GET")
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        self._blob("HEAD")

    def _route(self, method: str, path: str, body: Any) -> None:
        rest = path[len(BASE) :].strip("/").split("/") if path.startswith(BASE) else [""]
        if rest[0] == "batchEndpoints":
            shown = {
                "id": path,
                "name": rest[1],
                "properties": {"scoringUri": f"{self.double.url}/jobs?api-version=1", "authMode": "AADToken"},
            }
            self._answer(200, shown)
        elif rest == ["datastores"]:
            properties = {"datastoreType": "AzureBlob", "isDefault": True, "accountName": "acct", "containerName": CONTAINER,
                          "endpoint": "core.windows.net", "protocol": "https", "credentials": {"credentialsType": "Sas"}}  # fmt: skip
            self._answer(200, {"value": [{"name": "workspaceblobstore", "properties": properties}]})
        elif rest[:1] == ["datastores"] and rest[-1] == "listSecrets":
            self._answer(200, {"secretsType": "Sas", "sasToken": SAS})
        elif rest[0] == "jobs" and rest[1] in self.double.jobs:
            self._answer(200, {"name": rest[1], "properties": {"status": self.double.look_at_job(rest[1])}})
        elif path == "/jobs" and method == "POST":
            name = self.double.run(body)
            self._answer(201, {"id": f"{BASE}/jobs/{name}", "name": name, "properties": {"status": "NotStarted"}})
        else:
            super()._route(method, path, body)

    def _blob(self, method: str) -> None:
        parts = urlsplit(self.path)
        name = parts.path.removeprefix(f"/storage/{CONTAINER}/")
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        double = self.double
        with double.lock:
            double.requests.append(f"{method} blob {name}")
            if parse_qs(parts.query).get("sig") != parse_qs(SAS)["sig"] or self.headers.get("Authorization"):
                self._plain(403, b"")
            elif method == "PUT":
                double.blobs[name] = content
                self._plain(201, b"")
            elif name not in double.blobs:
                self._plain(404, b"")
            else:
                self._plain(200, double.blobs[name] if method == "GET" else b"", len(double.blobs[name]))

    def _plain(self, status: int, content: bytes, size: int = 0) -> None:
        first, last = 0, size
        asked = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("x-ms-range") or self.headers.get("Range") or "")
        if asked and size:
            first, last = int(asked[1]), min(int(asked[2]) + 1, size)
            content, status = content[first:last], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Mon, 05 Jan 2026 10:00:00 GMT")
        self.send_header("x-ms-blob-type", "BlockBlob")
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last - 1}/{size}")
        self.end_headers()
        self.wfile.write(content)
