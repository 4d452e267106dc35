"""Endpoints in one's own Azure subscription, from Python: make one, list them, look after them, take them away.

>>> azure = sign_in_to_azure(method="azure-cli")
>>> options = DeployOptions(workspace="radiology")
>>> plan = azure.plan("medimageparse3d", options)
>>> print(*azure.sentences(plan), sep="\\n")            # what will be made, and what it costs
>>> made = azure.deploy(plan, options)                 # 10 to 30 minutes; a profile of it is kept
>>> azure.delete(plan.name, "radiology")
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..azure import deploy as steps
from ..azure import offers
from ..azure.discovery import CLOUDS, Cloud, FoundDeployment, MadeProfile, found_endpoint, make_profile
from ..azure.plan import Plan, Workspace, find_workspace, make_plan
from ..azure.resource_manager import ControlPlaneError, ResourceManager, arm_scope
from ..configuration import configuration_folder, write_atomically
from ..errors import EndpointError, MedImageParseError, PartlyDone, UsageError
from ..options import option, spread
from ..profiles.connection import connect
from ..profiles.profiles import ENTRA_METHODS, ProfileStore
from ..progress import Cancellation, Progress, no_progress
from ..remedies import Sentence
from ..signin.auth import save_in_keyring, session_keys
from ..signin.entra import EntraOptions, Prompt
from ..signin.methods import entra_session
from ..tasks.check_endpoint import check_endpoint

RECORD = "deployments.json"
_PROBE_TRIES = 6
_PROBE_PAUSE_S = 20.0
# Faults of an endpoint that was made a moment ago, and may still come round.
_MAY_PASS = {"404", "429", "502", "503", "504", "424", "name", "refused", "unreachable", "lost"}


_WHERE, _MADE, _AZURE = "where", "what to make", "signing in to Azure"


@dataclass(slots=True, frozen=True)
class DeployOptions:
    """What to make, and where. The help of each field says what it is for."""

    workspace: str = option(
        "", help="Azure Machine Learning workspace, by name or resource id; the only one, if none is given", metavar="NAME", group=_WHERE
    )
    subscription: str = option("", help="look for the workspace only in this subscription", metavar="ID", group=_WHERE)
    name: str = option("", help="of the endpoint; if none is given, the model's name and six letters of the workspace", group=_MADE)
    instance: str = option("", help="machine size; if none is given, the first recommended one with quota", metavar="SIZE", group=_MADE)
    count: int = option(1, help="machines", metavar="N", group=_MADE)
    sign_in: str = option("key", help="how callers sign in to the endpoint", choices=("key", "entra", "aml-token"), group=_MADE)
    model_version: str = option(
        "",
        help="version of the model in Azure's registry; if none is given, the one that this program was written for",
        metavar="N",
        group=_MADE,
    )
    delete_by: str = option("", help="a date (2026-12-31) to be reminded of; nothing is deleted by itself", metavar="DATE", group=_MADE)
    shared_quota: bool = option(
        False, help="use Azure's shared quota, for tests: Azure deletes such an endpoint after 168 hours", group=_MADE
    )
    profile_name: str = option("", help="name of the profile; if none is given, the endpoint's", metavar="NAME", group=_MADE)
    keep_key: bool = option(False, help="keep the endpoint's key in the system's keyring", group=_MADE)


@dataclass(slots=True, frozen=True)
class AzureOptions:
    """How to sign in to Azure's control plane. The help of each field says what it is for."""

    method: str = option("default", help="how to sign in; default tries several", choices=ENTRA_METHODS, group=_AZURE)
    tenant: str = option("", help="Entra tenant, where you belong to several organizations", metavar="ID", group=_AZURE)
    client_id: str = option("", help="application, or user-assigned managed identity, to sign in with", metavar="ID", group=_AZURE)
    cloud: str = option("public", help="which of Azure's clouds", choices=tuple(CLOUDS), group=_AZURE)
    authority: str = option("", help="another sign-in host, which you trust with your account", metavar="HOST", group=_AZURE)
    arm_url: str = option("", help="another Azure Resource Manager", metavar="URL", group=_AZURE)
    ca_bundle: str = option("", help="extra certificate authorities (PEM)", metavar="FILE", group=_AZURE)
    proxy: str = option("", help="proxy, where the environment names none", metavar="URL", group=_AZURE)

    @property
    def where(self) -> Cloud:
        """The cloud of that name. Raises UsageError where there is none."""
        if self.cloud not in CLOUDS:
            raise UsageError("The cloud '{cloud}' is not known: choose one of {known}.", cloud=self.cloud, known=", ".join(CLOUDS))
        return CLOUDS[self.cloud]

    @property
    def address(self) -> str:
        """Where Azure Resource Manager is."""
        return self.arm_url or self.where.arm_url

    @property
    def entra(self) -> EntraOptions:
        """Who signs in where."""
        authority = self.authority or self.where.authority
        return EntraOptions(self.method, self.tenant, self.client_id, authority, bool(self.authority), self.ca_bundle, self.proxy)

    def manager(self, prompt: Prompt | None = None, cancellation: Cancellation | None = None) -> ResourceManager:
        """Azure Resource Manager on behalf of whoever signs in.

        Args:
            prompt: shows a device code.
            cancellation: ends waiting for the sign-in and for Azure.
        """
        auth = entra_session(self.entra, prompt, cancellation).auth(arm_scope(self.address))
        return ResourceManager(auth, self.address, ca_bundle=self.ca_bundle, proxy=self.proxy, cancellation=cancellation)


