"""LlamaIndex: a chat engine, its stream, a FunctionAgent with a context, `structured_predict`."""

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.prompts import PromptTemplate
from llama_index.core.workflow import Context
from llama_index.llms.openai_like import OpenAILike
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
    """A person's name and age."""

    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


def build_llm(**more):
    where = {"model": MODEL, "api_base": BASE_URL, "api_key": KEY}
    return OpenAILike(**where, is_chat_model=True, is_function_calling_model=True, temperature=0, **more)


@case
def two_turns():
    engine = SimpleChatEngine.from_defaults(llm=build_llm())
    return {"answers": [str(engine.chat(question)) for question in (FIRST, SECOND)]}


@case
def streaming():
    answer = SimpleChatEngine.from_defaults(llm=build_llm()).stream_chat(STORY)
    return {"pieces": list(answer.response_gen), "whole": answer.response}


@case
async def tools():
    agent = FunctionAgent(tools=[get_weather], llm=build_llm(), streaming=True)
    context = Context(agent)
    answers = [str(await agent.run(question, ctx=context)) for question in (WEATHER_FIRST, WEATHER_SECOND)]
    return {"called": called, "answers": answers}


@case
def schema():
    llm = build_llm(should_use_structured_outputs=True)
    return {"person": llm.structured_predict(Person, PromptTemplate(PERSON)).model_dump()}


@case
def schema_by_tool():
    return {"person": build_llm().structured_predict(Person, PromptTemplate(PERSON)).model_dump()}


main()
