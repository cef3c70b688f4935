// The viewer: a list of companies to search, and what is known of the one that is chosen.

const ROW = 56; // pixels, as in the style
const FIELD = 0, VALUE = 1, CHOSEN = 2, GROUNDED = 3, SUPPORT = 4, PLACES = 5, CONFIDENCE = 6; // of evidence
const DOCUMENT = 0, START = 1, END = 2; // of a place

const FILTERS = [
  ["all", "All", () => true],
  ["conflicts", "Conflicts", (entry) => entry.conflicts.length > 0],
  ["missing", "Missing chunks", (entry) => entry.missing.length > 0],
  ["dead", "Dead letters", (entry) => Boolean(entry.letter)],
];

class Viewer {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.entries = [...data.companies.map((company) => this.entryOf(company)), ...data.letters.map(entryOfLetter)];
    this.filter = FILTERS[0];
    this.build();
    this.text = new DocumentView(this.textPane, this);
    this.search();
  }

  entryOf(company) {
    const chosen = company.evidence.filter((row) => row[CHOSEN]);
    const first = chosen.find((row) => row[FIELD] === 0);
    const words = [company.id, ...chosen.map((row) => row[VALUE]), ...company.documents.map((d) => d.id)];
    const sizes = [counted(company.documents.length, "document"), counted(new Set(chosen.map((r) => r[FIELD])).size, "field")];
    const name = first ? readable(first[VALUE]) : visible(company.id);
    const note = (first ? [visible(company.id), ...sizes] : sizes).join(" · ");
    return { ...company, name, note, words: words.join("\n").toLowerCase() };
  }

  build() {
    this.box = make("input");
    Object.assign(this.box, { type: "search", placeholder: "Search companies", autocomplete: "off", spellcheck: false });
    this.box.setAttribute("aria-label", "Search companies by id, value or document");
    this.box.setAttribute("aria-controls", "list");
    this.box.addEventListener("input", () => this.search());
    this.chips = FILTERS.map((filter) => {
      const number = this.entries.filter(filter[2]).length;
      const chip = button("chip", () => { this.filter = filter; this.search(); }, filter[1] + " ", make("span", "", number.toLocaleString("en")));
      chip.hidden = !number;
      return chip;
    });
    this.tall = make("div", "tall");
    this.list = make("div", "list", this.tall);
    Object.assign(this.list, { id: "list", tabIndex: 0 });
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Companies");
    this.list.addEventListener("scroll", () => this.drawRows());
    this.status = make("p", "status");
    this.status.setAttribute("role", "status");
    const keys = make("p", "keys", make("kbd", "", "/"), " search ", make("kbd", "", "↑"), make("kbd", "", "↓"), " choose ",
      make("kbd", "", "Enter"), " open ", make("kbd", "", "["), make("kbd", "", "]"), " documents ", make("kbd", "", "Esc"), " back");
    const side = make("aside", "side", make("div", "find", this.box, make("kbd", "", "/")), make("div", "chips", ...this.chips), this.status, this.list, keys);
    side.setAttribute("aria-label", "Companies");
    this.profile = make("section", "profile");
    this.profile.setAttribute("aria-label", "Profile");
    this.textPane = make("section", "text");
    this.textPane.setAttribute("aria-label", "Document");
    this.root.append(make("div", "viewer", side, this.profile, this.textPane));
    this.viewer = this.root.lastChild;
    this.show("list");
    new ResizeObserver(() => this.drawRows()).observe(this.list);
  }

  show(pane) {
    this.viewer.dataset.pane = pane; // of narrow screens, where one is seen at a time
  }

  search() {
    const words = this.box.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.found = this.entries.filter((entry) => this.filter[2](entry) && words.every((word) => entry.words.includes(word)));
    this.at = 0;
    this.chips.forEach((chip, n) => chip.setAttribute("aria-pressed", String(FILTERS[n] === this.filter)));
    const { companies, of } = this.data;
    const sample = companies.length < of ? `${companies.length.toLocaleString("en")} of ${of.toLocaleString("en")} companies are in this page. ` : "";
    const none = "Nothing found." + (sample ? ` ${sample}Others: python jobs/show.py OUT COMPANY` : "");
    this.status.textContent = this.found.length ? sample + (words.length ? counted(this.found.length, "match").replace("matchs", "matches") : "") : none;
    this.status.hidden = !this.status.textContent;
    this.list.scrollTop = 0;
    this.drawRows();
  }

  /** Only the rows that can be seen are in the page, however many there are. */
  drawRows() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW) - 4);
    const last = Math.min(this.found.length, first + Math.ceil(this.list.clientHeight / ROW) + 8);
    this.tall.style.height = `${this.found.length * ROW}px`;
    this.tall.replaceChildren(...this.found.slice(first, last).map((entry, n) => this.row(entry, first + n)));
    const active = this.found[this.at] && this.at >= first && this.at < last ? `row-${this.at}` : "";
    for (const element of [this.list, this.box]) {
      if (active) element.setAttribute("aria-activedescendant", active);
      else element.removeAttribute("aria-activedescendant");
    }
  }

  row(entry, number) {
    const name = make("b", "", entry.name), note = make("small", "", entry.note);
    name.dir = note.dir = "auto";
    const row = make("div", "item" + (entry.letter ? " lost" : ""), name, note);
    if (entry.conflicts.length) row.append(make("i", "dot warn"));
    row.id = `row-${number}`;
    row.style.top = `${number * ROW}px`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(entry === this.entry));
    row.setAttribute("aria-setsize", this.found.length);
    row.setAttribute("aria-posinset", number + 1);
    row.classList.toggle("at", number === this.at);
    row.addEventListener("click", () => { this.at = number; this.open(entry); });
    return row;
  }

  move(steps) {
    if (!this.found.length) return;
    this.at = Math.min(this.found.length - 1, Math.max(0, this.at + steps));
    const top = this.at * ROW, list = this.list;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    this.drawRows();
  }

  open(entry, place = null) {
    this.entry = entry;
    this.drawRows();
    this.drawProfile();
    this.text.show(entry, place);
    this.show("profile");
    history.replaceState(null, "", `#company=${encodeURIComponent(entry.id ?? "")}`);
  }

  /** What is beside the list before anything is chosen. */
  openFirst() {
    if (!this.found.length) return;
    this.open(this.found[0]);
    history.replaceState(null, "", "#companies");
  }

  openId(id) {
    const entry = this.entries.find((one) => one.id === id);
    if (entry) this.open(entry);
  }

  openAt() {
    if (!this.found[this.at]) return;
    this.open(this.found[this.at]);
    this.profile.querySelector("h2").focus();
  }

  back() {
    if (this.viewer.dataset.pane === "text") {
      this.show("profile");
      (this.pressed ?? this.profile.querySelector("h2")).focus();
    } else {
      this.show("list");
      this.box.focus();
    }
  }

  drawProfile() {
    const entry = this.entry;
    const name = make("h2", "", entry.name);
    name.tabIndex = -1;
    name.dir = "auto";
    const back = button("back", () => this.back(), "‹ Companies");
    const head = make("header", "", back, name, make("p", "id", visible(entry.id ?? "no document_id")));
    const parts = entry.letter ? letterParts(entry.letter) : [this.missingNote(), ...this.fields()];
    this.profile.replaceChildren(head, ...parts.filter(Boolean));
    this.profile.scrollTop = 0;
  }

  missingNote() {
    const { missing, documents } = this.entry;
    if (!missing.length) return null;
    const rows = missing.map(([doc, start, end, fault]) => make("li", "", make("span", "id", visible(documents[doc]?.id ?? "?")),
      ` characters ${start.toLocaleString("en")} to ${end.toLocaleString("en")}: ${fault.replaceAll("_", " ")}`));
    return make("div", "missing", make("b", "", `${counted(missing.length, "chunk")} missing`), make("ul", "", ...rows));
  }

  fields() {
    const byField = Map.groupBy(this.entry.evidence, (row) => row[FIELD]);
    const conflicts = new Map(this.entry.conflicts.map((conflict) => [conflict[0], conflict]));
    return this.data.fields.map((field, n) => byField.has(n) && this.field(field, byField.get(n), conflicts.get(n)));
  }

  field(field, rows, conflict) {
    const chosen = rows.filter((row) => row[CHOSEN]), others = rows.filter((row) => !row[CHOSEN]);
    if (!chosen.length && !others.length) return null;
    const title = make("h3", "", field.name.replaceAll("_", " ").replaceAll(".", " › "));
    if (field.rule) title.append(make("small", "", field.rule));
    if (field.reading) title.append(make("small", "", "a reading"));
    const block = make("div", "field", title, ...chosen.map((row) => this.value(row)));
    if (!chosen.length) block.append(make("p", "nothing", "nothing that is sure enough"));
    if (conflict) block.append(this.conflict(conflict));
    const rest = conflict ? others.filter((row) => !conflict[4].some((one) => one[0] === row[VALUE])) : others;
    if (rest.length) {
      const summary = make("summary", "", chosen.length || conflict ? `${counted(rest.length, "other value")}` : counted(rest.length, "value") + " kept out");
      block.append(make("details", "", summary, ...rest.map((row) => this.value(row))));
    }
    return block;
  }

  value(row) {
    const text = make("p", "value", readable(row[VALUE]));
    text.dir = "auto";
    const standing = row[GROUNDED] ? counted(row[SUPPORT], "document") : "in no document";
    const block = make("div", row[CHOSEN] ? "given" : "given other", text, make("span", row[GROUNDED] ? "support" : "support loose", standing));
    if (row[GROUNDED] && row[CONFIDENCE] !== null) block.append(confidence(row[CONFIDENCE]));
    if (row[PLACES].length) block.append(make("div", "places", ...row[PLACES].map((place) => this.place(place))));
    return block;
  }

  place(place) {
    const name = this.entry.documents[place[DOCUMENT]]?.id ?? "?";
    const made = button("place", () => {
      this.pressed = made;
      for (const other of this.profile.querySelectorAll(".place[aria-pressed]")) other.removeAttribute("aria-pressed");
      made.setAttribute("aria-pressed", "true");
      this.show("text");
      this.text.show(this.entry, place);
    }, visible(name));
    made.title = `Show where it stands in ${visible(name)}`;
    return made;
  }

  conflict([, chosen, support, rule, alternatives]) {
    const [[, , date]] = alternatives;
    const among = rule === "latest" && date ? ` among the newest, of ${date}` : "";
    const rows = alternatives.map(([value, theirs, newest, place]) => {
      const row = make("li", "", make("span", "value", readable(value)), make("span", "support", `${counted(theirs, "document")}${newest ? `, ${newest}` : ""}`));
      if (place) row.append(make("div", "places", this.place(place)));
      return row;
    });
    return make("div", "conflict", make("b", "", "Documents disagree"), make("p", "", `Decided by vote${among}: ${readable(chosen)}, ${counted(support, "document")}. Over:`), make("ul", "", ...rows));
  }
}

/** How sure a value is, as a number and a bar. */
function confidence(sure) {
  const made = make("span", "sure", `${Math.round(100 * sure)} %`);
  made.style.setProperty("--sure", sure);
  made.title = `confidence ${sure}`;
  return made;
}

function entryOfLetter(letter) {
  const words = [letter.document_id, letter.fault, letter.message, letter.source_path].join("\n").toLowerCase();
  const text = letter.text ?? { documents: [], chunks: [] };
  const documents = text.documents.filter((one) => one.id === letter.document_id);
  return { id: letter.document_id, name: visible(letter.document_id ?? "no document_id"), note: `dead letter · ${letter.fault.replaceAll("_", " ")}`,
    words, letter, evidence: [], conflicts: [], missing: [], documents, chunks: text.chunks };
}

function letterParts(letter) {
  const facts = [["Reason", letter.message], ["Found in", letter.stage], ["Attempts", String(letter.attempts)], ["Source", letter.source_path]];
  const rows = facts.map(([name, value]) => make("div", "", make("dt", "", name), make("dd", "", visible(value))));
  return [make("p", "missing", make("b", "", letter.fault.replaceAll("_", " "))), make("dl", "letter", ...rows)];
}
