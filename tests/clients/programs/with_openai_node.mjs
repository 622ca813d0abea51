// OpenAI's client for Node: chat, its runner of tools, its helper for zod schemas, Responses.

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { BASE_URL, KEY, MODEL, PERSON, QUESTIONS, STORY, WEATHER_QUESTIONS, called, getWeather, main } from "./scene.mjs";

const client = new OpenAI({ baseURL: BASE_URL, apiKey: KEY });
const Person = z.object({ name: z.string().max(20), age: z.number().int().min(0).max(120) });
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Get the weather in a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    parse: JSON.parse,
    function: getWeather,
  },
};

await main({
  async two_turns() {
    const messages = [], answers = [], prompts = [];
    for (const content of QUESTIONS) {
      messages.push({ role: "user", content });
      const completion = await client.chat.completions.create({ model: MODEL, temperature: 0, messages });
      messages.push(completion.choices[0].message);
      answers.push(completion.choices[0].message.content);
      prompts.push(completion.usage.prompt_tokens);
    }
    return { answers, prompt_tokens: prompts };
  },

  async streaming() {
    const stream = client.chat.completions.stream({ model: MODEL, temperature: 0, messages: [{ role: "user", content: STORY }] });
    const pieces = [];
    stream.on("content", (piece) => pieces.push(piece));
    return { whole: await stream.finalContent(), pieces };
  },

  async tools() {
    let messages = [];
    const answers = [];
    for (const content of WEATHER_QUESTIONS) {
      messages.push({ role: "user", content });
      const runner = client.chat.completions.runTools({ model: MODEL, temperature: 0, messages, tools: [weather] });
      answers.push(await runner.finalContent());
      messages = [...runner.messages];
    }
    return { called, answers };
  },

  async schema() {
    const completion = await client.chat.completions.parse({
      model: MODEL, temperature: 0,
      messages: [{ role: "user", content: PERSON }],
      response_format: zodResponseFormat(Person, "person"),
    });
    return { person: completion.choices[0].message.parsed };
  },

  async responses() {
    const first = await client.responses.create({ model: MODEL, temperature: 0, input: QUESTIONS[0] });
    const stream = client.responses.stream({ model: MODEL, temperature: 0, input: QUESTIONS[1], previous_response_id: first.id });
    let said = "";
    stream.on("response.output_text.delta", (event) => (said += event.delta));
    const second = await stream.finalResponse();
    return { answers: [first.output_text, said], prompt_tokens: [first, second].map((one) => one.usage.input_tokens) };
  },

  async embeddings() {
    try {
      await client.embeddings.create({ model: MODEL, input: "a" });
    } catch (error) {
      return { refused: error instanceof OpenAI.NotFoundError ? error.message : String(error) };
    }
    return {};
  },
});
