"use strict";
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/* Elements are made with text nodes only, so no text of a run is ever parsed as markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}
const signed = (value, digits = 2) => value.toFixed(digits).replace("-", "\u2212");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/* Theme: the address wins (?theme=dark), then what was chosen before, then the system. */
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const remembered = () => { try { return localStorage.getItem("spadework-theme"); } catch { return null; } };
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
function showTheme() { $("#theme").textContent = isDark() ? "\u2600\ufe0e" : "\u263e\ufe0e"; }
function switchTheme() {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("spadework-theme", root.dataset.theme); } catch { /* a file without storage keeps the theme for this view */ }
  showTheme();
}
const asked = new URLSearchParams(location.search).get("theme") || remembered();
if (asked === "dark" || asked === "light") root.dataset.theme = asked;
dark.addEventListener("change", showTheme);
$("#theme").addEventListener("click", switchTheme);
showTheme();

/* Curves: the nearest logged step under the pointer, or stepped through with the arrow keys. */
for (const svg of $$(".curve svg[data-points]")) {
  const points = JSON.parse(svg.dataset.points);
  const output = $("output", svg.parentElement);
  const resting = output.textContent;
  const hover = $(".hover", svg);
  let index = -1;
  function show(next) {
    index = Math.max(0, Math.min(points.length - 1, next));
    const [x, y, step, text] = points[index];
    hover.setAttribute("visibility", "visible");
    $("line", hover).setAttribute("x1", x);
    $("line", hover).setAttribute("x2", x);
    $("circle", hover).setAttribute("cx", x);
    $("circle", hover).setAttribute("cy", y);
    output.textContent = `${text}\nstep ${step}`;
  }
  function hide() { hover.setAttribute("visibility", "hidden"); output.textContent = resting; index = -1; }
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    let best = 0;
    points.forEach((point, at) => { if (Math.abs(point[0] - x) < Math.abs(points[best][0] - x)) best = at; });
    show(best);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowRight: index + 1, ArrowLeft: index < 0 ? points.length - 1 : index - 1, Home: 0, End: points.length - 1 }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    show(move);
  });
}

