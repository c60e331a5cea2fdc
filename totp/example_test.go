package totp_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"
	"os"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/totp"
)

// A user sets up an app, and logs in with a recovery code when the phone is lost.
func Example() {
	otp, err := totp.New(totp.Config{Issuer: "Example", Keys: [][]byte{[]byte("3b1f7c90d2a64e8f95b0c7d4e8b1f352")}})
	if err != nil {
		log.Fatal(err)
	}
	recovery := otp.RecoveryCodes()
	store := authkit.NewMemoryStore()
	kit, err := authkit.New(authkit.Config{
		Secret:        []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"),
		Users:         store,
		Sessions:      authkit.SessionConfig{Store: store},
		SecondFactors: []authkit.SecondFactor{otp, recovery},
		UserData:      []authkit.UserData{otp, recovery},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	u, err := kit.CreateUser(ctx, authkit.User{Email: "ann@example.com"}, "correct horse")
	if err != nil {
		log.Fatal(err)
	}

	// On the settings page. RecoveryCodes.Mount has handlers for that.
	begun, err := kit.EnrollFactor(ctx, u.ID, totp.Method)
	if err != nil {
		log.Fatal(err)
	}
	uri := begun.(totp.Enrollment).URI // shown as a QR code
	code := authkittest.TOTPCode(authkittest.Example{}, uri)
	confirmed, err := kit.ConfirmFactor(ctx, u.ID, totp.Method, code)
	if err != nil {
		log.Fatal(err)
	}
	codes := confirmed.(totp.Codes).RecoveryCodes // shown once
	fmt.Println(len(codes), "recovery codes")

	// At the next login.
	_, err = kit.Login(ctx, "ann@example.com", "correct horse")
	challenge, _ := errors.AsType[*authkit.ChallengeError](err)
	fmt.Println(challenge.Methods)
	token, err := kit.AnswerChallenge(ctx, challenge.Token, authkit.MethodRecovery, codes[0])
	fmt.Println(token.User.Email, err)
	left, err := recovery.Left(ctx, u.ID)
	fmt.Println(left, "codes left", err)
	// Output:
	// 10 recovery codes
	// [otp recovery]
	// ann@example.com <nil>
	// 9 codes left <nil>
}

// The routes of a settings page, and the policies that guard them.
func ExampleRecoveryCodes_Mount() {
	otp, err := totp.New(totp.Config{Issuer: "Example", Keys: [][]byte{[]byte("3b1f7c90d2a64e8f95b0c7d4e8b1f352")}})
	if err != nil {
		log.Fatal(err)
	}
	recovery := otp.RecoveryCodes()
	kit := authkittest.NewKit(authkittest.Example{}, func(c *authkit.Config) {
		c.SecondFactors = []authkit.SecondFactor{otp, recovery}
		c.UserData = []authkit.UserData{otp, recovery}
	})
	mux := kit.NewMux()
	recovery.Mount(mux, kit, "/users/me/factors")

	ann := authkittest.User(authkittest.Example{}, kit)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, authkittest.Request(authkittest.Example{}, kit, ann, "GET", "/users/me/factors", nil))
	fmt.Print(w.Body)
	// Output:
	// {"enrolled":[],"available":["otp"],"required":false,"recovery_codes_left":0}
}

// A change of keys: the new one is in front, and the old one still decrypts.
func ExampleFactor_Reseal() {
	newKey, oldKey := []byte("3b1f7c90d2a64e8f95b0c7d4e8b1f352"), []byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352")
	otp, err := totp.New(totp.Config{Issuer: "Example", Keys: [][]byte{newKey, oldKey}})
	if err != nil {
		log.Fatal(err)
	}
	err = otp.Reseal(context.Background(), func(users int) { fmt.Fprintln(os.Stderr, users, "users") })
	fmt.Println(err)
	// Output: <nil>
}
