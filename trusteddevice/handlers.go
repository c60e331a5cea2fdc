package trusteddevice

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/authkit-go/authkit"
)

// Mount adds the routes by which users manage their devices to a mux of the Kit,
// under a path such as "/users/me/devices":
//
//	GET    path       lists the devices as a JSON array of [Device]; "current" marks that of the request
//	POST   path       trusts the client (see [Devices.Trust]): 204
//	DELETE path/{id}  revokes a device: 204, or 404 if the user has no such device
//
// The POST requires a login with a second factor, at most five minutes ago.
func (d *Devices) Mount(mux *authkit.Mux, kit *authkit.Kit, path string) {
	path = strings.TrimSuffix(path, "/")
	mux.Handle("GET "+path, authkit.Authenticated(), d.handler(kit, d.list))
	mux.Handle("POST "+path, trustPolicy(), d.handler(kit, func(w http.ResponseWriter, r *http.Request, _ authkit.Principal) error {
		if err := d.Trust(w, r, kit); err != nil {
			return err
		}
		return noContent(w)
	}))
	mux.Handle("DELETE "+path+"/{id}", authkit.Authenticated(), d.handler(kit, func(w http.ResponseWriter, r *http.Request, p authkit.Principal) error {
		if err := d.Revoke(r.Context(), p.UserID, r.PathValue("id")); err != nil {
			return err
		}
		return noContent(w)
	}))
}

// handler returns a handler for requests of users about their own devices.
func (d *Devices) handler(kit *authkit.Kit, serve func(http.ResponseWriter, *http.Request, authkit.Principal) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := self(r.Context(), kit)
		if err == nil {
			err = serve(w, r, p)
		}
		switch {
		case errors.Is(err, ErrNotFound):
			authkit.NewProblem(http.StatusNotFound, "Device not found").ServeHTTP(w, r)
		case err != nil:
			authkit.ProblemFor(err).ServeHTTP(w, r)
		}
	})
}

func (d *Devices) list(w http.ResponseWriter, r *http.Request, p authkit.Principal) error {
	devices, err := d.List(r.Context(), p.UserID)
	if err != nil {
		return err
	}
	type listed struct {
		Device
		Current bool `json:"current"`
	}
	current, _, _ := strings.Cut(tokenOf(r), ".")
	list := make([]listed, len(devices))
	for i, one := range devices {
		list[i] = listed{one, one.ID == current}
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(list) // an error means that the client is gone
	return nil
}

func noContent(w http.ResponseWriter) error {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}
