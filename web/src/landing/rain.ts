/** Falling amber digits. They stop when nobody looks, and stand still for whoever wants less motion. */

const CELL_PX = 18;
const FRAME_MS = 1000 / 24;
const STILL_STEPS = 70;
const BRIGHT_ONE_IN = 18;
const AGAIN_ONE_IN = 40;

interface Drop {
  row: number;
  every: number; // in how many frames it falls by one: some are slower than others
}

export function rain(canvas: HTMLCanvasElement): void {
  const reduced = matchMedia("(prefers-reduced-motion: reduce)");
  const pen = canvas.getContext("2d", { alpha: false });
  if (pen === null) return;
  let drops: Drop[] = [];
  let frame = 0;
  let request = 0;
  let last = 0;

  function fit(): void {
    if (pen === null) return;
    const ratio = Math.min(devicePixelRatio, 1.5);
    canvas.width = innerWidth * ratio;
    canvas.height = innerHeight * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = `${CELL_PX - 3}px ui-monospace, "DejaVu Sans Mono", monospace`;
    pen.fillStyle = "#0b0805";
    pen.fillRect(0, 0, innerWidth, innerHeight);
    const rows = innerHeight / CELL_PX;
    drops = Array.from({ length: Math.ceil(innerWidth / CELL_PX) }, () => ({ row: Math.floor(-Math.random() * rows), every: 1 + Math.floor(Math.random() * 3) }));
  }

  function step(): void {
    if (pen === null) return;
    frame++;
    pen.fillStyle = "rgba(11,8,5,.1)";
    pen.fillRect(0, 0, innerWidth, innerHeight);
    drops.forEach((drop, column) => {
      if (frame % drop.every) return;
      pen.fillStyle = Math.random() * BRIGHT_ONE_IN < 1 ? "#fff2cc" : drop.every === 1 ? "#ffb000" : "#b87a1a";
      pen.fillText(String(Math.floor(Math.random() * 10)), column * CELL_PX, drop.row * CELL_PX);
      const below = drop.row * CELL_PX > innerHeight;
      drop.row = below && Math.random() * AGAIN_ONE_IN < 1 ? 0 : drop.row + 1;
    });
  }

  function loop(now: number): void {
    request = requestAnimationFrame(loop);
    if (now - last < FRAME_MS) return;
    last = now;
    step();
  }

  function begin(): void {
    cancelAnimationFrame(request);
    fit();
    for (let n = 0; n < STILL_STEPS; n++) step(); // it has been raining for a while
    if (!reduced.matches && !document.hidden) request = requestAnimationFrame(loop);
  }

  function pauseOrGoOn(): void {
    cancelAnimationFrame(request);
    if (!reduced.matches && !document.hidden) request = requestAnimationFrame(loop);
  }

  addEventListener("resize", begin);
  document.addEventListener("visibilitychange", pauseOrGoOn);
  reduced.addEventListener("change", begin);
  begin();
}
