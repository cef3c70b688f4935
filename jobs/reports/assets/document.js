// The text of a document, with the places that values stand at.

const GAP = 20; // characters; less is white space between parts

class DocumentView {
  constructor(pane, viewer) {
    this.pane = pane;
    this.viewer = viewer;
    this.number = 0;
  }

  /** A document of an entry: the one of a place, which is shown then, else the first. */
  show(entry, place) {
    this.entry = entry;
    this.active = place;
    this.number = Math.max(0, place ? place[DOCUMENT] : 0);
    this.draw();
  }

  step(steps) {
    const count = this.entry?.documents.length ?? 0;
    if (!count) return;
    this.number = (this.number + steps + count) % count;
    this.active = null;
    this.draw();
  }

  draw() {
    const shown = this.entry.documents[this.number];
    if (!shown) {
      this.pane.replaceChildren(this.bar(null), make("p", "nothing", "Its text is not in this page."));
      return;
    }
    this.chunkMarks = [];
    const parts = shown.parts.length ? this.parts(shown) : [make("p", "nothing", "Its text is not in this page.")];
    const body = make("div", "body", ...parts);
    body.dir = "auto";
    body.tabIndex = 0;
    this.pane.replaceChildren(this.bar(shown), body);
    const mark = body.querySelector("mark.active") ?? (this.active ? null : body.querySelector("mark"));
    if (this.active && mark) mark.scrollIntoView({ block: "center" });
    else body.scrollTop = 0;
    if (this.active && !mark) body.prepend(make("p", "nothing", `“${visible(this.active[3])}” stands in a part that is not in this page.`));
  }

  bar(shown) {
    const count = this.entry.documents.length;
    const bar = make("header", "", button("back", () => this.viewer.back(), "‹ Profile"));
    if (!shown) return bar;
    const steps = make("div", "steps", make("span", "", `Document ${this.number + 1} of ${count}`));
    if (count > 1) {
      steps.prepend(this.stepButton("‹", "Previous document", () => this.step(-1)));
      steps.append(this.stepButton("›", "Next document", () => this.step(1)));
    }
    const chunks = shown.parts.length;
    if (chunks > 1) {
      steps.append(make("span", "gap", counted(chunks, "chunk")), this.stepButton("↑", "Previous chunk", () => this.stepChunk(-1)),
        this.stepButton("↓", "Next chunk", () => this.stepChunk(1)));
    }
    const told = [shown.type, shown.date, shown.source].filter(Boolean).map(visible).join(" · ");
    bar.append(make("h3", "id", visible(shown.id)), make("p", "source", told), steps);
    return bar;
  }

  stepButton(sign, told, act) {
    const made = button("step", act, sign);
    made.setAttribute("aria-label", told);
    made.title = told;
    return made;
  }

  /** To the chunk before or after the one at the top. */
  stepChunk(steps) {
    const body = this.pane.querySelector(".body");
    const tops = this.chunkMarks.map((mark) => mark.offsetTop - body.offsetTop);
    const here = body.scrollTop;
    const at = steps > 0 ? tops.findIndex((top) => top > here + 8) : tops.findLastIndex((top) => top < here - 8);
    if (at >= 0) body.scrollTop = tops[at];
  }

  parts(shown) {
    const places = this.places();
    let reached = 0;
    return shown.parts.flatMap(([start, text, chunk, unread], n) => {
      const mark = this.chunkMark(shown, chunk, n);
      this.chunkMarks.push(mark);
      const end = start + [...text].length;
      const theirs = places.filter((place) => place.start < end && place.end > start);
      const block = make("div", "part", ...this.marked(text, start, theirs, unread ?? []));
      const gap = start - reached > GAP ? [make("p", "left", `… ${(start - reached).toLocaleString("en")} characters that were not sent`)] : [];
      reached = Math.max(reached, end);
      return [...gap, mark, block];
    });
  }

  /** Where values of this document stand, those that were chosen; and the place that is shown, whatever its value. */
  places() {
    const found = [];
    for (const row of this.entry.evidence) {
      if (!row[CHOSEN]) continue;
      const field = this.viewer.data.fields[row[FIELD]].name.replaceAll("_", " ");
      for (const place of row[PLACES]) {
        if (place[DOCUMENT] === this.number) found.push({ start: place[START], end: place[END], field, active: false });
      }
    }
    const active = this.active;
    if (active && active[DOCUMENT] === this.number) found.push({ start: active[START], end: active[END], field: "", active: true });
    return found;
  }

  /** A text cut at every edge of a place, each piece marked by what stands there. */
  marked(text, offset, places, unread) {
    const length = [...text].length;
    const spans = [
      ...places.map((place) => ({ ...place, start: Math.max(0, place.start - offset), end: Math.min(length, place.end - offset) })),
      ...unread.map(([start, end, read]) => ({ start, end, read })),
    ];
    const edges = [...new Set([0, length, ...spans.flatMap((span) => [span.start, span.end])])].sort((a, b) => a - b);
    const cuts = placesInUtf16(text, edges);
    return edges.slice(0, -1).map((edge, n) => {
      const words = text.slice(cuts[n], cuts[n + 1]);
      const here = spans.filter((span) => span.start <= edge && span.end >= edges[n + 1]);
      return here.length ? this.mark(words, here) : document.createTextNode(words);
    });
  }

  mark(words, here) {
    const places = here.filter((span) => span.read === undefined);
    const cleaned = here.find((span) => span.read !== undefined);
    if (!places.length) {
      const made = make("span", "unread", words);
      made.title = cleaned.read ? `read as “${visible(cleaned.read)}”` : "left out of the chunk";
      return made;
    }
    const made = make("mark", places.some((place) => place.active) ? "active" : "", words);
    const fields = [...new Set(places.map((place) => place.field).filter(Boolean))];
    if (fields.length) made.title = fields.join(", ");
    return made;
  }

  /** What became of a chunk, and its answer as the model wrote it. */
  chunkMark(shown, number, n) {
    const chunk = this.entry.chunks[number] ?? {};
    const told = [`chunk ${n + 1} of ${shown.parts.length}`];
    if (chunk.tokens) told.push(`${chunk.tokens.toLocaleString("en")} prompt tokens`);
    if (chunk.seconds) told.push(`answered in ${chunk.seconds.toLocaleString("en")} s`);
    if (chunk.attempts > 1) told.push(`${chunk.attempts} attempts`);
    if (!chunk.replies?.length) {
      if (chunk.fault) told.push(`${chunk.fault.replaceAll("_", " ")}: ${visible(chunk.message)}`);
      return make("p", chunk.fault ? "chunk failed" : "chunk", told.join(" · "));
    }
    const replies = chunk.replies.map((reply) => make("pre", "", pretty(reply)));
    return make("details", "chunk", make("summary", "", told.join(" · ")), ...replies);
  }
}

function pretty(reply) {
  try {
    return visible(JSON.stringify(JSON.parse(reply), null, 1)).replaceAll("\\u000a", "\n");
  } catch {
    return visible(reply);
  }
}
