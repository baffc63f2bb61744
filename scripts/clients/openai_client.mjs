// What OpenAI's JavaScript SDK makes of a server: run by tests/e2e/test_openai_js.py in a folder that has it.
// It knows nothing of Timmy; BASE_URL, API_KEY and MODEL stand in its environment. Says in one line of JSON what it has seen.
import OpenAI from "openai";

const home = { baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, maxRetries: 0 };
const model = process.env.MODEL;
const messages = [{ role: "user", content: "Say something." }];
const client = new OpenAI(home);

async function streamed() {
  let text = "";
  let usage = null;
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } })) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  return { text, completion_tokens: usage.completion_tokens };
}

async function refused(changed, options = {}) {
  try {
    await new OpenAI({ ...home, ...options }).chat.completions.create({ model, messages, ...changed });
  } catch (error) {
    return error.constructor.name;
  }
  return "nothing";
}

async function retried() {
  let lost = 0;
  const losesTheFirst = async (url, init) => {
    const answer = await fetch(url, init);
    if (lost) return answer;
    lost += 1;
    await answer.text();
    throw new Error("lost on the way");
  };
  const patient = new OpenAI({ ...home, maxRetries: 2, fetch: losesTheFirst });
  const answer = await patient.chat.completions.create({ model, messages: [{ role: "user", content: "Say something once." }] });
  return { text: answer.choices[0].message.content, lost };
}

const whole = await client.chat.completions.create({ model, messages });
const models = [];
for await (const one of client.models.list()) models.push(one.id);
console.log(
  JSON.stringify({
    chat: { text: whole.choices[0].message.content, completion_tokens: whole.usage.completion_tokens },
    stream: await streamed(),
    models,
    unknown_model: await refused({ model: "gpt-9" }),
    bad_key: await refused({}, { apiKey: "sk-nonsense" }),
    bad_field: await refused({ service_tier: "priority" }),
    retry: await retried(),
  }),
);
