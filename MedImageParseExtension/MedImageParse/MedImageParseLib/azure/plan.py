"""What will be made in a person's Azure subscription: where, under which name, on which machine; nothing is changed here."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any

from ..errors import UsageError
from ..remedies import Sentence, joined
from .offers import Machine, Offer, machines, offer_of
from .resource_manager import ControlPlaneError, ResourceManager

VERSION = "2024-10-01"
TAG_MODEL, TAG_MADE, TAG_DELETE_BY = "MedImageParse.Model", "MedImageParse.Made", "MedImageParse.DeleteBy"
DEPLOYMENT = "main"
SIGN_IN = {"key": "Key", "entra": "AADToken", "aml-token": "AMLToken"}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]")


_MADE = {
    "": 'Creates the endpoint "{name}" in workspace {workspace} ({location}) with {title}, version {version}, on {count} x {machine}.',
    "endpoint": 'Continues with the endpoint "{name}" in workspace {workspace} ({location}) with {title}, version {version}, on {count} x {machine}.',
    "deployment": 'Continues with the endpoint "{name}" in workspace {workspace} ({location}) with {title}, version {version}, on {count} x {machine}.',
    "failed deployment": 'Creates again the failed deployment of the endpoint "{name}" in workspace {workspace} ({location}) with {title}, version {version}, on {count} x {machine}.',
}


@dataclass(slots=True, frozen=True)
class Workspace:
    """Where to make it.

    Attributes:
        resource_id: Azure resource id.
        name: the workspace's name.
        location: region.
        subscription: id of the subscription.
        group: name of the resource group.
    """

    resource_id: str
    name: str
    location: str
    subscription: str
    group: str


@dataclass(slots=True)
class Plan:
    """What will be made; making it is `carry_out`.

    Attributes:
        workspace: where.
        offer: which model.
        name: of the endpoint.
        machine: size, with what is left of the quota.
        count: machines.
        sign_in: "key", "entra" or "aml-token".
        version: of the model's asset.
        delete_by: date as a tag that reminds, "" for none. Azure itself deletes nothing by it.
        exists: how far an earlier run came: "", "endpoint", "deployment" or "failed deployment".
        shared_quota: the machines come from Azure's shared quota for tests, which ends the endpoint after 168 hours.
    """

    workspace: Workspace
    offer: Offer
    name: str
    machine: Machine
    count: int
    sign_in: str
    version: str
    delete_by: str = ""
    exists: str = ""
    shared_quota: bool = False

    @property
    def endpoint_id(self) -> str:
        """Azure resource id of the endpoint."""
        return f"{self.workspace.resource_id}/onlineEndpoints/{self.name}"

    @property
    def deployment_id(self) -> str:
        """Azure resource id of the deployment."""
        return f"{self.endpoint_id}/deployments/{DEPLOYMENT}"

    @property
    def delete_command(self) -> str:
        """The command that takes it away again."""
        return f"deploy delete {self.name} --workspace {self.workspace.name} --subscription {self.workspace.subscription}"

    def sentences(self, price: str) -> list[str]:
        """What a person agrees to.

        Args:
            price: a sentence on what it costs.
        """
        lines: list[str] = [
            Sentence(
                _MADE[self.exists],
                name=self.name,
                workspace=self.workspace.name,
                location=self.workspace.location,
                title=self.offer.title,
                version=self.version,
                count=self.count,
                machine=self.machine.name,
            ),
            Sentence("{price} It bills while idle, until it is deleted.", price=price),
        ]
        if self.machine.free is not None and not self.shared_quota:
            needed = self.machine.cores * self.count
            lines.append(
                Sentence(
                    "Quota: it takes {needed} cores, and {free} of {family} are free.",
                    needed=needed,
                    free=self.machine.free,
                    family=self.machine.family,
                )
            )
        if self.shared_quota:
            lines.append(
                "The quota of your subscription does not cover these machines. On Azure's shared quota an endpoint is deleted after 168 hours."
            )
        return lines


def find_workspace(manager: ResourceManager, workspace: str, subscription: str = "") -> Workspace:
    """A workspace by its name or its Azure resource id.

    Args:
        manager: signed in.
        workspace: name or resource id; "" takes the only one there is.
        subscription: look only here; "" for all that the person can see.

    Raises:
        UsageError: none or several fit; the sentence lists them.
    """
    if workspace.startswith("/"):
        return _workspace(manager.read(workspace, "the workspace", "workspaces/read", version=VERSION))
    subscriptions = [subscription] if subscription else [str(item.get("subscriptionId")) for item in manager.subscriptions()]
    found, refused = [], []
    for identifier in subscriptions:
        try:
            found += [_workspace(item) for item in manager.workspaces(identifier) if item.get("id")]
        except ControlPlaneError as error:
            if error.status != 403:
                raise
            refused.append(error)
    if refused and not found:
        raise refused[0]
    fitting = [each for each in found if not workspace or each.name.lower() == workspace.lower()]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(f"{each.name} ({each.group}, {each.location}, subscription {each.subscription})" for each in found) or "none"
    if not fitting:
        raise UsageError("There is no workspace '{name}' among those you can see: {listed}.", name=workspace, listed=listed)
    raise UsageError("Several workspaces fit; say which one with --workspace and --subscription: {listed}.", listed=listed)


def _workspace(item: dict[str, Any]) -> Workspace:
    identifier = str(item.get("id") or "")
    parts = identifier.strip("/").split("/")
    if len(parts) < 8:
        raise ControlPlaneError("Azure Resource Manager described a workspace without its id: try again later.")
    return Workspace(identifier, parts[-1], str(item.get("location") or ""), parts[1], parts[3])


def make_plan(
    manager: ResourceManager,
    workspace: Workspace,
    model: str,
    *,
    name: str = "",
    instance: str = "",
    count: int = 1,
    sign_in: str = "key",
    version: str = "",
    delete_by: str = "",
    shared_quota: bool = False,
) -> Plan:
    """Look at everything and change nothing.

    Args:
        manager: signed in.
        workspace: where.
        model: one of `offers.OFFERS`.
        name: of the endpoint; "" makes one from model and workspace, the same each time, so that a run can be taken up again.
        instance: machine size; "" takes the first one for which there is quota.
        count: machines, 1 to 20.
        sign_in: how callers sign in, one of SIGN_IN.
        version: of the model's asset, "" for the one that this program was written for.
        delete_by: ISO date.
        shared_quota: go on though the subscription's own quota does not suffice.

    Raises:
        UsageError: unknown words, a taken name, too little quota (with the sizes that would do).
        ControlPlaneError: Azure refused or failed.
    """
    offer = offer_of(model)
    name = name or f"{offer.key}-{hashlib.sha256(workspace.resource_id.lower().encode()).hexdigest()[:6]}"
    if not NAME.fullmatch(name):
        raise UsageError(
            "The endpoint's name has 3 to 32 letters, digits and hyphens, and begins with a letter; '{name}' does not fit.", name=name
        )
    if sign_in not in SIGN_IN:
        raise UsageError("The way to sign in '{way}' is not known: choose one of {known}.", way=sign_in, known=", ".join(SIGN_IN))
    if not 1 <= count <= 20:
        raise UsageError("The number of machines must be 1 to 20.")
    if version and not re.fullmatch(r"\d{1,6}", version):
        raise UsageError("The model's version is a whole number; '{version}' is not.", version=version)
    _check_date(delete_by)
    plan = Plan(workspace, offer, name, Machine(instance, "", 0, None), count, sign_in, version or offer.version, delete_by)
    plan.exists = _how_far(manager, plan)
    if plan.exists in ("", "endpoint", "failed deployment"):
        plan.machine, plan.shared_quota = _fitting(manager, plan, instance, shared_quota)
    elif not instance:
        plan.machine = Machine(offer.instances[0], "", 0, None)
    return plan


def _check_date(delete_by: str) -> None:
    if not delete_by:
        return
    try:
        day = date.fromisoformat(delete_by)
    except ValueError:
        raise UsageError("The delete-by date is written as 2026-12-31; '{given}' is not.", given=delete_by) from None
    if day < datetime.now(timezone.utc).date():
        raise UsageError("The delete-by date {given} is over.", given=delete_by)


def _how_far(manager: ResourceManager, plan: Plan) -> str:
    """What an earlier run left: "", "endpoint", "deployment" or "failed deployment"."""
    endpoint = read_or_none(manager, plan.endpoint_id, Sentence('the endpoint "{name}"', name=plan.name))
    if endpoint is None:
        return ""
    if (endpoint.get("tags") or {}).get(TAG_MODEL) != plan.offer.key:
        raise UsageError("The name '{name}' is taken by another endpoint: choose another with --name.", name=plan.name)
    deployment = read_or_none(manager, plan.deployment_id, Sentence('the deployment of "{name}"', name=plan.name))
    if deployment is None:
        return "endpoint"
    return "failed deployment" if state_of(deployment) in ("Failed", "Canceled") else "deployment"


def _fitting(manager: ResourceManager, plan: Plan, instance: str, shared: bool) -> tuple[Machine, bool]:
    """The machine to take, and whether only shared quota covers it."""
    names = (instance,) if instance else plan.offer.instances
    there = machines(manager, plan.workspace.subscription, plan.workspace.location, names)
    if not there:
        raise UsageError(
            "The region {location} has no {names}: choose another with --instance, or a workspace in another region.",
            location=plan.workspace.location, names=" or ".join(names),
        )  # fmt: skip
    for machine in there:
        if machine.free is None or machine.free >= machine.cores * plan.count:
            return machine, False
    if shared:
        return there[0], True
    listed = joined(
        (
            Sentence(
                "{name} needs {cores} cores and {free} of {family} are free",
                name=each.name,
                cores=each.cores * plan.count,
                free=max(each.free or 0, 0),
                family=each.family,
            )
            for each in there
        ),
        "; ",
    )
    raise UsageError(
        "The quota in {location} does not suffice: {listed}. Ask for more under Quotas in Azure Machine Learning studio, choose another "
        "--instance, or try --shared-quota (Azure deletes such an endpoint after 168 hours).",
        location=plan.workspace.location, listed=listed,
    )  # fmt: skip


def read_or_none(manager: ResourceManager, resource_id: str, what: str) -> dict[str, Any] | None:
    """The resource, None where it is not there."""
    try:
        return manager.read(resource_id, what, version=VERSION)
    except ControlPlaneError as error:
        if error.status == 404:
            return None
        raise


def state_of(resource: dict[str, Any] | None) -> str:
    return str(((resource or {}).get("properties") or {}).get("provisioningState") or "")
