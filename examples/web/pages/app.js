// The live parts of the home page: a stream of events, and a WebSocket. Both carry the session
// cookie, which no script can read.
"use strict";

const at = (id) => document.getElementById(id);

function stream() {
  const source = new EventSource("/events");
  const say = (text) => { at("stream-state").textContent = text; };
  source.onopen = () => say("Connected.");
  source.onmessage = (event) => {
    const item = document.createElement("li");
    item.textContent = event.data;
    at("events").append(item);
    while (at("events").children.length > 5) at("events").firstChild.remove();
  };
  source.addEventListener("ended", (event) => {
    source.close();
    say(event.data);
  });
  source.onerror = () => {
    // The browser connects again, unless the server refused it.
    say(source.readyState === EventSource.CLOSED ? "The session has ended." : "Connecting again…");
  };
  addEventListener("pagehide", () => source.close());
}

function echo() {
  const socket = new WebSocket(new URL("/echo", location.href.replace(/^http/, "ws")));
  const say = (text) => { at("echo-state").textContent = text; };
  socket.onopen = () => {
    at("echo").hidden = false;
    say("Connected.");
  };
  socket.onmessage = (event) => say(`The server answers: ${event.data}`);
  socket.onclose = (event) => {
    at("echo").hidden = true;
    say(event.reason || "Not connected.");
  };
  at("echo").addEventListener("submit", (event) => {
    event.preventDefault();
    socket.send(at("message").value);
    event.target.reset();
  });
  addEventListener("pagehide", () => socket.close());
}

if (at("events")) {
  stream();
  echo();
  // A page that the browser kept in memory may be that of a session that has ended.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
}
