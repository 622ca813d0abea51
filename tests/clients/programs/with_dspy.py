"""DSPy: the language model itself in two turns, and a signature, which an adapter turns into a schema."""

import os
from typing import Literal

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else LiteLLM asks GitHub for prices while it is imported

import dspy
import litellm
from scene import BASE_URL, FIRST, KEY, MODEL, PERSON, SECOND, case, main

known = {"litellm_provider": "openai", "mode": "chat", "supports_response_schema": True}
litellm.register_model({f"openai/{MODEL}": known})  # else DSPy asks for JSON in words alone
lm = dspy.LM(
    f"openai/{MODEL}", api_base=BASE_URL, api_key=KEY, temperature=0, max_tokens=400, cache=False, engine="litellm"
)
dspy.configure(lm=lm)


class Sort(dspy.Signature):
    """Say what the text is about."""

    text: str = dspy.InputField()
    about: Literal["person", "city", "animal"] = dspy.OutputField()
    is_adult: bool = dspy.OutputField()


@case
def two_turns():
    messages, answers, prompts = [], [], []
    for question in (FIRST, SECOND):
        messages.append({"role": "user", "content": question})
        answers.append(lm(messages=messages)[0])
        messages.append({"role": "assistant", "content": answers[-1]})
        prompts.append(lm.history[-1]["usage"]["prompt_tokens"])
    return {"answers": answers, "prompt_tokens": prompts}


@case
def schema_by_choice():
    with dspy.context(adapter=dspy.JSONAdapter()):
        told = dspy.Predict(Sort)(text=PERSON)
    return {"sorted": {"about": told.about, "is_adult": told.is_adult}}


main()
