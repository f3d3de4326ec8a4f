// The WebSocket /ws/admin-updates: keeps it open, reconnects, and tracks the age of the data.

import { get } from "./session.js";

const SESSION_ENDED = 1008;
const SILENT_AFTER = 6000; // the server sends every 2 s; after three missed messages the connection counts as lost
const OPENING_TAKES = 15000; // at most, until the first message: a busy server or a slow line
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 5000;

export class Live extends EventTarget {
  #socket = null;
  #pause = FIRST_PAUSE;
  #retry = null;
  #heardAt = Date.now(); // the page itself was rendered from fresh data
  #begun = false; // the socket has had a message; until then the time-out of its opening counts

  /** Dispatches "message" ({type, data} in `detail`) for each update, and "tick" once a second. */
  start() {
    this.#connect();
    setInterval(() => this.#watch(), 1000);
    addEventListener("online", () => this.#now());
    addEventListener("offline", () => this.#socket && this.#lost(this.#socket)); // no need to wait for the time-out
    document.addEventListener("visibilitychange", () => document.hidden || this.#watch());
  }

  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN && this.ageSeconds * 1000 < SILENT_AFTER;
  }

  /** Seconds since the last message of the server. */
  get ageSeconds() {
    return (Date.now() - this.#heardAt) / 1000;
  }

  #connect() {
    const address = new URL("/ws/admin-updates", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    this.#socket = socket;
    const opening = setTimeout(() => this.#lost(socket), OPENING_TAKES);
    this.#begun = false;
    socket.addEventListener("message", (event) => {
      clearTimeout(opening);
      if (socket !== this.#socket) return;
      this.#heardAt = Date.now();
      this.#begun = true;
      this.#pause = FIRST_PAUSE;
      this.dispatchEvent(new CustomEvent("message", { detail: JSON.parse(event.data) }));
    });
    socket.addEventListener("close", ({ code }) => {
      clearTimeout(opening);
      this.#lost(socket, code === SESSION_ENDED);
    });
  }

  /** Drop a silent connection without waiting for its close, which may never come (a cable pulled). */
  #watch() {
    const open = this.#socket?.readyState === WebSocket.OPEN;
    if (open && this.#begun && Date.now() - this.#heardAt > SILENT_AFTER) this.#lost(this.#socket);
    this.dispatchEvent(new Event("tick"));
  }

  #lost(socket, ended = false) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    socket.close();
    this.dispatchEvent(new Event("tick"));
    this.#retry = setTimeout(() => this.#again(), ended ? 0 : this.#pause * (0.75 + Math.random() / 2));
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }

  #now() {
    if (this.#socket) return;
    clearTimeout(this.#retry);
    this.#again();
  }

  /** Find out by a plain request why the handshake was refused: the handshake itself has no reason. */
  async #again() {
    await get("/admin/status", { signal: AbortSignal.timeout(SILENT_AFTER) });
    this.#connect(); // if the server is not reachable, this fails, too, and schedules the next attempt
  }
}
