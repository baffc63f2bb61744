/** What this browser remembers. Storage may be forbidden, full or empty; then the page goes on without. */

type Where = "localStorage" | "sessionStorage";

export class Remembered {
  constructor(
    private readonly name: string,
    private readonly where: Where = "localStorage",
  ) {}

  get(): string | null {
    try {
      return window[this.where].getItem(this.name);
    } catch {
      return null;
    }
  }

  set(value: string | null): void {
    try {
      if (value === null) window[this.where].removeItem(this.name);
      else window[this.where].setItem(this.name, value);
    } catch {
      return; // remembered by nobody, and nothing depends on it
    }
  }
}

/** Several ids under one name, the newest last. */
export class Ids {
  constructor(private readonly where: Remembered) {}

  get all(): string[] {
    return (this.where.get() ?? "").split(" ").filter(Boolean);
  }

  has(id: string): boolean {
    return this.all.includes(id);
  }

  /** One that is kept already stays where it stands. */
  keep(id: string): void {
    if (!this.has(id)) this.write([...this.all, id].slice(-IDS_MAX));
  }

  drop(id: string): void {
    this.write(this.all.filter((other) => other !== id));
  }

  private write(ids: string[]): void {
    this.where.set(ids.length ? ids.join(" ") : null);
  }
}

const IDS_MAX = 20;

/** The job that is under way in this tab: found again after a reload. */
export const currentJob = new Remembered("timmy.job", "sessionStorage");
/** Jobs of this browser that go on, or whose end was not seen yet. Their ids are all that leads to them. */
export const ownJobs = new Remembered("timmy.jobs");
/** Jobs whose end was seen, and that something may still come back from: what was not taken yet, or a payment that arrives late. */
export const lateJobs = new Remembered("timmy.late");
/** Sessions that were put away while sats of theirs were owed, or could still arrive. */
export const lateSessions = new Remembered("timmy.lateSessions");
/** The session of this browser. Its id opens it: it is the visitor's money. */
export const currentSession = new Remembered("timmy.session");
/** A question that is paid from the balance, until its answer has been shown: asked again with the same key, it is answered and not paid again. */
export const openQuestion = new Remembered("timmy.question", "sessionStorage");
export const nostrToken = new Remembered("timmy.nostr", "sessionStorage");
export const refundAddress = new Remembered("timmy.refundTo");
export const without3d = new Remembered("timmy.no3d");
