// The feature browser. Data come in pieces, scripts of one call `clustersae.take(name, value)`, as
// fetch() reads no files. Whatever is in them is text: it enters the page by textContent alone.
"use strict";

// -- pieces

const pieces = new Map(); // path → promise of its value
const arriving = new Map(); // script element → value that it brought
globalThis.clustersae = { take: (_name, value) => arriving.set(document.currentScript, value) };

function load(path) {
  if (!pieces.has(path)) {
    pieces.set(path, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `data/${path}.js`;
      script.onload = () => {
        if (arriving.has(script)) resolve(arriving.get(script));
        else reject(new Error(`data/${path}.js is damaged`));
        arriving.delete(script);
        script.remove();
      };
      script.onerror = () => reject(new Error(`data/${path}.js cannot be read`));
      document.head.append(script);
    }));
  }
  return pieces.get(path);
}

// -- elements and text

const $ = (id) => document.getElementById(id);

/** An element with properties, attributes (in `attributes`) and children; strings become text. */
function make(tag, properties = {}, ...children) {
  const { attributes = {}, part, ...others } = properties;
  const element = Object.assign(document.createElement(tag), others);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (part !== undefined) element.style.setProperty("--part", part);
  element.append(...children.filter((child) => child !== null));
  return element;
}

// Controls, and what would turn text around or hide it; joiners stay, as scripts need them.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;
const SHOWN = { "\n": "↵", "\r": "↵", "\t": "⇥" };

