// Numbers as people read them.

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

export function bytes(n) {
  let unit = 0;
  while (n >= 1023.5 && unit < UNITS.length - 1) {
    n /= 1024;
    unit += 1;
  }
  return `${unit ? threeDigits(n) : Math.round(n)} ${UNITS[unit]}`;
}

export function exactBytes(n) {
  return `${count(Math.round(n))} bytes`;
}

export function count(n) {
  return n.toLocaleString("en");
}

export function rate(n) {
  if (Number.isNaN(n)) return "–";
  return n > 0 ? threeDigits(n) : "0";
}

export function percent(part, whole) {
  if (!(whole > 0) || !part) return "0 %";
  const share = (100 * part) / whole;
  return share < 0.1 ? "< 0.1 %" : share < 10 ? `${share.toFixed(1)} %` : `${Math.round(share)} %`;
}

export function duration(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

export function plural(n, word) {
  return `${count(n)} ${word}${n === 1 ? "" : "s"}`;
}

function threeDigits(n) {
  return n >= 99.95 ? count(Math.round(n)) : n >= 9.995 ? n.toFixed(1) : n.toFixed(2);
}

// Words of the server's as a sentence.
export function sentence(words) {
  const text = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
