"""Writes docs/troubleshooting.md from the reasons and the steps of `pagoda why`, by name: so each has its place.

`python docs/reference/generate_troubleshooting.py`. A test fails when the file is not what this writes.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from pagoda_cli.diagnosis.causes import GOOD, WAITING
from pagoda_cli.diagnosis.observed import Observed
from pagoda_cli.diagnosis.steps import build_steps
from pagoda_operator.api.reasons import Reason

TARGET = Path(__file__).parents[1] / "troubleshooting.md"
HEAD = """# Troubleshooting

Written by `docs/reference/generate_troubleshooting.py`; do not edit.

`kubectl pagoda why NAME` says what is wrong with a model, shows which pod, event or log line says so, and fills in
these steps with its names. What is here is keyed by the reason that a condition gives, which `kubectl get mdep` shows
in the column REASON. A walk through it: [on call](how-to/on-call.md).
"""
WITHOUT_A_REASON = """## What no condition tells

`kubectl pagoda why` finds these too:

### CrdMissing

The cluster does not serve `modeldeployments.pagoda.dev`. Install the chart, which brings the CRD.

### CrdOld

The CRD lacks fields that the tool knows: a field that you set may be refused. Upgrade the chart, or use the tool of its
version.

### OperatorDown

No operator renews the Lease `pagoda-operator`. Models go on serving and scaling; nothing new is reconciled.
`kubectl get pods -A -l app.kubernetes.io/component=operator` shows its pods, `helm list -A` whether it is installed.

### NotSeen

A resource has no status half a minute after it was made: the operator is down, or does not watch this namespace.

### KeysRefused

Requests came with no API key or a wrong one (401). The model is well; [API keys](how-to/api-keys.md) says how they are
sent.
"""


def write_reason(reason: Reason) -> Iterator[str]:
    spec = {"model": {"uri": "hf://ORG/MODEL"}}
    seen = Observed(mdep={"metadata": {"name": "NAME", "namespace": "NAMESPACE"}, "spec": spec})
    yield f"## {reason}\n"
    yield f"{reason.meaning}\n"
    if reason in WAITING:
        yield "It passes by itself, or is what the spec asks for.\n"
    if reason.fix:
        yield f"{reason.fix}\n"
    for step in (step for step in build_steps(seen, reason, "") if step != reason.fix):
        yield f"- {_as_code(step)}"
    yield ""


def _as_code(step: str) -> str:
    before, found, command = step.partition("kubectl ")
    if not found:
        before, found, command = step.partition("pagoda ")
        if before and not before.endswith(": "):
            return step
    return f"{before}`{found}{command}`" if found else step


def write_page() -> str:
    lines = [HEAD]
    for reason in sorted((reason for reason in Reason if reason not in GOOD), key=str):
        lines += write_reason(reason)
    return "\n".join([*lines, WITHOUT_A_REASON])


if __name__ == "__main__":
    TARGET.write_text(write_page(), encoding="utf-8")
    print(f"wrote {TARGET.name}", file=sys.stderr)
