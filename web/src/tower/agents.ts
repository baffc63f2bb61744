/** The helpers as a list: the same as in the scene, in words. */

import { h, need } from "../page/dom";
import type { AgentId, AgentState } from "./messages";

const SINCE_AFTER_MS = 3_000; // shorter work is not worth a figure

interface Row {
  item: HTMLElement;
  doing: HTMLElement;
  since: number;
  text: string;
}

export class Agents {
  private readonly rows = new Map<AgentId, Row>();

  constructor() {
    for (const item of need("#agents").querySelectorAll<HTMLElement>("li")) {
      const doing = h("small", {}, "…");
      item.append(doing);
      this.rows.set(item.dataset.agent as AgentId, { item, doing, since: Date.now(), text: "" });
    }
    window.setInterval(() => this.tick(), 1_000);
  }

  show(agentId: AgentId, state: AgentState, doing: string, since: string): void {
    const row = this.rows.get(agentId);
    if (!row) return;
    row.item.dataset.state = state === "idle" ? "idle" : "busy";
    row.since = Date.parse(since);
    row.text = doing || state;
    row.doing.textContent = row.text;
    row.item.title = row.text;
  }

  private tick(): void {
    for (const row of this.rows.values()) {
      const been = Date.now() - row.since;
      if (row.item.dataset.state === "busy" && been > SINCE_AFTER_MS) row.doing.textContent = `${row.text}, ${Math.floor(been / 1000)} s`;
    }
  }
}
