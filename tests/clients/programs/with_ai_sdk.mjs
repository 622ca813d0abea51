// Vercel's AI SDK, by its provider for servers of OpenAI's API: generateText with steps, streamText, Output.object.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import { BASE_URL, KEY, MODEL, PERSON, QUESTIONS, STORY, WEATHER_QUESTIONS, called, getWeather, main } from "./scene.mjs";

const options = { name: "pagoda", baseURL: BASE_URL, apiKey: KEY, supportsStructuredOutputs: true, includeUsage: true };
const model = createOpenAICompatible(options)(MODEL);
const Person = z.object({ name: z.string().max(20), age: z.number().int().min(0).max(120) });
const weather = tool({
  description: "Get the weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: getWeather,
});

async function converse(questions, more) {
  const messages = [], results = [];
  for (const content of questions) {
    messages.push({ role: "user", content });
    const result = await generateText({ model, temperature: 0, messages, ...more });
    messages.push(...result.response.messages);
    results.push(result);
  }
  return results;
}

await main({
  async two_turns() {
    const results = await converse(QUESTIONS, {});
    return { answers: results.map((one) => one.text), prompt_tokens: results.map((one) => one.usage.inputTokens) };
  },

  async streaming() {
    const result = streamText({ model, temperature: 0, prompt: STORY });
    const pieces = [];
    for await (const piece of result.textStream) pieces.push(piece);
    return { pieces, whole: await result.text };
  },

  async tools() {
    const results = await converse(WEATHER_QUESTIONS, { tools: { get_weather: weather }, stopWhen: isStepCount(5) });
    return { called, answers: results.map((one) => one.text) };
  },

  async schema() {
    const { output } = await generateText({ model, temperature: 0, prompt: PERSON, output: Output.object({ schema: Person }) });
    return { person: output };
  },
});
