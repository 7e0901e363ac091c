// A conversation with the model. It is kept in this page only.

import { ApiError, ask, events } from "./api.js";
import { byId, element, setText } from "./dom.js";
import { plural, rate, sentence } from "./format.js";

const NEAR_END = 48; // pixels: who reads further up is left there

export class Chat {
  constructor(announce, onUnauthorized) {
    this.announce = announce;
    this.onUnauthorized = onUnauthorized;
    this.messages = [];
    this.aborter = null;
    byId("chat-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    byId("message").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      byId("chat-form").requestSubmit();
    });
    byId("stop").addEventListener("click", () => this.aborter?.abort());
    byId("clear").addEventListener("click", () => this.clear());
  }

  async submit() {
    const text = byId("message").value;
    if (this.aborter || !text.trim()) return;
    byId("message").value = "";
    this.begin();
    const asked = this.show("user", text);
    const answer = this.show("assistant", "");
    try {
      await this.stream([...this.messages, { role: "user", content: text }], answer);
      this.remember(text, answer);
    } catch (error) {
      this.fail(error, text, asked, answer);
    } finally {
      this.end(answer);
    }
  }

  async stream(messages, answer) {
    const body = { messages, stream: true, ...settings() };
    const response = await ask("v1/chat/completions", { body, signal: this.aborter.signal });
    for await (const chunk of events(response)) {
      const choice = chunk.choices?.[0];
      if (choice?.delta.reasoning_content) this.think(answer, choice.delta.reasoning_content);
      if (choice?.delta.content) this.write(answer, choice.delta.content);
      if (choice?.finish_reason) answer.finish = choice.finish_reason;
      if (chunk.timings) answer.timings = chunk.timings;
    }
  }

  remember(text, answer) {
    this.messages.push({ role: "user", content: text }, { role: "assistant", content: answer.text.textContent });
    setText(answer.foot, footOf(answer));
    this.announce("The answer is complete.");
  }

  // A turn that failed leaves the conversation as it was, and the message where it can be sent
  // again; one that was stopped counts with what it has.
  fail(error, text, asked, answer) {
    const began = answer.text.textContent !== "" || answer.thoughts !== undefined;
    if (error.name === "AbortError" && answer.text.textContent) {
      this.remember(text, answer);
      setText(answer.foot, "Stopped.");
      return;
    }
    if (began) setText(answer.foot, "Broken off; it does not count as said.");
    else answer.node.remove();
    if (!began) asked.node.remove();
    if (!byId("message").value) byId("message").value = text;
    if (error.name === "AbortError") return;
    setText(byId("chat-error"), words(error));
    if (error.status === 401) this.onUnauthorized(error);
  }

  begin() {
    this.aborter = new AbortController();
    setText(byId("chat-error"), "");
    byId("no-messages").hidden = true;
    byId("send").hidden = true;
    byId("stop").hidden = false;
    byId("clear").disabled = true;
    if (document.activeElement === byId("send")) byId("stop").focus();
  }

  end(answer) {
    this.aborter = null;
    answer.node.removeAttribute("aria-busy");
    const hadFocus = document.activeElement === byId("stop");
    byId("send").hidden = false;
    byId("stop").hidden = true;
    byId("no-messages").hidden = byId("messages").querySelector("article") !== null;
    byId("clear").disabled = !byId("no-messages").hidden;
    if (hadFocus) byId("message").focus();
  }

  clear() {
    this.messages = [];
    for (const node of byId("messages").querySelectorAll("article")) node.remove();
    setText(byId("chat-error"), "");
    byId("no-messages").hidden = false;
    byId("clear").disabled = true;
    byId("message").focus();
    this.announce("A new chat.");
  }

  show(role, content) {
    const text = element("p", { class: "text" }, content);
    const foot = element("p", { class: "fine" });
    const name = role === "user" ? "You" : "Model";
    const node = element("article", { class: role, "aria-label": name }, element("h3", {}, name), text, foot);
    if (role === "assistant") node.setAttribute("aria-busy", "true");
    byId("messages").append(node);
    this.follow(true);
    return { node, text, foot };
  }

  write(answer, text) {
    const near = this.isNearEnd();
    answer.text.append(text);
    this.follow(near);
  }

  think(answer, text) {
    const near = this.isNearEnd();
    if (!answer.thoughts) {
      answer.thoughts = element("p", { class: "text" });
      const details = element("details", {}, element("summary", {}, "Reasoning"), answer.thoughts);
      answer.text.before(details);
    }
    answer.thoughts.append(text);
    this.follow(near);
  }

  isNearEnd() {
    const box = byId("messages");
    return box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;
  }

  follow(wanted) {
    const box = byId("messages");
    if (wanted) box.scrollTop = box.scrollHeight;
  }
}

function settings() {
  const chosen = {};
  const [temperature, maxTokens] = [byId("temperature").value, byId("max-tokens").value];
  if (temperature !== "") chosen.temperature = Number(temperature);
  if (maxTokens !== "") chosen.max_tokens = Number(maxTokens);
  return chosen;
}

function footOf({ timings, finish, text }) {
  const parts = [];
  if (timings) {
    parts.push(`${plural(timings.predicted_n, "token")}, ${rate(timings.predicted_per_second)} tokens/s`);
    parts.push(`prompt: ${timings.prompt_n} computed, ${timings.cache_n} cached`);
  }
  if (finish === "length") parts.push("cut: no more tokens were allowed");
  if (!text.textContent) parts.push("an empty answer");
  return parts.join(" · ");
}

function words(error) {
  if (!(error instanceof ApiError)) return "The server did not answer, or broke off. Is it running?";
  if (!error.retryAfter) return sentence(error.message);
  return `${sentence(error.message.replace(/; try again later$/, ""))} Try again in ${error.retryAfter} s.`;
}
