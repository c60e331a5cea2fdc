package passkey_test

import (
	"errors"
	"testing"

	"github.com/authkit-go/authkit"
)

// FuzzResponse sends responses that no client would. None logs in or registers,
// and each is refused as an input, not as an error of the server.
func FuzzResponse(f *testing.F) {
	a, u, key := enrolled(f)
	login, err := a.BeginLogin(a.ctx())
	if err != nil {
		f.Fatal(err)
	}
	register, err := a.BeginRegistration(authkit.WithSystem(a.ctx(), "test"), u.ID)
	if err != nil {
		f.Fatal(err)
	}
	// The responses are right but for their origin.
	other := newAuthenticator(f)
	key.Origin, other.Origin = "https://evil.example", "https://evil.example"
	f.Add(key.Get(login))
	f.Add(other.Create(register))
	f.Add([]byte(`{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"","signature":"","userHandle":""}}`))
	f.Fuzz(func(t *testing.T, response []byte) {
		if _, err := a.Login(t.Context(), response); !errors.Is(err, authkit.ErrInvalidCredentials) {
			t.Errorf("Login: %v", err)
		}
		if _, err := a.FinishRegistration(t.Context(), u.ID, response); !errors.Is(err, authkit.ErrInvalidCode) {
			t.Errorf("FinishRegistration: %v", err)
		}
		if err := a.factor.Verify(t.Context(), u.ID, string(response)); !errors.Is(err, authkit.ErrInvalidCode) {
			t.Errorf("Verify: %v", err)
		}
	})
}
