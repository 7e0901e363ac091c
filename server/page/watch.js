// Listens to /memory/stream for as long as the page is open, and says how that goes.

import { ApiError, ask, events } from "./api.js";

const INTERVAL_MS = 1000;
const DOUBT_MS = 2200;
const SILENCE_MS = 4500;
const LONGEST_PAUSE_S = 15;

// `onReport` gets each report; `onState` a state and a text: connecting, live, silent, starting,
// lost, key, paused. `live` means that reports come.
export class Watch {
  constructor(onReport, onState) {
    this.onReport = onReport;
    this.onState = onState;
    this.heardAt = 0;
    this.nFailures = 0;
    this.wake = () => {};
    this.waitsForKey = false;
  }

  // Never ends.
  async run() {
    document.addEventListener("visibilitychange", () => this.changeVisibility());
    for (;;) {
      if (document.hidden) await this.pause();
      await this.listen().catch((error) => this.recover(error));
    }
  }

  // Try again now, with another key perhaps.
  again() {
    this.waitsForKey = false;
    this.wake();
  }

  async listen() {
    this.aborter = new AbortController();
    this.heardAt = performance.now();
    const guard = setInterval(() => this.checkSilence(), INTERVAL_MS);
    try {
      const path = `memory/stream?interval=${INTERVAL_MS}`;
      const response = await ask(path, { signal: this.aborter.signal });
      for await (const report of events(response)) {
        this.heardAt = performance.now();
        this.nFailures = 0;
        this.onState("live", "Live");
        this.onReport(report);
      }
      throw new TypeError("the stream ended");
    } finally {
      clearInterval(guard);
    }
  }

  // Nothing came for a while: is the engine at a long step, is it restarted, or is nobody there?
  async checkSilence() {
    const silence = performance.now() - this.heardAt;
    if (silence < DOUBT_MS || this.asking) return;
    this.asking = true;
    try {
      await ask("health", { signal: AbortSignal.timeout(5000) });
      if (performance.now() - this.heardAt > SILENCE_MS) {
        this.onState("silent", `No news for ${Math.round(silence / 1000)} s`);
      }
    } catch (error) {
      if (error instanceof ApiError) this.onState("starting", error.message);
      else this.aborter.abort(error);
    } finally {
      this.asking = false;
    }
  }

  async recover(error) {
    if (document.hidden) return;
    if (error instanceof ApiError && error.status === 401) {
      this.waitsForKey = true;
      this.onState("key", error.message);
      while (this.waitsForKey) await this.sleep(3600);
      this.onState("connecting", "Connecting");
    } else if (error instanceof ApiError && error.status === 503) {
      this.onState("starting", error.message);
      await this.sleep(1);
    } else {
      await this.countDown(error instanceof ApiError ? error.message : "");
    }
  }

  async countDown(message) {
    this.nFailures += 1;
    const longest = Math.min(LONGEST_PAUSE_S, 2 ** (this.nFailures - 1));
    const until = performance.now() + 1000 * longest * (0.8 + 0.4 * Math.random());
    let left = longest;
    for (; left > 0.05 && !document.hidden; left = (until - performance.now()) / 1000) {
      this.onState("lost", `Trying again in ${Math.ceil(left)} s`, message);
      if (await this.sleep(Math.min(1, left))) return;
    }
  }

  // Resolves to true if it was woken.
  sleep(seconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), 1000 * seconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  // Nobody looks: the engine is not asked.
  changeVisibility() {
    if (document.hidden) this.aborter?.abort();
    if (!this.waitsForKey) this.wake();
  }

  async pause() {
    this.onState("paused", "Paused");
    while (document.hidden) await this.sleep(3600);
    this.onState("connecting", "Connecting");
  }
}
