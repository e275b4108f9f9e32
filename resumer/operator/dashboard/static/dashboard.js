// Keeps a page up to date and puts confirmations into a dialog. Every page works without it.
"use strict";

(() => {
  const live = document.getElementById("live");
  const part = document.getElementById("live-part");
  const every = Number(part?.dataset.every || 3) * 1000;
  const WHEN_HIDDEN = 20000;
  const PATIENCE = 10000;  // one answer that never comes must not end the updates
  let isThreadOld = false;

  // -- times, as the server writes them (wording.py) --

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
    for (const element of document.querySelectorAll("time[data-since], time[data-in], time[data-for]")) {
      const past = (now - Date.parse(element.dateTime)) / 1000;
      if ("since" in element.dataset) setText(element, past < 1 ? "just now" : `${duration(past)} ago`);
      else if ("in" in element.dataset) setText(element, past > -1 ? "now" : `in ${duration(-past)}`);
      else setText(element, duration(past));
    }
  }

  // -- changes are put into the page where they are: focus, open details and scrolling stay --

  function isSame(old, fresh) {
    return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName
      && (old.id || "") === (fresh.id || "");
  }

  function morph(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) {
      const kept = name === "open" || (name === "hidden" && old.matches(".copy"));
      if (!fresh.hasAttribute(name) && !kept) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      const kept = name === "hidden" && old.matches(".copy");
      if (!kept && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    morphChildren(old, fresh);
  }

  function morphChildren(old, fresh) {
    let next = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      let found = next;
      if (wanted.id) {
        const there = document.getElementById(wanted.id);
        if (there && there.parentNode === old) found = there;
      }
      if (found && isSame(found, wanted)) {
        if (found !== next) old.insertBefore(found, next);
        else next = next.nextSibling;
        morph(found, wanted);
      } else {
        old.insertBefore(wanted, next);
      }
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
  }

  function parsed(html) {
    return new DOMParser().parseFromString(html, "text/html");
  }

  const announce = (text) => setText(document.getElementById("announce"), text);
  const stateOf = (root) => root.querySelector("[data-state]")?.dataset.state;

  function ask(address, options = {}) {
    return fetch(address, { ...options, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  }

  async function update() {
    const headers = { "X-Live": "1", "X-Have": part.dataset.version };
    const answer = await ask(location.href, { headers, redirect: "error" });
    if (answer.status === 401) return "signed out";
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    if (answer.status === 200) await show(answer);
    if (isThreadOld) await refreshThread();
    return "live";
  }

  async function show(answer) {
    const fresh = document.createElement("div");
    fresh.append(...parsed(await answer.text()).body.childNodes);
    const before = stateOf(part), after = stateOf(fresh);
    morphChildren(part, fresh);
    part.dataset.version = answer.headers.get("X-Version");
    drawTimes();
    showCopying();
    if (before !== after) {
      announce(`Now ${after.split("-")[0]}`);
      isThreadOld = true;
    }
  }

  // The drawing of a thread costs the server more: it is fetched when the pause has moved on.
  async function refreshThread() {
    const old = document.getElementById("thread-part");
    if (old) {
      const answer = await ask(location.href);
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      const fresh = parsed(await answer.text()).getElementById("thread-part");
      if (fresh) morph(old, fresh);
      showCopying();
    }
    isThreadOld = false;
  }

  function setLive(state) {
    const texts = { live: "Live", lost: "Not reachable, trying again", "signed out": "Signed out: load the page again" };
    live.hidden = false;
    live.classList.toggle("live-lost", state !== "live");
    setText(live.querySelector(".live-text"), texts[state]);
  }

  let timer;

  async function keepUpdating() {
    let state;
    try {
      state = await update();
    } catch {
      state = "lost";
    }
    setLive(state);
    clearTimeout(timer);  // there may be two at once: the page was looked at again meanwhile
    if (state !== "signed out") timer = setTimeout(keepUpdating, document.hidden ? WHEN_HIDDEN : every);
  }

  // -- confirmations --

  async function openDialog(link) {
    const answer = await ask(link.href, { redirect: "error" });
    const form = parsed(await answer.text()).getElementById("confirm");
    if (!answer.ok || !form) throw new Error("no confirmation");
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "confirm-title");
    dialog.append(form);
    document.body.append(dialog);
    dialog.addEventListener("close", () => {
      dialog.remove();
      link.focus();
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
    form.querySelector("[data-close]").addEventListener("click", (event) => {
      event.preventDefault();
      dialog.close();
    });
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "1";
    });
    drawTimes();
    dialog.showModal();
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-dialog]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    openDialog(link).catch(() => location.assign(link.href));
  });

  // -- copying --

  function showCopying() {
    if (!navigator.clipboard) return;
    for (const button of document.querySelectorAll(".copy")) button.hidden = false;
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    setText(button, "Copied");
    announce("Copied");
    setTimeout(() => setText(button, "Copy"), 2000);
  });

  // What was done is said once: not again when the page is loaded again.
  const address = new URL(location.href);
  if (address.searchParams.has("done")) {
    address.searchParams.delete("done");
    history.replaceState(null, "", address);
  }

  drawTimes();
  showCopying();
  setInterval(drawTimes, 1000);
  if (live && part) {
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      clearTimeout(timer);
      keepUpdating();
    });
    timer = setTimeout(keepUpdating, every);
    setLive("live");
  }
})();
