// Clients from npm that pay for what they get: run by tests/e2e/test_foreign_buyers.py in a folder that has them (mppx: by
// scripts/foreign_clients.py).
// They know nothing of Timmy. BASE_URL, MODEL and WALLET (which pays what it is given) stand in the environment, or URL for a job; the
// argument says which one buys. It asks twice. Says in one line of JSON what it has seen.
const url = process.env.URL ?? `${process.env.BASE_URL}/chat/completions`;
const chat = (text) => ({ model: process.env.MODEL, messages: [{ role: "user", content: text }] });
const body = (text) => (process.env.URL ? { request: text } : chat(text));
const saidIn = (shown) => shown.result ?? shown.choices?.[0].message.content ?? JSON.stringify(shown);
const asked = (text, headers = {}) => ({
  method: "POST",
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify(body(text)),
});
let payments = 0;

async function pay(invoice) {
  payments += 1;
  const answer = await fetch(process.env.WALLET, { method: "POST", body: invoice });
  return answer.text();
}

const wallet = { payInvoice: async ({ invoice }) => ({ preimage: await pay(invoice) }) };

async function told(answer) {
  const shown = await answer.json();
  return { status: answer.status, text: saidIn(shown) };
}

async function alby(which, name, headers) {
  const fetching = (await import(`@getalby/lightning-tools/${which}`))[name];
  const first = await fetching(url, asked("first", headers), { wallet });
  const second = await fetching(url, asked("second", headers), { wallet, credentials: first.payment?.credentials });
  return [await told(first), await told(second)];
}

async function sulu() {
  const { default: axios } = await import("axios");
  const { default: l402 } = await import("l402");
  const instance = axios.create({ headers: { "Content-Type": "application/json" } });
  const theirs = { payInvoice: async (invoice) => ({ success: true, preimage: await pay(invoice) }) };
  l402.setupL402Interceptor(instance, theirs, new l402.MemoryTokenStore());
  const seen = [];
  for (const text of ["first", "second"]) {
    const answer = await instance.post(url, body(text));
    seen.push({ status: answer.status, text: saidIn(answer.data) });
  }
  return seen;
}

async function mpp() {
  const { Credential, Method, Receipt } = await import("mppx");
  const { Mppx } = await import("mppx/client");
  const z = await import("zod/mini");
  const charge = Method.from({
    name: "lightning",
    intent: "charge",
    schema: { credential: { payload: z.object({ preimage: z.string() }) }, request: z.looseObject({ amount: z.string() }) },
  });
  const client = Method.toClient(charge, {
    async createCredential({ challenge }) {
      const preimage = await pay(challenge.request.methodDetails.invoice);
      return Credential.serialize({ challenge, payload: { preimage } });
    },
  });
  const { fetch: fetching } = Mppx.create({ methods: [client], polyfill: false });
  const seen = [];
  for (const text of ["first", "second"]) {
    const answer = await fetching(url, asked(text));
    seen.push({ ...(await told(answer)), receipt: Receipt.fromResponse(answer).status });
  }
  return seen;
}

const buyers = {
  "alby-l402": () => alby("402/l402", "fetchWithL402"),
  "alby-mpp": () => alby("402/mpp", "fetchWithMpp", { "Accept-Payment": "lightning/charge" }),
  "alby-402": () => alby("402", "fetch402"),
  l402: sulu,
  mppx: mpp,
};
const seen = await buyers[process.argv[2]]();
console.log(JSON.stringify({ seen, payments }));
