// Memory of the devices and of the KV cache, each as a bar that adds up.

import { updateBar, updateLegend } from "./bar.js";
import { byId, element, keyed, setText } from "./dom.js";
import { bytes, count, percent } from "./format.js";

const OWNERS = {
  weights: "Weights",
  kv: "KV cache",
  recurrent: "Recurrent states",
  rollback: "Rollback planes",
  checkpoint: "Checkpoints",
  compute: "Compute",
  output: "Output",
  moe_cache: "Expert cache",
  lora: "LoRA adapters",
};
const NOT_OWNERS = new Set(["total", "free", "process", "untracked", "other"]);
const ROLES = {
  experts: "experts",
  attention: "attention",
  ffn: "feed-forward",
  recurrent: "recurrent layers",
  embedding: "embedding",
  output: "output",
  norm: "norms",
  other: "other",
};
const SMALL = 0.2; // of a device: then what the server holds gets a bar of its own
const N_TONES = 8;

export function slotTone(slot) {
  return `slot-${slot % N_TONES}`;
}

export function updateDevices(devices) {
  const list = byId("devices");
  list.querySelector(":scope > .empty")?.remove();
  keyed(list, devices, (device) => device.name, makeDevice, updateDevice);
}

function makeDevice(device) {
  return element(
    "article",
    { class: "device", "aria-label": `Memory of ${device.name}` },
    element("h3", {}, device.name, " ", element("small", {}, device.description || "")),
    element("p", { class: "sum" }),
    element("div", { class: "bar" }),
    element("p", { class: "fine magnified" }),
    element("div", { class: "bar magnified" }),
    element("dl", { class: "legend" }),
    element("details", {}, element("summary", {}, "Weights by role"), element("dl", { class: "legend roles" })),
  );
}

function updateDevice(article, device) {
  const [, sum, bar, caption, magnified, legend, details] = article.children;
  const held = owners(device);
  const ours = sumOf(held);
  const parts = [...held, ...others(device, ours)];
  const total = Math.max(device.total_bytes, sumOf(parts));
  setText(sum, `${bytes(ours)} of ${bytes(total)} (${percent(ours, total)}) held by this server, ${bytes(parts.at(-1).bytes)} free`);
  updateBar(bar, parts, `${device.name}: ${sum.textContent}. The list below has all parts.`);
  caption.hidden = magnified.hidden = !ours || ours > SMALL * total;
  setText(caption, `The ${bytes(ours)} of this server, magnified`);
  updateBar(magnified, held, `${caption.textContent}. The list below has all parts.`);
  updateLegend(legend, parts, total);
  updateRoles(details, device);
}

// What the server holds, kinds that this page does not know too.
function owners(device) {
  const names = Object.keys(device)
    .filter((field) => field.endsWith("_bytes"))
    .map((field) => field.slice(0, -"_bytes".length));
  const known = Object.keys(OWNERS);
  const rest = names.filter((name) => !(name in OWNERS) && !NOT_OWNERS.has(name));
  return [...known, ...rest].map((name) => ({
    key: name,
    name: OWNERS[name] || name.replaceAll("_", " "),
    bytes: device[`${name}_bytes`] ?? 0,
    tone: name in OWNERS ? name : "unknown",
  }));
}

// What has no owner here, what others hold, and the rest: with what is held, the whole device.
function others(device, ours) {
  const untracked = device.untracked_bytes ?? 0;
  const used = Math.max(device.total_bytes - device.free_bytes, ours + untracked);
  const programs = used - ours - untracked;
  const free = Math.max(0, device.total_bytes - used);
  const isAll = device.process_bytes === null; // the driver does not tell programs apart
  return [
    part("untracked", isAll ? "Untracked, and other programs" : "Untracked", untracked),
    part("programs", "Other programs", programs),
    part("free", "Free", free),
  ];
}

function part(key, name, n) {
  return { key, name, bytes: n, tone: key };
}

function updateRoles(details, device) {
  const roles = Object.entries(device.weights ?? {}).filter(([, n]) => n > 0);
  details.hidden = !roles.length;
  const parts = roles.map(([role, n]) => ({ key: role, name: ROLES[role] || role, bytes: n, tone: "weights" }));
  updateLegend(details.lastElementChild, parts, device.weights_bytes);
}

// ---------------------------------------------------------------- KV cache

export function updateCells(kv, clients) {
  const total = kv.n_cells * kv.cell_bytes;
  byId("kv").hidden = !total;
  if (!total) return;
  const parts = cellParts(kv, clients, total);
  setText(byId("kv-size"), `${bytes(total)}, ${count(kv.n_cells)} cells of ${bytes(kv.cell_bytes)}`);
  const used = total - parts.at(-1).bytes;
  const [bar, legend] = kvNodes();
  updateBar(bar, parts, `KV cache: ${bytes(used)} of ${bytes(total)} in use. The list below has all parts.`);
  updateLegend(legend, parts, total);
  const promised = `${count(kv.n_cells_reserved)} of ${count(kv.n_cells)} cells`;
  setText(byId("kv-text"), `Requests that run have or may still take ${promised} (${percent(kv.n_cells_reserved, kv.n_cells)}).`);
}

function kvNodes() {
  const parent = byId("kv-bar");
  if (!parent.firstElementChild) {
    parent.append(element("div", { class: "bar" }), element("dl", { class: "legend" }));
  }
  return parent.children;
}

// Each running client's share, what they share with kept prefixes, what those hold, and the rest.
function cellParts(kv, clients, total) {
  const running = clients.filter((client) => client.slot !== null);
  const shares = running
    .map((client) => ({
      key: `slot-${client.slot}`,
      name: `Slot ${client.slot}`,
      short: String(client.slot),
      bytes: (client.kv_private_bytes ?? client.kv_bytes) + (client.kv_shared_bytes ?? 0),
      tone: slotTone(client.slot),
      slot: client.slot,
    }))
    .sort((a, b) => a.slot - b.slot);
  const held = sumOf(shares);
  const clientBytes = Math.max(kv.clients_bytes ?? 0, held);
  const kept = kv.kept_bytes ?? 0;
  return [
    ...shares,
    part("both", "Shared with kept prefixes", clientBytes - held),
    part("kept", "Kept prefixes", kept),
    part("free", "Free", Math.max(0, total - clientBytes - kept)),
  ];
}

function sumOf(parts) {
  return parts.reduce((sum, one) => sum + one.bytes, 0);
}
