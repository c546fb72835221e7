"use strict";
// The one-matrix model: forward and backward, as in attention_lm.py with context="last". Then the
// page around it. WALK: {examples, steps, limit}.

// ---- arithmetic -------------------------------------------------------------------------------

const dot = (a, b) => a.reduce((sum, x, n) => sum + x * b[n], 0);
const transpose = (a) => a[0].map((_, j) => a.map((row) => row[j]));
const times = (a, b) => a.map((row) => transpose(b).map((column) => dot(row, column)));
const added = (...tables) => tables[0].map((row, i) =>
  row.map((_, j) => tables.reduce((sum, table) => sum + table[i][j], 0)));
const zeros = (rows, columns) => Array.from({ length: rows }, () => Array(columns).fill(0));

function softmax(s) {
  const top = Math.max(...s);
  const raised = s.map((x) => Math.exp(x - top));
  const total = raised.reduce((sum, x) => sum + x, 0);
  return raised.map((x) => x / total);
}

// F1: each occurrence of a word adds to its row of dE.
function toTable(de, ids, V) {
  const table = zeros(V, de[0].length);
  ids.forEach((w, i) => de[i].forEach((x, r) => { table[w][r] += x; }));
  return table;
}

// Every array of the walk by its name: E (V, C), ids (T), y the word that follows.
function walk(E, ids, y) {
  const [V, C, T] = [E.length, E[0].length, ids.length];
  const e = ids.map((w) => [...E[w]]);
  const s = e.map((query) => e.map((key) => dot(query, key)));
  const a = s.map((row, i) =>
    softmax(row.map((x, j) => (j <= i ? x : -Infinity)))); // no look ahead
  const c = times(a, e);
  const last = c[T - 1];
  const z = E.map((row) => dot(last, row));
  const p = softmax(z);
  const top = Math.max(...z);
  const L = Math.log(z.reduce((sum, x) => sum + Math.exp(x - top), 0)) - (z[y] - top);

  const dz = p.map((x, w) => x - (w === y ? 1 : 0));
  const dc = zeros(T, C);
  dc[T - 1] = transpose(E).map((column) => dot(dz, column));
  const output = dz.map((x) => last.map((value) => x * value));
  const da = dc.map((row) => e.map((value) => dot(row, value)));
  const ds = a.map((row, i) => {
    const mean = dot(dc[i], c[i]);
    return row.map((x, j) => x * (da[i][j] - mean));
  });
  const [dq, dk, dv] = [times(ds, e), times(transpose(ds), e), times(transpose(a), dc)];
  const [query, key, value] = [dq, dk, dv].map((de) => toTable(de, ids, V));
  const dE = added(query, key, value, output);
  return { e, s, a, c, z, p, L, dz, dc, output, da, ds, dq, query, dk, key, dv, value, dE };
}

// The number that a text is, or words that say why it is none.
function read(text, limit) {
  const trimmed = text.trim();
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed)) {
    const hint = /^[+-]?\d+,\d+$/.test(trimmed) ? " (with a point, not a comma)" : "";
    return { problem: `“${text}” is no number: write one like -0.5${hint}.` };
  }
  const x = Number(trimmed);
  if (!(Math.abs(x) <= limit)) {
    return { problem: `${trimmed} is too large: at most ${limit}, up or down.` };
  }
  return { x };
}

// ---- the page ---------------------------------------------------------------------------------

