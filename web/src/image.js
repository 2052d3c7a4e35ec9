// What is known now: every point, and the newest reading of each group.

export class Image {
  #points = new Map();
  #groups = new Set();
  #readings = new Map();
  skewMs = 0; // the agent's clock less this one

  /** All points, in the agent's order. */
  get points() {
    return [...this.#points.values()];
  }

  show(points) {
    this.#points = new Map(points.map((point) => [point.id, point]));
    this.#groups = new Set(points.map((point) => `${point.device} ${point.group}`));
  }

  clear() {
    this.#points.clear();
    this.#readings.clear();
  }

  welcome(message) {
    this.skewMs = message.time_ms - Date.now();
  }

  nowMs() {
    return Date.now() + this.skewMs;
  }

  /** The newest reading of each group. */
  get readings() {
    return [...this.#readings.values()];
  }

  /** Whether a reading is of a group that nobody has described yet: the site has changed. */
  strange(message) {
    return message.readings.some((reading) => !this.#groups.has(`${reading.device} ${reading.group}`));
  }

  take(message) {
    for (const reading of message.readings) {
      const key = `${reading.device} ${reading.group}`;
      const known = this.#readings.get(key);
      if (!known || reading.time_ms >= known.time_ms) this.#readings.set(key, reading);
    }
  }

  point(id) {
    return this.#points.get(id);
  }

  /** The value of a point; null if there is none. */
  value(id) {
    const point = this.#points.get(id);
    return (point && this.#readings.get(`${point.device} ${point.group}`)?.values[point.point]) ?? null;
  }
}
