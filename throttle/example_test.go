package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
)

// A stranger guesses, from a new address each time. The user is let in all the same, from
// where they have logged in before.
func Example() {
	limits, err := throttle.New(throttle.Config{})
	if err != nil {
		log.Fatal(err)
	}
	kit, err := authkit.New(authkit.Config{
		Secret:    []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Throttle:  limits,
		Passwords: authkit.PasswordConfig{Hasher: authkit.Bcrypt{Cost: 4, InsecureLowCost: true}}, // quick, for an example
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := kit.CreateUser(context.Background(), authkit.User{Email: "ann@example.com"}, "correct horse"); err != nil {
		log.Fatal(err)
	}
	login := func(address, password string) error {
		ctx := authkit.WithClient(context.Background(), authkit.ClientInfo{Address: address})
		_, err := kit.Login(ctx, "ann@example.com", password)
		return err
	}

	fmt.Println("ann, at home:", login("2001:db8::1", "correct horse"))
	for i := range 5 {
		_ = login(fmt.Sprintf("192.0.2.%d", i), "battery staple")
	}
	var refused *authkit.ThrottledError
	if errors.As(login("192.0.2.99", "correct horse"), &refused) {
		fmt.Println("a stranger, with the right password: refused for", refused.RetryAfter.Round(1e9))
	}
	fmt.Println("ann, at home:", login("2001:db8::2", "correct horse"))
	// Output:
	// ann, at home: <nil>
	// a stranger, with the right password: refused for 30s
	// ann, at home: <nil>
}

// A service behind a proxy, with browsers that are known again and a route of its own that
// is limited by address.
func ExampleThrottle_Device() {
	secret := []byte("a secret of its own, 32 bytes or more")
	limits, err := throttle.New(throttle.Config{
		Secret: secret,
		Limits: map[string]throttle.Limit{"search": {Burst: 60, Every: 1e9}},
	})
	if err != nil {
		log.Fatal(err)
	}
	kit, err := authkit.New(authkit.Config{Secret: []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"), Throttle: limits})
	if err != nil {
		log.Fatal(err)
	}
	mux := kit.NewMux()
	mux.Handle("POST /token", authkit.Public(), limits.Device(kit.TokenHandler()))
	mux.Handle("GET /search", authkit.Public(), limits.Limit("search")(http.NotFoundHandler()))

	behindProxy, err := throttle.TrustProxies(netip.MustParsePrefix("10.1.0.0/16"))
	if err != nil {
		log.Fatal(err)
	}
	_ = http.Server{Handler: behindProxy(mux)}
	_, err = throttle.TrustProxies(netip.MustParsePrefix("0.0.0.0/0"))
	fmt.Println(err)
	// Output:
	// throttle: the proxies' network 0.0.0.0/0 is so wide that clients are in it, who then choose their address; name the proxies' own
}
