package main

import (
	"net/http"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/apikey"
)

// The paths of the routes for API keys, and for services.
const (
	keysPath     = "/users/me/keys"
	servicesPath = "/admin/services"
)

// newKeys returns the authenticator of API keys. Their limit is that of the throttle, if that
// is on.
func newKeys(store *storage, limits authkit.Throttle) (*apikey.Authenticator, error) {
	return apikey.NewAuthenticator(apikey.Config{Store: store.keys, StoreTimeout: storeTimeout, Prefix: "demo", Throttle: limits})
}

// mountKeys adds the routes for API keys and services, and one that they can use.
func mountKeys(mux *authkit.Mux, kit *authkit.Kit, auth *apikey.Authenticator) (*apikey.Keys, error) {
	keys, err := apikey.New(kit, auth)
	if err != nil {
		return nil, err
	}
	keys.Mount(mux, keysPath)
	keys.MountServices(mux, servicesPath)
	mux.HandleFunc("GET /items", authkit.Permissions("items:read").OrMachines(), itemsForAll)
	return keys, nil
}

// itemsForAll responds with the items, and the name of the user or of the service.
func itemsForAll(w http.ResponseWriter, r *http.Request) {
	p, _ := authkit.PrincipalFrom(r.Context()) // the policy of the route guarantees one
	name := p.Email
	if p.UserID == "" {
		name = p.Name
	}
	writeJSON(w, http.StatusOK, map[string]any{"items": []string{"Foo", "Bar"}, "for": name})
}
