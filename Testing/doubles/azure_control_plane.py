"""An Azure Resource Manager look-alike on loopback over TLS, as far as making online endpoints goes, and the public price list.

What it imitates because it bites: changes answer 201 or 202 and go on behind an Azure-AsyncOperation address; a deployment takes several
looks; PUT replaces tags and traffic; deleting an endpoint takes its deployments along; names are unique in the region, whoever has
them; refusals carry Azure's error object. Microsoft's own SDK (azure-ai-ml) works with it, so that it is no toy of this project.
"""

from __future__ import annotations

import json
import re
import secrets
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

SUBSCRIPTION = "11111111-aaaa-4bbb-8ccc-222222222222"
GROUP, WORKSPACE, LOCATION = "radiology-rg", "radiology", "eastus2"
BASE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/{WORKSPACE}"
SIZES = {
    "Standard_NC40ads_H100_v5": ("standardNCADSH100v5Family", 40, 8.9),
    "Standard_NC24ads_A100_v4": ("standardNCADSA100v4Family", 24, 3.67),
    "Standard_NC4as_T4_v3": ("Standard NCASv3_T4 Family", 4, 0.526),
}


@dataclass
class ControlPlane:
    """The server and what tests set and read. Use as a context manager; `folder` receives ca.pem.

    Attributes:
        folder: where the certificate authority's file is written.
        scoring_url: what endpoints give as their scoring URL.
        free: cores by size that are still free.
        looks: how often an operation answers InProgress before it ends.
        failure: {"deployment": (code, message)} makes that step fail.
        refused: action (as in a role definition) → 403.
        taken: endpoint names that somebody else has in the region.
        prices_down: the price list does not answer.
        log: what getLogs answers.
        requests: "METHOD path" of each request.
        bodies: (path, JSON) of each change.
        accepts: says whether an Authorization header opens it; None takes `token` only.
    """

    folder: Path
    scoring_url: str = "https://127.0.0.1:9/score"
    free: dict[str, int] = field(
        default_factory=lambda: {"Standard_NC40ads_H100_v5": 40, "Standard_NC24ads_A100_v4": 0, "Standard_NC4as_T4_v3": 8}
    )
    looks: int = 1
    failure: dict[str, tuple[str, str]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    prices_down: bool = False
    log: str = "starting\nValueError: the environment could not be built\n"
    key: str = field(default_factory=lambda: secrets.token_hex(16))
    token: str = field(default_factory=lambda: "arm-" + secrets.token_urlsafe(24))
    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    operations: dict[str, dict[str, Any]] = field(default_factory=dict)
    assignments: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    bodies: list[tuple[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    accepts: Callable[[str], bool] | None = None

    def __enter__(self) -> ControlPlane:
        import trustme

        self.lock = threading.RLock()
        authority = trustme.CA()
        self.ca_file = self.folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"double": self}))
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.handle_error = self._note_error  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _note_error(self, request: object, address: object) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.errors.append(repr(error))

    def opens(self, header: str) -> bool:
        return self.accepts(header) if self.accepts else header == f"Bearer {self.token}"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    @property
    def prices_url(self) -> str:
        return f"{self.url}/api/retail/prices"

    def begin(self, what: dict[str, Any], settle: str, error: tuple[str, str] | None = None) -> str:
        """An operation on a resource; its address. `settle` is the state that it ends in, "" to take it away."""
        identifier = secrets.token_hex(8)
        self.operations[identifier] = {"left": self.looks, "resource": what, "settle": settle, "error": error}
        return f"{self.url}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/locations/{LOCATION}/mfeOperationsStatus/{identifier}?api-version=2024-10-01"

    def look(self, identifier: str) -> dict[str, Any]:
        operation = self.operations[identifier]
        operation["left"] -= 1
        if operation["left"] >= 0:
            return {"id": identifier, "status": "InProgress"}
        self._settle(operation)
        error = operation["error"]
        if error:
            return {"id": identifier, "status": "Failed", "error": {"code": error[0], "message": error[1]}}
        return {"id": identifier, "status": "Succeeded"}

    def _settle(self, operation: dict[str, Any]) -> None:
        resource = operation["resource"]
        if operation["settle"] == "":
            parent = resource.get("parent")
            store = self.endpoints if parent is None else parent["deployments"]
            store.pop(resource["name"], None)
        else:
            resource["state"] = "Failed" if operation["error"] else operation["settle"]

    def finish_all(self) -> None:
        """Let everything under way end, as time would."""
        for operation in self.operations.values():
            if operation["left"] >= 0:
                operation["left"] = -1
                self._settle(operation)