@dataclass(slots=True)
class Made:
    """An endpoint that is ready.

    Attributes:
        profile: name of its profile.
        url: scoring URL.
        check: what the probe found, in a sentence; "" where it did not answer yet.
        notes: what a person should know, sentences.
    """

    profile: str
    url: str
    check: str = ""
    notes: list[str] = field(default_factory=list)


@spread
def sign_in_to_azure(
    *, options: AzureOptions = AzureOptions(), prompt: Prompt | None = None, cancellation: Cancellation | None = None
) -> Azure:
    """Sign in to Azure's control plane.

    Args:
        options: how; each field is a keyword too.
        prompt: shows a device code.
        cancellation: ends waiting for the sign-in and for Azure.

    Raises:
        UsageError: unknown words. SignInError: no sign-in came about.
    """
    return Azure(options.manager(prompt, cancellation), options=options.entra, cloud=options.where, arm_url=options.address)


class Azure:
    """A person's Azure subscription, as far as endpoints go.

    Args:
        manager: signed in.
        options: how the person signed in, for the profiles that are made.
        cloud: which of Azure's clouds.
        arm_url: address of Resource Manager.
        prices_url: address of the public price list.
        poll_s: seconds between two looks at work under way.
    """

    def __init__(
        self,
        manager: ResourceManager,
        *,
        options: EntraOptions | None = None,
        cloud: Cloud = CLOUDS["public"],
        arm_url: str = CLOUDS["public"].arm_url,
        prices_url: str = offers.PRICES_URL,
        poll_s: float = 10.0,
    ) -> None:
        self._manager, self._options, self._cloud, self._arm_url = manager, options or EntraOptions(), cloud, arm_url
        self._prices_url, self._poll_s = prices_url, poll_s

    def plan(self, model: str, options: DeployOptions) -> Plan:
        """Look at workspace, quota and what is there already. Changes nothing.

        Args:
            model: "medimageparse", "medimageparse3d", "medimageinsight" or "medimageinsight-onnx".
            options: where and what.

        Raises:
            UsageError, ControlPlaneError: with one sentence; see `azure.plan.make_plan`.
        """
        offers.offer_of(model)
        workspace = find_workspace(self._manager, options.workspace, options.subscription)
        return make_plan(
            self._manager, workspace, model, name=options.name, instance=options.instance, count=options.count, sign_in=options.sign_in,
            version=options.model_version, delete_by=options.delete_by, shared_quota=options.shared_quota,
        )  # fmt: skip

    def sentences(self, plan: Plan) -> list[str]:
        """What a person agrees to before `deploy`: what is made, where, and what it costs."""
        price = offers.price_sentence(plan.machine.name, plan.workspace.location, plan.count, prices_url=self._prices_url)
        return plan.sentences(price)

    def deploy(
        self, plan: Plan, options: DeployOptions, *, progress: Progress = no_progress, cancellation: Cancellation | None = None
    ) -> Made:
        """Make it (10 to 30 minutes), keep a profile, and ask it a tiny question.

        Args:
            plan: from `plan`.
            options: the same as there.
            progress: told the stage and the seconds so far.
            cancellation: ends the waiting; what was begun goes on in Azure, and the same call goes on with it later.

        Raises:
            ControlPlaneError: Azure refused or failed; the sentence says why and how to delete what is half made.
            Cancelled: see `cancellation`.
        """
        described = steps.carry_out(self._manager, plan, progress=progress, cancellation=cancellation, poll_s=self._poll_s)
        deployment = FoundDeployment(
            steps.DEPLOYMENT, plan.offer.model, plan.offer.model_id(plan.version), "Succeeded", 100, plan.offer.request_timeout_s
        )
        endpoint = found_endpoint(described, plan.workspace.name, plan.workspace.subscription)
        made = make_profile(
            self._manager, endpoint, deployment, name=options.profile_name, options=self._options, scope=self._cloud.scope,
            arm_url=self._arm_url,
        )  # fmt: skip
        result = Made(made.profile.name, made.profile.url, notes=made.notes)
        try:
            remember(made.profile.name, steps.describe(self._manager, plan.workspace, described))
        except OSError as error:
            result.notes.append(
                Sentence(
                    "The endpoint costs money, and that could not be noted in {path} ({why}).",
                    path=configuration_folder() / RECORD,
                    why=error.strerror,
                )
            )
        try:
            _keep(made, keep_key=options.keep_key)
        except MedImageParseError as error:
            raise PartlyDone(
                "The endpoint {name} is made and costs money, but its profile could not be kept: {error} `deploy delete {name}` ends the cost.",
                name=plan.name, error=error, cause=error,
            ) from error  # fmt: skip
        self._probe(result, plan, progress, cancellation)
        return result

    def _probe(self, result: Made, plan: Plan, progress: Progress, cancellation: Cancellation | None) -> None:
        """A fresh endpoint may answer 404 or 503 for a minute; then what it says counts."""
        waiting = cancellation or Cancellation()
        for attempt in range(_PROBE_TRIES):
            progress("asking it a tiny question", attempt, _PROBE_TRIES)
            try:
                with connect(
                    profile=result.profile, model=plan.offer.model, sends_image_data=False, consent=True, cancellation=waiting
                ) as client:
                    result.check = check_endpoint(client, plan.offer.model, cancellation=waiting).sentence
                return
            except EndpointError as error:
                if attempt == _PROBE_TRIES - 1 or str(error.code) not in _MAY_PASS:
                    result.notes.append(Sentence("The endpoint is made and costs money, but its first answer was: {error}", error=error))
                    return
            except MedImageParseError as error:
                result.notes.append(Sentence("The endpoint is made and costs money, but was not tried: {error}", error=error))
                return
            waiting.wait(min(_PROBE_PAUSE_S, 2 * self._poll_s))

    def deployments(self, workspace: str = "", subscription: str = "") -> list[steps.Deployed]:
        """The endpoints that this program made, half-made ones too.

        Args:
            workspace: look only into this one; "" for all that the person can see.
            subscription: look only here.
        """
        return steps.list_deployed(self._manager, self._workspaces(workspace, subscription))

    def _workspaces(self, workspace: str, subscription: str) -> list[Workspace]:
        if workspace:
            return [find_workspace(self._manager, workspace, subscription)]
        found = []
        for identifier in [subscription] if subscription else [str(item.get("subscriptionId")) for item in self._manager.subscriptions()]:
            try:
                found += [find_workspace(self._manager, str(item["id"])) for item in self._manager.workspaces(identifier) if item.get("id")]
            except ControlPlaneError as error:
                if error.status != 403:
                    raise
        return found

    def status(self, name: str, workspace: str = "", subscription: str = "") -> steps.Deployed:
        """One endpoint of ours.

        Args:
            name: of the endpoint.
            workspace: by name or resource id, "" for the only one.
            subscription: look only here.

        Raises:
            UsageError: there is none of that name, or it was not made by this program.
        """
        place = find_workspace(self._manager, workspace, subscription)
        return steps.describe(self._manager, place, steps.find_endpoint(self._manager, place, name))

    def logs(self, name: str, workspace: str = "", subscription: str = "") -> str:
        """The last 200 lines of the container's log; arguments as for `status`."""
        found = self.status(name, workspace, subscription)
        return steps.read_logs(self._manager, f"{found.resource_id}/deployments/{steps.DEPLOYMENT}")

    def delete(
        self,
        name: str,
        workspace: str = "",
        subscription: str = "",
        *,
        progress: Progress = no_progress,
        cancellation: Cancellation | None = None,
    ) -> None:
        """Take an endpoint away, whole or half made, and return when it is gone.

        Args:
            name: of the endpoint.
            workspace: by name or resource id, "" for the only one.
            subscription: look only here.
            progress: told the seconds so far.
            cancellation: ends the waiting; Azure goes on deleting.
        """
        place = find_workspace(self._manager, workspace, subscription)
        steps.delete(self._manager, place, name, progress=progress, cancellation=cancellation, poll_s=self._poll_s)
        try:
            forget(f"{place.resource_id}/onlineEndpoints/{name}")
        except OSError as error:
            raise PartlyDone(
                "The endpoint {name} is deleted, but {path} could not be written ({why}), so you may still be reminded of it.",
                name=name, path=str(configuration_folder() / RECORD), why=error.strerror or type(error).__name__,
            ) from error  # fmt: skip

    def grant(self, name: str, person: str, workspace: str = "", subscription: str = "", *, kind: str = "User") -> None:
        """Let somebody call an endpoint by Entra sign-in.

        Args:
            name: of the endpoint.
            person: object id in Entra ID.
            workspace: by name or resource id, "" for the only one.
            subscription: look only here.
            kind: "User", "Group" or "ServicePrincipal".
        """
        found = self.status(name, workspace, subscription)
        steps.grant(self._manager, found.resource_id, person, kind=kind)


