// Keeps the page up to date: the list always, the question unless somebody is answering it.
"use strict";

(() => {
  const body = document.body;
  const live = document.getElementById("live");
  const EVERY = 1000;
  const WHEN_HIDDEN = 10000;
  const PATIENCE = 10000;  // one answer that never comes must not end the updates
  const search = document.getElementById("q");
  const keys = document.getElementById("keys");
  let version = body.dataset.version;
  let waiting = Number(/^\((\d+)\)/.exec(document.title)?.[1] ?? 0);
  let asked = 0;
  let saysHowMany = false;

  // -- times, as the server writes them (views.py) --

  function duration(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const minutes = Math.floor(whole / 60), hours = Math.floor(whole / 3600);
    const days = Math.floor(whole / 86400);
    if (whole < 60) return `${whole} s`;
    if (minutes < 60) return `${minutes} min`;
    if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
    return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
  }

  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function drawTimes() {
    const now = Date.now();
    const seconds = (element) => (Date.parse(element.dateTime) - now) / 1000;
    for (const element of document.querySelectorAll("[data-left]")) {
      setText(element, `${duration(seconds(element))} left`);
      element.classList.toggle("left-soon", seconds(element) < 3600);
    }
    for (const element of document.querySelectorAll("[data-since]")) {
      const past = -seconds(element);
      setText(element, past < 60 ? "just now" : `${duration(past)} ago`);
    }
    for (const element of document.querySelectorAll("[data-in]")) {
      setText(element, seconds(element) < 1 ? "now" : `in ${duration(seconds(element))}`);
    }
    for (const element of document.querySelectorAll("[data-local]")) {
      const moment = new Date(element.dateTime);
      const isTime = element.dataset.local === "time";
      setText(element, isTime ? moment.toLocaleTimeString() : moment.toLocaleString());
    }
  }

  // -- what changed --

  function parsed(html) {
    return new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
  }

  function replace(old, fresh) {
    const focused = document.activeElement;
    const id = focused && old.contains(focused) ? focused.id : "";
    for (const open of old.querySelectorAll("details[open]")) {
      fresh.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
    }
    for (const typed of old.querySelectorAll(".trials input")) {
      const same = fresh.querySelector(`#${CSS.escape(typed.id)}`);
      if (same) same.value = typed.value;
    }
    old.replaceWith(fresh);
    if (id) document.getElementById(id)?.focus({ preventScroll: true });
  }

  function isBeingAnswered(detail) {
    const form = detail.querySelector("form.decide");
    if (!form) return false;
    if (form.contains(document.activeElement)) return true;
    return [...form.elements].some((input) =>
      input.type === "checkbox" ? input.checked !== input.defaultChecked
      : input.options ? [...input.options].some((o) => o.selected !== o.defaultSelected && o.value)
      : input.defaultValue !== undefined && input.value !== input.defaultValue);
  }

  function showDetail(fresh) {
    const old = document.getElementById("detail");
    if (old.dataset.version === fresh.dataset.version) return;
    const ended = old.dataset.verdict === "waiting" && fresh.dataset.verdict !== "waiting";
    if (!ended && isBeingAnswered(old)) return;
    replace(old, fresh);
    keepDraft();
    if (ended) announce(`This pause has ended: ${fresh.dataset.headline}`);
  }

  function announce(text) {
    document.getElementById("announce").textContent = text;
  }

  function show(update) {
    version = update.version;
    replace(document.getElementById("list"), parsed(update.list));
    showDetail(parsed(update.detail));
    if (update.waiting > waiting) announce(`${update.waiting} waiting`);
    waiting = update.waiting;
    document.title = `${waiting ? `(${waiting}) ` : ""}Inbox · LoopPause emulator`;
    drawTimes();
  }

  async function update() {
    const turn = ++asked;
    const chosen = document.getElementById("detail").dataset.pause;
    const query = new URLSearchParams({ ...wanted(), have: version, pause: chosen });
    const signal = AbortSignal.timeout(PATIENCE);
    const answer = await fetch(`${body.dataset.updates}?${query}`, { cache: "no-store", signal });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const fresh = answer.status === 204 ? null : await answer.json();
    if (turn !== asked) return;  // a later question is on its way, or answered already
    if (fresh) show(fresh);
    if (saysHowMany && fresh) sayHowMany();
  }

  // -- which to show --

  function wanted() {
    return { show: document.getElementById("list").dataset.show, q: search.value.trim() };
  }

  async function want(showing) {
    document.getElementById("list").dataset.show = showing;
    version = "";
    saysHowMany = true;
    const members = Object.entries(wanted()).filter(([, value]) => value && value !== "all");
    const query = new URLSearchParams(members).toString();
    history.replaceState(null, "", query ? `?${query}` : location.pathname);
    try {
      await update();
    } catch {
      setLive(false);
    }
  }

  // Said of the first list that is shown after it was asked for, whichever request brings it.
  function sayHowMany() {
    const found = document.querySelectorAll("#list .item").length;
    announce(`${found} ${found === 1 ? "pause" : "pauses"} shown`);
    saysHowMany = false;
  }

  let typing;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => want(wanted().show), 150);
  });
  document.getElementById("find").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("click", (event) => {
    const link = event.target.closest("#list a[data-show]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (link.dataset.q === "") {
      search.value = "";
      search.focus();
    }
    want(link.dataset.show);
  });

  // -- what somebody has typed outlives going to another pause and back --

  function draftOf(form) {
    return `draft ${form.closest(".detail").dataset.pause}`;
  }

  function stored(work) {
    try {
      return work();
    } catch {
      return null;  // a browser that keeps nothing: then nothing is kept
    }
  }

  function drafted(form) {
    return [...form.elements].filter((input) => input.name && input.type !== "submit" && input.name !== "responder");
  }

  function keepDraft() {
    const form = document.querySelector("form.decide");
    const detail = document.getElementById("detail");
    if (!form) {
      stored(() => sessionStorage.removeItem(`draft ${detail.dataset.pause}`));
      return;
    }
    const draft = stored(() => JSON.parse(sessionStorage.getItem(draftOf(form)))) ?? {};
    for (const input of drafted(form)) {
      if (!(input.name in draft)) continue;
      if (input.type === "checkbox") input.checked = draft[input.name];
      else input.value = draft[input.name];
    }
  }

  document.addEventListener("input", (event) => {
    const form = event.target.closest("form.decide");
    if (!form) return;
    const draft = Object.fromEntries(drafted(form).map((input) =>
      [input.name, input.type === "checkbox" ? input.checked : input.value]));
    stored(() => sessionStorage.setItem(draftOf(form), JSON.stringify(draft)));
  });

  // -- keys --

  function go(step) {
    const items = [...document.querySelectorAll("#list .item")];
    const at = items.findIndex((item) => item.hasAttribute("aria-current"));
    const next = at < 0 ? items[0] : items[at + step];
    if (next) location.assign(next.href);
  }

  const acts = {
    j: () => go(1),
    k: () => go(-1),
    "/": () => search.focus(),
    c: () => document.getElementById("comment")?.focus(),
    "?": () => keys.showModal(),
  };
  const useKeys = document.getElementById("use-keys");
  useKeys.checked = stored(() => localStorage.getItem("keys")) !== "off";
  useKeys.addEventListener("change", () => {
    stored(() => localStorage.setItem("keys", useKeys.checked ? "on" : "off"));
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || keys.open || !useKeys.checked) return;
    if (event.target.closest("input, textarea, select")) return;
    if (!Object.hasOwn(acts, event.key)) return;
    event.preventDefault();
    acts[event.key]();
  });
  const showKeys = document.getElementById("show-keys");
  showKeys.hidden = false;
  showKeys.addEventListener("click", () => keys.showModal());

  function setLive(isLive) {
    live.hidden = false;
    live.classList.toggle("live-lost", !isLive);
    setText(live.querySelector(".live-text"), isLive ? "Live" : "Not reachable, trying again");
  }

  async function keepUpdating() {
    try {
      await update();
      setLive(true);
    } catch {
      setLive(false);
    }
    setTimeout(keepUpdating, document.hidden ? WHEN_HIDDEN : EVERY);
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) update().catch(() => setLive(false));
  });
  keepDraft();
  drawTimes();
  setInterval(drawTimes, 1000);
  keepUpdating();
})();
