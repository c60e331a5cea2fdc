package authkit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/authkit-go/authkit"
)

// A pin is a second factor for this example: a number that the service chooses.
type pin struct {
	mu    sync.Mutex
	users map[string]bool
}

func (*pin) Method() string { return "pin" }

func (p *pin) Enrolled(_ context.Context, userID string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.users[userID], nil
}

func (*pin) Verify(_ context.Context, _, response string) error {
	if response != "4711" {
		return authkit.ErrInvalidCode
	}
	return nil
}

func (*pin) BeginEnrollment(context.Context, authkit.User) (any, error) {
	return map[string]string{"pin": "4711"}, nil
}

func (p *pin) ConfirmEnrollment(ctx context.Context, u authkit.User, response string) (any, error) {
	if err := p.Verify(ctx, u.ID, response); err != nil {
		return nil, err
	}
	p.set(u.ID, true)
	return nil, nil
}

func (p *pin) Unenroll(_ context.Context, userID string) error {
	p.set(userID, false)
	return nil
}

func (p *pin) set(userID string, enrolled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[userID] = enrolled
}

// Administrators must have a second factor. One without any sets it up within the
// login.
func ExampleKit_EnrollChallenge() {
	ctx := context.Background()
	kit, err := authkit.New(authkit.Config{
		Secret:         []byte("a secret of 32 or more random bytes"),
		SecondFactors:  []authkit.SecondFactor{&pin{users: map[string]bool{}}},
		RequireFactors: authkit.FactorPolicy{Roles: []string{"admin"}},
		Logger:         slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = kit.CreateUser(ctx, authkit.User{Email: "ann@example.com", Roles: []string{"admin"}}, "correct horse")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = kit.Login(ctx, "ann@example.com", "correct horse")
	if pending, ok := errors.AsType[*authkit.ChallengeError](err); ok && pending.Enroll {
		data, err := kit.EnrollChallenge(ctx, pending.Token, pending.Methods[0])
		fmt.Println(data, err)
		token, err := kit.AnswerChallenge(ctx, pending.Token, pending.Methods[0], "4711")
		fmt.Println(token.AccessToken != "", err)
	}
	// Output:
	// map[pin:4711] <nil>
	// true <nil>
}
