"""Finding the endpoints that run the three models: subscriptions, workspaces, endpoints, deployments; and a profile of one in a step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError
from ..models import recognize_model
from ..profiles.profiles import DEFAULT_ARM_URL, DEFAULT_SCOPE, Profile
from ..progress import Cancellation, Progress, no_progress
from ..remedies import ANOTHER_TENANT, Sentence
from ..signin.entra import EntraOptions
from .resource_manager import ControlPlaneError, ResourceManager, checked_subscription

# Source: AuthMode in github.com/Azure/azure-rest-api-specs (mfe.json): AMLToken, Key, AADToken.
_SIGN_IN_OF_MODE = {"key": "key", "amltoken": "aml-token", "aadtoken": "entra"}

# Azure's default where the deployer sets no timeout is 5 s; the models' own templates set 90 s. Source: how-to-manage-quotas of Azure ML.
_SHORT_TIMEOUT_S = 60.0


@dataclass(slots=True, frozen=True)
class Cloud:
    """One of Azure's clouds: where to sign in, where Resource Manager is, and the scope of scoring tokens.

    Source: the endpoint document of this project (ml.azure.us and ml.azure.cn) and Azure's list of national clouds. `usgov` and `china`
    have not been tried: nobody has shown these three models there.
    """

    authority: str
    arm_url: str
    scope: str


CLOUDS = {
    "public": Cloud("", DEFAULT_ARM_URL, DEFAULT_SCOPE),
    "usgov": Cloud("login.microsoftonline.us", "https://management.usgovcloudapi.net", "https://ml.azure.us/.default"),
    "china": Cloud("login.partner.microsoftonline.cn", "https://management.chinacloudapi.cn", "https://ml.azure.cn/.default"),
}


@dataclass(slots=True)
class FoundDeployment:
    """One deployment of an endpoint.

    Attributes:
        name: the deployment's name.
        model: "medimageparse", "medimageparse3d", "medimageinsight", or "" for unknown: only a probe tells.
        model_id: what Azure says is deployed, e.g. azureml://registries/azureml/models/MedImageParse/versions/17; "" if it does not say.
        state: e.g. "Succeeded".
        traffic: percent of the endpoint's requests that go here by themselves.
        timeout_s: seconds after which Azure gives up on a request; 0 if it does not say.
    """

    name: str
    model: str
    model_id: str
    state: str
    traffic: int
    timeout_s: float = 0.0


@dataclass(slots=True)
class FoundEndpoint:
    """One online endpoint.

    Attributes:
        name, workspace, subscription, location: where it is, in words.
        resource_id: its Azure resource id.
        url: its scoring URL, "" while it is being made.
        sign_in: "key", "aml-token", "entra", or "" where Azure names another mode.
        state: e.g. "Succeeded".
        deployments: what runs there; empty also where the person may not see it.
    """

    name: str
    workspace: str
    subscription: str
    location: str
    resource_id: str
    url: str
    sign_in: str
    state: str
    deployments: list[FoundDeployment] = field(default_factory=list)


@dataclass(slots=True)
class Discovery:
    """What was found, and sentences about what could not be looked at."""

    endpoints: list[FoundEndpoint] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class MadeProfile:
    """A profile of a found endpoint.

    Attributes:
        profile: ready to be kept in a ProfileStore.
        key: the endpoint's key where the person may read it, else ""; for memory or a keyring only, and never shown.
        notes: sentences about what is missing.
    """

    profile: Profile
    key: str = field(default="", repr=False)
    notes: list[str] = field(default_factory=list)


def discover(
    manager: ResourceManager,
    *,
    subscription: str = "",
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
) -> Discovery:
    """Walk through everything that the person can see.

    Args:
        manager: reads from Azure Resource Manager.
        subscription: look into this subscription id only.
        progress: told "looking for endpoints", workspaces done, workspaces known so far.
        cancellation: looked at between workspaces.

    Raises:
        ControlPlaneError: the sign-in is not accepted, there is no subscription, Azure cannot be reached, or nothing at all may be read.
        SignInError: nobody is signed in.
        UsageError: `subscription` is not an id.
        Cancelled: the person stopped it.

    A subscription, workspace or endpoint that may not be read becomes a warning; the others are still looked at.
    """
    cancellation = cancellation or Cancellation()
    found = Discovery()
    if subscription:
        names = {checked_subscription(subscription): subscription}
    else:
        names = {
            str(item["subscriptionId"]): str(item.get("displayName") or "")
            for item in manager.subscriptions()
            if item.get("subscriptionId")
        }
    if not names:
        raise ControlPlaneError(
            "You are signed in, but you can see no Azure subscription: ask its owner for the role Reader, or {another_tenant}.",
            another_tenant=ANOTHER_TENANT,
            code="no-subscriptions",
        )
    workspaces: list[tuple[str, dict[str, Any]]] = []
    refused: list[ControlPlaneError] = []
    for identifier, name in names.items():
        for workspace in _unless_refused(manager.workspaces, identifier, found.warnings, refused):
            workspaces.append((name or identifier, workspace))
    if len(refused) == len(names):
        raise refused[0]
    for done, (name, workspace) in enumerate(workspaces):
        cancellation.check()
        progress("looking for endpoints", done, len(workspaces))
        _look_into(manager, name, workspace, found)
    progress("looking for endpoints", len(workspaces), len(workspaces))
    return found


def make_profile(
    manager: ResourceManager,
    endpoint: FoundEndpoint,
    deployment: FoundDeployment | None = None,
    *,
    name: str = "",
    options: EntraOptions | None = None,
    scope: str = DEFAULT_SCOPE,
    arm_url: str = DEFAULT_ARM_URL,
) -> MadeProfile:
    """A profile of a found endpoint, with its key if the person may read it.

    Args:
        manager: reads the key.
        endpoint: which endpoint.
        deployment: which of its deployments; None takes the only one, or the one that gets the traffic.
        name: what to call the profile; the endpoint's name if empty.
        options: how the person signed in, which the profile uses again for Entra sign-in and for renewing tokens.
        scope: of scoring tokens.
        arm_url: of the Resource Manager where it was found.

    Raises:
        UsageError: the endpoint has no scoring URL yet, or several deployments that are all equally likely.
        ControlPlaneError: Azure failed, other than by refusing the key (that becomes a note).
    """
    if not endpoint.url:
        raise UsageError(
            'The endpoint "{name}" has no URL yet (state: {value}): wait until it is ready.',
            name=endpoint.name,
            value=endpoint.state or "unknown",
        )
    chosen = deployment or _obvious_deployment(endpoint)
    options = options or EntraOptions()
    made = MadeProfile(
        Profile(
            name=name or endpoint.name, url=endpoint.url, model=chosen.model if chosen else "", dialect="azureml",
            deployment=chosen.name if chosen else "", sign_in=endpoint.sign_in or "key", entra_method=options.method, scope=scope,
            authority=options.authority, allow_other_authority=options.allow_other_authority, tenant_id=options.tenant_id,
            client_id=options.client_id, resource_id=endpoint.resource_id, arm_url=arm_url, ca_bundle=options.ca_bundle,
            proxy=options.proxy,
        )
    )  # fmt: skip
    if chosen:
        # 10 s more than Azure allows itself, so that its own sentence about the time arrives.
        made.profile.reply_timeout_s = max(made.profile.reply_timeout_s, chosen.timeout_s + 10.0)
    made.profile.validate()
    if chosen is None or not chosen.model:
        made.notes.append(
            Sentence(
                'Which model runs behind "{name}" cannot be told from its name: check the profile, then set its model.', name=endpoint.name
            )
        )
    if chosen and chosen.state.lower() not in ("succeeded", ""):
        made.notes.append(Sentence('The deployment "{name}" is not ready: its state is {state}.', name=chosen.name, state=chosen.state))
    if chosen and 0 < chosen.timeout_s < _SHORT_TIMEOUT_S:
        made.notes.append(
            Sentence(
                'Azure gives up on a request to "{name}" after {timeout_s:g} s, which is short for these models: ask '
                "whoever deployed it for a request timeout of 90 to 180 s.",
                name=chosen.name,
                timeout_s=chosen.timeout_s,
            )
        )
    if made.profile.sign_in == "key":
        _read_key(manager, endpoint, made)
    return made


def _read_key(manager: ResourceManager, endpoint: FoundEndpoint, made: MadeProfile) -> None:
    try:
        made.key = manager.endpoint_key(endpoint.resource_id)
    except ControlPlaneError as error:
        if error.status != 403:
            raise
        # Without the right to read it, trying at each request would only fail later.
        made.profile.resource_id = ""
        made.notes.append(
            Sentence(
                'The profile has no key, because you may not read the key of "{name}" (it takes the permission '
                "{permission}): ask its owner for the key or for that permission.",
                name=endpoint.name,
                permission=error.permission,
            )
        )


def _obvious_deployment(endpoint: FoundEndpoint) -> FoundDeployment | None:
    if len(endpoint.deployments) <= 1:
        return endpoint.deployments[0] if endpoint.deployments else None
    for rank in (lambda found: found.traffic == 100, lambda found: bool(found.model)):
        fitting = [found for found in endpoint.deployments if rank(found)]
        if len(fitting) == 1:
            return fitting[0]
    listed = ", ".join(found.name for found in endpoint.deployments)
    raise UsageError('The endpoint "{name}" has several deployments ({listed}): say which one.', name=endpoint.name, listed=listed)


def _look_into(manager: ResourceManager, subscription: str, workspace: dict[str, Any], found: Discovery) -> None:
    identifier = str(workspace.get("id") or "")
    for item in _unless_refused(manager.endpoints, identifier, found.warnings):
        endpoint = found_endpoint(item, str(workspace.get("name") or ""), subscription)
        traffic = (item.get("properties") or {}).get("traffic") or {}
        for deployed in _unless_refused(manager.deployments, endpoint.resource_id, found.warnings):
            endpoint.deployments.append(_deployment(deployed, traffic))
        found.endpoints.append(endpoint)


def found_endpoint(item: dict[str, Any], workspace: str, subscription: str) -> FoundEndpoint:
    """An endpoint as Azure describes it, without its deployments.

    Args:
        item: from Azure Resource Manager.
        workspace: its name.
        subscription: in words.
    """
    properties = item.get("properties") or {}
    return FoundEndpoint(
        name=str(item.get("name") or ""),
        workspace=workspace,
        subscription=subscription,
        location=str(item.get("location") or ""),
        resource_id=str(item.get("id") or ""),
        url=str(properties.get("scoringUri") or ""),
        sign_in=_SIGN_IN_OF_MODE.get(str(properties.get("authMode") or "").lower(), ""),
        state=str(properties.get("provisioningState") or ""),
    )


def _deployment(item: dict[str, Any], traffic: dict[str, Any]) -> FoundDeployment:
    properties = item.get("properties") or {}
    name = str(item.get("name") or "")
    model_id = str(properties.get("model") or "")
    share = traffic.get(name, 0)
    settings = properties.get("requestSettings") or {}
    return FoundDeployment(
        name=name,
        model=recognize_model(model_id) if model_id else "",
        model_id=model_id,
        state=str(properties.get("provisioningState") or ""),
        traffic=int(share) if isinstance(share, (int, float)) else 0,
        timeout_s=seconds_of(str(settings.get("requestTimeout") or "")),
    )


def seconds_of(duration: str) -> float:
    """Seconds of an ISO 8601 duration such as "PT1M30S" (hours, minutes and seconds only); 0 for anything else."""
    parts = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", duration)
    return sum(float(part) * size for part, size in zip(parts.groups(), (3600, 60, 1), strict=True) if part) if parts else 0.0


def _unless_refused(
    listing: Callable[[str], Iterable[dict[str, Any]]], of: str, warnings: list[str], refused: list[ControlPlaneError] | None = None
) -> list[dict[str, Any]]:
    """The items of a list, as far as it may be read; what may not becomes a sentence among the warnings."""
    items: list[dict[str, Any]] = []
    try:
        for item in listing(of):
            items.append(item)
    except ControlPlaneError as error:
        # A sign-in that is not accepted, or an Azure that does not answer, fails everything else too.
        if error.status == 401 or error.code in ("unreachable", "tls", "proxy"):
            raise
        warnings.append(str(error))
        if refused is not None:
            refused.append(error)
    except UsageError as error:
        warnings.append(str(error))
    return items
