/** Where sats can be sent to, from what somebody typed or pasted. */

export type Place = { invoice: string } | { lightningAddress: string } | { lnurl: string };

const INVOICE = /^(?:lightning:)?(ln(?:bcrt|bc|tbs|tb|sb)[0-9a-z]+)$/i;
const LNURL = /^(?:lightning:)?(lnurl1[0-9a-z]+|lnurlp:\S+)$/i; // LUD-01, LUD-17; whether it is any good is for the server to say
const ADDRESS = /^[^\s@]+@[^\s@]+$/;

/** Null: it is none of these. */
export function place(text: string): Place | null {
  const given = text.trim();
  const invoice = INVOICE.exec(given)?.[1];
  if (invoice) return { invoice: invoice.toLowerCase() };
  const lnurl = LNURL.exec(given)?.[1];
  if (lnurl) return { lnurl };
  return ADDRESS.test(given) ? { lightningAddress: given } : null;
}
