// The server's endpoints, with the key that it may ask for.

const BASE = new URL(".", document.baseURI);
const KEY_NAME = `pannier-key ${BASE.pathname}`;

export class ApiError extends Error {
  constructor(status, message, retryAfter = "") {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export const key = {
  get value() {
    return sessionStorage.getItem(KEY_NAME) || "";
  },
  set value(text) {
    if (text) sessionStorage.setItem(KEY_NAME, text);
    else sessionStorage.removeItem(KEY_NAME);
  },
};

// A response with status 200. Throws `ApiError` for others, and what fetch throws.
export async function ask(path, { body, signal } = {}) {
  const headers = key.value ? { Authorization: `Bearer ${asBytes(key.value)}` } : {};
  const options = { headers, signal, cache: "no-store", credentials: "omit" };
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  const response = await fetch(new URL(path, BASE), options);
  if (!response.ok) throw await errorOf(response);
  return response;
}

// The data of server-sent events, parsed. Throws `ApiError` for an event that is an error.
// EventSource would do this, but cannot send a key.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        if (!block.startsWith("data: ")) continue;
        const data = block.slice("data: ".length);
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw new ApiError(event.error.code, event.error.message);
        yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function errorOf(response) {
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error.message || message;
  } catch {
    // somebody between us and the server answered
  }
  return new ApiError(response.status, message, response.headers.get("Retry-After") || "");
}

// Headers take one byte for each character.
function asBytes(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
