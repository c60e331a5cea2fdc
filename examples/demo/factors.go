package main

import (
	"net/http"
	"strings"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/examples/demo/internal/factorpage"
	"github.com/authkit-go/authkit/totp"
	"github.com/authkit-go/authkit/trusteddevice"
	"rsc.io/qr"
)

// The paths of the routes for second factors and trusted devices.
const (
	factorPath = "/users/me/factors"
	devicePath = "/users/me/devices"

	maxKeyURI = 512 // bytes
)

// factors holds the second factors of the demo.
type factors struct {
	app      *totp.Factor
	recovery *totp.RecoveryCodes
	devices  *trusteddevice.Devices
}

// newFactors returns the second factors. Users of others, such as passkeys, can
// have recovery codes too.
func newFactors(cfg config, store *storage, others ...authkit.SecondFactor) (*factors, error) {
	key, err := cfg.key("demo: authenticator apps")
	if err != nil {
		return nil, err
	}
	app, err := totp.New(totp.Config{Issuer: "Backend Security Demo", Keys: [][]byte{key}, Store: store.apps, StoreTimeout: storeTimeout})
	if err != nil {
		return nil, err
	}
	devices, err := trusteddevice.New(trusteddevice.Config{Store: store.devices})
	if err != nil {
		return nil, err
	}
	return &factors{app, app.RecoveryCodes(others...), devices}, nil
}

// mount adds the routes by which users manage their factors and devices, and a
// page that uses them.
func (f *factors) mount(mux *authkit.Mux, kit *authkit.Kit) {
	f.recovery.Mount(mux, kit, factorPath)
	f.devices.Mount(mux, kit, devicePath)
	mux.HandleFunc("POST "+factorPath+"/otp/qr", authkit.Authenticated(), drawKey)
	factorpage.Register(mux)
}

// drawKey responds with the QR code of a key URI.
func drawKey(w http.ResponseWriter, r *http.Request) {
	body, problem := readJSON(w, r)
	if problem != nil {
		problem.ServeHTTP(w, r)
		return
	}
	o, ok := readObject(body)
	if !ok {
		refuse(w, r, []authkit.FieldError{{Field: "body", Message: "must be an object"}})
		return
	}
	uri := o.text("uri")
	if o.rest(); uri != "" && (!strings.HasPrefix(uri, "otpauth://totp/") || len(uri) > maxKeyURI) {
		o.fault("uri", "must be the key URI of an authenticator app")
	}
	if len(o.faults) > 0 {
		refuse(w, r, o.faults)
		return
	}
	code, err := qr.Encode(uri, qr.M)
	if err != nil {
		refuse(w, r, []authkit.FieldError{{Field: "uri", Message: "does not fit a QR code"}})
		return
	}
	w.Header().Set("Content-Type", "image/png")
	_, _ = w.Write(code.PNG()) // an error means that the client is gone
}
