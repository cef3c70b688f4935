"use strict";
// Text of documents goes through textContent alone, never through markup.

const SEEN_AS_CODE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** An id or a value as it can be read: what has no shape of its own is written as its code. */
function visible(text) {
  return String(text).replace(SEEN_AS_CODE, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

/** An element of a class, with children that are elements or text. */
function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A button that says what it does. */
function button(className, act, ...children) {
  const made = make("button", className, ...children);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

/** Where the n-th character of a text stands in UTF-16, which is what this language counts in. */
function inUtf16(text, n) {
  let at = 0;
  for (let i = 0; i < n && at < text.length; i++) at += text.codePointAt(at) > 0xffff ? 2 : 1;
  return at;
}

const ASTRAL = /[\ud800-\udbff]/;

/** The same for places in order, at one go; most texts have no character outside the basic plane. */
function placesInUtf16(text, places) {
  if (!ASTRAL.test(text)) return places.map((n) => Math.min(n, text.length));
  const order = places.map((n, i) => [n, i]).sort((a, b) => a[0] - b[0]);
  const found = new Array(places.length);
  let at = 0, reached = 0;
  for (const [n, i] of order) {
    at += inUtf16(text.slice(at), n - reached);
    reached = n;
    found[i] = at;
  }
  return found;
}

/** A value as a person reads it: the parts of an item beside each other. */
function readable(value) {
  if (!/^[[{]/.test(value)) return visible(value);
  try {
    const item = JSON.parse(value);
    const parts = Object.values(item).filter((part) => part !== null && part !== "");
    return visible(parts.map((part) => (typeof part === "object" ? JSON.stringify(part) : part)).join(" · "));
  } catch {
    return visible(value);
  }
}

function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}
