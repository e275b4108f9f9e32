// Keeps the page up to date: the list always, the question unless somebody is answering it.
"use strict";

(() => {
  const body = document.body;
  const live = document.getElementById("live");
  const EVERY = 1000;
  const WHEN_HIDDEN = 10000;
  let version = body.dataset.version;
  let waiting = countWaiting(document);

  function countWaiting(root) {
    return root.querySelectorAll(".item-waiting").length;
  }

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
    const chosen = document.getElementById("detail").dataset.pause;
    const query = new URLSearchParams({ have: version, pause: chosen });
    const answer = await fetch(`${body.dataset.updates}?${query}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    if (answer.status !== 204) show(await answer.json());
  }

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
  drawTimes();
  setInterval(drawTimes, 1000);
  keepUpdating();
})();
