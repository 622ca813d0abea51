"""The screen of `why` word for word."""

from pagoda_cli.diagnosis.causes import find_causes
from pagoda_cli.screens.paint import render_plain
from pagoda_cli.screens.why import build_why, split_command
from tests.doubles.observed_models import NOW, build_healthy, build_out_of_memory

WHY = """\
models/chat  OutOfMemory
  server of chat-aaaa-1 was killed at its memory limit of 16Gi: raise
  spec.resources.memory
  seen  pod chat-aaaa-1 on node-1, container server: ended with exit code 137
        (OOMKilled), 3 restarts: allocating the cache
  do    raise spec.resources.memory to 32Gi:
        kubectl -n models patch mdep chat --type merge -p '{"spec":{"resources":{"memory":"32Gi"}}}'
        or serve fewer tokens at once: spec.engine.maxModelLen,
        spec.engine.maxNumSeqs
  read  https://github.com/pagoda-dev/pagoda/blob/main/docs/troubleshooting.md#outofmemory
"""


def test_cause_evidence_steps_and_link_are_said_and_what_is_copied_is_never_broken() -> None:
    assert render_plain(build_why(find_causes(build_out_of_memory(), NOW), checked=1)) == WHY


def test_one_line_says_that_all_is_well() -> None:
    causes = find_causes(build_healthy(), NOW)
    assert render_plain(build_why(causes, checked=1)) == "All is well: the model is healthy.\n"
    assert render_plain(build_why(causes, checked=3)) == "All is well: all 3 models are healthy.\n"
    assert render_plain(build_why(causes, checked=0)) == "All is well: there are no models here.\n"


def test_a_command_that_ends_a_line_stands_by_itself() -> None:
    assert split_command("correct it: kubectl -n a edit mdep b") == ("correct it:", "kubectl -n a edit mdep b")
    assert split_command("a: b: pagoda logs x") == ("a: b:", "pagoda logs x")
    for whole in ("kubectl get pods", "spec.pod: no", "use kubectl: it helps"):
        assert split_command(whole) == (whole,)
