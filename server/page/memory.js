// Memory of the devices and of the caches, each as a bar that adds up.

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
  pool: "Backend's scratch memory",
};
const NOT_OWNERS = new Set(["total", "free", "process", "untracked"]);
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
  const rest = names.filter((name) => !(name in OWNERS) && !NOT_OWNERS.has(name));
  return [...Object.keys(OWNERS), ...rest].map((name) => ({
    key: name,
    name: OWNERS[name] || name.replaceAll("_", " "),
    bytes: device[`${name}_bytes`],
    tone: name in OWNERS ? name : "unknown",
  }));
}

// What has no owner here, what others hold, and the rest: with what is held, the whole device.
function others(device, ours) {
  const untracked = device.untracked_bytes;
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
  const roles = Object.entries(device.weights).filter(([, n]) => n > 0);
  details.hidden = !roles.length;
  const parts = roles.map(([role, n]) => ({ key: role, name: ROLES[role] || role, bytes: n, tone: "weights" }));
  updateLegend(details.lastElementChild, parts, device.weights_bytes);
}

// ---------------------------------------------------------------- caches

// Each running client's share, what kept prefixes hold, and what is nobody's.
export function updateCaches({ kv, states, clients }) {
  const running = clients.filter((client) => client.slot !== null).sort((a, b) => a.slot - b.slot);
  const shareOf = (bytesOf) => running.map((client) => share(client.slot, bytesOf(client)));
  const cells = shareOf((client) => client.kv_private_bytes + client.kv_shared_bytes);
  const ofStates = shareOf((client) => client.recurrent_bytes + client.rollback_bytes);
  const isAny = [updateCache("kv", "KV cache", cells, kv), updateCache("states", "Recurrent states", ofStates, states)];
  byId("caches").hidden = !isAny.includes(true);
  setText(byId("kv-cells"), `${count(kv.n_cells)} cells of ${bytes(kv.cell_bytes)}`);
  const promised = `${count(kv.n_cells_reserved)} of ${count(kv.n_cells)} cells`;
  setText(byId("kv-text"), `Requests that run have or may still take ${promised} (${percent(kv.n_cells_reserved, kv.n_cells)}).`);
}

function share(slot, n) {
  return { key: `slot-${slot}`, name: `Slot ${slot}`, short: String(slot), bytes: n, tone: slotTone(slot) };
}

function updateCache(id, name, shares, { kept_bytes, free_bytes }) {
  const parts = [...shares, part("kept", "Kept prefixes", kept_bytes), part("free", "Free", free_bytes)];
  const total = sumOf(parts);
  const [, bar, legend] = byId(id).children;
  byId(id).hidden = !total;
  updateBar(bar, parts, `${name}: ${bytes(total - free_bytes)} of ${bytes(total)} in use. The list below has all parts.`);
  updateLegend(legend, parts, total);
  return total > 0;
}

function sumOf(parts) {
  return parts.reduce((sum, one) => sum + one.bytes, 0);
}
