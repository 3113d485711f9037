// What the page does: draws plots once they come into view, sorts and filters tables, copies commands.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const OKABE_ITO = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Plotly is in the page as text, compressed; it is unpacked when the first plot comes into view.
let library = null;
function plotly() {
  library ??= (async () => {
    const bytes = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const text = await new Response(unpacked).text();
    const script = document.createElement("script");
    script.src = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    await new Promise((done, failed) => {
      script.onload = done;
      script.onerror = () => failed(new Error("Plotly's library could not be read"));
      document.head.append(script);
    });
    return window.Plotly;
  })();
  return library;
}

function template() {
  const axis = { gridcolor: color("--line"), linecolor: color("--line"), zerolinecolor: color("--line"), automargin: true };
  return {
    layout: {
      colorway: OKABE_ITO, font: { color: color("--ink"), family: "system-ui, sans-serif", size: 13 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis, yaxis: axis, hovermode: "closest",
      hoverlabel: { bgcolor: color("--panel"), font: { color: color("--ink") } },
      legend: { orientation: "h", yanchor: "bottom", y: 1.02, x: 0 }, margin: { l: 60, r: 16, t: 30, b: 50 },
      updatemenudefaults: { bgcolor: color("--panel"), bordercolor: color("--line"), font: { color: color("--ink") } },
    },
  };
}

// A figure says "ink", "paper" or "soft" where its colour is to follow light and dark.
function themed(value) {
  if (typeof value === "string") return { ink: color("--ink"), paper: color("--paper"), soft: color("--soft") }[value] ?? value;
  if (Array.isArray(value)) return value.map(themed);
  if (value && typeof value === "object" && !ArrayBuffer.isView(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, key === "color" || key.endsWith("color") || key === "line" || key === "marker" || typeof one === "object" ? themed(one) : one]));
  }
  return value;
}

async function draw(place) {
  if (place.dataset.drawn) return;
  place.dataset.drawn = "waits";
  try {
    const found = JSON.parse(document.getElementById(`figure-${place.dataset.figure}`).textContent);
    const Plotly = await plotly();
    const layout = { ...themed(found.layout), template: template(), autosize: true };
    await Plotly.react(place, themed(found.data), layout, { displaylogo: false, responsive: true });
    place.dataset.drawn = "yes";
  } catch (error) {
    place.textContent = `This plot could not be drawn: ${error.message}`;
    place.dataset.drawn = "no";
    console.error(error);
  }
}

const plots = () => [...document.querySelectorAll(".plot")];
const seen = new IntersectionObserver(
  (entries) => entries.filter((one) => one.isIntersecting).forEach((one) => { seen.unobserve(one.target); draw(one.target); }),
  { rootMargin: "300px" },
);
function drawAgain() {
  for (const place of plots().filter((one) => one.dataset.drawn === "yes")) { delete place.dataset.drawn; draw(place); }
}
dark.addEventListener("change", drawAgain);
addEventListener("beforeprint", () => plots().forEach(draw));

