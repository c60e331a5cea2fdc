// The access token is here and nowhere else: a reload forgets it, and gets another one with
// the cookie.
let token = null;

// session talks to the handler that reads the cookie.
async function session(method, body) {
  const response = await fetch("/session", { method, body });
  if (!response.ok) {
    token = null;
    return response.status === 401 || response.status === 400 ? null : Promise.reject(new Error("try again later"));
  }
  token = response.status === 204 ? null : (await response.json()).access_token;
  return token;
}

// call sends a request with the access token, and refreshes it if it is not good any more.
async function call(path) {
  for (const last of [false, true]) {
    const response = await fetch(path, { headers: { Authorization: `Bearer ${token}` } });
    if (response.status !== 401 || last || !(await session("PUT"))) {
      return response;
    }
  }
}

const at = (id) => document.getElementById(id);

async function show(message = "") {
  at("message").textContent = message;
  at("login").hidden = token !== null;
  at("inside").hidden = token === null;
  if (token !== null) {
    const response = await call("/hello");
    if (response.ok) {
      at("hello").textContent = await response.text();
    } else {
      at("login").hidden = false;
      at("inside").hidden = true;
      at("message").textContent = "The session has ended.";
    }
  }
}

at("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new URLSearchParams(new FormData(event.target));
  event.target.reset();
  await show((await session("POST", form)) ? "" : "Incorrect e-mail or password.");
});
at("again").addEventListener("click", () => show());
at("logout").addEventListener("click", async () => {
  await session("DELETE");
  await show();
});

await session("PUT"); // as after a reload
await show();