class _Handler(BaseHTTPRequestHandler):
    double: ControlPlane
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._handle("GET")

    def do_PUT(self) -> None:
        self._handle("PUT")

    def do_PATCH(self) -> None:
        self._handle("PATCH")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def _handle(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        body = json.loads(raw) if raw else {}
        parts = urlsplit(self.path)
        double = self.double
        with double.lock:
            double.requests.append(f"{method} {parts.path}")
            if method != "GET":
                double.bodies.append((parts.path, body))
            if parts.path == "/api/retail/prices":
                self._prices(parse_qs(parts.query))
            elif not double.opens(self.headers.get("Authorization") or ""):
                self._refuse(401, "AuthenticationFailed", "Authentication failed.")
            elif "api-version" not in parts.query:
                self._refuse(
                    400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests."
                )
            else:
                self._route(method, parts.path, body)

    def _route(self, method: str, path: str, body: Any) -> None:
        lowered = path.lower()
        if path == "/subscriptions":
            self._answer(200, {"value": [{"subscriptionId": SUBSCRIPTION, "displayName": "Radiology", "state": "Enabled"}]})
        elif re.fullmatch(r"/subscriptions/[^/]+/providers/microsoft\.machinelearningservices/workspaces", lowered):
            self._answer(200, {"value": [self._workspace()]})
        elif lowered == BASE.lower():
            self._answer(200, self._workspace())
        elif "/mfeoperationsstatus/" in lowered:
            self._answer(200, self.double.look(path.rsplit("/", 1)[-1]))
        elif lowered.endswith(f"/locations/{LOCATION}/usages"):
            self._usages()
        elif lowered.endswith(f"/locations/{LOCATION}/vmsizes"):
            self._answer(
                200, {"value": [{"name": name, "family": family, "vCPUs": cores, "gpus": 1} for name, (family, cores, _) in SIZES.items()]}
            )
        elif "/roleassignments/" in lowered:
            self._assign(path, body)
        elif lowered.startswith(f"{BASE.lower()}/onlineendpoints"):
            self._endpoints(method, path[len(f"{BASE}/onlineEndpoints") :].strip("/").split("/"), body)
        else:
            self._refuse(404, "ResourceNotFound", f"The resource {path} was not found.")

    @staticmethod
    def _workspace() -> dict[str, Any]:
        return {
            "id": BASE, "name": WORKSPACE, "type": "Microsoft.MachineLearningServices/workspaces", "location": LOCATION, "tags": {},
            "kind": "Default", "identity": {"type": "SystemAssigned"}, "sku": {"name": "Basic", "tier": "Basic"},
            "properties": {"provisioningState": "Succeeded", "workspaceId": "w", "discoveryUrl": "https://127.0.0.1:9/discovery",
                           "friendlyName": WORKSPACE, "storageAccount": "s", "keyVault": "k", "applicationInsights": "a",
                           "publicNetworkAccess": "Enabled"},
        }  # fmt: skip

    def _usages(self) -> None:
        rows = []
        for name, (family, _cores, _price) in SIZES.items():
            free = self.double.free.get(name, 0)
            rows.append({"name": {"value": family, "localizedValue": family}, "limit": 100, "currentValue": 100 - free, "unit": "Count"})
        self._answer(200, {"value": rows})

    def _prices(self, query: dict[str, list[str]]) -> None:
        if self.double.prices_down or self.headers.get("Authorization"):
            self._answer(503, {"Error": "down"})
            return
        wanted = re.search(r"armSkuName eq '([^']+)'", query["$filter"][0])
        price = SIZES.get(wanted.group(1), ("", 0, 0.0))[2] if wanted else 0.0
        rows = [{"retailPrice": price, "productName": "Virtual Machines NC Series", "skuName": "NC", "currencyCode": "USD"},
                {"retailPrice": price / 5, "productName": "Virtual Machines NC Series", "skuName": "NC Spot", "currencyCode": "USD"},
                {"retailPrice": price * 1.5, "productName": "Virtual Machines NC Series Windows", "skuName": "NC", "currencyCode": "USD"}]  # fmt: skip
        self._answer(200, {"Items": rows if price else []})

    def _assign(self, path: str, body: Any) -> None:
        if "Microsoft.Authorization/roleAssignments/write" in self.double.refused:
            self._forbidden("Microsoft.Authorization/roleAssignments/write", path)
            return
        known = [each for each in self.double.assignments.values() if each["properties"] == body["properties"]]
        if known and path not in self.double.assignments:
            self._refuse(409, "RoleAssignmentExists", "The role assignment already exists.")
            return
        self.double.assignments[path] = body
        self._answer(201, {"id": path, **body})

    # -- endpoints ----------------------------------------------------------------------------------------------------------------

    def _endpoints(self, method: str, rest: list[str], body: Any) -> None:
        double = self.double
        if rest == [""]:
            self._answer(200, {"value": [self._shown(each) for each in double.endpoints.values()]})
            return
        endpoint = double.endpoints.get(rest[0])
        if len(rest) == 1:
            self._one(method, rest[0], endpoint, body)
        elif rest[1].lower() == "listkeys" and endpoint:
            if not self._allowed("workspaces/onlineEndpoints/listkeys/action"):
                return
            self._answer(200, {"primaryKey": double.key, "secondaryKey": double.key[::-1]})
        elif rest[1].lower() == "deployments" and endpoint:
            self._deployments(method, endpoint, rest[2:], body)
        else:
            self._refuse(404, "ResourceNotFound", f"The endpoint {rest[0]} was not found.")

    def _one(self, method: str, name: str, endpoint: dict[str, Any] | None, body: Any) -> None:
        double = self.double
        if method == "GET":
            if endpoint is None:
                self._refuse(404, "ResourceNotFound", f"The endpoint {name} was not found.")
            else:
                self._answer(200, self._shown(endpoint))
            return
        if method == "DELETE":
            if endpoint is None:
                self._answer(204, None)
            elif endpoint["state"] == "Deleting":
                self._refuse(409, "Conflict", "The endpoint is being deleted already.")
            elif self._allowed("workspaces/onlineEndpoints/delete"):
                endpoint["state"] = "Deleting"
                self._answer(202, None, double.begin(endpoint, ""))
            return
        if not self._allowed("workspaces/onlineEndpoints/write"):
            return
        if endpoint is None and name in double.taken:
            self._refuse(409, "NameNotAvailable", f"The endpoint name {name} is already taken in this region.")
            return
        created = endpoint is None
        endpoint = double.endpoints.setdefault(name, {"name": name, "deployments": {}, "made": "2026-01-05T10:00:00Z"})
        endpoint["body"], endpoint["state"] = body, "Creating" if created else "Updating"
        traffic = (body.get("properties") or {}).get("traffic") or {}
        if set(traffic) - set(endpoint["deployments"]):
            self._refuse(400, "BadArgument", "Traffic can only be set for deployments that exist.")
            return
        self._answer(201 if created else 200, self._shown(endpoint), double.begin(endpoint, "Succeeded", double.failure.get("endpoint")))

    def _deployments(self, method: str, endpoint: dict[str, Any], rest: list[str], body: Any) -> None:
        double, deployments = self.double, endpoint["deployments"]
        if not rest:
            self._answer(200, {"value": [self._shown_deployment(endpoint, each) for each in deployments.values()]})
            return
        deployment = deployments.get(rest[0])
        if len(rest) == 2 and rest[1].lower() == "getlogs":
            self._answer(200 if deployment else 404, {"content": double.log} if deployment else {})
        elif method == "GET":
            if deployment is None:
                self._refuse(404, "ResourceNotFound", f"The deployment {rest[0]} was not found.")
            else:
                self._answer(200, self._shown_deployment(endpoint, deployment))
        elif method == "DELETE":
            if deployment is None:
                self._answer(204, None)
            else:
                deployment["state"] = "Deleting"
                self._answer(202, None, double.begin(deployment, ""))
        elif self._allowed("workspaces/onlineEndpoints/deployments/write"):
            if deployment is not None and deployment["state"] == "Failed":
                self._refuse(409, "Conflict", "A deployment that failed has to be deleted first.")
                return
            deployment = deployments.setdefault(rest[0], {"name": rest[0], "parent": endpoint})
            deployment["body"], deployment["state"] = body, "Creating"
            self._answer(
                201, self._shown_deployment(endpoint, deployment), double.begin(deployment, "Succeeded", double.failure.get("deployment"))
            )

    def _shown(self, endpoint: dict[str, Any]) -> dict[str, Any]:
        body = endpoint["body"]
        properties = {
            **body.get("properties", {}), "provisioningState": endpoint["state"], "scoringUri": self.double.scoring_url,
            "swaggerUri": self.double.scoring_url.replace("/score", "/swagger.json"),
        }  # fmt: skip
        return {
            "id": f"{BASE}/onlineEndpoints/{endpoint['name']}", "name": endpoint["name"],
            "type": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints", "location": body.get("location", LOCATION),
            "tags": body.get("tags") or {}, "kind": body.get("kind", "Managed"), "identity": body.get("identity"), "properties": properties,
            "systemData": {"createdAt": endpoint["made"], "lastModifiedAt": endpoint["made"]},
        }  # fmt: skip

    def _shown_deployment(self, endpoint: dict[str, Any], deployment: dict[str, Any]) -> dict[str, Any]:
        body = deployment["body"]
        return {
            "id": f"{BASE}/onlineEndpoints/{endpoint['name']}/deployments/{deployment['name']}", "name": deployment["name"],
            "type": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments", "location": body.get("location", LOCATION),
            "tags": body.get("tags") or {}, "kind": "Managed", "sku": body.get("sku"),
            "systemData": {"createdAt": endpoint["made"], "lastModifiedAt": endpoint["made"]},
            "properties": {
                **{key: value for key, value in body.get("properties", {}).items() if value is not None},
                "scaleSettings": body.get("properties", {}).get("scaleSettings") or {"scaleType": "Default"},
                "provisioningState": deployment["state"],
            },
        }  # fmt: skip

    # -- answers -----------------------------------------------------------------------------------------------------------------

    def _allowed(self, action: str) -> bool:
        if action not in self.double.refused:
            return True
        self._forbidden(f"Microsoft.MachineLearningServices/{action}", BASE)
        return False

    def _forbidden(self, action: str, scope: str) -> None:
        message = f"The client 'ada@example.org' does not have authorization to perform action '{action}' over scope '{scope}'."
        self._refuse(403, "AuthorizationFailed", message)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._answer(status, {"error": {"code": code, "message": message}})

    def _answer(self, status: int, content: Any, operation: str = "") -> None:
        data = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if operation:
            self.send_header("Azure-AsyncOperation", operation)
        # How soon to ask again, as the SDK heeds it: without it, or with 0 seconds, it waits five.
        self.send_header("x-ms-retry-after-ms", "20")
        self.end_headers()
        self.wfile.write(data)
