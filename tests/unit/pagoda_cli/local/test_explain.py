"""What is wrong with a ModelDeployment is said in the YAML's words, with the value and the fix."""

import pytest

from pagoda_cli.local.explain import MAX_ERRORS
from pagoda_cli.local.spec_file import SpecFileError, parse_spec
from pagoda_operator.api.rules import RULES

HEAD = "apiVersion: pagoda.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: tiny}\n"


def refuse(spec: str) -> str:
    with pytest.raises(SpecFileError) as caught:
        parse_spec(f"{HEAD}spec: {{model: {{uri: 'bundled://x'}}, {spec}}}", "f")
    return str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("replicas: '2'", "f: spec.replicas: must be a whole number (got '2'): write it without quotes"),
        ("replicas: many", "f: spec.replicas: must be a whole number (got 'many')"),
        ("replicas: true", "f: spec.replicas: must be a whole number (got true)"),
        ("replicas: 2.5", "f: spec.replicas: must be a whole number (got 2.5)"),
        ("replicas: -1", "f: spec.replicas: must be at least 0 (got -1)"),
        ("replicsa: 1", "f: spec.replicsa: no such field (got 1): did you mean replicas?"),
        ("REPLICAS: 1", "f: spec.REPLICAS: no such field (got 1): did you mean replicas?"),
        ("gpus: 1", "f: spec.gpus: no such field (got 1): did you mean spec.resources.gpus?"),
        ("zzz: 1", "f: spec.zzz: no such field (got 1): remove it or correct its name"),
        ("engine: []", "f: spec.engine: must be a mapping: write its fields below it, indented"),
        (
            "engine: {prefixCaching: 'true'}",
            "f: spec.engine.prefixCaching: must be true or false (got 'true'): write it without quotes",
        ),
        (
            "engine: {dtype: bf16}",
            "f: spec.engine.dtype: must be 'auto', 'float32', 'bfloat16' or 'float16' (got 'bf16'): "
            "did you mean bfloat16?",
        ),
        ("auth: {apiKeysSecretRef: {}}", "f: spec.auth.apiKeysSecretRef.name: is missing: add it"),
        (
            "auth: {apiKeysSecretRef: {name: 5}}",
            "f: spec.auth.apiKeysSecretRef.name: must be text (got 5): write it in quotes",
        ),
        (
            "rollout: {maxSurge: many}",
            "f: spec.rollout.maxSurge: must be a whole number from 0 on, or a percentage of at most 100% (got 'many')",
        ),
        (
            "scheduling: {affinity: {nodeAffinty: {}}}",
            "f: spec.scheduling.affinity.nodeAffinty: no such field: did you mean nodeAffinity?",
        ),
        ("scheduling: {tolerations: {}}", "f: spec.scheduling.tolerations: must be a list: begin each item with '- '"),
        (
            "scheduling: {tolerations: [{key: a, efect: x}]}",
            "f: spec.scheduling.tolerations[0].efect: no such field (got 'x'): did you mean effect?",
        ),
        ("ingress: {host: a.b, annotations: {a: 1}}", "f: spec.ingress.annotations.a: must be text (got 1): write it "),
    ],
)
def test_field_value_and_fix_are_named(spec: str, message: str) -> None:
    assert refuse(spec).startswith(message)


def test_each_broken_rule_is_a_line_of_its_own() -> None:
    lines = refuse("replicas: 1, autoscaling: {minReplicas: 3, maxReplicas: 2}").splitlines()
    assert len(lines) == 2 and all(line.startswith("f: ") for line in lines)
    assert not any("; " in rule.message for rule in RULES)  # they are joined so


def test_many_errors_are_cut() -> None:
    lines = refuse(", ".join(f"unknown{number}: 1" for number in range(MAX_ERRORS + 5))).splitlines()
    assert len(lines) == MAX_ERRORS + 1 and lines[-1] == "f: 5 more"
