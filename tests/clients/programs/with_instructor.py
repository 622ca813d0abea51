"""Instructor: a pydantic model by tool, which is its default, by schema, and while it is still being written."""

import instructor
from openai import OpenAI
from pydantic import BaseModel, ConfigDict, Field
from scene import BASE_URL, FIRST, KEY, MODEL, PERSON, SECOND, case, main

openai = OpenAI(base_url=BASE_URL, api_key=KEY)
ASKED = [{"role": "user", "content": PERSON}]


class Person(BaseModel):
    """A person's name and age."""

    model_config = ConfigDict(extra="forbid")  # else a model may go on with properties of its own, without end
    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


@case
def two_turns():
    client, messages, answers, prompts = instructor.from_openai(openai), [], [], []
    for question in (FIRST, SECOND):
        messages.append({"role": "user", "content": question})
        completion = client.chat.completions.create(model=MODEL, temperature=0, messages=messages, response_model=None)
        messages.append(completion.choices[0].message.model_dump(exclude_none=True))
        answers.append(completion.choices[0].message.content)
        prompts.append(completion.usage.prompt_tokens)
    return {"answers": answers, "prompt_tokens": prompts}


@case
def partials():
    client = instructor.from_openai(openai, mode=instructor.Mode.TOOLS)
    partials = list(
        client.chat.completions.create_partial(model=MODEL, temperature=0, messages=ASKED, response_model=Person)
    )
    return {"partials": [one.model_dump() for one in partials]}


@case
def schema():
    client = instructor.from_openai(openai, mode=instructor.Mode.JSON_SCHEMA)
    return {"person": client.create(model=MODEL, temperature=0, messages=ASKED, response_model=Person).model_dump()}


@case
def schema_by_tool():
    client = instructor.from_openai(openai)
    return {"person": client.create(model=MODEL, temperature=0, messages=ASKED, response_model=Person).model_dump()}


main()
