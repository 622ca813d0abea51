"""The Secrets of a run: those of the file, and an API key of its own where the file names a Secret and has none."""

import secrets as randomness
from collections.abc import Mapping

from pagoda_cli.local.plan import PlanError, Secrets
from pagoda_cli.text import suggest
from pagoda_operator.api import Spec

TENANT = "local"
TOKEN_VARIABLE = "HF_TOKEN"


def make_key() -> str:
    return randomness.token_hex(24)


def add_api_key(spec: Spec, secrets: Secrets, key: str) -> tuple[Secrets, str | None]:
    """Returns the Secrets with one that holds `key` where that of the API keys is not among them, and its name.

    Raises PlanError where its name is nearly that of another, and so was probably meant to be it.
    """
    name = spec.auth.api_keys_secret_ref.name if spec.auth is not None else None
    if name is None or name in secrets:
        return secrets, None
    _refuse_near("auth.apiKeysSecretRef.name", name, secrets)
    return {**secrets, name: {TENANT: key.encode()}}, name


def refuse_without_token(spec: Spec, secrets: Secrets, environ: Mapping[str, str]) -> None:
    """Raises PlanError where the file names a token that neither it nor the shell has."""
    reference = spec.model.token_secret_ref
    if reference is None or reference.key in secrets.get(reference.name, {}):
        return
    if reference.name in secrets:
        keys = ", ".join(sorted(secrets[reference.name])) or "no key"
        raise PlanError(
            f"model.tokenSecretRef.key: Secret {reference.name!r} has no {reference.key!r} (it has {keys}): correct it"
        )
    _refuse_near("model.tokenSecretRef.name", reference.name, secrets)
    if not environ.get(TOKEN_VARIABLE):
        fix = f"add it there as a second document (kind: Secret, stringData), or set {TOKEN_VARIABLE}"
        raise PlanError(f"model.tokenSecretRef: Secret {reference.name!r} is not in the file: {fix}")


def _refuse_near(field: str, name: str, secrets: Secrets) -> None:
    if name not in secrets and (near := suggest(name, secrets)) is not None:
        raise PlanError(f"{field}: Secret {name!r} is not in the file: did you mean {near!r}?")
