// One row for each slot: who is there, how far, how fast, and what it holds.

import { byId, element, keyed, setAttribute, setText } from "./dom.js";
import { bytes, count, exactBytes, percent, plural, rate } from "./format.js";
import { slotTone } from "./memory.js";
import { Rate } from "./rates.js";

const MOST_IDLE = 8; // rows; the others are counted
const N_COLUMNS = 10;

export class Slots {
  rates = new Map(); // by request

  update(clients, nSlots, seconds) {
    byId("slots").hidden = !nSlots;
    const bySlot = new Map(clients.filter((one) => one.slot !== null).map((one) => [one.slot, one]));
    this.noteRates([...bySlot.values()], seconds);
    const idle = Array.from({ length: nSlots }, (_, slot) => slot).filter((slot) => !bySlot.has(slot));
    const shown = [...bySlot.keys(), ...idle.slice(0, MOST_IDLE)].sort((a, b) => a - b);
    const rows = shown.map((slot) => ({ slot, client: bySlot.get(slot) }));
    if (idle.length > MOST_IDLE) rows.push({ slot: "rest", n: idle.length - MOST_IDLE });
    setText(byId("slots-text"), `${bySlot.size} of ${nSlots} at work`);
    keyed(byId("slot-rows"), rows, (row) => row.slot, makeRow, (node, row) => this.updateRow(node, row));
  }

  noteRates(clients, seconds) {
    const before = this.rates;
    this.rates = new Map();
    for (const client of clients) {
      const rates = before.get(client.id) || { prompt: new Rate(), answer: new Rate() };
      rates.prompt.note(seconds, Math.min(client.n_computed, client.n_prompt));
      rates.answer.note(seconds, client.n_generated);
      this.rates.set(client.id, rates);
    }
  }

  updateRow(row, { slot, client, n }) {
    if (slot === "rest") {
      setText(row.firstElementChild, `and ${plural(n, "more idle slot")}`);
      return;
    }
    setAttribute(row, "data-state", client ? client.state : "idle");
    const cells = client ? this.cells(client) : [["idle"], ...Array(N_COLUMNS - 2).fill([""])];
    for (const [i, [text, title]] of cells.entries()) {
      const cell = row.children[i + 1];
      setText(cell, text);
      if (cell.title !== (title || "")) cell.title = title || "";
    }
  }

  cells(client) {
    const rates = this.rates.get(client.id);
    const isPrompt = client.state === "prompt";
    const speed = (isPrompt ? rates.prompt : rates.answer).perSecond;
    const own = client.n_cells - client.n_cells_shared;
    return [
      [isPrompt ? `prompt ${percent(client.n_computed, client.n_prompt)}` : "answering"],
      [client.client || "–", client.client || ""],
      [prompt(client)],
      [count(client.n_generated)],
      [rate(speed)],
      [`${count(own)} + ${count(client.n_cells_shared)}`, `${count(client.n_cells_reserved)} cells reserved`],
      size(client.now_bytes),
      size(client.peak_bytes),
      size(client.reserved_bytes),
    ];
  }
}

function prompt(client) {
  return client.n_reused ? `${count(client.n_prompt)} (${count(client.n_reused)} cached)` : count(client.n_prompt);
}

function size(n) {
  return [bytes(n), exactBytes(n)];
}

function makeRow({ slot }) {
  if (slot === "rest") return element("tr", {}, element("td", { colSpan: N_COLUMNS, class: "fine" }));
  const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
  const head = element("th", { scope: "row", "data-tone": slotTone(slot) }, swatch, String(slot));
  const cells = Array.from({ length: N_COLUMNS - 1 }, (_, i) => element("td", i < 2 ? {} : { class: "number" }));
  cells[1].classList.add("client");
  return element("tr", {}, head, ...cells);
}
