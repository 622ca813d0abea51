"""Who a model pod runs as."""

from pagoda_operator.objects.security import build_pod_security_context


def test_a_pod_names_its_user_group_and_the_group_of_its_volumes() -> None:
    context = build_pod_security_context(10001)
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (10001, 10001, 10001)


def test_a_pod_whose_user_the_platform_chooses_names_none_and_is_not_root() -> None:
    context = build_pod_security_context(0)
    assert not context.keys() & {"runAsUser", "runAsGroup", "fsGroup"}
    assert context["runAsNonRoot"] is True
