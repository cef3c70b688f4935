// The page: its two views, what charts say under the pointer, and its keys.

let viewer = null;

/** The viewer is made when it is first looked at. */
function theViewer() {
  viewer ??= new Viewer(document.getElementById("companies"), JSON.parse(document.getElementById("data").textContent));
  return viewer;
}

function route() {
  const hash = location.hash.slice(1);
  const company = hash.startsWith("company=");
  const view = company || hash === "companies" ? "companies" : "report";
  for (const page of document.querySelectorAll("[data-page]")) page.hidden = page.dataset.page !== view;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view === "companies") {
    theViewer().drawRows();
    if (company) viewer.openId(decoded(hash.slice("company=".length)));
    else if (!viewer.entry && matchMedia("(min-width: 641px)").matches) viewer.openFirst();
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function keyPressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    if (document.getElementById("companies").hidden) {
      history.replaceState(null, "", "#companies");
      route();
    }
    theViewer().show("list");
    viewer.box.select();
    viewer.box.focus();
    return;
  }
  if (!viewer || document.getElementById("companies").hidden) return;
  const inList = event.target === viewer.box || event.target === viewer.list;
  const act = {
    Escape: () => (event.target === viewer.box && viewer.box.value ? ((viewer.box.value = ""), viewer.search()) : viewer.back()),
    ArrowDown: inList && (() => viewer.move(1)),
    ArrowUp: inList && (() => viewer.move(-1)),
    PageDown: inList && (() => viewer.move(10)),
    PageUp: inList && (() => viewer.move(-10)),
    Home: event.target === viewer.list && (() => viewer.move(-Infinity)),
    End: event.target === viewer.list && (() => viewer.move(Infinity)),
    Enter: inList && (() => viewer.openAt()),
    "]": !typing && viewer.entry && (() => viewer.text.step(1)),
    "[": !typing && viewer.entry && (() => viewer.text.step(-1)),
  }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
}

/** The words that a chart has for readers of screens, under the pointer. */
function tip(event) {
  const box = document.getElementById("tip");
  const label = event.target.closest?.(".chart [role='graphics-symbol'][aria-label]")?.getAttribute("aria-label");
  box.hidden = !label;
  if (!label) return;
  box.textContent = label.split("; ").join("\n");
  box.style.left = `${Math.min(event.clientX + 12, innerWidth - box.offsetWidth - 8)}px`;
  box.style.top = `${event.clientY + 14}px`;
}

document.addEventListener("keydown", keyPressed);
document.addEventListener("pointermove", tip);
addEventListener("hashchange", route);
route();