// Tables: a click on a heading sorts, text in the box filters; rows without a value come last.
function key(cell) {
  const text = cell.dataset.value ?? cell.textContent.trim();
  const value = Number(text);
  return text === "" || text === "–" ? null : Number.isNaN(value) ? text : value;
}
function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
}
function sort(table, heading) {
  const place = [...heading.parentElement.children].indexOf(heading);
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map((row) => [key(row.cells[place]), row]);
  rows.sort(([a], [b]) => (down && a !== null && b !== null ? compare(b, a) : compare(a, b)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
function filter(box) {
  const table = document.getElementById(box.dataset.filter);
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  for (const row of table.tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    left += !row.hidden;
  }
  const told = document.getElementById(`${box.dataset.filter}-left`);
  if (told) told.textContent = words.length ? `${left} of ${table.tBodies[0].rows.length} rows` : "";
}
async function copy(button) {
  const text = button.dataset.copy, label = button.dataset.label ?? (button.dataset.label = button.textContent);
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page of a file may have no clipboard: the older way
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = label; }, 1500);
}

// Pictures: one that opens is shown large, in whole pixels where it fits; arrow keys go from one to the next.
const viewer = document.getElementById("viewer");
function show(button) {
  const image = viewer.querySelector("img"), from = button.querySelector("img");
  const [width, height] = [from.getAttribute("width"), from.getAttribute("height")].map(Number);
  const scale = Math.min((0.96 * innerWidth - 48) / width, (0.96 * innerHeight - 180) / height);
  image.src = from.src;
  image.alt = from.alt;
  image.style.width = `${Math.round(width * (scale > 1 ? Math.floor(scale) : scale))}px`;
  viewer.querySelector("figcaption").textContent = button.dataset.open;
  viewer.opened = button;
  if (!viewer.open) viewer.showModal();
}
function step(by) {
  const all = [...document.querySelectorAll("[data-open]")];
  show(all[(all.indexOf(viewer.opened) + by + all.length) % all.length]);
}
viewer?.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by) { event.preventDefault(); step(by); }
});
viewer?.addEventListener("close", () => viewer.opened?.focus());
for (const image of document.querySelectorAll("img[data-same]")) image.src = document.getElementById(image.dataset.same).src;

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.matches("[data-open]")) show(button);
  if (button?.matches("[data-step]")) step(Number(button.dataset.step));
  if (button?.matches("[data-close]") || event.target === viewer) viewer.close();
  if (button?.matches(".copy")) copy(button);
  if (button?.matches("th button")) sort(button.closest("table"), button.closest("th"));
});
document.addEventListener("input", (event) => { if (event.target.matches("[data-filter]")) filter(event.target); });

// A page that is served asks for later versions, and reloads where the reader stands: scrolled, sorted, filtered.
const ASK = 2000; // milliseconds
const live = document.documentElement.dataset.version;
const tables = () => [...document.querySelectorAll("table")];
function remember() {
  const sorted = tables().map((one) => {
    const heading = one.querySelector("th[aria-sort]");
    return heading && { place: [...heading.parentElement.children].indexOf(heading), down: heading.getAttribute("aria-sort") === "descending" };
  });
  const filters = [...document.querySelectorAll("[data-filter]")].map((box) => box.value);
  const open = [...document.querySelectorAll("details")].map((one) => one.open);
  sessionStorage.setItem("reader", JSON.stringify({ x: scrollX, y: scrollY, sorted, filters, open }));
}
function recall() {
  const told = JSON.parse(sessionStorage.getItem("reader"));
  sessionStorage.removeItem("reader");
  if (!told) return;
  document.querySelectorAll("details").forEach((one, number) => { one.open = told.open[number] ?? one.open; });
  tables().forEach((one, number) => {
    const was = told.sorted[number], heading = was && one.tHead?.rows[0].cells[was.place];
    for (let click = 0; heading && click <= Number(was.down); click++) sort(one, heading);
  });
  document.querySelectorAll("[data-filter]").forEach((box, number) => {
    box.value = told.filters[number] ?? "";
    filter(box);
  });
  scrollTo({ left: told.x, top: told.y, behavior: "instant" });
}
async function ask() {
  const note = document.getElementById("live");
  try {
    const told = await (await fetch("version", { cache: "no-store" })).json();
    note.textContent = told.problem ? `This is as of the last change that could be read: ${told.problem}` : "Kept current while it is open.";
    if (told.version !== live && !viewer?.open) {
      remember();
      location.reload();
      return;
    }
  } catch {
    note.textContent = "jobs.watch has ended: the page stands as it was.";
  }
  setTimeout(ask, ASK);
}
if (live) {
  recall();
  ask();
}
plots().forEach((place) => seen.observe(place));
document.documentElement.dataset.ready = String(Math.round(performance.now()));
