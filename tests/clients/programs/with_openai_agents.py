"""OpenAI's Agents SDK: an agent with a session, on Responses, which is its default, and on chat completions."""

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
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

set_tracing_disabled(True)


class Person(BaseModel):
    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


def build_agent(kind=OpenAIResponsesModel, **more):
    client = AsyncOpenAI(base_url=BASE_URL, api_key=KEY)
    return Agent(
        name="Assistant",
        model=kind(model=MODEL, openai_client=client),
        model_settings=ModelSettings(temperature=0),
        **more,
    )


async def converse(agent, questions):
    session = SQLiteSession("one")
    results = [await Runner.run(agent, question, session=session) for question in questions]
    prompts = [result.context_wrapper.usage.input_tokens for result in results]
    return {"answers": [result.final_output for result in results], "prompt_tokens": prompts}


@case
async def two_turns():
    return await converse(build_agent(), (FIRST, SECOND))


@case
async def streaming():
    result = Runner.run_streamed(build_agent(), STORY)
    pieces = []
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            pieces.append(event.data.delta)
    return {"pieces": pieces, "whole": result.final_output}


async def ask_with_tools(kind):
    agent = build_agent(kind, tools=[function_tool(get_weather)])
    return {"called": called, **await converse(agent, (WEATHER_FIRST, WEATHER_SECOND))}


@case
async def tools():
    return await ask_with_tools(OpenAIChatCompletionsModel)


@case
async def responses_tools():
    return await ask_with_tools(OpenAIResponsesModel)


@case
async def schema():
    result = await Runner.run(build_agent(output_type=Person), PERSON)
    return {"person": result.final_output.model_dump()}


main()
