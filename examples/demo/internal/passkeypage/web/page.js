// Logs in with a password or a passkey, and manages passkeys.
const element = (id) => document.getElementById(id);
let token = "", waiting; // waiting: the request for a passkey that runs

// call sends a request and returns the body of the response.
async function call(method, path, body) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body && !(body instanceof URLSearchParams)) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body });
  const answer = response.status === 204 ? {} : await response.json();
  return response.ok ? answer : Promise.reject(Object.assign(new Error(answer.detail), answer));
}

// signal tells the authenticators which passkeys exist, if the browser can.
async function signal(name, data) {
  if (data) await PublicKeyCredential[name]?.(data).catch(() => {});
}

// get asks for a passkey of the options of a path, and returns it as JSON.
async function get(path, mediation) {
  waiting?.abort(); // a browser runs one request at a time
  const mine = (waiting = new AbortController());
  const { publicKey } = await call("POST", path);
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey);
  return JSON.stringify(await navigator.credentials.get({ publicKey: options, mediation, signal: mine.signal }));
}

async function show() {
  const { passkeys, accepted } = await call("GET", "/passkeys");
  await signal("signalAllAcceptedCredentials", accepted);
  element("list").replaceChildren(...passkeys.map((key) => {
    const item = document.createElement("li");
    const rename = document.createElement("button"), remove = document.createElement("button");
    rename.textContent = "Rename", remove.textContent = "Delete";
    rename.onclick = () => attempt(async () => {
      await call("PATCH", `/passkeys/${key.id}`, JSON.stringify({ name: prompt("Name", key.name) ?? key.name })), await show();
    });
    remove.onclick = () => attempt(async () => { await call("DELETE", `/passkeys/${key.id}`), await show(); });
    item.append(`${key.name}, ${key.last_used_at ? `last used ${new Date(key.last_used_at).toLocaleString()}` : "never used"} `, rename, " ", remove);
    return item;
  }));
  element("login").hidden = true, element("account").hidden = false;
}

async function loggedIn(answer) {
  token = answer.access_token;
  element("status").textContent = "Logged in.";
  await show();
}

const withPasskey = (mediation) => get("/passkeys/login/options", mediation).then((body) => call("POST", "/passkeys/login", body)).then(loggedIn);

async function withPassword() {
  const form = new URLSearchParams(new FormData(element("login")));
  const answer = await call("POST", "/token", form).catch(async (error) => {
    if (error.error !== "mfa_required") throw error;
    return call("POST", "/token", new URLSearchParams({
      grant_type: "mfa", mfa_token: error.mfa_token, mfa_method: "pop", mfa_response: await get("/passkeys/factor/options"),
    }));
  });
  await loggedIn(answer);
}

async function add() {
  const { publicKey } = await call("POST", "/passkeys/register/options");
  const key = await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey) });
  await call("POST", "/passkeys/register", JSON.stringify(key));
  element("status").textContent = "Added.";
  await show();
}

// attempt shows the error of an action.
async function attempt(action) {
  element("status").textContent = "";
  await action().catch((error) => {
    if (error.name !== "AbortError") element("status").textContent = error.message;
    return signal("signalUnknownCredential", error.unknown_credential);
  });
}

element("login").onsubmit = (event) => (event.preventDefault(), attempt(withPassword));
element("passkey").onclick = () => attempt(() => withPasskey());
element("add").onclick = () => attempt(add);
element("logout").onclick = () => attempt(() => call("POST", "/logout").then(() => location.reload()));
if (await PublicKeyCredential.isConditionalMediationAvailable?.()) attempt(() => withPasskey("conditional")); // offers passkeys in the form
