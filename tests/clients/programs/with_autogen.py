"""AutoGen: an assistant that keeps its own context, its stream, its loop over tools, and an answer of a type."""

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ModelClientStreamingChunkEvent, StructuredMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient
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

INFO = {"vision": False, "function_calling": True, "json_output": True, "structured_output": True, "family": "unknown"}


class Person(BaseModel):
    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


def build_client():
    return OpenAIChatCompletionClient(model=MODEL, base_url=BASE_URL, api_key=KEY, temperature=0, model_info=INFO)


def build_agent(**more):
    return AssistantAgent("assistant", model_client=build_client(), system_message=None, **more)


@case
async def two_turns():
    agent = build_agent()
    results = [await agent.run(task=question) for question in (FIRST, SECOND)]
    last = [result.messages[-1] for result in results]
    prompts = [message.models_usage.prompt_tokens for message in last]
    return {"answers": [message.content for message in last], "prompt_tokens": prompts}


@case
async def streaming():
    pieces, whole = [], None
    async for event in build_agent(model_client_stream=True).run_stream(task=STORY):
        if isinstance(event, ModelClientStreamingChunkEvent):
            pieces.append(event.content)
        else:
            whole = event
    return {"pieces": pieces, "whole": whole.messages[-1].content}


@case
async def tools():
    agent = build_agent(tools=[get_weather], reflect_on_tool_use=True, max_tool_iterations=3)
    results = [await agent.run(task=question) for question in (WEATHER_FIRST, WEATHER_SECOND)]
    return {"called": called, "answers": [result.messages[-1].content for result in results]}


@case
async def schema():
    message = (await build_agent(output_content_type=Person).run(task=PERSON)).messages[-1]
    assert isinstance(message, StructuredMessage)
    return {"person": message.content.model_dump()}


main()
