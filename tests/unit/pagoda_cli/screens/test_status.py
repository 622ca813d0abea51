"""The screens of `status` word for word, at 80 columns and without colours."""

from io import StringIO

import pytest

from pagoda_cli.diagnosis.causes import find_causes
from pagoda_cli.diagnosis.facts import build_facts
from pagoda_cli.diagnosis.observed import Observed
from pagoda_cli.screens.paint import open_console, render_plain
from pagoda_cli.screens.status import build_model_screen, build_overview
from tests.doubles.observed_models import NOW, build_healthy, build_model, build_out_of_memory, condition

HEALTHY = """\
models/chat  ready  Serving

Model     hf://org/model@main
URL       http://chat.models.svc:8000/v1
Replicas  2 of 2 ready, revision 0123456789
Load      1,200 tokens/s of 3,000 (40%), observed
Queue     4 waiting with 1,600 tokens, 16 running
HPA       1 to 4 replicas, now 2, wants 3
Age       2d

CONDITION    STATUS  REASON         SINCE  MESSAGE
Ready        True    Serving          60m  2 of 2 replicas are ready
PodsReady    True    AllReady         60m
Scaling      True    ScalingActive    60m
Progressing  False   Complete         60m

POD          READY  STATE    RESTARTS  REVISION  QUEUE  AGE  NODE
chat-aaaa-1  yes    Running         0  aaaa          3   2h  node-1
chat-aaaa-2  yes    Running         0  aaaa          1   2h  node-1

All is well. Ask it something: pagoda chat chat -n models
"""
BROKEN = """\
models/chat  not ready  OutOfMemory
server of chat-aaaa-1 was killed at its memory limit of 16Gi: raise
spec.resources.memory

Model     hf://org/model@main
Replicas  0 of 1 ready
Load      not known; the capacity has not been measured yet
Age       2d

CONDITION  STATUS  REASON       SINCE  MESSAGE
Ready      False   OutOfMemory    60m  server of chat-aaaa-1 was killed at its
                                       memory limit of 16Gi: raise
                                       spec.resources.memory
PodsReady  False   OutOfMemory    60m
Stalled    True    OutOfMemory    60m

POD          READY  STATE             RESTARTS  REVISION  QUEUE  AGE  NODE
chat-aaaa-1  no     CrashLoopBackOff         3  aaaa          -   2h  node-1

LAST  TYPE     REASON   ABOUT        MESSAGE
  2m  Warning  BackOff  chat-aaaa-1  Back-off restarting failed container (x4)

Next
OutOfMemory  raise spec.resources.memory to 32Gi
More: pagoda why chat -n models
"""
TABLE = """\
NAMESPACE  NAME  READY  REASON       REPLICAS  TOKENS/S  USED  QUEUE    HPA  AGE
models     chat  True   Serving           2/2     1,200   40%      4  1/2/4   2d
models     chat  False  OutOfMemory       0/1         -     -      -      -   2d
"""


def show(seen: Observed) -> str:
    return render_plain(build_model_screen(build_facts(seen, NOW), find_causes(seen, NOW)))


@pytest.mark.parametrize(("seen", "screen"), [(build_healthy(), HEALTHY), (build_out_of_memory(), BROKEN)])
def test_one_model_is_one_screen(seen: Observed, screen: str) -> None:
    assert show(seen) == screen


def test_many_models_are_a_line_each() -> None:
    models = [build_facts(seen, NOW) for seen in (build_healthy(), build_out_of_memory())]
    assert render_plain(build_overview(models, has_namespaces=True)) == TABLE


def test_what_a_stranger_wrote_into_a_message_moves_no_cursor() -> None:
    seen = Observed(mdep=build_model(condition("Ready", "False", "Starting", "a\x1b[2J\rb\nc")))
    assert "\x1b" not in show(seen)
    assert "a [2J b c" in show(seen)


def test_colours_only_where_a_terminal_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    for variable, coloured in ((None, True), ("NO_COLOR", False)):
        if variable:
            monkeypatch.setenv(variable, "1")
        terminal = Terminal()
        open_console(terminal, width=80).print(build_overview([build_facts(build_healthy(), NOW)], has_namespaces=True))
        assert ("\x1b[32m" in terminal.getvalue()) == coloured
