"""LangChain: messages, `stream`, `bind_tools` with a loop, `with_structured_output` in its two ways, Responses."""

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
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

chat = ChatOpenAI(base_url=BASE_URL, api_key=KEY, model=MODEL, temperature=0)


class Person(BaseModel):
    """A person's name and age."""

    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


@case
def two_turns():
    messages, answers, prompts = [], [], []
    for question in (FIRST, SECOND):
        messages.append(HumanMessage(question))
        messages.append(chat.invoke(messages))
        answers.append(messages[-1].content)
        prompts.append(messages[-1].usage_metadata["input_tokens"])
    return {"answers": answers, "prompt_tokens": prompts}


@case
def streaming():
    chunks = list(chat.stream(STORY))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return {"pieces": [chunk.content for chunk in chunks], "whole": whole.content}


def ask_with_tools(model):
    weather = tool(get_weather)
    bound, messages, answers = model.bind_tools([weather]), [], []
    for question in (WEATHER_FIRST, WEATHER_SECOND):
        messages.append(HumanMessage(question))
        while True:
            messages.append(bound.invoke(messages))
            if not messages[-1].tool_calls:
                break
            messages += [weather.invoke(call) for call in messages[-1].tool_calls]
        answers.append(messages[-1].text)
    return {"called": called, "answers": answers}


@case
def tools():
    return ask_with_tools(chat)


@case
def schema():
    return {"person": chat.with_structured_output(Person, method="json_schema").invoke(PERSON).model_dump()}


@case
def schema_by_tool():
    return {"person": chat.with_structured_output(Person, method="function_calling").invoke(PERSON).model_dump()}


@case
def responses_tools():
    return ask_with_tools(
        ChatOpenAI(base_url=BASE_URL, api_key=KEY, model=MODEL, temperature=0, use_responses_api=True)
    )


main()
