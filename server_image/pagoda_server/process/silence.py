"""Who of the server's processes has been silent for too long.

No clock is compared: silence is counted in looks, so that a machine or a container that slept accuses nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pagoda_server.http.tally import Signs

LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Silent:
    fronts: tuple[int, ...]
    engine: bool


class Silence:
    """A front is silent when it no longer beats; the engine when fronts that beat hear nothing.

    Who starts is exempt: a front until its first beat, the engine until a front has it.
    """

    def __init__(self, max_seconds: float) -> None:
        self._max_looks = max_seconds / LOOK_SECONDS
        self._before: Sequence[Signs] = ()
        self._fronts: list[int] = []
        self._engine = 0

    def look(self, signs: Sequence[Signs]) -> Silent:
        """Returns who is silent. It must be called every `LOOK_SECONDS`.

        Whom it names is named again only after as long a silence.
        """
        if len(self._before) != len(signs):
            self._before, self._fronts = signs, [0] * len(signs)
        beat = [0 < now.beats != before.beats for now, before in zip(signs, self._before, strict=True)]
        heard = any(now.words != before.words for now, before in zip(signs, self._before, strict=True))
        self._before = signs
        self._fronts = [
            0 if has_beat or not one.beats else looks + 1
            for looks, has_beat, one in zip(self._fronts, beat, signs, strict=True)
        ]
        if heard or not any(one.has_engine for one in signs):
            self._engine = 0
        elif any(beat):
            self._engine += 1
        return self._name_silent()

    def _name_silent(self) -> Silent:
        fronts = tuple(number for number, looks in enumerate(self._fronts) if looks >= self._max_looks)
        engine = self._engine >= self._max_looks
        for number in fronts:
            self._fronts[number] = 0
        if engine:
            self._engine = 0
        return Silent(fronts, engine)
