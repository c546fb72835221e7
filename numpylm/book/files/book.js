"use strict";
// Search, and opening what an address points into. ENTRIES: [kind, name, address, words].

document.addEventListener("DOMContentLoaded", () => {
  const field = document.getElementById("search");
  const found = document.getElementById("found");
  const texts = ENTRIES.map(([kind, name, , words]) => [
    name.toLowerCase(), `${kind} ${name} ${words}`.toLowerCase(),
  ]);
  field.disabled = false;

  // Every word must occur; names before words, a name that begins so before others.
  function search(query) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return [];
    const scored = [];
    texts.forEach(([name, text], n) => {
      if (!words.every((word) => text.includes(word))) return;
      const parts = name.split(/[\s._]+/);
      const score = words.reduce((sum, word) => sum
        + (parts[0] === word ? 8 : 0) + (parts.includes(word) ? 4 : 0)
        + (name.startsWith(word) ? 2 : 0) + (name.includes(word) ? 1 : 0),
      ENTRIES[n][0] === "formula" ? 16 : 0);
      scored.push([-score, n]);
    });
    scored.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
    return scored.slice(0, 30).map(([, n]) => ENTRIES[n]);
  }

  function show() {
    found.replaceChildren();
    found.hidden = !field.value.trim();
    if (found.hidden) return;
    const list = document.createElement("ul");
    for (const [kind, name, address] of search(field.value)) {
      const link = document.createElement("a");
      link.href = address;
      link.textContent = name;
      const what = document.createElement("small");
      what.textContent = ` ${kind}`;
      const item = document.createElement("li");
      item.append(link, what);
      list.append(item);
    }
    found.append(list.children.length ? list : "Nothing has all of these words.");
  }

  function close() {
    found.hidden = true;
  }

  field.addEventListener("input", show);
  field.addEventListener("focus", show);
  field.form.addEventListener("submit", (event) => {
    event.preventDefault();
    found.querySelector("a")?.click();
  });
  found.addEventListener("click", (event) => event.target.closest("a") && close());
  document.addEventListener("click", (event) => field.form.contains(event.target) || close());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !found.hidden) {
      field.focus();
      close();
    } else if (event.key === "/" && !event.target.closest("input, select, textarea")) {
      event.preventDefault();
      field.focus();
    }
  });

  // An address may point into something closed, such as a test.
  function open() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let place = target; place; place = place.parentElement) {
      if (place.tagName === "DETAILS") place.open = true;
    }
    target?.scrollIntoView();
  }
  window.addEventListener("hashchange", open);
  if (location.hash) open();

  // What is wider than its place can be moved by the keyboard too.
  function reach() {
    document.querySelectorAll("pre, .formula").forEach((part) => {
      if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    });
  }
  window.addEventListener("resize", reach);
  reach();

  // Paper shows everything.
  window.addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((details) => { details.open = true; });
  });
});
