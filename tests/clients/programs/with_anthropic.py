"""Anthropic's client for Python, against /v1/messages: its tool runner, its streams, its count of tokens."""

from typing import Literal

from anthropic import Anthropic, beta_tool
from pydantic import BaseModel
from scene import (
    BASE_URL,
    FIRST,
    KEY,
    MODEL,
    PERSON,
    SECOND,
    STORY,
    WEATHER_FIRST,
    WEATHER_SECOND,
    called,
    case,
    get_weather,
    main,
)

client = Anthropic(base_url=BASE_URL.removesuffix("/v1"), api_key=KEY)
STEADY = {"extra_body": {"temperature": 0}}
"""The API has the field; this client has it no more."""


class Sorted(BaseModel):
    """NB: the client makes bounds of texts and numbers into words, and a small model heeds no words."""

    about: Literal["person", "city", "animal"]
    is_adult: bool


@case
def two_turns():
    messages, answers, prompts = [], [], []
    for question in (FIRST, SECOND):
        messages.append({"role": "user", "content": question})
        message = client.messages.create(model=MODEL, **STEADY, max_tokens=100, messages=messages)
        messages.append({"role": "assistant", "content": message.content})
        answers.append(message.content[0].text)
        prompts.append(message.usage.input_tokens)
    return {"answers": answers, "prompt_tokens": prompts}


@case
def streaming():
    asked = [{"role": "user", "content": STORY}]
    with client.messages.stream(model=MODEL, **STEADY, max_tokens=500, messages=asked) as stream:
        pieces = list(stream.text_stream)
        return {"pieces": pieces, "whole": stream.get_final_message().content[0].text}


@case
def tools():
    messages, answers = [], []
    for question in (WEATHER_FIRST, WEATHER_SECOND):
        messages.append({"role": "user", "content": question})
        runner = client.beta.messages.tool_runner(
            model=MODEL, **STEADY, max_tokens=200, tools=[beta_tool(get_weather)], messages=messages
        )
        for message in runner:
            messages.append({"role": "assistant", "content": message.content})
            if (results := runner.generate_tool_call_response()) is not None:
                messages.append(results)
        answers.append(message.content[0].text)
    return {"called": called, "answers": answers}


@case
def schema_by_choice():
    message = client.messages.parse(
        model=MODEL, **STEADY, max_tokens=200, messages=[{"role": "user", "content": PERSON}], output_format=Sorted
    )
    return {"sorted": message.parsed_output.model_dump()}


@case
def count_tokens():
    asked = [{"role": "user", "content": FIRST}]
    counted = client.messages.count_tokens(model=MODEL, messages=asked).input_tokens
    used = client.messages.create(model=MODEL, **STEADY, max_tokens=1, messages=asked).usage.input_tokens
    return {"counted": counted, "used": used}


main()
