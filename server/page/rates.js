// Speeds, from totals that only grow.

const WINDOW_S = 4;

export class Rate {
  samples = [];

  // The total at a time; a smaller one than before begins again.
  note(seconds, total) {
    const last = this.samples.at(-1);
    if (last && (seconds < last[0] || total < last[1])) this.samples = [];
    this.samples.push([seconds, total]);
    while (this.samples.length > 2 && seconds - this.samples[1][0] >= WINDOW_S) this.samples.shift();
    return this.perSecond;
  }

  // NaN until two totals are known.
  get perSecond() {
    if (this.samples.length < 2) return NaN;
    const [first, last] = [this.samples[0], this.samples.at(-1)];
    return (last[1] - first[1]) / (last[0] - first[0]);
  }
}
