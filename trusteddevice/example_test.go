package trusteddevice_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/trusteddevice"
)

// Users with a second factor can trust a browser for a week.
func Example() {
	open := func(secret []byte, otp authkit.SecondFactor) (http.Handler, error) {
		devices, err := trusteddevice.New(trusteddevice.Config{Life: 7 * 24 * time.Hour})
		if err != nil {
			return nil, err
		}
		kit, err := authkit.New(authkit.Config{
			Secret: secret, SecondFactors: []authkit.SecondFactor{otp}, TrustedDevices: devices,
		})
		if err != nil {
			return nil, err
		}
		mux := kit.NewMux()
		mux.Handle("POST /token", authkit.Public(), kit.TokenHandler())
		devices.Mount(mux, kit, "/users/me/devices")
		return devices.Handler(mux), nil
	}
	_, err := open([]byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), factor{})
	fmt.Println(err)
	// Output: <nil>
}
