import pytest

from pagoda_guard.settings import SettingError
from pagoda_operator.settings import build_settings


def test_flags_win_over_variables_and_these_over_defaults() -> None:
    env = {"PAGODA_WORKERS": "2", "PAGODA_SERVER_IMAGE": "s:1", "POD_NAME": "me"}
    settings = build_settings(["--workers", "3"], env)
    assert (settings.workers, settings.server_image, settings.metrics_port) == (3, "s:1", 8080)
    assert settings.identity == "me"


def test_namespaces_are_separated_by_commas() -> None:
    assert build_settings([], {"PAGODA_WATCH_NAMESPACES": "a, b"}).watch_namespaces == ("a", "b")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", "many"),
        ("workers", "0"),
        ("image_pull_policy", "Sometimes"),
        ("metrics_port", "99999"),
        ("lease_name", ""),
        ("resync_seconds", "-1"),
        ("profiles", "{"),
        ("profiles", "[]"),
        ("profiles", '{"h100": {"resources": {"gpu": 1}}}'),
        ("model_defaults", '{"profile": "x"}'),
        ("allowed", '{"image": ["x"]}'),
    ],
)
def test_a_bad_value_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        build_settings([], {"PAGODA_" + name.upper(): value})
