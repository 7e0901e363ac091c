// The page: reports come in, figures change; what is wrong is said in one place.

import { Activity, updatePrefixes } from "./activity.js";
import { ask, key } from "./api.js";
import { Chat } from "./chat.js";
import { byId, setAttribute, setText } from "./dom.js";
import { Experts } from "./experts.js";
import { sentence } from "./format.js";
import { updateCaches, updateDevices } from "./memory.js";
import { Slots } from "./slots.js";
import { Watch } from "./watch.js";

const NAMES = {
  connecting: "Connecting",
  live: "Live",
  silent: "Waiting",
  starting: "Engine not ready",
  lost: "Disconnected",
  key: "Key needed",
  paused: "Paused",
};

let state = "";
let reportedAt = null;
let uptime = 0;
let props = null;

const activity = new Activity();
const experts = new Experts();
const slots = new Slots();
const watch = new Watch(onReport, onState);
new Chat(announce, askForKey);

function announce(text) {
  setText(byId("announcer"), text);
}

// ---------------------------------------------------------------- reports

async function onReport(report) {
  if (!props) await readProps();
  reportedAt = new Date();
  if (report.activity.uptime_s < uptime) announce("The engine was restarted.");
  uptime = report.activity.uptime_s;
  const generates = !props?.engine?.embeddings;
  const nSlots = props?.total_slots ?? 0;
  activity.update(report.activity, nSlots);
  updateDevices(report.devices);
  updateCaches(report);
  slots.update(report.clients, generates ? nSlots : 0, uptime);
  if (generates) updatePrefixes(report.prefixes);
  experts.update(report.experts, uptime);
}

async function readProps() {
  try {
    props = await (await ask("props")).json();
  } catch {
    return; // the next report tries again
  }
  const about = [props.model_ftype, props.engine?.description].filter(Boolean).join(", ");
  setText(byId("model"), props.model_alias);
  byId("model").title = `${props.model_path}${about ? ` (${about})` : ""}`;
  document.title = `${props.model_alias} · pannier`;
  byId("chat").hidden = Boolean(props.engine?.embeddings);
  document.body.classList.toggle("alone", byId("chat").hidden);
}

// ---------------------------------------------------------------- state

function onState(next, text, message = "") {
  const changed = next !== state;
  if (changed && next === "connecting") props = null;
  state = next;
  setAttribute(byId("connection"), "data-state", next);
  setText(byId("connection-text"), next === "live" ? "Live" : next === "silent" || next === "lost" ? text : NAMES[next]);
  byId("retry").hidden = next !== "lost";
  byId("figures").classList.toggle("stale", next !== "live" && next !== "connecting");
  if (next === "lost") props = null;
  const notice = noticeOf(next, text, message);
  byId("notice").hidden = !notice;
  setText(byId("notice-text"), notice);
  setAttribute(byId("notice"), "data-tone", next === "silent" || next === "paused" ? "calm" : "bad");
  if (next === "key") askForKey();
  else byId("key-form").hidden = true;
  if (changed) announce(notice || NAMES[next]);
}

function noticeOf(state, text, message) {
  const asOf = reportedAt ? ` The figures are those of ${reportedAt.toLocaleTimeString()}.` : "";
  if (state === "lost") return `${sentence(message || "the server does not answer")}${asOf}`;
  if (state === "starting") return `${sentence(text)}${asOf}`;
  if (state === "silent") return `The engine is busy with a long step.${asOf}`;
  return "";
}

// ---------------------------------------------------------------- key

function askForKey() {
  const form = byId("key-form");
  if (!form.hidden) return;
  setText(byId("key-hint"), key.value ? "The server does not take the key that was given." : "It stays in this tab until you close it.");
  form.hidden = false;
  byId("key").focus();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.value = byId("key").value.trim();
  byId("key").value = "";
  byId("key-form").hidden = true;
  watch.again();
  byId("message").focus();
});
byId("retry").addEventListener("click", () => watch.again());

watch.run();