def _keep(made: MadeProfile, *, keep_key: bool) -> None:
    """Keep a profile, and its key for this session or, if wanted, in the keyring."""
    store, profile = ProfileStore(), made.profile
    if made.key:
        session_keys.remember(profile.name, profile.url, made.key, profile.route)
        if keep_key:
            save_in_keyring(profile.name, profile.url, made.key, profile.route)
            profile.key_in_keyring = True
    store.add(profile, replace=any(each.name == profile.name and each.url == profile.url for each in store.profiles()))


# -- what was made from this computer, so that a person can be reminded without signing in -----------------------------------------------


def remember(profile: str, deployed: steps.Deployed) -> None:
    """Note an endpoint that costs money."""
    entries = [each for each in _entries() if each.get("resource_id") != deployed.resource_id]
    entries.append({"profile": profile, **asdict(deployed)})
    write_atomically(configuration_folder() / RECORD, json.dumps({"deployments": entries}, indent=1))


def forget(resource_id: str) -> None:
    """Take an endpoint that was deleted out of the notes."""
    entries = _entries()
    left = [each for each in entries if str(each.get("resource_id")).lower() != resource_id.lower()]
    if len(left) != len(entries):
        write_atomically(configuration_folder() / RECORD, json.dumps({"deployments": left}, indent=1))


def reminders(profile: str = "") -> list[str]:
    """Sentences on what costs money, made from this computer.

    Args:
        profile: only what this profile leads to; "" for all.
    """
    sentences = []
    for each in _entries():
        if profile and each.get("profile") != profile:
            continue
        noted: dict[str, Any] = {one.name: str(each.get(one.name) or "") for one in fields(steps.Deployed)}
        noted["count"] = each["count"] if isinstance(each.get("count"), int) else 1
        sentences.append(steps.Deployed(**noted).reminder())
    return sentences


def _entries() -> list[dict[str, Any]]:
    try:
        content = json.loads((configuration_folder() / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    found = content.get("deployments") if isinstance(content, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


__all__ = ["Azure", "AzureOptions", "DeployOptions", "Made", "forget", "remember", "reminders", "sign_in_to_azure"]
