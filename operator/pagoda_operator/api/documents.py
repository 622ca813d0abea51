"""Where the documentation is read: what a condition, an alert or the command line points at."""

DOCS_URL = "https://github.com/pagoda-dev/pagoda/blob/main/docs"


def build_reason_url(reason: str) -> str:
    """Returns the address of what troubleshooting says about a condition's reason."""
    return f"{DOCS_URL}/troubleshooting.md#{reason.lower()}"


def build_runbook_url(alert: str) -> str:
    """Returns the address of an alert's runbook."""
    return f"{DOCS_URL}/runbooks/{alert}.md"
