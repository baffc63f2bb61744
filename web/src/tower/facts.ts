/** What this server allows, asked once. */

import type { SiteFacts } from "../generated/api";
import { ask } from "../page/api";

let known: SiteFacts = { version: "", developmentRoutes: false, requestCharsMax: 500, sessionMinSats: 100, sessionMaxSats: 100_000 };

export const facts = (): SiteFacts => known;

/** Failing, the usual limits stay in place; the server holds its own anyway. */
export async function learnFacts(): Promise<void> {
  try {
    known = await ask<SiteFacts>("api/site");
  } catch (trouble) {
    console.warn(trouble);
  }
}
