"""What the builders need to know of the operator's own settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BuildSettings:
    control_image: str
    server_image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
