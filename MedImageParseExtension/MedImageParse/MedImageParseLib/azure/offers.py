"""What can be deployed, on which machines, and what that costs: the registry's models, quota and public prices.

Sources: the model assets of registry "azureml" (github.com/Azure/azureml-assets, assets/models/system: names, versions, the least
machine), Microsoft's template for these models (github.com/microsoft/healthcareai-examples, deploy/azd: machines, timeouts and concurrency),
the REST API of workspaces (usages and vmSizes), and the Azure Retail Prices API (prices.azure.com, no sign-in).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..remedies import Sentence
from .resource_manager import ControlPlaneError, ResourceManager, checked_subscription

PRICES_URL = "https://prices.azure.com/api/retail/prices"
PRICES_PAGE = "https://azure.microsoft.com/pricing/details/machine-learning/"
_PROVIDER = "Microsoft.MachineLearningServices"


@dataclass(slots=True, frozen=True)
class Offer:
    """A model of the registry, and how it is deployed.

    Attributes:
        key: what a person types.
        model: what the client calls the model behind the endpoint.
        title: its name in sentences.
        asset: its name in registry "azureml".
        version: of the asset.
        instances: machines that can run it, the recommended one first.
        request_timeout_s: what a request may take at the endpoint, in seconds; Azure's own maximum is 180.
        concurrency: requests that one machine works on at once.
    """

    key: str
    model: str
    title: str
    asset: str
    version: str
    instances: tuple[str, ...]
    request_timeout_s: int
    concurrency: int

    def model_id(self, version: str = "") -> str:
        """The asset's address, of this or another version."""
        return f"azureml://registries/azureml/models/{self.asset}/versions/{version or self.version}"


_LARGE = ("Standard_NC40ads_H100_v5", "Standard_NC24ads_A100_v4")
_SMALL = ("Standard_NC4as_T4_v3", "Standard_NC8as_T4_v3", "Standard_NC24ads_A100_v4")
OFFERS = {
    offer.key: offer
    for offer in (
        Offer("medimageparse", "medimageparse", "MedImageParse", "MedImageParse", "17", _LARGE, 90, 1),
        Offer("medimageparse3d", "medimageparse3d", "MedImageParse 3D", "MedImageParse3D", "6", _LARGE, 180, 1),
        Offer("medimageinsight", "medimageinsight", "MedImageInsight", "MedImageInsight", "13", _SMALL, 90, 3),
        Offer("medimageinsight-onnx", "medimageinsight", "MedImageInsight (ONNX)", "MedImageInsight-onnx", "2", _SMALL, 90, 3),
    )
}


@dataclass(slots=True, frozen=True)
class Machine:
    """A machine size in a region, as the workspace's provider describes it.

    Attributes:
        name: such as "Standard_NC40ads_H100_v5".
        family: whose quota it counts against.
        cores: of one machine.
        free: cores of the family that are still free here; None where Azure does not say.
    """

    name: str
    family: str
    cores: int
    free: int | None


def offer_of(key: str) -> Offer:
    """The offer by its key. Raises UsageError with the list for another word."""
    if key not in OFFERS:
        raise UsageError("The model '{key}' cannot be deployed: choose one of {known}.", key=key, known=", ".join(OFFERS))
    return OFFERS[key]


def machines(manager: ResourceManager, subscription: str, location: str, names: Iterable[str]) -> list[Machine]:
    """Sizes that exist in a region, with what is left of the quota.

    Args:
        manager: signed in.
        subscription: its id.
        location: region, such as "eastus2".
        names: of the sizes wanted.

    Returns:
        those that the region has, in the order of `names`. Reading takes two requests and changes nothing.
    """
    base = f"/subscriptions/{checked_subscription(subscription)}/providers/{_PROVIDER}/locations/{location}"
    sizes = manager.read(f"{base}/vmSizes", Sentence("the machine sizes in {location}", location=location)).get("value") or []
    known = {str(size.get("name")): size for size in sizes if isinstance(size, dict)}
    free = _free_cores(manager, base, location)
    return [
        Machine(
            name,
            str(known[name].get("family") or ""),
            int(known[name].get("vCPUs") or 0),
            free.get(str(known[name].get("family") or "").lower()),
        )
        for name in names
        if name in known
    ]


def _free_cores(manager: ResourceManager, base: str, location: str) -> dict[str, int]:
    """Free cores by family, in lower case."""
    found = {}
    try:
        for usage in manager.items(f"{base}/usages", Sentence("the quota in {location}", location=location), "locations/usages/read"):
            name = usage.get("name") or {}
            limit, used = usage.get("limit"), usage.get("currentValue")
            if isinstance(name, dict) and isinstance(limit, (int, float)) and isinstance(used, (int, float)):
                found[str(name.get("value") or "").lower()] = int(limit - used)
    except ControlPlaneError as error:
        if error.status not in (403, 404):
            raise
    return found


def price_sentence(instance: str, location: str, count: int, *, prices_url: str = PRICES_URL, session: Any = None) -> str:
    """What the machines cost while they run, in a sentence; where to look when the public price list does not answer.

    Args:
        instance: machine size.
        location: region.
        count: machines.
        prices_url: address of the Retail Prices API.
        session: a requests session; None for a plain one. Nothing but size and region is sent, and no sign-in.
    """
    price = _hourly(instance, location, prices_url, session)
    if price is None:
        return Sentence(
            "What {instance} costs in {location} is listed at {prices_page}.", instance=instance, location=location, prices_page=PRICES_PAGE
        )
    total = price * count
    return Sentence(
        "List price: about {total:.2f} USD an hour, {total2:.0f} USD a day, whether it is used or not.", total=total, total2=total * 24
    )


def _hourly(instance: str, location: str, prices_url: str, session: Any) -> float | None:
    import requests

    conditions = f"armRegionName eq '{location}' and armSkuName eq '{instance}' and priceType eq 'Consumption'"
    try:
        reply = (session or requests).get(prices_url, params={"$filter": conditions}, timeout=(5, 10), allow_redirects=False)
        rows = reply.json().get("Items") if reply.status_code == 200 else None
    except (requests.exceptions.RequestException, ValueError, AttributeError):
        return None
    prices = [
        float(row["retailPrice"])
        for row in rows or []
        if isinstance(row, dict)
        and isinstance(row.get("retailPrice"), (int, float))
        and not any(word in str(row.get("productName")) + str(row.get("skuName")) for word in ("Windows", "Spot", "Low Priority"))
    ]
    return min(prices) if prices else None
