package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"sync"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/authkittest"
)

// backupCodes are a second factor of printed codes, each of which works once. A
// real one keeps hashes of the codes in a database.
type backupCodes struct {
	mu    sync.Mutex
	codes map[string][]string // by user ID
}

func (*backupCodes) Method() string { return "otp" }

func (b *backupCodes) Enrolled(_ context.Context, userID string) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.codes[userID]
	return ok, nil
}

func (b *backupCodes) Verify(_ context.Context, userID, response string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.codes[userID], response)
	if i < 0 {
		return authkit.ErrInvalidCode
	}
	b.codes[userID] = slices.Delete(b.codes[userID], i, i+1)
	return nil
}

// A login with a password and a code. TokenHandler and FormLoginHandler ask for
// the code in the same way.
func ExampleSecondFactor() {
	ctx, t := context.Background(), authkittest.Example{}
	factor := &backupCodes{codes: map[string][]string{}}
	kit := authkittest.NewKit(t, func(c *authkit.Config) {
		c.SecondFactors = []authkit.SecondFactor{factor}
	})
	ann := authkittest.User(t, kit)
	factor.codes[ann.ID] = []string{"hazel-42", "maple-17"}

	_, err := kit.Login(ctx, ann.Email, authkittest.Password)
	challenge, ok := errors.AsType[*authkit.ChallengeError](err)
	if !ok {
		log.Fatal(err)
	}
	fmt.Println(err, challenge.Methods)

	_, err = kit.AnswerChallenge(ctx, challenge.Token, "otp", "guessed")
	fmt.Println(err)

	token, err := kit.AnswerChallenge(ctx, challenge.Token, "otp", "hazel-42")
	if err != nil {
		log.Fatal(err)
	}
	_, p, err := kit.IdentifyToken(ctx, token.AccessToken)
	fmt.Println(p.Email, p.Methods, err)
	// Output:
	// authkit: second factor required [otp]
	// authkit: incorrect username or password
	// user1@example.com [pwd otp mfa] <nil>
}
