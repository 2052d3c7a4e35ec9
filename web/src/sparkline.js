// The last minutes of one point as a line; gaps where there was no value.

const WINDOW_MS = 180_000;
const FIRST_WINDOW_MS = 20_000;
const SAMPLE_MS = 1_000;

export class Sparkline {
  #canvas;
  #samples = []; // [time, value or null], one a second at most, oldest first
  low = null;
  high = null;

  constructor(canvas) {
    this.#canvas = canvas;
  }

  add(timeMs, value) {
    const last = this.#samples.at(-1);
    if (last && Math.floor(timeMs / SAMPLE_MS) === Math.floor(last[0] / SAMPLE_MS)) last[1] = value;
    else this.#samples.push([timeMs, value]);
    while (this.#samples[0][0] < timeMs - WINDOW_MS) this.#samples.shift();
  }

  draw(nowMs) {
    const canvas = this.#canvas;
    const scale = devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const values = this.#samples.filter((each) => each[1] !== null).map((each) => each[1]);
    if (values.length < 2) return;
    this.low = Math.min(...values);
    this.high = Math.max(...values);
    // Until the window is full, what there is fills the width.
    const windowMs = Math.min(WINDOW_MS, Math.max(FIRST_WINDOW_MS, nowMs - this.#samples[0][0]));
    const span = this.high - this.low || 1;
    const middle = this.high === this.low;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = 1.5;
    pen.lineJoin = "round";
    pen.beginPath();
    let down = false;
    for (const [timeMs, value] of this.#samples) {
      if (value === null) {
        down = false;
        continue;
      }
      const x = width - 2 - ((nowMs - timeMs) / windowMs) * (width - 4);
      const y = middle ? height / 2 : height - 3 - ((value - this.low) / span) * (height - 6);
      if (down) pen.lineTo(x, y);
      else pen.moveTo(x, y);
      down = true;
    }
    pen.stroke();
  }
}
