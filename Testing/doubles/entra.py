"""An Entra ID, a managed identity, an Azure Resource Manager and a scoring endpoint look-alike: one TLS server on loopback.

It speaks as much of each as azure-identity and this project's discovery need, with tokens whose lifetime a test chooses:

    GET  /common/discovery/instance, /{tenant}/v2.0/.well-known/openid-configuration
    POST /{tenant}/oauth2/v2.0/token        client_credentials, device_code, authorization_code, refresh_token
    POST /{tenant}/oauth2/v2.0/devicecode
    GET  /{tenant}/oauth2/v2.0/authorize    brings the code, as if the person had agreed at once
    GET  /msi/token (App Service), /metadata/identity/oauth2/token (a virtual machine)
    GET, POST /subscriptions…               Resource Manager, a page at a time
    POST /score                             200 for a valid token of the scoring audience or for the key, else 401
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT_ID = "99999999-8888-7777-6666-555555555555"
PROVIDER = "Microsoft.MachineLearningServices"


def _jwt(claims: dict[str, Any]) -> str:
    def part(data: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.{secrets.token_urlsafe(32)}"


@dataclass
class Issued:
    """A token that was handed out."""

    value: str
    audience: str
    expires_at: float
    how: str


@dataclass
class EntraDouble:
    """The server and what tests set and read. Use as a context manager; `folder` receives ca.pem.

    Attributes:
        lifetime_s: of the tokens handed out from now on.
        pending_polls: how often a device code is answered "not yet" before the person has entered it.
        device_error: an OAuth error to end the device flow with, e.g. "authorization_declined".
        scoring_is_closed: every scoring request gets 401, whatever it carries.
        revoked: tokens that scoring does not take any more, though they have not expired.
        tree: Resource Manager's content: subscription id → {"name", "forbidden", "workspaces": {name: {"forbidden", "endpoints": {…}}}}.
        page_size: items a page of a Resource Manager list.
        next_host: where nextLinks point, instead of back here.
        arm_failures: statuses that Resource Manager answers with before it works.
    """

    folder: Path
    lifetime_s: int = 3600
    pending_polls: int = 1
    device_error: str = ""
    scoring_is_closed: bool = False
    scoring_is_open: bool = False
    tree: dict[str, Any] = field(default_factory=dict)
    page_size: int = 2
    next_host: str = ""
    arm_failures: list[int] = field(default_factory=list)
    issued: list[Issued] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    scored: list[int] = field(default_factory=list)
    client_secret: str = field(default_factory=lambda: "Sec~" + secrets.token_urlsafe(24))
    identity_header: str = field(default_factory=lambda: secrets.token_hex(16))
    endpoint_key: str = field(default_factory=lambda: secrets.token_hex(16))

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.device_codes: dict[str, int] = {}
        self.device_scopes: dict[str, str] = {}
        self.errors: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.refresh_tokens: set[str] = set()
        self.ca_file = self.folder / "ca.pem"

    def __enter__(self) -> EntraDouble:
        import trustme

        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        double = self
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"double": double}))
        self._server.daemon_threads = True
        # The handshake belongs into the handler's thread: a client that refuses the certificate must not stop the server.
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
        """Handlers' own faults, for the tests to see; a client that hangs up, or refuses the certificate, is none."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.errors.append(repr(error))

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    @property
    def all_secrets(self) -> set[str]:
        """Everything that must appear nowhere: tokens, codes, keys."""
        with self.lock:
            return {
                *(token.value for token in self.issued), *self.refresh_tokens, *self.device_codes, *self.codes,
                self.client_secret, self.identity_header, self.endpoint_key,
            }  # fmt: skip

    def issue(self, audience: str, how: str) -> Issued:
        now = time.time()
        claims = {"aud": audience, "iss": f"{self.url}/{TENANT}/v2.0", "exp": int(now) + self.lifetime_s, "jti": secrets.token_hex(8)}
        token = Issued(_jwt(claims), audience, now + self.lifetime_s, how)
        with self.lock:
            self.issued.append(token)
        return token

    def accepts(self, header: str, audience: str) -> bool:
        with self.lock:
            if header == f"Bearer {self.endpoint_key}" and audience != self.url:
                return True
            for token in self.issued:
                if header == f"Bearer {token.value}":
                    return token.audience == audience and time.time() < token.expires_at and token.value not in self.revoked
        return False


