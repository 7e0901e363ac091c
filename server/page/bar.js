// A stacked bar and the figures that it is made of. Parts: {key, name, bytes, tone, short}.

import { element, keyed, setAttribute, setText } from "./dom.js";
import { bytes, exactBytes, percent } from "./format.js";

// Parts without bytes are left out; `summary` is what a screen reader says of the bar.
export function updateBar(bar, parts, summary) {
  setAttribute(bar, "role", "img");
  setAttribute(bar, "aria-label", summary);
  const shown = parts.filter((part) => part.bytes > 0);
  keyed(bar, shown, (part) => part.key, makeSegment, updateSegment);
}

// The same as text, with the total at the end.
export function updateLegend(list, parts, total) {
  const shown = parts.filter((part) => part.bytes > 0);
  const rows = [...shown, { key: "total", name: "Total", bytes: total, tone: "total" }];
  keyed(list, rows, (part) => part.key, makeRow, (row, part) => updateRow(row, part, total));
}

function makeSegment(part) {
  return element("div", { class: "segment" }, element("span", {}, part.short || part.name));
}

function updateSegment(segment, part) {
  setAttribute(segment, "data-tone", part.tone);
  segment.style.flexGrow = String(part.bytes);
  const title = `${part.name}: ${bytes(part.bytes)}`;
  if (segment.title !== title) segment.title = title;
}

function makeRow() {
  const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
  const name = element("dt", {}, swatch, element("span"));
  return element("div", {}, name, element("dd"), element("dd", { class: "share" }));
}

function updateRow(row, part, total) {
  const [name, size, share] = row.children;
  setAttribute(row, "data-tone", part.tone);
  setAttribute(row, "data-bytes", String(part.bytes));
  setText(name.lastElementChild, part.name);
  setText(size, bytes(part.bytes));
  if (size.title !== exactBytes(part.bytes)) size.title = exactBytes(part.bytes);
  setText(share, part.key === "total" ? "" : percent(part.bytes, total));
}