/** Text of data with unseen characters made visible. */
function visible(text) {
  return text.replace(UNSEEN, (one) =>
    SHOWN[one] ?? `⟨${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/** Text of data in an element, apart from what is around it in its direction, too. */
function said(text, tag = "span", properties = {}) {
  return make(tag, { ...properties, attributes: { ...properties.attributes, "data-text": "" } }, visible(text));
}

/** A token by itself, with the spaces that it brings. */
const chip = (token, note) =>
  make("span", { className: "chip" }, said(token.replaceAll(" ", "␣") || "␣"), note ? make("small", {}, note) : null);

const digits = (value, places = 2) => (value === null ? "" : value.toFixed(places));
const percent = (value) => (value === null ? "" : `${Number((100 * value).toPrecision(2))} %`);

// -- the list

const COLUMNS = [
  { key: "name", text: "#" },
  { key: "label", text: "Meaning" },
  { key: "spread", text: "Layers" },
  { key: "density", text: "Density", show: percent, small: true },
  { key: "kept", text: "Kept", show: percent, small: true },
  { key: "rule", text: "Rule", show: digits },
  { key: "factor", text: "Factor", show: digits },
  { key: "judge", text: "Judge", show: digits },
];
const NAMES = {
  name: "index", label: "meaning", spread: "layer spread", density: "density", kept: "meaning kept",
  rule: "rule’s accuracy", factor: "known factor (F1)", judge: "judge’s score",
};
const OVERSCAN = 8;

let catalogue;
const indices = []; // by group: its columns
let owners = new Uint16Array(0), places = new Uint32Array(0), hay = []; // by row: group, place in its columns, text
let sorted = new Uint32Array(0); // all rows
let order = new Uint32Array(0); // those that are listed
let columns = COLUMNS;
const state = { sort: "kept", descending: true, active: 0, chosen: null };

/** Rows of a group that has arrived. */
function addRows(number, index) {
  indices[number] = index;
  const count = index.latent.length, before = owners.length;
  const grown = [new Uint16Array(before + count), new Uint32Array(before + count)];
  grown[0].set(owners);
  grown[1].set(places);
  grown[0].fill(number, before);
  for (let place = 0; place < count; place++) {
    grown[1][before + place] = place;
    hay.push(`${index.label[place]} ${index.words[place]}`.toLowerCase());
  }
  [owners, places] = grown;
}

const cell = (row, key) => indices[owners[row]][key][places[row]];

function sortRows() {
  const { sort, descending } = state, count = owners.length;
  const rows = Uint32Array.from({ length: count }, (_, row) => row);
  const sign = descending ? -1 : 1;
  if (sort === "name") {
    sorted = descending ? rows.reverse() : rows;
  } else if (sort === "label") {
    sorted = rows.sort((a, b) => sign * (hay[a] < hay[b] ? -1 : hay[a] > hay[b] ? 1 : 0) || a - b);
  } else {
    // What is not known comes last either way; ties are told by rules.
    const values = Float64Array.from(rows, (row) => cell(row, sort) ?? sign * Infinity);
    const ties = Float64Array.from(rows, (row) => cell(row, "rule") ?? -1);
    sorted = rows.sort((a, b) => (values[a] === values[b] ? 0 : sign * (values[a] - values[b])) || ties[b] - ties[a] || a - b);
  }
}

/** List the rows that have every word of the search, of the chosen SAE. */
function search() {
  const only = $("group").value === "" ? -1 : Number($("group").value);
  const words = $("search").value.toLowerCase().split(/\s+/u).filter(Boolean);
  const numbers = words.filter((word) => /^#\d+$/.test(word)).map((word) => Number(word.slice(1)));
  const texts = words.filter((word) => !/^#\d+$/.test(word));
  const found = new Uint32Array(sorted.length);
  let count = 0;
  for (const row of sorted) {
    if (only >= 0 && owners[row] !== only) continue;
    if (numbers.length && !numbers.every((number) => cell(row, "latent") === number)) continue;
    if (texts.length && !texts.every((text) => hay[row].includes(text))) continue;
    found[count++] = row;
  }
  order = found.subarray(0, count);
  state.active = Math.max(0, state.chosen ? order.findIndex(isChosen) : 0);
  const loaded = indices.filter(Boolean).length;
  const more = loaded < catalogue.groups.length ? ` (${loaded} of ${catalogue.groups.length} SAEs read)` : "";
  $("count").textContent = `${count.toLocaleString("en")} of ${owners.length.toLocaleString("en")} latents that fire${more}`;
  $("grid").setAttribute("aria-rowcount", count + 1);
}

const isChosen = (row) =>
  state.chosen !== null && owners[row] === state.chosen[0] && cell(row, "latent") === state.chosen[1];

function refresh(top = true) {
  sortRows();
  search();
  if (top) $("grid").scrollTop = 0;
  draw();
}

let rowHeight = 40;
let drawing = 0;
const draw = () => { drawing ||= requestAnimationFrame(drawNow); };

function drawNow() {
  drawing = 0;
  const grid = $("grid"), rows = $("rows");
  rows.style.height = `${order.length * rowHeight}px`;
  const first = Math.max(0, Math.floor(grid.scrollTop / rowHeight) - OVERSCAN);
  const last = Math.min(order.length, Math.ceil((grid.scrollTop + grid.clientHeight) / rowHeight) + OVERSCAN);
  const shown = [];
  for (let position = first; position < last; position++) shown.push(rowElement(position));
  rows.replaceChildren(...shown);
  if (state.active >= first && state.active < last) grid.setAttribute("aria-activedescendant", `row-${state.active}`);
  else grid.removeAttribute("aria-activedescendant");
}

function rowElement(position) {
  const row = order[position], group = catalogue.groups[owners[row]];
  const cells = columns.map((column) => cellElement(column, row, group));
  const element = make("div", {
    id: `row-${position}`, className: position === state.active ? "active" : "",
    attributes: { role: "row", "aria-rowindex": position + 2, "aria-selected": isChosen(row) },
  }, ...cells);
  element.style.top = `${position * rowHeight}px`;
  return element;
}

function cellElement({ key, text, show, small }, row, group) {
  const attributes = { role: "gridcell" };
  if (key === "name") {
    return make("div", { className: "name", attributes }, String(cell(row, "latent")));
  }
  if (key === "label") {
    const label = cell(row, "label");
    return make("div", { className: "label", title: `${visible(label)}\n${group.arm}, ${group.title}`, attributes },
      said(label), make("small", {}, `${group.short} · ${group.title}`));
  }
  if (key === "spread") {
    const told = `${digits(cell(row, "spread"), 1)} effective layers`;
    const bars = [...cell(row, "profile")].map((digit) => make("i", { part: digit / 9 }));
    return make("div", { className: "profile", title: told, attributes: { ...attributes, "aria-label": told } }, ...bars);
  }
  return make("div", { className: `number${small ? " small" : ""}`, attributes: { ...attributes, "data-name": text.toLowerCase() } },
    show(cell(row, key)));
}

function drawHead() {
  columns = COLUMNS.filter(({ key }) => !["factor", "judge"].includes(key) || indices.some((index) => index?.[key].some((value) => value !== null)));
  $("grid").style.setProperty("--numbers", columns.length - 3);
  $("head").replaceChildren(...columns.map(({ key, text, show }) => make("div", {
    className: show ? "number" : "",
    attributes: { role: "columnheader", ...(key === state.sort && { "aria-sort": state.descending ? "descending" : "ascending" }) },
  }, make("button", { type: "button", textContent: text, onclick: () => sortBy(key) }))));
  $("sort").replaceChildren(...columns.map(({ key }) => new Option(NAMES[key], key, false, key === state.sort)));
  $("direction").textContent = state.descending ? "↓ highest first" : "↑ lowest first";
}

function sortBy(key, descending = key === state.sort ? !state.descending : !["name", "label"].includes(key)) {
  Object.assign(state, { sort: key, descending });
  drawHead();
  refresh();
}

function moveTo(position) {
  const grid = $("grid"), head = $("head").parentElement.offsetHeight;
  state.active = Math.max(0, Math.min(order.length - 1, position));
  const top = state.active * rowHeight, view = grid.clientHeight - head;
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + rowHeight > grid.scrollTop + view) grid.scrollTop = top + rowHeight - view;
  draw();
}

function onKey(event) {
  if (event.target !== $("grid") || event.altKey || event.ctrlKey || event.metaKey) return;
  const page = Math.max(1, Math.floor($("grid").clientHeight / rowHeight) - 1);
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  if (event.key in steps) moveTo(state.active + steps[event.key]);
  else if (event.key === "Enter" || event.key === " ") openRow(state.active, true);
  else return;
  event.preventDefault();
}

function openRow(position, focus = false) {
  if (!(position in order)) return;
  const row = order[position];
  state.active = position;
  state.focus = focus;
  go(owners[row], cell(row, "latent"));
}

const address = (group, latent) => `#g${group}/${latent}`;
const go = (group, latent) => { location.hash = address(group, latent); };

// -- one latent

// Places in what a chunk says of a latent on a layer.
const LAYER = ["layer", "share", "rate", "mean", "contexts", "rule", "promoted", "suppressed", "nearest", "start", "detection", "fuzzing"];

/** What is known of a latent in a group: its layers, and words by number; null if it never fires. */
async function read(number, latent) {
  const group = catalogue.groups[number], chunk = Math.floor(latent / catalogue.chunk);
  if (!group.chunks.includes(chunk)) return null;
  const { words, latents } = await load(`g${number}/${chunk}`);
  const entry = latents.find(([index]) => index === latent);
  if (!entry) return null;
  const layers = entry[1].map((values) => Object.fromEntries(LAYER.map((name, place) => [name, values[place]])));
  const heights = layers.flatMap(({ contexts }) => contexts.flatMap(([, , active]) => active.filter((_, place) => place % 2)));
  const peak = heights.reduce((most, each) => Math.max(most, each), 0); // too many to be arguments
  const home = layers.reduce((best, layer) => (layer.share > best.share ? layer : best));
  return { group, number, latent, words, layers, peak, home };
}

/** The root of a group, and all that started there; a group alone if nothing did. */
function familyOf(number) {
  const root = catalogue.groups[number].root ?? number;
  return [root, ...catalogue.groups.flatMap((other, place) => (other.root === root ? [place] : []))];
}

let asked = 0;
async function open(number, latent) {
  const request = ++asked;
  try {
    const family = familyOf(number);
    const [index, ...members] = await Promise.all([load(`g${number}/index`), ...family.map((each) => read(each, latent))]);
    if (request !== asked) return;
    state.chosen = [number, latent];
    indices[number] ?? addRows(number, index);
    // Previous and Next go on from here, also where a link or the browser's Back led here.
    const position = order.findIndex(isChosen);
    if (position >= 0) state.active = position;
    show(number, latent, family, members);
    document.body.classList.add("open");
    $("detail").scrollTop = 0;
    if (state.focus || matchMedia("(max-width: 60rem)").matches) $("latent").querySelector("h2").focus();
    state.focus = false;
    draw();
  } catch (error) {
    fail(error);
  }
}

function show(number, latent, family, members) {
  const own = members[family.indexOf(number)], group = catalogue.groups[number];
  const parts = [tools(), make("h2", { tabIndex: -1 }, `Latent ${latent}`), make("p", { className: "quiet" }, `${group.arm}; ${group.title}`)];
  if (own === null) {
    parts.push(make("p", {}, "It fires at no token that was looked at."));
  } else {
    parts.push(...summary(number, latent));
    const fired = members.filter((member) => member !== null);
    const silent = family.filter((_, place) => members[place] === null).map((each) => catalogue.groups[each].arm);
    if (silent.length) parts.push(make("p", {}, `It fires nowhere in: ${silent.join("; ")}.`));
    parts.push(...where(fired), ...meaning(own), ...contexts(fired), ...writes(fired), ...neighbours(own));
  }
  $("help").hidden = true;
  $("latent").hidden = false;
  $("latent").replaceChildren(...parts);
}

function tools() {
  const step = (by) => () => openRow(state.active + by, true);
  return make("div", { className: "tools" },
    make("button", { type: "button", className: "back", onclick: close }, "← List"),
    make("button", { type: "button", onclick: step(-1) }, "Previous"),
    make("button", { type: "button", onclick: step(1) }, "Next"),
    make("button", { type: "button", onclick: () => { close(); $("help").hidden = false; $("latent").hidden = true; document.body.classList.add("open"); } }, "Help"));
}

function summary(number, latent) {
  const index = indices[number], place = index.latent.indexOf(latent);
  const fact = (name, text) => (text ? [make("div", {}, make("dt", {}, name), make("dd", {}, text))] : []);
  return [
    said(index.label[place], "p", { className: "meaning" }),
    make("dl", { className: "facts" },
      ...fact("Density", percent(index.density[place])), ...fact("Effective layers", digits(index.spread[place], 1)),
      ...fact("Meaning kept", percent(index.kept[place])), ...fact("Rule", digits(index.rule[place])),
      ...fact("Factor’s F1", digits(index.factor[place])), ...fact("Judge", digits(index.judge[place]))),
  ];
}

const heading = (text, note) => [make("h3", {}, text), ...(note ? [make("p", { className: "quiet" }, note)] : [])];
const table = (name, head, body) => make("div", { className: "scroll", tabIndex: 0, attributes: { role: "region", "aria-label": name } },
  make("table", {}, make("thead", {}, ...head), make("tbody", {}, ...body)));
const numberCell = (text, extra = {}) => make("td", { ...extra, className: `number ${extra.className ?? ""}` }, text);
const layerHead = (layer) => make("th", { scope: "row" }, String(layer));
const sideName = ({ group }) => group.short;
/** Layers on which a member of the family fires, ascending. */
const layersOf = (members) => [...new Set(members.flatMap(({ layers }) => layers.map(({ layer }) => layer)))].sort((a, b) => a - b);
const at = (member, layer) => member.layers.find((each) => each.layer === layer);

function where(members) {
  const withStart = members.map((member) => member.layers.some(({ start }) => start !== null));
  const names = members.map((member, place) => make("th", { className: place ? "apart" : "", colSpan: 3 + withStart[place], scope: "colgroup" }, sideName(member)));
  const titles = members.flatMap((_, place) => [
    make("th", { className: `number${place ? " apart" : ""}`, scope: "col" }, "P(layer)"),
    ...["density", "mean", ...(withStart[place] ? ["cosine to start"] : [])].map((text) => make("th", { className: "number", scope: "col" }, text)),
  ]);
  const body = layersOf(members).map((layer) => make("tr", {}, layerHead(layer), ...members.flatMap((member, place) => {
    const found = at(member, layer);
    const apart = place ? "apart" : "";
    if (!found) return [make("td", { className: apart, colSpan: 3 + withStart[place] }, member.group.layers.includes(layer) ? "silent" : "")];
    return [
      make("td", { className: `number ${apart}` }, make("span", { className: "bar" }, make("i", { part: found.share }), digits(found.share))),
      numberCell(percent(found.rate)), numberCell(digits(found.mean)),
      ...(withStart[place] ? [numberCell(digits(found.start))] : []),
    ];
  })));
  const note = members.length > 1
    ? "Side by side: the shared SAE’s latent, and that of the same index in the SAEs that were specialised from it. Mean: of its activations, in units of the layer’s scale."
    : "Mean: of its activations, in units of the layer’s scale.";
  return [...heading("Where it fires", note), table("Where it fires", [make("tr", {}, make("td", {}), ...names), make("tr", {}, make("th", { scope: "col" }, "Layer"), ...titles)], body)];
}

function meaning({ group, layers, words }) {
  const told = layers.filter(({ rule }) => rule !== null);
  const judged = layers.filter(({ detection, fuzzing }) => detection !== null || fuzzing !== null);
  const parts = heading("What it means, and how far that carries", told.length
    ? "Of each layer: the rule that tells best when the latent fires there, and the rule’s balanced accuracy on every layer (0.5 is chance). Outlined: on its own layer. Bold: it holds. Empty: too few firings."
    : "It fires too rarely for a rule.");
  if (told.length) {
    const head = make("tr", {}, make("th", { scope: "col" }, "Layer"), make("th", { scope: "col" }, "It fires on"),
      ...group.layers.map((layer) => make("th", { className: "number", scope: "col" }, `on ${layer}`)));
    const body = told.map(({ layer, rule: [clauses, accuracies, holds] }) => make("tr", {}, layerHead(layer),
      make("td", { className: "tokens" }, ...clauses.map(([token, before]) => clause(words, token, before))),
      ...accuracies.map((accuracy, place) => {
        const floor = group.floor[group.layers.indexOf(layer)][place];
        const classes = [group.layers[place] === layer ? "own" : holds[place] ? "holds" : ""];
        return numberCell(digits(accuracy), { className: classes.join(" "), title: floor === null ? "" : `a random latent’s: ${digits(floor)}` });
      })));
    parts.push(table("Rules", [head], body));
  }
  if (judged.length) {
    parts.push(make("h4", {}, "A judge’s scores"), table("A judge’s scores",
      [make("tr", {}, ...["Layer", "detection", "fuzzing"].map((text) => make("th", { scope: "col" }, text)))],
      judged.map((each) => make("tr", {}, layerHead(each.layer), numberCell(digits(each.detection)), numberCell(digits(each.fuzzing))))));
  }
  return parts;
}

function clause(words, token, before) {
  if (before === null) return chip(words[token]);
  const first = before === "" ? "start" : words[before];
  return make("span", { className: "chip" }, make("small", {}, said(first.replace(/^ +| +$/g, "") || "␣"), " → "), said(words[token].replaceAll(" ", "␣")));
}

const FEW = 3;

function contexts(members) {
  const parts = heading("What it fires on", "Passages with its highest activations, one per sequence; darker is more active, the peak is underlined.");
  for (const layer of layersOf(members)) {
    const sides = members.map((member) => {
      const found = at(member, layer);
      return make("div", { className: "side" }, make("p", { className: "quiet" }, sideName(member)),
        found ? passages(found.contexts, member) : make("p", { className: "quiet" }, member.group.layers.includes(layer) ? "silent" : "not served"));
    });
    const row = make("div", { className: "sides" }, ...sides);
    row.style.setProperty("--sides", sides.length);
    parts.push(make("section", { className: "layer" }, make("h4", {}, `Layer ${layer}`), row));
  }
  return parts;
}

function passages(all, member) {
  const list = make("ol", { className: "contexts" }, ...all.slice(0, FEW).map((each) => passage(each, member)));
  if (all.length <= FEW) return list;
  const more = make("button", { type: "button" }, `${all.length - FEW} more`);
  more.onclick = () => {
    list.append(...all.slice(FEW).map((each) => passage(each, member)));
    more.remove();
  };
  return make("div", {}, list, more);
}

function passage([, tokens, active], { words, peak }) {
  const values = new Map();
  for (let place = 0; place < active.length; place += 2) values.set(active[place], active[place + 1]);
  const highest = Math.max(...values.values());
  const spans = tokens.flatMap((token, place) => {
    const value = values.get(place) ?? 0;
    const gap = place && catalogue.separator ? [catalogue.separator] : [];
    const classes = value ? `token${value === highest ? " peak" : ""}` : "";
    return [...gap, said(words[token], "span", { className: classes, ...(value && { part: value / peak, title: digits(value) }) })];
  });
  return make("li", { className: "context" }, make("span", { className: "of" }, digits(highest)), ...spans);
}

function writes(members) {
  const rows = members.flatMap((member) => {
    const known = member.layers.filter(({ promoted }) => promoted !== null);
    const texts = ({ promoted, suppressed }) => JSON.stringify([promoted, suppressed]);
    const same = known.length > 1 && known.every((layer) => texts(layer) === texts(known[0]));
    const told = same ? known.slice(0, 1) : known;
    return told.map((layer, place) => make("tr", {},
      place ? null : make("th", { scope: "rowgroup", rowSpan: told.length, className: "side-name" }, sideName(member)),
      make("td", {}, same ? "all" : String(layer.layer)),
      ...[layer.promoted, layer.suppressed].map(([tokens, effects]) =>
        make("td", { className: "tokens" }, ...tokens.map((token, place) => chip(member.words[token], digits(effects[place], 1)))))));
  });
  if (!rows.length) return [];
  return [...heading("What it writes", "Tokens whose logits its direction moves most, through the model’s final norm and unembedding, without the layers between."),
    table("What it writes", [make("tr", {}, ...["SAE", "Layer", "Promoted", "Suppressed"].map((text) => make("th", { scope: "col" }, text)))], rows)];
}

function neighbours({ layers }) {
  const rows = layers.filter(({ nearest }) => nearest?.[0].length).map(({ layer, nearest: [latents, cosines] }) => {
    const number = catalogue.groups.findIndex(({ variant, names }) => variant === "base" && names.length === 1 && names[0] === String(layer));
    return make("tr", {}, layerHead(layer), make("td", {}, ...latents.map((latent, place) => {
      const text = number < 0 ? `#${latent}` : make("a", { href: address(number, latent) }, `#${latent}`);
      const label = number < 0 || !indices[number] ? "" : indices[number].label[indices[number].latent.indexOf(latent)] ?? "";
      return make("span", { className: "chip", title: visible(label) }, text, make("small", {}, digits(cosines[place])));
    })));
  });
  if (!rows.length) return [];
  return [...heading("Nearest latents of the per-layer SAEs", "Cosine of decoder rows. SAEs of one seed start from the same rows, so that equal indices can be near by origin alone."),
    table("Nearest latents", [make("tr", {}, make("th", { scope: "col" }, "Layer"), make("th", { scope: "col" }, "Latents"))], rows)];
}

// -- the page

function close() {
  document.body.classList.remove("open");
  draw();
  $("grid").focus();
}

function fail(error) {
  $("failure").hidden = false;
  $("failure").textContent = `${error.message}. Make the page again: delete it and run the workflow.`;
}

function follow() {
  const match = /^#g(\d+)\/(\d+)$/.exec(location.hash);
  if (match && Number(match[1]) < catalogue.groups.length) open(Number(match[1]), Number(match[2]));
}

function measure() {
  rowHeight = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row")) * parseFloat(getComputedStyle(document.documentElement).fontSize);
  draw();
}

function listGroups() {
  const arms = new Map();
  for (const [number, { arm, title, live, size }] of catalogue.groups.entries()) {
    if (!arms.has(arm)) arms.set(arm, make("optgroup", { label: arm }));
    arms.get(arm).append(new Option(`${title} (${live.toLocaleString("en")} of ${size.toLocaleString("en")} fire)`, number));
  }
  $("group").replaceChildren(new Option("all", ""), ...arms.values());
}

async function start() {
  try {
    catalogue = await load("catalogue");
    document.title = `Latents of ${catalogue.model}`;
    $("title").textContent = document.title;
    $("about").textContent = `${catalogue.groups.length} SAEs or families of specialised SAEs, seed ${catalogue.seed}`;
    listGroups();
    let painted = -Infinity;
    for (const number of catalogue.groups.keys()) {
      const index = await load(`g${number}/index`);
      if (!indices[number]) addRows(number, index);
      // The first rows at once; then not after every piece, as each sorts all again.
      if (performance.now() - painted > 400 || number === catalogue.groups.length - 1) {
        drawHead();
        refresh(painted === -Infinity);
        if (painted === -Infinity) follow();
        await new Promise((resolve) => setTimeout(resolve));
        painted = performance.now();
      }
    }
    document.body.dataset.ready = "";
  } catch (error) {
    fail(error);
  }
}

$("search").addEventListener("input", () => { search(); $("grid").scrollTop = 0; draw(); });
$("group").addEventListener("change", () => { search(); $("grid").scrollTop = 0; draw(); });
$("sort").addEventListener("change", () => sortBy($("sort").value, !["name", "label"].includes($("sort").value)));
$("direction").addEventListener("click", () => sortBy(state.sort, !state.descending));
$("grid").addEventListener("scroll", draw, { passive: true });
$("grid").addEventListener("keydown", onKey);
$("rows").addEventListener("click", (event) => {
  const row = event.target.closest('[role="row"]');
  if (row) openRow(Number(row.id.slice(4)));
});
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT)$/.test(event.target.tagName);
  if (event.key === "/" && !typing) { event.preventDefault(); $("search").focus(); }
  if (event.key === "Escape" && document.body.classList.contains("open") && !typing) close();
});
addEventListener("hashchange", follow);
addEventListener("resize", measure);
measure();
start();
