// The values of one point over a window of time, for the plot: rising times, one value a step at most.

export class Series {
  times = []; // Unix ms
  values = []; // null: a gap
  #stepMs;
  #last;
  #sum = 0;
  #count = 0;

  /** `stepMs` 0: every value as it is; else the mean of each step, or (`last`) its last value: codes have no mean. */
  constructor(stepMs, last = false) {
    this.#stepMs = stepMs;
    this.#last = last;
  }

  /** What is not newer than the last is left out: history and the live stream overlap. */
  add(timeMs, value) {
    const step = this.#stepMs;
    const key = step ? Math.floor(timeMs / step) * step : timeMs;
    const last = this.times.at(-1) ?? -Infinity;
    if (key < last || (key === last && !step)) return;
    if (key > last) {
      this.times.push(key);
      this.values.push(value);
      this.#sum = value ?? 0;
      this.#count = value === null ? 0 : 1;
    } else if (value !== null) {
      this.#sum = this.#last ? value : this.#sum + value;
      this.#count = this.#last ? 1 : this.#count + 1;
      this.values[this.values.length - 1] = this.#sum / this.#count;
    }
  }

  forget(beforeMs) {
    let gone = 0;
    while (gone < this.times.length && this.times[gone] < beforeMs) gone += 1;
    if (gone) {
      this.times.splice(0, gone);
      this.values.splice(0, gone);
    }
  }
}
