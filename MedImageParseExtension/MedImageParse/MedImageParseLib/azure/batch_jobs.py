"""Jobs of an Azure ML batch endpoint: files up, the job started and watched, its predictions down.

    GET  {workspace}/batchEndpoints/{name}                      properties.scoringUri                          api-version 2024-04-01
    GET  {workspace}/datastores?isDefault=true                  properties.accountName, containerName, endpoint, protocol
    POST {workspace}/datastores/{name}/listSecrets              {"secretsType": "Sas"|"AccountKey", "sasToken"|"key"}
    PUT  the files into the datastore's container               azure-storage-blob
    POST {scoringUri}   {"properties": {"inputData": {…}, "outputData": {"score": {…}}}}   token for https://ml.azure.com
    GET  {workspace}/jobs/{name}                                properties.status
    GET  the file that the output "score" went to

Sources: learn.microsoft.com, "Create jobs and input data for batch endpoints"; azure-rest-api-specs (mfe.json); the Azure ML SDK, which the
tests let work against the same look-alike.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from ..errors import EndpointError, UsageError
from ..packages import require
from ..progress import Cancellation, Progress, no_progress
from ..signin.auth import AuthProvider, Token
from .resource_manager import ControlPlaneError, ResourceManager

STORAGE_SCOPE = "https://storage.azure.com/.default"
PREDICTIONS = "predictions.csv"
_ENDED = {"Completed", "Failed", "Canceled", "NotResponding"}
_FOLDER = "medimageparse-batch"


@dataclass(slots=True, frozen=True)
class StartedJob:
    """A job that Azure has taken.

    Attributes:
        name: of the job.
        folder: in the datastore, with its files in and out.
    """

    name: str
    folder: str


class BatchEndpoint:
    """One batch endpoint in a workspace.

    Args:
        manager: signed in to Azure's control plane.
        endpoint_id: resource id, …/workspaces/W/batchEndpoints/NAME.
        scoring: signs requests to the endpoint itself.
        storage_token: gives a token for the storage account, where the datastore keeps no key of its own.
        ca_bundle: PEM file of extra certificate authorities.
        poll_s: seconds between two looks at the job.
        account_url: where a storage account is, by its name and the datastore's endpoint.

    Raises:
        UsageError: it is no batch endpoint, or azure-storage-blob is not installed.
    """

    def __init__(
        self,
        manager: ResourceManager,
        endpoint_id: str,
        scoring: AuthProvider,
        storage_token: Callable[[], Token] | None = None,
        *,
        ca_bundle: str = "",
        poll_s: float = 30.0,
        account_url: Callable[[str, str], str] = lambda account, endpoint: f"https://{account}.blob.{endpoint}",
    ):
        require("azure.storage.blob", "sending files to an Azure ML batch endpoint")
        match = re.fullmatch(r"(/subscriptions/.+/workspaces/[^/]+)/batchEndpoints/([^/]+)", endpoint_id, re.IGNORECASE)
        if match is None:
            raise UsageError(
                "The profile's resource id has to be that of a batch endpoint, …/workspaces/NAME/batchEndpoints/NAME: "
                "give it with profiles add --resource-id."
            )
        self._workspace, self.name = match.groups()
        self._manager, self._id, self._scoring, self._storage_token = manager, endpoint_id, scoring, storage_token
        self._ca_bundle, self._poll_s, self._account_url = ca_bundle, poll_s, account_url

    def address(self) -> str:
        """Where jobs are started."""
        found = self._manager.read(self._id, f"the batch endpoint {self.name}", "workspaces/batchEndpoints/read")
        return str((found.get("properties") or {}).get("scoringUri") or "")

    def start(
        self,
        files: Sequence[Path],
        *,
        deployment: str = "",
        progress: Progress = no_progress,
        cancellation: Cancellation | None = None,
    ) -> StartedJob:
        """Upload files and start a job on them.

        Args:
            files: CSV files, of which one is a mini-batch.
            deployment: of the endpoint, "" for its default.
            progress: told "uploading" in files.
            cancellation: stops between two files.

        Raises:
            ControlPlaneError, EndpointError: Azure refused, or could not be reached.
        """
        cancellation = cancellation or Cancellation()
        folder = f"{_FOLDER}/{secrets.token_hex(8)}"
        store = self._datastore()
        with self._container(store) as container, _storage_faults():
            for number, file in enumerate(files):
                cancellation.check()
                progress("uploading", number, len(files))
                with open(file, "rb") as content:
                    container.upload_blob(f"{folder}/in/{file.name}", content, overwrite=True)
        progress("uploading", len(files), len(files))
        cancellation.check()
        workspace = re.sub(r"/providers/[^/]+(?=/workspaces/)", "", self._workspace)
        place = f"azureml:/{workspace}/datastores/{store['name']}/paths/{folder}"
        body = {
            "properties": {
                "inputData": {"UriFolder": {"jobInputType": "UriFolder", "uri": f"{place}/in"}},
                "outputData": {"score": {"jobOutputType": "UriFile", "uri": f"{place}/out/{PREDICTIONS}"}},
            }
        }
        return StartedJob(self._invoke(body, deployment), folder)

    def wait(self, job: str, *, progress: Progress = no_progress, cancellation: Cancellation | None = None) -> None:
        """Look after a job until it has ended.

        Args:
            job: name.
            progress: told the job's state as Azure calls it, as the stage.
            cancellation: stops looking; the job goes on.

        Raises:
            EndpointError: the job failed or was cancelled.
        """
        cancellation = cancellation or Cancellation()
        while True:
            cancellation.check()
            found = self._manager.read(f"{self._workspace}/jobs/{job}", f"the job {job}", "workspaces/jobs/read")
            state = str((found.get("properties") or {}).get("status") or "unknown")
            progress(f"job {state[:40].lower()}", 0, 0)
            if state in _ENDED:
                break
            cancellation.wait(self._poll_s)
        if state != "Completed":
            raise EndpointError(
                "The batch job {job} ended as {state}; its log in Azure ML studio says why.",
                job=job,
                state=state.lower(),
                code="job-failed",
            )

    def fetch(self, folder: str, file: BinaryIO) -> None:
        """Download a finished job's predictions.

        Args:
            folder: StartedJob.folder.
            file: open for writing.

        Raises:
            EndpointError: they are not there, or cannot be had.
        """
        with self._container(self._datastore()) as container, _storage_faults():
            download = container.download_blob(f"{folder}/out/{PREDICTIONS}")
            download.readinto(file)

    def _invoke(self, body: dict[str, Any], deployment: str) -> str:
        """Start the job; returns its name."""
        import requests

        from ..signin.entra import make_session

        address = self.address()
        if urlsplit(address).scheme != "https":
            raise ControlPlaneError(f"Azure names no address for the batch endpoint {self.name}: check that it has a deployment.")
        header = self._scoring.header()
        headers = {"azureml-model-deployment": deployment} if deployment else {}

        def sign(request: Any) -> Any:
            request.headers["Authorization"] = header
            return request

        with make_session(self._ca_bundle, "") as session:
            try:
                reply = session.post(address, json=body, headers=headers, auth=sign, timeout=(10.0, 60.0), allow_redirects=False)
            except requests.exceptions.RequestException as error:
                raise EndpointError(
                    "The batch endpoint {name} cannot be reached: check the network and the proxy.", name=self.name, code="unreachable"
                ) from error
        try:
            content = reply.json()
        except ValueError:
            content = {}
        name = str(content.get("name") or str(content.get("id") or "").rpartition("/")[2]) if isinstance(content, dict) else ""
        if reply.status_code not in (200, 201, 202) or not re.fullmatch(r"[\w.-]{1,255}", name):
            raise EndpointError(
                "The batch endpoint {name} did not take the job (status {status}): check its deployment and that you may use it.",
                name=self.name,
                status=reply.status_code,
                code="job-refused",
            )
        return name

    def _datastore(self) -> dict[str, Any]:
        """The workspace's default datastore: name, accountName, containerName, endpoint."""
        stores = self._manager.items(f"{self._workspace}/datastores", "the workspace's datastores", "workspaces/datastores/read")
        for store in stores:
            properties = store.get("properties") or {}
            if properties.get("isDefault") and properties.get("datastoreType") == "AzureBlob":
                return {"name": str(store.get("name")), **properties}
        raise ControlPlaneError("The workspace's default datastore is no blob container, so the files have no place to go.")

    @contextmanager
    def _container(self, store: dict[str, Any]) -> Iterator[Any]:
        from azure.storage.blob import ContainerClient

        url = self._account_url(str(store["accountName"]), str(store.get("endpoint") or "core.windows.net"))
        options: dict[str, Any] = {"connection_verify": self._ca_bundle} if self._ca_bundle else {}
        with ContainerClient(url, str(store["containerName"]), credential=self._credential(store), **options) as container:
            yield container

    def _credential(self, store: dict[str, Any]) -> Any:
        """What opens the container: the datastore's own secret, else the person's token for storage."""
        kind = (store.get("credentials") or {}).get("credentialsType", "None")
        if kind != "None":
            path = f"{self._workspace}/datastores/{store['name']}/listSecrets"
            what = f"the secret of datastore {store['name']}"
            found = self._manager.write("POST", path, what, "workspaces/datastores/listSecrets/action", {}).content
            if found.get("sasToken"):
                from azure.core.credentials import AzureSasCredential

                return AzureSasCredential(str(found["sasToken"]).lstrip("?"))
            if found.get("key"):
                return {"account_name": str(store["accountName"]), "account_key": str(found["key"])}
        if self._storage_token is None:
            raise ControlPlaneError("The datastore keeps no key; sign in with Microsoft Entra to write into its storage account.")
        return _TokenCredential(self._storage_token)


class _TokenCredential:
    """A token as Azure's libraries ask for one."""

    def __init__(self, fetch: Callable[[], Token]):
        self._fetch = fetch

    def get_token(self, *_scopes: str, **_options: Any) -> Any:
        """The token for storage, whatever is asked for."""
        from azure.core.credentials import AccessToken

        token = self._fetch()
        return AccessToken(token.value, int(token.expires_at or 2**31))


@contextmanager
def _storage_faults() -> Iterator[None]:
    """What Azure's storage library raises, as one sentence without its addresses, which hold signatures."""
    from azure.core.exceptions import AzureError, HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        raise EndpointError(
            "The workspace's storage account refused a file (status {status}): check that you may write there, and its firewall.",
            status=error.status_code or 0,
            code="storage",
        ) from None
    except AzureError:
        raise EndpointError("The workspace's storage account cannot be reached: check the network and the proxy.", code="storage") from None
