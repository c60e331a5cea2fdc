package passkey_test

import (
	"log"
	"net/http"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passkey"
)

// A service with passkeys: as a second factor after the password, and instead of
// it. The page of a login calls the browser with the options:
//
//	let answer = await fetch("/passkeys/login/options", {method: "POST"});
//	const options = PublicKeyCredential.parseRequestOptionsFromJSON((await answer.json()).publicKey);
//	const credential = await navigator.credentials.get({publicKey: options});
//	answer = await fetch("/passkeys/login", {
//		method: "POST",
//		headers: {"Content-Type": "application/json"},
//		body: JSON.stringify(credential.toJSON()),
//	});
func Example() {
	factor, err := passkey.NewFactor(passkey.Config{
		RPID:    "example.com",
		RPName:  "Example",
		Origins: []string{"https://example.com"},
	})
	if err != nil {
		log.Fatal(err)
	}
	users := authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret:        []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), // your own: openssl rand -hex 32
		Users:         users,
		Sessions:      authkit.SessionConfig{Store: users},
		SecondFactors: []authkit.SecondFactor{factor},
		UserData:      []authkit.UserData{factor},
	})
	if err != nil {
		log.Fatal(err)
	}
	passkeys, err := passkey.New(kit, factor)
	if err != nil {
		log.Fatal(err)
	}
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
	passkeys.Mount(mux, "/passkeys")
	var _ http.Handler = mux
}
