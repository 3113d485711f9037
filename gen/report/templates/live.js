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