/* Token view. */
const SHADES = {
  mask: { label: "Mask", name: "sampled or not" },
  advantage: { label: "Advantage", name: "advantage" },
  logprob: { label: "Log-probability", name: "log-probability at sampling (nats)", edges: [-0.05, -0.5, -1, -2, -4] },
  entropy: { label: "Entropy", name: "entropy (nats)", edges: [0.05, 0.25, 0.5, 1, 2] },
};
function tokenView(host, data) {
  const state = { group: 0, item: 0, shade: "advantage", table: false, at: -1 };
  let tokens = [];
  const pane = make("div", { class: "tv-pane", tabindex: 0, role: "group", "aria-label": "Tokens. Arrow keys move from token to token." });
  const read = make("div", { class: "tv-read", "aria-live": "polite" });
  const legend = make("div", { class: "tv-legend" });
  const list = make("div", { class: "tv-list", role: "group", "aria-label": "Trajectories of the group" });
  const question = make("p", { class: "tv-question" });
  const gold = make("p", { class: "meta" });
  const column = (node, key, at) => (node[key] === undefined ? null : Array.isArray(node[key]) ? node[key][at] : node[key]);
  const item = () => data.groups[state.group].items[state.item];
  const bound = () => Math.max(1e-9, ...data.groups[state.group].items.flatMap((entry) => entry.nodes.flatMap((node) => [node.a ?? 0].flat().map(Math.abs))));

  function shadeOf(token) {
    if (!token.sampled) return "off";
    if (state.shade === "mask") return "s2";
    if (state.shade === "advantage") {
      if (token.a === null) return "z0";
      const share = token.a / bound();
      const size = Math.abs(share) < 0.02 ? 0 : Math.abs(share) <= 1 / 3 ? 1 : Math.abs(share) <= 2 / 3 ? 2 : 3;
      return size === 0 ? "z0" : (share < 0 ? "n" : "p") + size;
    }
    const value = state.shade === "logprob" ? token.lp : token.h;
    if (value === null) return "z0";
    return "s" + SHADES[state.shade].edges.filter((edge) => (state.shade === "logprob" ? value < edge : value > edge)).length;
  }
  function legendEntries() {
    if (state.shade === "mask") return [["s2", "sampled by the policy: carries loss"]];
    if (state.shade === "advantage") {
      const top = bound(), third = top / 3, show = (value) => signed(value, top < 0.1 ? 3 : 2);
      return [
        ["n3", `${show(-top)} to ${show(-2 * third)}`], ["n2", `to ${show(-third)}`], ["n1", "below 0"], ["z0", "0"],
        ["p1", "above 0"], ["p2", `from ${show(third)}`], ["p3", `${show(2 * third)} to ${show(top)}`],
      ];
    }
    const edges = SHADES[state.shade].edges.map((edge) => signed(edge));
    const [first, last] = state.shade === "logprob" ? ["0 to ", "below "] : ["0 to ", "above "];
    return edges.map((edge, at) => [`s${at}`, at === 0 ? first + edge : `to ${edge}`]).concat([["s5", last + edges.at(-1)]]);
  }
  function drawLegend() {
    legend.replaceChildren(
      make("i", {}, SHADES[state.shade].name + ":"),
      ...legendEntries().map(([name, text]) => make("span", { class: name }, text)),
      make("span", { class: "t off" }, "not sampled: no loss"),
    );
  }
  function paint() { for (const token of tokens) if (token.el) token.el.className = "t " + shadeOf(token); mark(); drawLegend(); }
  function mark() { $$(".at", pane).forEach((element) => element.classList.remove("at")); tokens[state.at]?.el?.classList.add("at"); }
  function describe(at, follow) {
    state.at = Math.max(0, Math.min(tokens.length - 1, at));
    mark();
    const token = tokens[state.at];
    const field = (name, value) => make("span", {}, make("i", {}, name + " "), value);
    read.replaceChildren(
      make("b", {}, JSON.stringify(token.text)), field("id", token.id), field("position", `${state.at + 1} of ${tokens.length}`),
      field("in", token.node.kind + (token.node.role ? `, ${token.node.role}` : "")),
      token.sampled ? field("log-probability", `${signed(token.lp, 3)} (p = ${Math.exp(token.lp).toFixed(3)})`) : field("", "not sampled, carries no loss"),
      token.sampled && token.h !== null ? field("entropy", signed(token.h, 3)) : null,
      token.sampled && token.a !== null ? field("advantage", signed(token.a, 4)) : null,
      token.sampled && token.node.v !== undefined ? field("policy version", token.node.v) : null,
    );
    if (follow && token.el) {
      const box = pane.getBoundingClientRect(), spot = token.el.getBoundingClientRect();
      if (spot.top < box.top + 12) pane.scrollTop -= box.top + 12 - spot.top;
      if (spot.bottom > box.bottom - 12) pane.scrollTop += spot.bottom - box.bottom + 12;
    }
  }
  function rest() { read.replaceChildren(make("i", {}, "Point at a token, or focus the text and use the arrow keys, to read its values.")); }
  function nodeTitle(node, at) {
    const edge = node.from !== undefined ? `, a new context made from step ${node.from}` : node.parent !== undefined ? `, a branch of step ${node.parent}` : "";
    const what = { prompt: "prompt", generation: "policy turn", observation: "observation" }[node.kind] || node.kind;
    return `${at}. ${node.role ? node.role + ", " : ""}${what}${edge}`;
  }
  function drawTable() {
    const cell = (value, digits) => make("td", {}, value === null ? "\u2013" : signed(value, digits));
    const rows = tokens.map((token, at) => make("tr", {},
      make("td", {}, at + 1), make("td", {}, make("code", {}, JSON.stringify(token.text))), make("td", {}, token.id), make("td", {}, token.sampled ? "yes" : "no"),
      cell(token.sampled ? token.lp : null, 3), cell(token.sampled ? token.h : null, 3), cell(token.sampled ? token.a : null, 4)));
    const head = make("tr", {}, ...["Position", "Token", "Id", "Sampled", "Log-prob.", "Entropy", "Advantage"].map((name) => make("th", { scope: "col" }, name)));
    pane.replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
  }
  function drawTokens() {
    tokens = [];
    const blocks = item().nodes.map((node, at) => {
      const line = make("div", { class: "tv-text" });
      node.t.forEach((number, place) => {
        const text = data.texts[number];
        const token = { node, text, id: data.ids[number], sampled: !!(column(node, "m", place) || 0), lp: column(node, "lp", place), h: column(node, "h", place), a: column(node, "a", place) };
        token.el = make("span", { class: "t", "data-at": tokens.length }, text.replaceAll("\n", "\u21b5\n"));
        tokens.push(token);
        line.append(token.el);
      });
      return make("div", { class: "tv-node" }, make("b", {}, nodeTitle(node, at)), line);
    });
    pane.replaceChildren(...blocks);
    pane.scrollTop = 0;
    state.at = -1;
    rest();
    paint();
    if (state.table) drawTable();
  }
  function drawList() {
    const group = data.groups[state.group];
    const top = Math.max(1e-9, ...group.items.map((entry) => Math.abs(entry.advantage ?? 0)));
    question.textContent = group.question;
    gold.replaceChildren(make("span", { class: "chip" }, `${group.hops} hop${group.hops === 1 ? "" : "s"}`), make("span", { class: "gold" }, "gold answer ", make("b", {}, group.gold)));
    list.replaceChildren(...group.items.map((entry, at) => {
      const value = entry.advantage ?? 0;
      const bar = make("i", { class: value < 0 ? "minus" : "plus" });
      bar.style.width = `${(50 * Math.abs(value)) / top}%`;
      return make("button", { type: "button", "data-stop": "", "aria-pressed": String(at === state.item), onclick: () => { state.item = at; drawList(); drawTokens(); } },
        make("span", {}, `reward ${signed(entry.reward)}`), make("span", { class: "tv-adv", "aria-hidden": "true" }, bar),
        make("span", {}, entry.advantage === null ? "" : (value > 0 ? "+" : "") + signed(value)),
        make("small", {}, `${entry.solved ? "\u2713 right" : "\u00d7 wrong"}, ${entry.calls} call${entry.calls === 1 ? "" : "s"}${entry.status === "completed" ? "" : ", " + entry.status}`, entry.answer === null ? "" : `: ${entry.answer}`));
    }));
  }
  function choices(title, name, options, chosen, pick) {
    return make("fieldset", {}, make("legend", {}, title), ...options.map(([value, text]) => {
      const input = make("input", { type: "radio", name, value, onchange: () => pick(value) });
      input.checked = value === chosen;
      return make("label", {}, input, make("span", {}, text));
    }));
  }
  const shades = choices("Shade by", "shade", Object.entries(SHADES).map(([key, shade]) => [key, shade.label]), state.shade, (value) => { state.shade = value; paint(); });
  const groups = data.groups.length < 2 ? null : choices("Group", "group", data.groups.map((_, at) => [at, String(at + 1)]), 0, (value) => { state.group = value; state.item = 0; drawList(); drawTokens(); });
  const table = make("button", { type: "button", class: "tv-table", "aria-pressed": "false", onclick: () => {
    state.table = !state.table;
    table.setAttribute("aria-pressed", String(state.table));
    table.textContent = state.table ? "As text" : "As a table";
    drawTokens();
  } }, "As a table");
  pane.addEventListener("pointerover", (event) => { const at = event.target.dataset?.at; if (at !== undefined) describe(Number(at), false); });
  pane.addEventListener("keydown", (event) => {
    const move = { ArrowRight: state.at + 1, ArrowLeft: state.at - 1, Home: 0, End: tokens.length - 1 }[event.key];
    if (move === undefined || state.table) return;
    event.preventDefault();
    describe(move, true);
  });
  host.append(make("div", { class: "tv" }, make("div", { class: "tv-top" }, groups, shades, table), question, gold,
    make("div", { class: "tv-body" }, list, make("div", {}, legend, pane, read))));
  drawList();
  drawTokens();
  return () => {
    const inputs = $$("input[name=shade]", shades);
    const next = inputs[(inputs.findIndex((input) => input.checked) + 1) % inputs.length];
    next.checked = true;
    state.shade = next.value;
    paint();
  };
}
const block = $("#token-data");
const nextShade = block ? tokenView($("#token-view"), JSON.parse(block.textContent)) : () => {};

