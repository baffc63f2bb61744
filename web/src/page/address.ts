/** Where the server is: wherever this page came from, at any domain and under any prefix. */

export const at = (path: string): URL => new URL(path, document.baseURI);

export function socketAddress(): string {
  const url = at("api/ws");
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}
