"""Azure Resource Manager's REST API, as far as finding and making endpoints needs it: lists page by page, the key and the token of an endpoint.

    GET  /subscriptions                                                                             api-version 2022-12-01
    GET  /subscriptions/{id}/providers/Microsoft.MachineLearningServices/workspaces                  api-version 2024-04-01
    GET  {workspace id}/onlineEndpoints                                                              api-version 2024-04-01
    GET  {workspace id}/onlineEndpoints/{name}/deployments                                           api-version 2024-04-01
    POST {endpoint id}/listKeys   -> {"primaryKey", "secondaryKey"}                                  api-version 2024-04-01
    POST {endpoint id}/token      -> {"accessToken", "tokenType", "expiryTimeUtc", "refreshAfterTimeUtc"} (seconds since the epoch)

Lists are `{"value": [...], "nextLink": "https://…"}`. Sources: github.com/Azure/azure-rest-api-specs,
specification/machinelearningservices/resource-manager (mfe.json, workspaceRP.json and their examples), and
learn.microsoft.com/rest/api/resources/subscriptions/list.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from ..errors import EndpointError, UsageError
from ..profiles.profiles import DEFAULT_ARM_URL
from ..progress import Cancellation
from ..remedies import GIVE_AUTHORITY, NAME_TENANT, Sentence
from ..signin.auth import AuthProvider, Token, origin
from ..signin.entra import make_session

logger = logging.getLogger(__name__)

SUBSCRIPTIONS_VERSION = "2022-12-01"
MACHINE_LEARNING_VERSION = "2024-04-01"
_PROVIDER = "Microsoft.MachineLearningServices"
_TRIES = 3
_LONGEST_PAUSE_S = 30.0
_MOST_PAGES = 500
_TIMEOUTS_S = (10.0, 60.0)  # connect, read


class ControlPlaneError(EndpointError):
    """Azure Resource Manager could not be reached, or refused.

    Attributes:
        permission: the action that a 403 was about, "" otherwise.
    """

    def __init__(self, template: str = "", /, *, status: int = 0, code: str = "", permission: str = "", **params: Any):
        super().__init__(template, status=status, code=code or (str(status) if status else "control-plane"), **params)
        self.permission = permission


@dataclass(slots=True, frozen=True)
class Written:
    """What Azure answered to a change.

    Attributes:
        status: 200, 201, 202 or 204.
        content: the resource as it is now, {} where Azure sends none.
        operation: where to ask how it goes on, "" where all is done.
    """

    status: int
    content: dict[str, Any]
    operation: str


def checked_subscription(subscription_id: str) -> str:
    """The id, if it is safe to put into a URL. Raises UsageError for anything else, such as a subscription's name."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", subscription_id):
        raise UsageError('"{subscription_id}" is not a subscription id: give the id, not the name.', subscription_id=subscription_id)
    return subscription_id


def arm_scope(arm_url: str = DEFAULT_ARM_URL) -> str:
    """The Entra scope of a Resource Manager. It follows from the URL, so that a token for Azure is useless at any other host."""
    return f"{arm_url.rstrip('/')}/.default"