/* Which section is being read. */
const sections = $$(".block");
const links = $$(".links a");
function locate() {
  const line = innerHeight * 0.35;
  const current = sections.filter((section) => section.getBoundingClientRect().top < line).at(-1);
  links.forEach((link) => { if (current && link.hash === "#" + current.id) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current"); });
}
addEventListener("scroll", locate, { passive: true });
locate();

/* Keys. Every one of them also has a button or a link. */
const help = $("#help");
$("#keys").addEventListener("click", () => help.showModal());
function step(by) {
  const stops = $$("[data-stop]");
  if (!stops.length) return;
  const here = stops.findIndex((stop) => stop === document.activeElement || stop.contains(document.activeElement));
  const place = here < 0 && by < 0 ? stops.length : here;
  const next = stops[Math.max(0, Math.min(stops.length - 1, place + by))];
  const position = $$("[data-stop]").indexOf(next);
  if (next.tagName === "BUTTON") next.click();
  const target = $$("[data-stop]")[position];
  target.focus({ preventScroll: true });
  target.scrollIntoView({ behavior: calm.matches ? "auto" : "smooth", block: target.tagName === "BUTTON" ? "nearest" : "start" });
}
let going = false;
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "radio") return;
  const wasGoing = going;
  going = event.key === "g";
  if (wasGoing && links[Number(event.key) - 1]) { links[Number(event.key) - 1].click(); return; }
  const action = { j: () => step(1), k: () => step(-1), d: switchTheme, s: nextShade, "?": () => help.showModal() }[event.key];
  if (action) { event.preventDefault(); action(); }
});
