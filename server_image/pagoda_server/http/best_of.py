"""Of the answers that were written to a prompt, those that are given: the best by their mean log-probability."""

from collections.abc import Sequence

from pagoda_server.http.choice import Choice


def choose_best(choices: Sequence[Choice], *, per_prompt: int, given: int) -> list[Choice]:
    """Returns `given` of the choices for each prompt, the best first. NB: of equal ones the earlier is first."""
    if given == per_prompt:
        return list(choices)
    groups = (choices[at : at + per_prompt] for at in range(0, len(choices), per_prompt))
    return [one for group in groups for one in sorted(group, key=_rate, reverse=True)[:given]]


def _rate(choice: Choice) -> float:
    return choice.logprob_sum / max(1, choice.token_count)
