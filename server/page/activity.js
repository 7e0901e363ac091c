// Totals and speeds, what is kept of prompts and why they were computed again.

import { byId, element, keyed, setAttribute, setText } from "./dom.js";
import { bytes, count, duration, percent, plural, rate } from "./format.js";
import { Rate } from "./rates.js";

const REASONS = {
  "nothing shared": "No earlier prompt began like it.",
  drift: "Its text differs from what is kept from some token on: a date in the system prompt, thoughts that a template drops.",
  evicted: "It was kept, and had to make room: more --cache-ram, -c or --prefix-sequences would keep it.",
  "refused by the model's memory": "More of it is held, but a recurrent state cannot go back to there.",
};
const LAST_S = 20; // so long a refusal is pointed out

export class Activity {
  constructor() {
    this.answers = new Rate();
    this.prompts = new Rate();
    this.nRefused = new Rate();
    this.refusedAt = -Infinity;
  }

  update(activity, nSlots) {
    const now = activity.uptime_s;
    const before = this.nRefused.samples.at(-1)?.[1] ?? activity.n_refused;
    this.nRefused.note(now, activity.n_refused);
    if (activity.n_refused > before) this.refusedAt = now;
    if (now < this.refusedAt) this.refusedAt = -Infinity; // another engine
    setText(byId("uptime"), `engine up ${duration(now)}`);
    keyed(byId("tiles"), this.tiles(activity, nSlots, now), (tile) => tile.name, makeTile, updateTile);
    updateReasons(activity.reasons, activity.n_started);
  }

  tiles(activity, nSlots, now) {
    const { n_running, n_waiting, max_queue, n_cached_tokens, n_prompt_tokens } = activity;
    const nTokens = n_cached_tokens + n_prompt_tokens;
    const refused = now - this.refusedAt < LAST_S;
    return [
      { name: "Running", value: count(n_running), of: nSlots ? `of ${plural(nSlots, "slot")}` : "" },
      {
        name: "Waiting",
        value: count(n_waiting),
        of: max_queue ? `of at most ${count(max_queue)}` : "requests",
        warning: max_queue && n_waiting >= max_queue ? "The queue is full" : "",
      },
      {
        name: "Answers",
        value: rate(this.answers.note(now, activity.n_generated_tokens)),
        of: "tokens/s",
        more: `${plural(activity.n_generated_tokens, "token")} in all`,
      },
      {
        name: "Prompts",
        value: rate(this.prompts.note(now, n_prompt_tokens)),
        of: "tokens/s",
        more: `${plural(n_prompt_tokens, "token")} computed`,
      },
      {
        name: "Cache hits",
        value: nTokens ? percent(n_cached_tokens, nTokens) : "–",
        of: "of prompt tokens",
        more: `${count(activity.n_hits)} of ${plural(activity.n_started, "request")}`,
      },
      {
        name: "Requests",
        value: count(activity.n_finished),
        of: "finished",
        more: refused ? "" : `${count(activity.n_refused)} refused, ${count(activity.n_failed)} failed`,
        warning: refused ? `${count(activity.n_refused)} refused, ${count(activity.n_failed)} failed` : "",
      },
    ];
  }
}

export function makeTile(tile) {
  const figure = element("dd", {}, element("span", { class: "value" }), " ", element("span", { class: "of" }));
  return element("div", {}, element("dt", {}, tile.name), figure, element("dd", { class: "more" }));
}

export function updateTile(node, tile) {
  const [, figure, more] = node.children;
  setText(figure.firstElementChild, tile.value);
  setText(figure.lastElementChild, tile.of);
  setText(more, tile.warning ? `⚠ ${tile.warning}` : tile.more || "");
  setAttribute(node, "data-tone", tile.warning ? "warning" : "");
}

// ---------------------------------------------------------------- prefixes

export function updatePrefixes(prefixes) {
  byId("prefixes").hidden = false;
  updateFacts(byId("kept"), [
    ["On the devices", kept(prefixes.n_on_device, "sequence", prefixes.device_bytes)],
    ["In system memory", kept(prefixes.n_in_host_memory, "state", prefixes.host_bytes)],
    ["On disk", kept(prefixes.n_on_disk, "state", prefixes.disk_bytes)],
  ]);
}

function kept(n, what, size) {
  return n ? `${plural(n, what)}, ${bytes(size)}` : plural(n, what);
}

function updateReasons(reasons, nStarted) {
  const rows = Object.entries(reasons).sort((a, b) => b[1] - a[1]);
  byId("no-reasons").hidden = rows.length > 0;
  setText(byId("no-reasons"), nStarted ? "Every prompt went on from where a kept one ends." : "No prompt has come yet.");
  keyed(byId("reasons"), rows, ([reason]) => reason, makeReason, (row, [, n]) =>
    setText(row.lastElementChild, `${count(n)}×`),
  );
}

function makeReason([reason]) {
  const help = element("span", { class: "fine" }, REASONS[reason] || "");
  return element("div", {}, element("dt", {}, reason, help), element("dd"));
}

function updateFacts(list, rows) {
  const make = ([name]) => element("div", {}, element("dt", {}, name), element("dd"));
  keyed(list, rows, ([name]) => name, make, (row, [, value]) => setText(row.lastElementChild, value));
}
