"""LiteLLM: `completion` through its provider for servers of OpenAI's API, a stream put together, tools, Responses."""

import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks GitHub for prices while it is imported

import litellm
from pydantic import BaseModel, Field
from scene import (
    BASE_URL,
    CITY_SCHEMA,
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

WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather in a city.",
        "parameters": CITY_SCHEMA,
    },
}
server = {"model": f"openai/{MODEL}", "api_base": BASE_URL, "api_key": KEY, "temperature": 0}


class Person(BaseModel):
    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


@case
def two_turns():
    messages, answers, prompts = [], [], []
    for question in (FIRST, SECOND):
        messages.append({"role": "user", "content": question})
        completion = litellm.completion(**server, messages=messages)
        messages.append(completion.choices[0].message)
        answers.append(completion.choices[0].message.content)
        prompts.append(completion.usage.prompt_tokens)
    return {"answers": answers, "prompt_tokens": prompts}


@case
def streaming():
    asked = [{"role": "user", "content": STORY}]
    chunks = list(litellm.completion(**server, messages=asked, stream=True))
    whole = litellm.stream_chunk_builder(chunks, messages=asked)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    return {"pieces": pieces, "whole": whole.choices[0].message.content}


@case
def tools():
    messages, answers = [], []
    for question in (WEATHER_FIRST, WEATHER_SECOND):
        messages.append({"role": "user", "content": question})
        while True:
            message = litellm.completion(**server, messages=messages, tools=[WEATHER_TOOL]).choices[0].message
            messages.append(message)
            if not message.tool_calls:
                break
            for call in message.tool_calls:
                result = get_weather(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        answers.append(message.content)
    return {"called": called, "answers": answers}


@case
def schema():
    asked = [{"role": "user", "content": PERSON}]
    completion = litellm.completion(**server, messages=asked, response_format=Person)
    return {"person": Person.model_validate_json(completion.choices[0].message.content).model_dump()}


@case
def responses():
    first = litellm.responses(**server, input=FIRST)
    second = litellm.responses(**server, input=SECOND, previous_response_id=first.id)
    answers = [response.output[0].content[0].text for response in (first, second)]
    return {"answers": answers, "prompt_tokens": [first.usage.input_tokens, second.usage.input_tokens]}


main()
