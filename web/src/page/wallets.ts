/** What extensions put into the page: a wallet (WebLN) and a Nostr key (NIP-07). Both may come late, and neither must be there. */

export interface WebLn {
  enable(): Promise<unknown>;
  sendPayment(paymentRequest: string): Promise<{ preimage: string }>;
  makeInvoice?(args: { amount: number; defaultMemo?: string }): Promise<{ paymentRequest: string }>;
}

export interface NostrEvent {
  kind: number;
  created_at: number;
  tags: string[][];
  content: string;
}

export interface Nostr {
  getPublicKey(): Promise<string>;
  signEvent(event: NostrEvent): Promise<Record<string, unknown>>;
}

declare global {
  interface Window {
    webln?: WebLn;
    nostr?: Nostr;
  }
}

const LOOK_EVERY_MS = 100;

/** The Nostr extension, waited for: many are put in after the page has loaded. */
export async function nostrExtension(patienceMs = 2_000): Promise<Nostr | null> {
  for (let waited = 0; waited <= patienceMs; waited += LOOK_EVERY_MS) {
    if (window.nostr) return window.nostr;
    await new Promise((wake) => setTimeout(wake, LOOK_EVERY_MS));
  }
  return null;
}