document.addEventListener("DOMContentLoaded", () => {
  const get = (id) => document.getElementById(id);
  const steps = [...document.querySelectorAll(".step")];
  const buttons = [...document.querySelectorAll("[data-step]")];
  const BY_WORD = new Set(["z", "p", "dz", "output", "query", "key", "value", "dE"]);
  const BY_KEY = new Set(["s", "a", "da", "ds"]);
  let example, E, y, now, before;
  let step = 0;

  function make(tag, text, attributes = {}) {
    const element = document.createElement(tag);
    element.textContent = text;
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
    return element;
  }

  const shown = (x) => (Object.is(x, -0) || Math.abs(x) < 5e-5 ? 0 : x).toFixed(4).replace("-", "−");
  const words = () => example.words;
  const tokens = () => example.ids.map((w) => words()[w]);

  // A table with a head for its columns and for each row; cell(i, j) fills it.
  function table(name, rows, columns, cell) {
    const made = make("table", "");
    made.append(make("caption", name, { class: "hidden" }));
    const head = make("tr", "");
    head.append(make("td", ""), ...columns.map((text) => make("th", text, { scope: "col" })));
    made.append(head);
    rows.forEach((text, i) => {
      const row = make("tr", "");
      row.append(make("th", text, { scope: "row" }));
      columns.forEach((_, j) => row.append(cell(i, j)));
      made.append(row);
    });
    return made;
  }

  const asTable = (x) => (Array.isArray(x) ? (Array.isArray(x[0]) ? x : x.map((v) => [v])) : [[x]]);

  function draw() {
    for (const [name, value] of Object.entries(now)) {
      const numbers = asTable(value);
      const old = before ? asTable(before[name]) : numbers;
      const rows = BY_WORD.has(name) ? words() : name === "L" ? [""] : tokens();
      const columns = BY_KEY.has(name) ? tokens() : numbers[0].map((_, r) =>
        (numbers[0].length > 1 ? String(r + 1) : ""));
      get(`table-${name}`).replaceChildren(table(name, rows, columns, (i, j) => {
        const ahead = (name === "s" || name === "a") && j > i;
        const cell = make("td", ahead && name === "s" ? "·" : shown(numbers[i][j]));
        if (shown(old[i]?.[j] ?? NaN) !== shown(numbers[i][j])) cell.classList.add("changed");
        return cell;
      }));
      markWords(name);
    }
    light();
  }

  // The rows of the words that are read, and of the one that follows.
  function markWords(name) {
    if (!BY_WORD.has(name) && name !== "E") return;
    get(`table-${name}`).querySelectorAll("tr").forEach((row, n) => {
      row.classList.toggle("read", example.ids.includes(n - 1));
      row.classList.toggle("follows", n - 1 === y);
    });
  }

  function light() {
    const lit = new Set(steps[step].dataset.numbers.split(" "));
    const reached = new Set(steps.slice(0, step + 1).flatMap((s) => s.dataset.numbers.split(" ")));
    steps.forEach((section, n) => { section.hidden = n !== step; });
    buttons.forEach((button, n) => {
      if (n === step) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
    });
    for (const name of Object.keys(now)) {
      get(`number-${name}`).classList.toggle("lit", lit.has(name));
      get(`number-${name}`).classList.toggle("ahead", !reached.has(name));
    }
    get("board").dataset.way = lit.has("L") || !reached.has("L") ? "forward" : "backward";
    get("where").textContent = `step ${step + 1} of ${steps.length}`;
    settle();
    get("back").disabled = step === 0;
    get("next").disabled = step === steps.length - 1;
  }

  function go(to) {
    step = Math.min(Math.max(to, 0), steps.length - 1);
    light();
    const first = get(`number-${steps[step].dataset.numbers.split(" ")[0]}`);
    const { top, bottom } = first.getBoundingClientRect();
    const wide = window.matchMedia("(min-width: 60rem)").matches;
    if (wide && (top < 0 || bottom > window.innerHeight)) first.scrollIntoView({ block: "center" });
  }

  function follow() {
    before = now;
    now = walk(E, example.ids, y);
    draw();
  }

  // A number of E as it was typed. One that is none is said to be so, and changes nothing.
  function edited(input, i, j) {
    const { x, problem } = read(input.value, WALK.limit);
    if (problem) {
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-describedby", "refused");
      get("refused").textContent = `${words()[i]}, number ${j + 1}: ${problem}`;
      return;
    }
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
    const left = get("table-E").querySelector("[aria-invalid]");
    get("refused").textContent = left ? "One number of E is still none." : "";
    E[i][j] = x;
    follow();
  }

  function drawE() {
    const columns = E[0].map((_, r) => String(r + 1));
    get("table-E").replaceChildren(table("E", words(), columns, (i, j) => {
      const input = make("input", "", {
        inputmode: "text", autocomplete: "off", spellcheck: "false", size: 5,
        "aria-label": `E, ${words()[i]}, number ${j + 1}`, "data-row": i, "data-column": j,
      });
      input.value = String(E[i][j]);
      input.addEventListener("input", () => edited(input, i, j));
      const cell = make("td", "");
      cell.append(input);
      return cell;
    }));
    get("refused").textContent = "";
    markWords("E");
  }

  function choose(n) {
    example = WALK.examples[n];
    E = example.E.map((row) => [...row]);
    y = example.target;
    now = undefined;
    get("target").replaceChildren(...words().map((word, w) => make("option", word, { value: w })));
    get("target").value = y;
    drawE();
    follow();
    document.querySelectorAll(".board .scroll").forEach((place) => { place.dataset.at = ""; });
    settle();
  }

  // A long table shows the words of the text first, and can be moved by the keyboard.
  function settle() {
    document.querySelectorAll(".board .scroll").forEach((place) => {
      if (place.dataset.at || !place.clientHeight) return;
      place.dataset.at = example.name;
      const first = place.querySelector(".read");
      place.scrollTop = first ? first.offsetTop - first.offsetHeight : 0;
      place.tabIndex = place.scrollHeight > place.clientHeight + 1 ? 0 : -1;
    });
  }

  get("example").append(...WALK.examples.map(({ name }, n) => make("option", name, { value: n })));
  get("example").addEventListener("change", () => choose(Number(get("example").value)));
  get("target").addEventListener("change", () => {
    y = Number(get("target").value);
    markWords("E");
    follow();
  });
  get("choose").addEventListener("submit", (event) => event.preventDefault());
  get("reset").addEventListener("click", (event) => {
    event.preventDefault();
    choose(WALK.examples.indexOf(example));
  });
  get("back").addEventListener("click", () => go(step - 1));
  get("next").addEventListener("click", () => go(step + 1));
  buttons.forEach((button, n) => button.addEventListener("click", () => go(n)));
  document.documentElement.classList.add("walking");
  window.numbers = () => ({ E, ids: example.ids, y, ...now }); // all digits, for the tests
  choose(0);
});
