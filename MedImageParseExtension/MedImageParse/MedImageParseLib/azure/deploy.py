"""Making an endpoint in a person's own Azure subscription, watching it, and taking it away again.

The steps are those of Microsoft's own tools (azure-ai-ml): PUT endpoint, PUT deployment, PUT endpoint again with its traffic. Each can be
interrupted: what is there is looked at first, so that the same call goes on where the last one ended. An endpoint is known as ours by
its tags; one that somebody else made under the same name is never changed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any

from ..errors import UsageError
from ..progress import Cancellation, Progress, no_progress
from ..remedies import Sentence
from .offers import OFFERS
from .plan import DEPLOYMENT, NAME, SIGN_IN, TAG_DELETE_BY, TAG_MADE, TAG_MODEL, VERSION, Plan, Workspace, read_or_none, state_of
from .resource_manager import ControlPlaneError, ResourceManager, error_words

SCORER_ROLE = "f6c7c914-8db3-469d-8ca1-694a8f32e121"  # AzureML Data Scientist; source: learn.microsoft.com, Azure built-in roles
_AUTHORIZATION_VERSION = "2022-04-01"
_POLL_S = 10.0
_LONGEST_S = 2 * 3600.0
# Why Azure fails a deployment, and what to do. Source: learn.microsoft.com, troubleshooting online endpoints.
_FAULTS = {
    "OutOfQuota": "the quota does not suffice: ask for more under Quotas in Azure Machine Learning studio, or choose another --instance",
    "OutOfCapacity": "Azure has none of these machines left in this region: try again later, another --instance, or a workspace in another region",
    "BadArgument": "Azure does not accept the settings",
    "ResourceNotFound": "the model or its version is not in the registry for this region: choose another version with --model-version",
    "InternalServerError": "Azure failed: try again later",
}


def carry_out(
    manager: ResourceManager,
    plan: Plan,
    *,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
    poll_s: float = _POLL_S,
) -> dict[str, Any]:
    """Make the endpoint, its deployment and its traffic, or go on with what an earlier run began.

    Args:
        manager: signed in.
        plan: from `make_plan`.
        progress: stages "making the endpoint", "making the deployment", "directing the traffic", with seconds so far.
        cancellation: ends the waiting; what was begun goes on in Azure.
        poll_s: seconds between two looks.

    Returns:
        the endpoint as Azure describes it.

    Raises:
        ControlPlaneError: refused, or failed with Azure's reason and the end of the container's log.
        Cancelled: see `cancellation`.
    """
    watch = _Watch(manager, progress, cancellation or Cancellation(), poll_s)
    what = Sentence('the endpoint "{name}"', name=plan.name)
    if plan.exists and not watch.until_settled(plan.endpoint_id, what, "making the endpoint"):
        plan.exists = ""  # it was being deleted, and is gone
    if not plan.exists:
        permission = "workspaces/onlineEndpoints/write"
        _write(manager, plan, plan.endpoint_id, what, permission, _endpoint(plan, {}), watch, "making the endpoint")
    if plan.exists == "failed deployment":
        _remove(
            manager,
            plan.deployment_id,
            Sentence('the failed deployment of "{name}"', name=plan.name),
            watch,
            "removing the failed deployment",
        )
    deployment = Sentence('the deployment of "{name}"', name=plan.name)
    if plan.exists != "deployment":
        permission = "workspaces/onlineEndpoints/deployments/write"
        _write(manager, plan, plan.deployment_id, deployment, permission, _deployment(plan), watch, "making the deployment")
    else:
        watch.until_settled(plan.deployment_id, deployment, "making the deployment")
    made = manager.read(plan.deployment_id, deployment, version=VERSION)
    if state_of(made) != "Succeeded":
        raise _failed(manager, plan, "", Sentence("its state is {made}", made=state_of(made) or "unknown"))
    described = manager.read(plan.endpoint_id, what, version=VERSION)
    traffic = (described.get("properties") or {}).get("traffic") or {}
    if traffic.get(DEPLOYMENT) != 100:
        body = _endpoint(plan, {DEPLOYMENT: 100}, described)
        _write(manager, plan, plan.endpoint_id, what, "workspaces/onlineEndpoints/write", body, watch, "directing the traffic")
        described = manager.read(plan.endpoint_id, what, version=VERSION)
    return described


def _endpoint(plan: Plan, traffic: dict[str, int], known: dict[str, Any] | None = None) -> dict[str, Any]:
    """The endpoint's description. Source: OnlineEndpoint of api-version 2024-10-01 (mfe.json)."""
    tags = dict((known or {}).get("tags") or {}) or {
        TAG_MODEL: plan.offer.key,
        TAG_MADE: datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if plan.delete_by:
        tags[TAG_DELETE_BY] = plan.delete_by
    return {
        "location": plan.workspace.location,
        "tags": tags,
        "kind": "Managed",
        "identity": {"type": "SystemAssigned"},
        "properties": {"authMode": SIGN_IN[plan.sign_in], "traffic": traffic, "publicNetworkAccess": "Enabled"},
    }


def _deployment(plan: Plan) -> dict[str, Any]:
    """The deployment's description. The probes wait 600 s: the container builds its environment when it starts."""
    probe = {"initialDelay": "PT10M", "period": "PT10S", "timeout": "PT10S", "successThreshold": 1, "failureThreshold": 30}
    return {
        "location": plan.workspace.location,
        "tags": {TAG_MODEL: plan.offer.key},
        "kind": "Managed",
        "sku": {"name": "Default", "capacity": plan.count},
        "properties": {
            "endpointComputeType": "Managed",
            "model": plan.offer.model_id(plan.version),
            "instanceType": plan.machine.name,
            "environmentVariables": {"WORKER_COUNT": "1"},
            "scaleSettings": {"scaleType": "Default"},
            "requestSettings": {
                "requestTimeout": f"PT{plan.offer.request_timeout_s}S",
                "maxConcurrentRequestsPerInstance": plan.offer.concurrency,
                "maxQueueWait": "PT1M",
            },
            "livenessProbe": probe,
            "readinessProbe": probe,
        },
    }


class _Watch:
    """Looks again and again until something has settled, and tells how long it takes."""

    def __init__(self, manager: ResourceManager, progress: Progress, cancellation: Cancellation, poll_s: float) -> None:
        self._manager, self._progress, self._cancellation, self._poll_s = manager, progress, cancellation, poll_s

    def operation(self, address: str, what: str, stage: str) -> tuple[str, dict[str, Any]]:
        """(state, error) once Azure has ended it."""
        for _ in self._ticks(stage):
            state, error = self._manager.operation(address, what)
            if state in ("Succeeded", "Failed", "Canceled"):
                return state, error
        return "InProgress", {}

    def until_settled(self, resource_id: str, what: str, stage: str) -> str:
        """The resource's provisioning state once it is no longer being changed; "" where it is not there."""
        for _ in self._ticks(stage):
            resource = read_or_none(self._manager, resource_id, what)
            state = state_of(resource) if resource is not None else ""
            if state not in ("Creating", "Updating", "Scaling", "Deleting", "Provisioning"):
                return state
        return "InProgress"

    def _ticks(self, stage: str) -> Iterator[None]:
        begun = time.monotonic()
        while time.monotonic() - begun < _LONGEST_S:
            self._cancellation.check()
            self._progress(stage, time.monotonic() - begun, 0)
            yield
            self._cancellation.wait(self._poll_s)


def _write(
    manager: ResourceManager,
    plan: Plan,
    path: str,
    what: str,
    permission: str,
    body: dict[str, Any],
    watch: _Watch,
    stage: str,
) -> None:
    try:
        written = manager.write("PUT", path, what, permission, body, version=VERSION)
    except ControlPlaneError as error:
        raise _with_role(error, plan.workspace) from error
    state, fault = watch.operation(written.operation, what, stage) if written.operation else ("Succeeded", {})
    if state in ("Failed", "Canceled"):
        code, words = error_words(fault)
        raise _failed(manager, plan, code, words)
    if state == "InProgress":
        raise ControlPlaneError(
            "Azure is still working on {what} after {hours:g} hours: look with `deploy status {name}`, or delete it.",
            what=what,
            hours=_LONGEST_S / 3600,
            name=plan.name,
            code="slow",
        )
    watch.until_settled(path, what, stage)


def _with_role(error: ControlPlaneError, workspace: Workspace) -> ControlPlaneError:
    """A refusal, with the role that would help and where it is given."""
    if error.status != 403:
        return error
    return ControlPlaneError(
        "{error} Ask for the role Contributor on the resource group {group} (subscription {subscription}); its "
        "owner, or a User Access Administrator, can give it.",
        error=error,
        group=workspace.group,
        subscription=workspace.subscription,
        status=403,
        code=error.code,
        permission=error.permission,
    )


def _failed(manager: ResourceManager, plan: Plan, code: str, words: str) -> ControlPlaneError:
    """Why it failed: Azure's reason, the end of the container's log, and that what is half made can be deleted."""
    reason = next((text for name, text in _FAULTS.items() if name.lower() in (code + words).lower().replace(" ", "")), "")
    said = f' ("{words}")' if words else ""
    try:
        last = read_logs(manager, plan.deployment_id, lines=40).strip().splitlines()[-1:]
    except ControlPlaneError:
        last = []
    log = Sentence(" The container's last line was: {last}.", last=last[0][:200]) if last else ""
    return ControlPlaneError(
        'The deployment of "{name}" failed: {reason}{said}.{log} What is half made can be deleted with '
        "`{delete_command}`; the same deploy command tries again.",
        name=plan.name,
        reason=reason or Sentence("Azure gave this reason"),
        said=said,
        log=log,
        delete_command=plan.delete_command,
        code=code or "failed",
    )


def read_logs(manager: ResourceManager, deployment_id: str, *, lines: int = 200, container: str = "InferenceServer") -> str:
    """The end of a deployment's log.

    Args:
        manager: signed in.
        deployment_id: Azure resource id.
        lines: how many lines at most.
        container: "InferenceServer", or "StorageInitializer" which brings the model.
    """
    what = "the log of the deployment"
    body = {"containerType": container, "tail": lines}
    permission = "workspaces/onlineEndpoints/deployments/getlogs/action"
    content = manager.write("POST", f"{deployment_id}/getLogs", what, permission, body, version=VERSION).content.get("content")
    return content[:1_000_000] if isinstance(content, str) else ""


@dataclass(slots=True)
class Deployed:
    """An endpoint that this program made.

    Attributes:
        name: of the endpoint.
        workspace: its name.
        resource_id: Azure resource id.
        model: key of the offer.
        state: of the deployment, "no deployment" where there is none.
        instance: machine size. count: machines.
        made: when, in ISO form (UTC). delete_by: date or "".
    """

    name: str
    workspace: str
    resource_id: str
    model: str
    state: str
    instance: str
    count: int
    made: str
    delete_by: str

    def reminder(self) -> str:
        """That it costs money, in a sentence."""
        since = Sentence(" since {made}", made=self.made[:10]) if self.made else ""
        late = (
            Sentence(" It was to be deleted by {delete_by}.", delete_by=self.delete_by)
            if self.delete_by and self.delete_by < date.today().isoformat()
            else ""
        )
        on = f" ({self.count} x {self.instance})" if self.instance else ""
        return Sentence(
            'The endpoint "{name}"{on} has cost money{since}, used or not.{late}', name=self.name, on=on, since=since, late=late
        )


def list_deployed(manager: ResourceManager, workspaces: list[Workspace]) -> list[Deployed]:
    """The endpoints of these workspaces that this program made, half-made ones too."""
    found = []
    for workspace in workspaces:
        listing = manager.items(
            f"{workspace.resource_id}/onlineEndpoints", Sentence("the endpoints of workspace {name}", name=workspace.name), version=VERSION
        )
        for item in listing:
            if str((item.get("tags") or {}).get(TAG_MODEL)) in OFFERS:
                found.append(describe(manager, workspace, item))
    return found


def describe(manager: ResourceManager, workspace: Workspace, item: dict[str, Any]) -> Deployed:
    """One endpoint as Azure lists it, with its deployment."""
    tags = item.get("tags") or {}
    identifier = str(item.get("id") or f"{workspace.resource_id}/onlineEndpoints/{item.get('name')}")
    deployment = read_or_none(
        manager, f"{identifier}/deployments/{DEPLOYMENT}", Sentence('the deployment of "{name}"', name=item.get("name"))
    )
    properties = (deployment or {}).get("properties") or {}
    capacity = ((deployment or {}).get("sku") or {}).get("capacity")
    return Deployed(
        str(item.get("name") or ""), workspace.name, identifier, str(tags.get(TAG_MODEL) or ""),
        state_of(deployment) if deployment is not None else "no deployment", str(properties.get("instanceType") or ""),
        int(capacity) if isinstance(capacity, int) else 1, str(tags.get(TAG_MADE) or ""), str(tags.get(TAG_DELETE_BY) or ""),
    )  # fmt: skip


def find_endpoint(manager: ResourceManager, workspace: Workspace, name: str) -> dict[str, Any]:
    """An endpoint by name. Raises UsageError where the workspace has none of that name, or it was not made by this program."""
    if not NAME.fullmatch(name):
        raise UsageError("'{name}' is not the name of an endpoint.", name=name)
    found = read_or_none(manager, f"{workspace.resource_id}/onlineEndpoints/{name}", Sentence('the endpoint "{name}"', name=name))
    if found is None:
        raise UsageError("There is no endpoint '{name}' in workspace {workspace}.", name=name, workspace=workspace.name)
    if str((found.get("tags") or {}).get(TAG_MODEL)) not in OFFERS:
        raise UsageError(
            "The endpoint '{name}' was not made by this program, so it is left alone: use Azure Machine Learning studio for it.", name=name
        )
    return found


def delete(
    manager: ResourceManager,
    workspace: Workspace,
    name: str,
    *,
    progress: Progress = no_progress,
    cancellation: Cancellation | None = None,
    poll_s: float = _POLL_S,
) -> None:
    """Take an endpoint away, with its deployments, whole or half made. Returns when Azure says that it is gone.

    Args:
        manager: signed in.
        workspace: where it is.
        name: of the endpoint.
        progress: stage "deleting", with seconds so far.
        cancellation: ends the waiting; Azure goes on deleting.
        poll_s: seconds between two looks.

    Raises:
        UsageError: no such endpoint, or not made by this program. ControlPlaneError: refused or failed.
    """
    found = find_endpoint(manager, workspace, name)
    identifier = str(found.get("id") or f"{workspace.resource_id}/onlineEndpoints/{name}")
    watch = _Watch(manager, progress, cancellation or Cancellation(), poll_s)
    if state_of(found) == "Deleting" and not watch.until_settled(identifier, Sentence('the endpoint "{name}"', name=name), "deleting"):
        return  # an earlier run was interrupted
    try:
        _remove(manager, identifier, Sentence('the endpoint "{name}"', name=name), watch, "deleting")
    except ControlPlaneError as error:
        raise _with_role(error, workspace) from error


def _remove(manager: ResourceManager, resource_id: str, what: str, watch: _Watch, stage: str) -> None:
    written = manager.write("DELETE", resource_id, what, "workspaces/onlineEndpoints/delete", version=VERSION)
    state, fault = watch.operation(written.operation, what, stage) if written.operation else ("Succeeded", {})
    if state != "Succeeded":
        _code, words = error_words(fault)
        raise ControlPlaneError(
            "Azure could not delete {what}: {words}. It may still cost money.",
            what=what,
            words=words or state,
            code="failed",
        )
    watch.until_settled(resource_id, what, stage)


def grant(manager: ResourceManager, endpoint_id: str, person_id: str, *, kind: str = "User") -> None:
    """Let a person, group or application call an endpoint that takes Entra sign-in: the role AzureML Data Scientist on that endpoint alone.

    Args:
        manager: signed in.
        endpoint_id: Azure resource id of the endpoint.
        person_id: object id in Entra ID.
        kind: "User", "Group" or "ServicePrincipal".

    Raises:
        UsageError: not an object id. ControlPlaneError: refused; the sentence names the role that may grant.
    """
    try:
        person_id = str(uuid.UUID(person_id))
    except ValueError:
        raise UsageError(
            "'{person}' is not an object id: find it in the Entra admin center under Users (a form such as 00000000-0000-0000-0000-000000000000).",
            person=person_id,
        ) from None
    subscription = endpoint_id.strip("/").split("/")[1]
    # The same name each time: granting twice is one assignment.
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"{endpoint_id.lower()}|{person_id}|{SCORER_ROLE}")
    body = {
        "properties": {
            "roleDefinitionId": f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{SCORER_ROLE}",
            "principalId": person_id,
            "principalType": kind,
        }
    }
    path = f"{endpoint_id}/providers/Microsoft.Authorization/roleAssignments/{name}"
    try:
        manager.write(
            "PUT", path, "who may call the endpoint", "Microsoft.Authorization/roleAssignments/write", body, version=_AUTHORIZATION_VERSION
        )
    except ControlPlaneError as error:
        if error.code == "RoleAssignmentExists":
            return
        if error.status == 403:
            raise ControlPlaneError(
                "{error} Granting takes the role User Access Administrator (or Owner) on the endpoint, its workspace or resource group.",
                error=error,
                status=403,
                code=error.code,
                permission=error.permission,
            ) from error
        raise
