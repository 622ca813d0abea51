"""OpenAI's client for Python: chat, helpers for pydantic models, Responses, and what is refused."""

import json

from openai import NotFoundError, OpenAI, pydantic_function_tool
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

client = OpenAI(base_url=BASE_URL, api_key=KEY)
TOOL = {"name": "get_weather", "description": "Get the weather in a city.", "parameters": CITY_SCHEMA}


class Person(BaseModel):
    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


@case
def two_turns():
    messages, answers, prompts = [], [], []
    for question in (FIRST, SECOND):
        messages.append({"role": "user", "content": question})
        completion = client.chat.completions.create(model=MODEL, temperature=0, messages=messages)
        messages.append(completion.choices[0].message)
        answers.append(completion.choices[0].message.content)
        prompts.append(completion.usage.prompt_tokens)
    return {"answers": answers, "prompt_tokens": prompts}


@case
def streaming():
    with client.chat.completions.stream(
        model=MODEL, temperature=0, messages=[{"role": "user", "content": STORY}]
    ) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta"]
        return {"pieces": pieces, "whole": stream.get_final_completion().choices[0].message.content}


@case
def tools():
    messages, answers = [], []
    for question in (WEATHER_FIRST, WEATHER_SECOND):
        messages.append({"role": "user", "content": question})
        while True:
            completion = client.chat.completions.create(
                model=MODEL, temperature=0, messages=messages, tools=[{"type": "function", "function": TOOL}]
            )
            message = completion.choices[0].message
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
    completion = client.chat.completions.parse(
        model=MODEL, temperature=0, messages=[{"role": "user", "content": PERSON}], response_format=Person
    )
    return {"person": completion.choices[0].message.parsed.model_dump()}


@case
def schema_by_tool():
    completion = client.chat.completions.parse(
        model=MODEL,
        temperature=0,
        messages=[{"role": "user", "content": PERSON}],
        tools=[pydantic_function_tool(Person)],
    )
    return {"person": completion.choices[0].message.tool_calls[0].function.parsed_arguments.model_dump()}


@case
def responses():
    first = client.responses.create(model=MODEL, temperature=0, input=FIRST)
    with client.responses.stream(model=MODEL, temperature=0, input=SECOND, previous_response_id=first.id) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        second = stream.get_final_response()
    return {
        "answers": [first.output_text, "".join(pieces)],
        "prompt_tokens": [first.usage.input_tokens, second.usage.input_tokens],
    }


@case
def responses_tools():
    answers, previous = [], None
    for question in (WEATHER_FIRST, WEATHER_SECOND):
        given = question
        while True:
            response = client.responses.create(
                model=MODEL,
                temperature=0,
                input=given,
                tools=[{"type": "function", **TOOL}],
                previous_response_id=previous,
            )
            previous = response.id
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                break
            given = [
                {
                    "type": "function_call_output",
                    "call_id": call.call_id,
                    "output": get_weather(**json.loads(call.arguments)),
                }
                for call in calls
            ]
        answers.append(response.output_text)
    return {"called": called, "answers": answers}


@case
def responses_schema():
    return {
        "person": client.responses.parse(
            model=MODEL, temperature=0, input=PERSON, text_format=Person
        ).output_parsed.model_dump()
    }


@case
def embeddings():
    try:
        client.embeddings.create(model=MODEL, input="a")
    except NotFoundError as error:
        return {"refused": error.message}
    return {}


main()