class ResourceManager:
    """Reads from Azure Resource Manager on behalf of whoever is signed in.

    Args:
        auth: signs the requests, with tokens for `arm_scope(base_url)`.
        base_url: another one for the sovereign clouds, e.g. https://management.usgovcloudapi.net.
        ca_bundle: PEM file of extra certificate authorities.
        proxy: proxy URL, "" for the environment's.
        cancellation: looked at between requests and during pauses.
    """

    def __init__(
        self,
        auth: AuthProvider,
        base_url: str = DEFAULT_ARM_URL,
        *,
        ca_bundle: str = "",
        proxy: str = "",
        cancellation: Cancellation | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme != "https" or not parts.hostname or parts.username is not None:
            raise UsageError("The URL of Azure Resource Manager has to begin with https:// and a host name.")
        self._auth = auth
        self._base = base_url.rstrip("/")
        self._session = make_session(ca_bundle, proxy)
        self._cancellation = cancellation or Cancellation()

    def subscriptions(self) -> Iterator[dict[str, Any]]:
        """The subscriptions that the person can see: objects with subscriptionId, displayName, state."""
        return self._list("/subscriptions", SUBSCRIPTIONS_VERSION, "subscriptions", "")

    def workspaces(self, subscription_id: str) -> Iterator[dict[str, Any]]:
        """The Azure ML workspaces of a subscription (hubs and projects too): objects with id, name, location."""
        path = f"/subscriptions/{checked_subscription(subscription_id)}/providers/{_PROVIDER}/workspaces"
        return self._list(
            path,
            MACHINE_LEARNING_VERSION,
            Sentence("the workspaces of subscription {subscription_id}", subscription_id=subscription_id),
            "workspaces/read",
        )

    def endpoints(self, workspace_id: str) -> Iterator[dict[str, Any]]:
        """The online endpoints of a workspace: objects with id, name, properties {scoringUri, authMode, traffic, provisioningState}."""
        path = f"{_checked_id(workspace_id)}/onlineEndpoints"
        what = Sentence("the endpoints of workspace {workspace_id}", workspace_id=_last(workspace_id))
        return self._list(path, MACHINE_LEARNING_VERSION, what, "workspaces/onlineEndpoints/read")

    def deployments(self, endpoint_id: str) -> Iterator[dict[str, Any]]:
        """The deployments of an endpoint: objects with name, properties {model, provisioningState, requestSettings}."""
        path = f"{_checked_id(endpoint_id)}/deployments"
        what = Sentence("the deployments of endpoint {endpoint_id}", endpoint_id=_last(endpoint_id))
        return self._list(path, MACHINE_LEARNING_VERSION, what, "workspaces/onlineEndpoints/deployments/read")

    def endpoint_key(self, endpoint_id: str) -> str:
        """The primary key of an endpoint with key sign-in. Raises ControlPlaneError, status 403 where the person may not read it."""
        url = f"{self._base}{_checked_id(endpoint_id)}/listKeys?api-version={MACHINE_LEARNING_VERSION}"
        what = Sentence("the key of endpoint {endpoint_id}", endpoint_id=_last(endpoint_id))
        reply = self._call("POST", url, what, "workspaces/onlineEndpoints/listkeys/action")
        return _text(reply, "primaryKey", what)

    def endpoint_token(self, endpoint_id: str) -> Token:
        """A token for an endpoint with Azure ML token sign-in. Raises ControlPlaneError, status 403 where the person may not."""
        url = f"{self._base}{_checked_id(endpoint_id)}/token?api-version={MACHINE_LEARNING_VERSION}"
        what = Sentence("a token for endpoint {endpoint_id}", endpoint_id=_last(endpoint_id))
        reply = self._call("POST", url, what, "workspaces/onlineEndpoints/token/action")
        value = _text(reply, "accessToken", what)
        # The earlier of the two times counts: after refreshAfterTimeUtc a new one is to be had, after expiryTimeUtc the old one is refused.
        times = [
            float(reply[name])
            for name in ("refreshAfterTimeUtc", "expiryTimeUtc")
            if isinstance(reply.get(name), (int, float)) and reply[name]
        ]
        return Token(value, min(times)) if times else Token(value)

    def read(self, path: str, what: str, permission: str = "", *, version: str = MACHINE_LEARNING_VERSION) -> dict[str, Any]:
        """One resource.

        Args:
            path: resource id, or a path below a subscription.
            what: what it is, for a sentence.
            permission: the action that reading it takes, without the provider's name.
            version: api-version.

        Raises:
            ControlPlaneError: as everywhere; status 404 where it does not exist.
        """
        return self._call("GET", self._address(path, version), what, permission)

    def items(self, path: str, what: str, permission: str = "", *, version: str = MACHINE_LEARNING_VERSION) -> Iterator[dict[str, Any]]:
        """The items of a list, page by page; arguments as for `read`."""
        return self._list(_checked_id(path), version, what, permission)

    def write(
        self,
        method: str,
        path: str,
        what: str,
        permission: str,
        body: dict[str, Any] | None = None,
        *,
        version: str = MACHINE_LEARNING_VERSION,
    ) -> Written:
        """Make, change or delete a resource, or call one of its actions.

        Args:
            method: "PUT", "POST" or "DELETE".
            path: resource id, with the action's name behind it for "POST".
            what: what it is, for a sentence.
            permission: the action that it takes, with its provider where that is not Machine Learning.
            body: content, None for none.
            version: api-version.

        Returns:
            what Azure answered; its `operation` is the address to ask for how it goes on, "" where all is done.

        Raises:
            ControlPlaneError: with `code` as Azure calls the fault, such as "RoleAssignmentExists", where it says so.
        """
        reply = self._exchange(method, self._address(path, version), what, body)
        content = _content(reply)
        if reply.status_code not in (200, 201, 202, 204):
            raise _refused_change(reply.status_code, self._host, what, permission, content)
        operation = reply.headers.get("Azure-AsyncOperation", "") or (reply.headers.get("Location", "") if reply.status_code == 202 else "")
        return Written(reply.status_code, content, self._next_page(self._base, operation, what) if operation else "")

    def operation(self, address: str, what: str) -> tuple[str, dict[str, Any]]:
        """How a change goes on.

        Args:
            address: `Written.operation`.
            what: what is being made or deleted, for a sentence.

        Returns:
            (state, error): "InProgress", "Succeeded", "Failed" or "Canceled", and Azure's error {"code", "message"} or {}.
        """
        reply = self._exchange("GET", address, what, None)
        content = _content(reply)
        if reply.status_code == 202:
            return "InProgress", {}
        if reply.status_code not in (200, 204):
            raise _refused_change(reply.status_code, self._host, what, "", content)
        error = content.get("error")
        return str(content.get("status") or "Succeeded"), error if isinstance(error, dict) else {}

    def _address(self, path: str, version: str) -> str:
        return f"{self._base}{_checked_id(path)}?api-version={version}"

    # -- requests ---------------------------------------------------------------------------------------------------------------

    def _list(self, path: str, version: str, what: str, permission: str) -> Iterator[dict[str, Any]]:
        url = f"{self._base}{path}?api-version={version}"
        seen: set[str] = set()
        while url:
            if url in seen or len(seen) >= _MOST_PAGES:
                logger.warning("A list of Azure Resource Manager goes in circles; what was read so far is used.")
                return
            seen.add(url)
            page = self._call("GET", url, what, permission)
            for item in page.get("value") or []:
                if isinstance(item, dict):
                    yield item
            url = self._next_page(url, page.get("nextLink"), what)

    def _next_page(self, url: str, link: Any, what: str) -> str:
        """The next page's URL: only at the same host, because the person's token goes there."""
        if not link or not isinstance(link, str):
            return ""
        following = urljoin(url, link)
        if origin(following) != origin(self._base):
            raise ControlPlaneError(
                "Azure Resource Manager's list of {what} continues at another host, which is not followed: check the "
                "network and the proxy.",
                what=what,
            )
        return following

    def _exchange(self, method: str, url: str, what: str, body: dict[str, Any] | None) -> Any:
        """One request, sent again where that can help. A change is repeated only where Azure says that it did not begin it."""
        refreshed = False
        for attempt in range(1, _TRIES + 1):
            self._cancellation.check()
            reply = self._send(method, url, body)
            if reply.status_code == 401 and not refreshed and self._auth.refresh():
                refreshed = True
                continue
            again = (429, 503) if method == "POST" and body is not None else (429, 500, 502, 503, 504)
            if reply.status_code in again and attempt < _TRIES:
                self._cancellation.wait(_pause(reply.headers.get("Retry-After", ""), attempt))
                continue
            break
        return reply

    def _call(self, method: str, url: str, what: str, permission: str) -> dict[str, Any]:
        reply = self._exchange(method, url, what, None)
        if reply.status_code != 200:
            raise _refusal(reply.status_code, self._host, what, permission)
        try:
            content = reply.json()
        except ValueError as error:
            raise ControlPlaneError(
                "{host} answered with something that is not JSON: check whether a proxy is in the way.", host=self._host
            ) from error
        return content if isinstance(content, dict) else {}

    @property
    def _host(self) -> str:
        return urlsplit(self._base).hostname or ""

    def _send(self, method: str, url: str, body: dict[str, Any] | None = None) -> Any:
        import requests

        header = self._auth.header()

        def sign(request: Any) -> Any:
            request.headers["Authorization"] = header
            return request

        try:
            # An object as `auth`, not a plain header, which ~/.netrc would overrule; no redirects, for they would take the token along.
            return self._session.request(method, url, auth=sign, json=body, timeout=_TIMEOUTS_S, allow_redirects=False)
        except requests.exceptions.SSLError as error:
            raise ControlPlaneError(
                "The certificate of {host} is not trusted: where a proxy of your organization replaces certificates, {give_authority}.",
                host=self._host,
                give_authority=GIVE_AUTHORITY,
                code="tls",
            ) from error
        except requests.exceptions.ProxyError as error:
            raise ControlPlaneError(
                "The proxy did not let a request to {host} through: check its address and sign-in.", host=self._host, code="proxy"
            ) from error
        except requests.exceptions.RequestException as error:
            raise ControlPlaneError(
                "{host} cannot be reached: check the network and the proxy, then try again.", host=self._host, code="unreachable"
            ) from error


_REFUSALS = {
    401: "{host} does not accept the sign-in for {what}: sign in again, and {name_tenant} where you have several organizations.",
    403: "You may not read {what}{asked}: ask the owner of the subscription or the workspace.",
    404: "{host} does not know {what}: it may have been deleted meanwhile.",
    429: "{host} was asked too often while reading {what}: wait a minute, then try again.",
}
_ELSEWHERE = "{host} sent the request for {what} elsewhere, which is not followed: check whether a proxy asks for a sign-in."
_FAILED = "{host} failed with status {status} while reading {what}: try again later."


def _refusal(status: int, host: str, what: str, permission: str) -> ControlPlaneError:
    action = f"{_PROVIDER}/{permission}" if permission else ""
    asked = Sentence(" (it takes the permission {action})", action=action) if action else ""
    template = _REFUSALS.get(status, _ELSEWHERE if 300 <= status < 400 else _FAILED)
    sentence = Sentence(template, host=host, what=what, asked=asked, status=status, name_tenant=NAME_TENANT)
    return ControlPlaneError(sentence, status=status, permission=action if status == 403 else "")


def _refused_change(status: int, host: str, what: str, permission: str, content: dict[str, Any]) -> ControlPlaneError:
    """Why a change was refused, with Azure's own code and, where it explains something, its own words."""
    error = content.get("error")
    error = error if isinstance(error, dict) else {}
    code, words = str(error.get("code") or "")[:64], _words(error.get("message"))
    action = permission if "/" in permission and permission.startswith("Microsoft.") else f"{_PROVIDER}/{permission}" if permission else ""
    if status == 403:
        asked = Sentence(" (it takes the permission {action})", action=action) if action else ""
        return ControlPlaneError("You may not change {what}{asked}.", what=what, asked=asked, status=403, code=code, permission=action)
    if status in (401, 404, 429) or status >= 500:
        return _refusal(status, host, what, permission)
    return ControlPlaneError(
        Sentence(
            "Azure did not accept the request for {what} (status {status}): {words}",
            what=what,
            status=status,
            words=words or Sentence("it gave no reason"),
        ),
        status=status,
        code=code,
    )


def _words(message: Any) -> str:
    """Azure's own sentence, on one line and of a bounded length."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(message or "")[:2000]).split())
    return text if len(text) <= 300 else text[:299] + "…"


def _content(reply: Any) -> dict[str, Any]:
    try:
        content = reply.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _pause(retry_after: str, attempt: int) -> float:
    """Seconds to wait: as the server says, within reason, else 1, 2, 4 …"""
    asked = float(retry_after) if re.fullmatch(r"\d{1,6}", retry_after.strip()) else 2.0 ** (attempt - 1)
    return min(asked, _LONGEST_PAUSE_S)


def _checked_id(resource_id: str) -> str:
    """An Azure resource id that is safe to put into a URL: it begins like one and cannot leave the path or the host."""
    if not re.fullmatch(r"(/[\w.()-]+)+", resource_id) or "/.." in resource_id or not resource_id.lower().startswith("/subscriptions/"):
        raise UsageError(
            "The Azure resource id has to look like /subscriptions/…/onlineEndpoints/NAME: make the profile again with discover."
        )
    return resource_id


def error_words(error: dict[str, Any]) -> tuple[str, str]:
    """(code, words) of an error as Azure sends it in an operation: {"code", "message"}."""
    return str(error.get("code") or "")[:64], _words(error.get("message"))


def _last(resource_id: str) -> str:
    return resource_id.rsplit("/", 1)[-1]


def _text(reply: dict[str, Any], name: str, what: str) -> str:
    value = reply.get(name)
    if not isinstance(value, str) or not value:
        raise ControlPlaneError(
            "Azure Resource Manager sent no {name} when asked for {what}: check the endpoint's sign-in mode.", name=name, what=what
        )
    return value
