/** Keeps the page usable where drawing is slow: fewer pixels first, then fewer pictures. */

const LADDER = [2, 1.5, 1, 0.75, 0.5];
const LOOK_AT_FRAMES = 24;
const SLOW_FRAME_MS = 28;
const VERY_SLOW_FRAME_MS = 55;
const SLOW_PAUSE_MS = 240;
const SOFTWARE = /swiftshader|llvmpipe|basic render|softpipe|software/i;

export class Governor {
  private rung = 0;
  private times: number[] = [];
  private last = 0;
  isSlow = false;

  constructor(
    private readonly ratioMax: number,
    private readonly onRatio: (ratio: number) => void,
  ) {
    while (this.rung < LADDER.length - 1 && (LADDER[this.rung] ?? 1) >= ratioMax) this.rung++;
    if (this.rung > 0 && (LADDER[this.rung] ?? 1) < ratioMax) this.rung--;
  }

  get ratio(): number {
    return Math.min(this.ratioMax, LADDER[this.rung] ?? 1);
  }

  /** Whether this frame is to be drawn at all. */
  admits(now: number): boolean {
    return !this.isSlow || now - this.last >= SLOW_PAUSE_MS;
  }

  drawn(now: number): void {
    const took = now - this.last;
    const isFirst = this.last === 0;
    this.last = now;
    if (isFirst || this.isSlow) return;
    this.times.push(took);
    if (this.times.length < LOOK_AT_FRAMES) return;
    const median = this.times.sort((a, b) => a - b)[LOOK_AT_FRAMES / 2] ?? 0;
    this.times = [];
    if (median <= SLOW_FRAME_MS) return;
    if (this.rung < LADDER.length - 1) {
      this.rung++;
      this.onRatio(this.ratio);
    } else if (median > VERY_SLOW_FRAME_MS) this.isSlow = true;
  }

  /** After a pause: the time in between says nothing. */
  restart(): void {
    this.last = 0;
    this.times = [];
  }
}

/** Whether pictures are made by the processor: then the page draws only when something has happened. */
export function isSoftware(context: WebGL2RenderingContext): boolean {
  const names = context.getExtension("WEBGL_debug_renderer_info");
  return names !== null && SOFTWARE.test(String(context.getParameter(names.UNMASKED_RENDERER_WEBGL)));
}
