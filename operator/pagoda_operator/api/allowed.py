"""What authors of ModelDeployments may have beyond what is theirs anyhow: the chart's `models.allowed`.

Nothing by default. What a profile says needs no leave, because whoever installs Pagoda writes it.
"""

from typing import Annotated, Literal

from pydantic import Field

from pagoda_operator.api.base import ApiModel

ANY = "*"
_Entries = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=512)], ...], Field(max_length=256)]


class Allowed(ApiModel):
    """Each list of names may hold "*", which allows all."""

    images: _Entries = ()
    """Whole images, or their beginnings up to a "/", ":" or "@"."""
    service_accounts: _Entries = ()
    env: _Entries = ()
    """Names of variables; NCCL_* allows all that begin so."""
    sources: _Entries = ()
    """secret/NAME and configMap/NAME, for variables and volumes."""
    pod_labels: _Entries = ()
    pod_annotations: _Entries = ()
    service_types: tuple[Literal["NodePort", "LoadBalancer"], ...] = ()
    service_annotations: _Entries = ()
