"""Pydantic AI: an agent with a history, a streamed run, tools, and an output type by schema and by tool."""

from pydantic import BaseModel, Field
from pydantic_ai import Agent, ModelSettings, NativeOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
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

provider = OpenAIProvider(base_url=BASE_URL, api_key=KEY)
model = OpenAIChatModel(MODEL, provider=provider)
STEADY = ModelSettings(temperature=0)


class Person(BaseModel):
    """A person's name and age."""

    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


@case
async def two_turns():
    agent = Agent(model, model_settings=STEADY)
    first = await agent.run(FIRST)
    second = await agent.run(SECOND, message_history=first.all_messages())
    prompts = [result.usage.input_tokens for result in (first, second)]
    return {"answers": [first.output, second.output], "prompt_tokens": prompts}


@case
async def streaming():
    async with Agent(model, model_settings=STEADY).run_stream(STORY) as stream:
        pieces = [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]
        return {"pieces": pieces, "whole": await stream.get_output()}


async def ask_with_tools(model):
    agent = Agent(model, tools=[get_weather], model_settings=STEADY)
    first = await agent.run(WEATHER_FIRST)
    second = await agent.run(WEATHER_SECOND, message_history=first.all_messages())
    return {"called": called, "answers": [first.output, second.output]}


@case
async def tools():
    return await ask_with_tools(model)


@case
async def schema():
    return {
        "person": (
            await Agent(model, output_type=NativeOutput(Person), model_settings=STEADY).run(PERSON)
        ).output.model_dump()
    }


@case
async def schema_by_tool():
    return {"person": (await Agent(model, output_type=Person, model_settings=STEADY).run(PERSON)).output.model_dump()}


@case
async def responses_tools():
    return await ask_with_tools(OpenAIResponsesModel(MODEL, provider=provider))


@case
async def messages_tools():
    address = BASE_URL.removesuffix("/v1")
    return await ask_with_tools(AnthropicModel(MODEL, provider=AnthropicProvider(base_url=address, api_key=KEY)))


main()
