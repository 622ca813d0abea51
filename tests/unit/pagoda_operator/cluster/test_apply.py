from pagoda_operator.cluster.apply import _merge_patch


def test_a_status_patch_names_only_what_differs() -> None:
    before = {"replicas": 1, "url": "x", "load": {"tokensPerSecond": 1.0, "old": 1}}
    after = {"replicas": 1, "load": {"tokensPerSecond": 2.0}, "readyReplicas": 0}
    assert _merge_patch(before, after) == {
        "url": None,
        "load": {"old": None, "tokensPerSecond": 2.0},
        "readyReplicas": 0,
    }
