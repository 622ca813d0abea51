// What scene.py is to the programs in Python.

export const BASE_URL = process.argv[2];
export const MODEL = "pagoda-tiny";
export const KEY = "unused";
export const QUESTIONS = ["What is the capital of Norway?", "What is the capital of Chile?"];
export const WEATHER_QUESTIONS = ["What is the weather in Paris?", "And in Rome?"];
export const PERSON = "John Doe is 30 years old.";
export const STORY = "Tell me a short story about a fox.";
const WEATHER = { Paris: { temperature: -3, condition: "stormy" }, Rome: { temperature: 31, condition: "windy" } };

export const called = [];

export function getWeather({ city }) {
  called.push(city);
  return JSON.stringify(WEATHER[city] ?? { error: "unknown city" });
}

/** Runs the cases in their order and prints what each returns; one that fails is told, and the others run on. */
export async function main(cases) {
  for (const [name, run] of Object.entries(cases)) {
    called.length = 0;
    let got;
    try {
      got = await run();
    } catch (error) {
      got = { error: `${error.stack}\n${error.responseBody ?? ""}` };
    }
    console.log(JSON.stringify({ case: name, ...got }));
  }
}