class _Handler(BaseHTTPRequestHandler):
    double: EntraDouble
    protocol_version = "HTTP/1.1"
    # Headers and body leave in one piece: two would wait for each other's acknowledgement on a kept connection.
    wbufsize = -1

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        double = self.double
        with double.lock:
            double.requests.append(f"GET {parts.path}")
        if parts.path == "/common/discovery/instance":
            self._answer(200, {"tenant_discovery_endpoint": f"{double.url}/{TENANT}/v2.0/.well-known/openid-configuration", "metadata": []})
        elif parts.path.endswith("/.well-known/openid-configuration"):
            self._configuration(parts.path.split("/")[1])
        elif parts.path.endswith("/authorize"):
            self._authorize(query)
        elif parts.path == "/msi/token":
            self._app_service(query)
        elif parts.path == "/metadata/identity/oauth2/token":
            self._virtual_machine(query)
        elif parts.path.startswith("/subscriptions"):
            self._resource_manager("GET", parts.path, query)
        else:
            self._answer(404, {"error": "not found"})

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        double = self.double
        with double.lock:
            double.requests.append(f"POST {path}")
        if path.endswith("/oauth2/v2.0/token"):
            self._token({name: values[0] for name, values in parse_qs(body.decode()).items()})
        elif path.endswith("/oauth2/v2.0/devicecode"):
            self._device_code({name: values[0] for name, values in parse_qs(body.decode()).items()})
        elif path == "/score":
            self._score()
        elif path.startswith("/subscriptions"):
            self._resource_manager("POST", path, {})
        else:
            self._answer(404, {"error": "not found"})

    # -- Entra ------------------------------------------------------------------------------------------------------------------

    def _configuration(self, tenant: str) -> None:
        if tenant not in (TENANT, "organizations", "common"):
            self._answer(
                400,
                {
                    "error": "invalid_tenant",
                    "error_description": f"AADSTS90002: Tenant '{tenant}' not found. Trace ID: 0 Correlation ID: 0",
                },
            )
            return
        base = f"{self.double.url}/{tenant}"
        self._answer(200, {
            "issuer": f"{self.double.url}/{TENANT}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
        })  # fmt: skip

    def _device_code(self, form: dict[str, str]) -> None:
        code = "DAQAB" + secrets.token_urlsafe(32)
        with self.double.lock:
            self.double.device_codes[code] = self.double.pending_polls
            self.double.device_scopes[code] = form["scope"]
        self._answer(200, {
            "device_code": code, "user_code": "F9K2PWXYZ", "verification_uri": "https://login.example/device", "expires_in": 900,
            "interval": 1, "message": "enter the code",
        })  # fmt: skip

    def _authorize(self, query: dict[str, str]) -> None:
        code = secrets.token_urlsafe(32)
        with self.double.lock:
            self.double.codes[code] = query
        if query.get("response_mode") != "form_post":  # azure-identity before it asked for form_post
            back = urlencode({"code": code, "state": query["state"]})
            self._send(302, b"", {"Location": f"{query['redirect_uri']}?{back}"})
            return
        # A page that the browser posts by itself to where the program listens.
        page = (
            f'<form method="POST" action="{query["redirect_uri"]}"><input type="hidden" name="code" value="{code}">'
            f'<input type="hidden" name="state" value="{query["state"]}"></form><script>document.forms[0].submit()</script>'
        )
        self._send(200, page.encode(), {"Content-Type": "text/html"})

    def _token(self, form: dict[str, str]) -> None:
        double, grant = self.double, form.get("grant_type", "")
        nonce = ""
        if grant == "client_credentials":
            if form.get("client_secret") != double.client_secret:
                self._refuse("invalid_client", f"AADSTS7000215: Invalid client secret provided: {form.get('client_secret', '')[:3]}")
                return
        elif grant.endswith("device_code"):
            with double.lock:
                left = double.device_codes[form["device_code"]]
                double.device_codes[form["device_code"]] = left - 1
            if left > 0:
                self._refuse("authorization_pending", "AADSTS70016: pending")
                return
            if double.device_error:
                self._refuse(double.device_error, "the flow ended")
                return
            form["scope"] = double.device_scopes[form["device_code"]]
        elif grant == "authorization_code":
            with double.lock:
                nonce = double.codes[form["code"]].get("nonce", "")
        elif grant != "refresh_token" or form.get("refresh_token") not in double.refresh_tokens:
            self._refuse("invalid_grant", "AADSTS700082: The refresh token has expired")
            return
        audience = next(word for word in form["scope"].split() if word.endswith("/.default")).removesuffix("/.default")
        token = double.issue(audience, grant.rsplit(":", 1)[-1])
        answer: dict[str, Any] = {"token_type": "Bearer", "expires_in": double.lifetime_s, "access_token": token.value}
        if grant != "client_credentials":
            answer |= self._person(form["client_id"], nonce, form["scope"])
        self._answer(200, answer)

    def _person(self, client_id: str, nonce: str, scope: str) -> dict[str, Any]:
        refresh_token = "0.AX" + secrets.token_urlsafe(32)
        with self.double.lock:
            self.double.refresh_tokens.add(refresh_token)
        now = int(time.time())
        claims = {
            "iss": f"{self.double.url}/{TENANT}/v2.0", "aud": client_id, "sub": "subject", "oid": "object", "tid": TENANT, "iat": now,
            "exp": now + 3600, "preferred_username": "ada@example.org", "ver": "2.0",
        }  # fmt: skip
        if nonce:
            claims["nonce"] = nonce
        client_info = base64.urlsafe_b64encode(json.dumps({"uid": "object", "utid": TENANT}).encode()).decode().rstrip("=")
        return {"refresh_token": refresh_token, "id_token": _jwt(claims), "client_info": client_info, "scope": scope}

    # -- managed identity -------------------------------------------------------------------------------------------------------

    def _app_service(self, query: dict[str, str]) -> None:
        if self.headers.get("X-IDENTITY-HEADER") != self.double.identity_header:
            self._answer(401, {"statusCode": 401, "message": "wrong header"})
            return
        token = self.double.issue(query["resource"], "managed-identity")
        self._answer(
            200,
            {"access_token": token.value, "expires_on": str(int(token.expires_at)), "resource": query["resource"], "token_type": "Bearer"},
        )

    def _virtual_machine(self, query: dict[str, str]) -> None:
        if self.headers.get("Metadata") != "true":
            self._answer(400, {"error": "invalid_request", "error_description": "Required metadata header not specified"})
            return
        token = self.double.issue(query["resource"], "managed-identity")
        self._answer(
            200,
            {"access_token": token.value, "expires_in": str(self.double.lifetime_s), "resource": query["resource"], "token_type": "Bearer"},
        )

    # -- scoring ----------------------------------------------------------------------------------------------------------------

    def _score(self) -> None:
        double = self.double
        header = self.headers.get("Authorization") or ""
        good = not double.scoring_is_closed and (double.scoring_is_open or double.accepts(header, "https://ml.azure.com"))
        with double.lock:
            double.scored.append(200 if good else 401)
        self._answer(200, [{"image_features": [[0.0]]}]) if good else self._answer(401, {"error": {"code": "Unauthorized"}})

    # -- Resource Manager -------------------------------------------------------------------------------------------------------

    def _resource_manager(self, method: str, path: str, query: dict[str, str]) -> None:
        double = self.double
        with double.lock:
            failure = double.arm_failures.pop(0) if double.arm_failures else 0
        if failure:
            self._answer(failure, {"error": {"code": "Failing"}}, {"Retry-After": "0"})
            return
        if not double.accepts(self.headers.get("Authorization") or "", double.url):
            self._answer(401, {"error": {"code": "InvalidAuthenticationToken"}})
            return
        # /subscriptions/S[/resourceGroups/rg]/providers/P/workspaces/W/onlineEndpoints/E/{deployments | listKeys | token}
        names = [part for part in path.split("/") if part not in ("", "subscriptions", "resourceGroups", "rg", "providers", PROVIDER)]
        if not names:
            items = [{"subscriptionId": key, "displayName": value["name"], "state": "Enabled"} for key, value in double.tree.items()]
            self._page(path, query, items)
            return
        subscription, *rest = names
        node = double.tree.get(subscription)
        prefix = f"/subscriptions/{subscription}/resourceGroups/rg/providers/{PROVIDER}"
        self._walk(method, path, query, node, rest, prefix)

    def _walk(self, method: str, path: str, query: dict[str, str], node: Any, rest: list[str], prefix: str) -> None:
        if node is None:
            self._answer(404, {"error": {"code": "ResourceNotFound"}})
        elif node.get("forbidden"):
            self._answer(403, {"error": {"code": "AuthorizationFailed", "message": "The client 'ada@example.org' has no authorization"}})
        elif method == "POST" and len(rest) == 1:
            self._credentials(rest[0], node)
        elif len(rest) == 1:
            items = [
                {"id": f"{prefix}/{rest[0]}/{name}", "name": name, "location": "westeurope", "properties": child.get("properties", {})}
                for name, child in node.get(rest[0], {}).items()
            ]
            self._page(path, query, items)
        else:
            kind, name, *further = rest
            self._walk(method, path, query, node.get(kind, {}).get(name), further, f"{prefix}/{kind}/{name}")

    def _credentials(self, what: str, node: dict[str, Any]) -> None:
        if node.get("keys_forbidden"):
            self._answer(403, {"error": {"code": "AuthorizationFailed"}})
        elif what == "listKeys":
            self._answer(200, {"primaryKey": self.double.endpoint_key, "secondaryKey": "unused"})
        else:
            token = self.double.issue("https://ml.azure.com", "aml-token")
            times = {"expiryTimeUtc": int(token.expires_at), "refreshAfterTimeUtc": int(token.expires_at)}
            self._answer(200, {"accessToken": token.value, "tokenType": "Bearer", **times})

    def _page(self, path: str, query: dict[str, str], items: list[dict[str, Any]]) -> None:
        start, size = int(query.get("$skiptoken", 0)), self.double.page_size
        page: dict[str, Any] = {"value": items[start : start + size]}
        if start + size < len(items):
            page["nextLink"] = f"{self.double.next_host or self.double.url}{path}?{urlencode({**query, '$skiptoken': start + size})}"
        self._answer(200, page)

    # -- answers ----------------------------------------------------------------------------------------------------------------

    def _refuse(self, error: str, description: str) -> None:
        self._answer(
            400, {"error": error, "error_description": f"{description} Trace ID: 0 Correlation ID: 0 Timestamp: 0", "error_codes": [0]}
        )

    def _answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json; charset=utf-8", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


AZURE_VARIABLES = (
    "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_USERNAME", "AZURE_PASSWORD",
    "AZURE_AUTHORITY_HOST", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_TOKEN_CREDENTIALS", "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "AZURE_REGIONAL_AUTHORITY_NAME", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT",
    "MSI_ENDPOINT", "MSI_SECRET",
)  # fmt: skip
