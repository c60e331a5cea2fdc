// Logs in with a second factor, and sets up an authenticator app.
const element = (id) => document.getElementById(id);
const show = (...ids) => ["login", "challenge", "account", "confirm", "codes"].forEach((id) => { element(id).hidden = !ids.includes(id); });
let token = "", pending = "";

// call sends a request and returns its response.
async function call(method, path, body) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body && !(body instanceof URLSearchParams)) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body });
  if (response.ok) return response;
  const problem = await response.json();
  throw Object.assign(new Error(problem.detail), problem);
}

async function account(...more) {
  const status = await (await call("GET", "/users/me/factors")).json();
  element("enrolled").textContent = status.enrolled.length ? `Set up: ${status.enrolled.join(", ")}. Recovery codes left: ${status.recovery_codes_left}.` : "No second factor.";
  show("account", ...more);
}

async function loggedIn(response) {
  token = (await response.json()).access_token;
  element("status").textContent = "Logged in.";
  await account();
}

async function logIn() {
  const form = new URLSearchParams(new FormData(element("login")));
  await call("POST", "/token", form).then(loggedIn, (problem) => {
    if (problem.error !== "mfa_required") throw problem;
    pending = problem.mfa_token;
    show("challenge");
  });
}

async function answer() {
  const { otp, recovery } = Object.fromEntries(new FormData(element("challenge")));
  await loggedIn(await call("POST", "/token", new URLSearchParams({
    grant_type: "mfa", mfa_token: pending, mfa_method: otp ? "otp" : "recovery", mfa_response: otp || recovery,
  })));
}

async function setUp() {
  const { uri, secret } = await (await call("POST", "/users/me/factors/otp")).json();
  const picture = await call("POST", "/users/me/factors/otp/qr", JSON.stringify({ uri }));
  element("qr").src = URL.createObjectURL(await picture.blob());
  element("secret").textContent = secret;
  show("account", "confirm");
}

// codes shows new recovery codes, if the response has any.
async function codes(response) {
  const list = response.status === 204 ? [] : (await response.json()).recovery_codes;
  element("list").replaceChildren(...list.map((code) => Object.assign(document.createElement("li"), { textContent: code })));
  await account(...(list.length ? ["codes"] : []));
}

const confirm = () => call("POST", "/users/me/factors/otp/confirm", JSON.stringify(Object.fromEntries(new FormData(element("confirm"))))).then(codes);

// attempt runs an action and shows its error.
async function attempt(action) {
  element("status").textContent = "";
  await action().catch((error) => { element("status").textContent = error.message; });
}

for (const [id, action] of Object.entries({ login: logIn, challenge: answer, confirm })) {
  element(id).onsubmit = (event) => { event.preventDefault(); attempt(action); };
}
element("setup").onclick = () => attempt(setUp);
element("remove").onclick = () => attempt(() => call("DELETE", "/users/me/factors/otp").then(() => account()));
element("renew").onclick = () => attempt(() => call("POST", "/users/me/factors/recovery").then(codes));
element("trust").onclick = () => attempt(() => call("POST", "/users/me/devices").then(() => { element("status").textContent = "Trusted."; }));
element("logout").onclick = () => attempt(() => call("POST", "/logout").then(() => location.reload()));
