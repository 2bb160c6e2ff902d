// What comes later arrives as plain values and becomes text: nothing of it is ever read as markup.
const list = document.getElementById("alerts");
const incidents = document.getElementById("incidents");
const link = document.getElementById("link");
const words = document.getElementById("words");
const least = document.getElementById("least");
const SEVERITIES = ["low", "medium", "high", "critical"];

const element = (name, className, ...content) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content);
  return made;
};
const second = (time) => (time.length < 19 ? time : time.slice(0, 19).replace("T", " "));
const entry = (href, id, time, severity, word, what) => {
  const anchor = element("a", "", element("time", "", second(time)), element("span", "severity " + severity, word), what);
  anchor.href = href + encodeURIComponent(id);
  const made = element("li", "", anchor);
  made.dataset.id = id;
  return made;
};

const alertEntry = (row) => {
  const what = element("span", "what", element("strong", "", row.rule));
  for (const name of row.cast) what.append(" · " + name);
  const made = entry("alert/", row.id, row.time, row.severity, row.is_withdrawn ? "withdrawn" : row.severity, what);
  made.dataset.severity = row.severity;
  made.classList.toggle("withdrawn", row.is_withdrawn);
  return made;
};
const timeOf = (item) => item.querySelector("time").textContent;

const sift = (item) => {
  const text = item.textContent.toLowerCase();
  const isWanted = words.value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  item.hidden = !isWanted || SEVERITIES.indexOf(item.dataset.severity) < SEVERITIES.indexOf(least.value);
};
const siftAll = () => { for (const item of list.children) sift(item); };

const place = (row) => {
  const made = alertEntry(row);
  const before = [...list.children].find((item) => item.dataset.id === row.id);
  const hadFocus = before?.contains(document.activeElement);
  before?.remove();
  const after = [...list.children].find((item) => timeOf(item) <= second(row.time));
  list.insertBefore(made, after ?? null);
  made.classList.add("fresh");
  if (hadFocus) made.querySelector("a").focus();
  sift(made);
  return !before;
};

const take = (news) => {
  const isNew = news.alerts.map(place);
  while (list.children.length > news.max_alerts) list.lastElementChild.remove();
  // Whoever stands on an incident goes on standing there.
  const focused = document.activeElement?.closest?.("#incidents li")?.dataset.id;
  incidents.replaceChildren(...news.incidents.map((line) =>
    entry("incident/", line.id, line.time, line.severity, line.severity, element("span", "what", line.summary))));
  if (focused) [...incidents.children].find((item) => item.dataset.id === focused)?.querySelector("a").focus();
  const reasons = document.getElementById("reasons");
  reasons.hidden = news.reasons.length === 0;
  reasons.querySelector("ul").replaceChildren(...news.reasons.map((reason) => element("li", "", reason)));
  const nNew = isNew.filter(Boolean).length;
  if (nNew > 0) document.getElementById("news").textContent = nNew === 1 ? "1 new alert" : nNew + " new alerts";
};

const stream = new EventSource("live?at=" + encodeURIComponent(link.dataset.at));
stream.addEventListener("open", () => { link.textContent = "Live"; });
stream.addEventListener("news", (event) => take(JSON.parse(event.data)));
stream.addEventListener("error", () => {
  link.textContent = stream.readyState === EventSource.CLOSED
    ? "Not live: it was ended, load the page anew" : "Not live: trying again";
});

words.addEventListener("input", siftAll);
least.addEventListener("change", siftAll);
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === words) {
    if (event.key === "Escape") { words.value = ""; siftAll(); words.blur(); }
    return;
  }
  if (event.target === least) return;
  if (event.key === "/") { event.preventDefault(); words.focus(); return; }
  const step = { j: 1, k: -1 }[event.key];
  if (!step) return;
  const anchors = [...document.querySelectorAll(".entries li:not([hidden]) a")];
  const at = anchors.indexOf(document.activeElement);
  anchors[at < 0 ? 0 : Math.min(Math.max(at + step, 0), anchors.length - 1)]?.focus();
});
siftAll();
