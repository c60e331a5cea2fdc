// Starts a provider of OpenID Connect: node provider.mjs PORT REDIRECT_URI
//
// It is the npm package oidc-provider, which is certified and sends iss (RFC 9207). Its pages for
// development take every name, which is then the subject. It prints its issuer.
//
// oidc-provider is found through NODE_PATH; see run.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { default: Provider } = await import(pathToFileURL(createRequire(import.meta.url).resolve("oidc-provider")));

const [port, redirect] = process.argv.slice(2);
const issuer = `http://localhost:${port}`;
const provider = new Provider(issuer, {
  clients: [{ client_id: "web", client_secret: "a secret of the client for HTTP Basic", redirect_uris: [redirect] }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
  pkce: { required: () => true },
  cookies: { keys: ["a key for the cookies of a test"] },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, email: `${sub}@example.org`, email_verified: sub !== "unproved", name: sub }) }),
});
provider.on("server_error", (_, error) => console.error(error));
provider.listen(Number(port), "127.0.0.1", () => console.log(issuer));
