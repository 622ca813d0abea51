"""Haystack: a chat generator, its streaming callback, an Agent with a tool, a pydantic model as response format."""

from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import create_tool_from_function
from haystack.utils import Secret
from pydantic import BaseModel, Field
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


class Person(BaseModel):
    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


def build_generator(**more):
    key = Secret.from_token(KEY)
    return OpenAIChatGenerator(
        api_key=key, model=MODEL, api_base_url=BASE_URL, generation_kwargs={"temperature": 0, **more}
    )


@case
def two_turns():
    generator, messages, answers, prompts = build_generator(), [], [], []
    for question in (FIRST, SECOND):
        messages.append(ChatMessage.from_user(question))
        messages += generator.run(messages)["replies"]
        answers.append(messages[-1].text)
        prompts.append(messages[-1].meta["usage"]["prompt_tokens"])
    return {"answers": answers, "prompt_tokens": prompts}


@case
def streaming():
    chunks = []
    told = build_generator().run([ChatMessage.from_user(STORY)], streaming_callback=chunks.append)
    return {"pieces": [chunk.content for chunk in chunks], "whole": told["replies"][0].text}


@case
def tools():
    agent = Agent(chat_generator=build_generator(), tools=[create_tool_from_function(get_weather)])
    messages, answers = [], []
    for question in (WEATHER_FIRST, WEATHER_SECOND):
        messages = agent.run(messages=[*messages, ChatMessage.from_user(question)])["messages"]
        answers.append(messages[-1].text)
    return {"called": called, "answers": answers}


@case
def schema():
    told = build_generator(response_format=Person).run([ChatMessage.from_user(PERSON)])
    return {"person": Person.model_validate_json(told["replies"][0].text).model_dump()}


main()
