package authkit_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
)

// putTicket stores a ticket of the kind "test", and returns it with its token.
func putTicket(t testing.TB, store authkit.TicketStore) (authkit.Ticket, string) {
	t.Helper()
	ticket, token := authkit.NewTicket("test", "", time.Minute)
	ticket.Body = []byte("body")
	require.NoError(t, store.PutTicket(context.Background(), ticket))
	return ticket, token
}

func TestTicket(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	ticket, token := putTicket(t, store)
	id, secret, found := strings.Cut(token, ".")
	require.True(t, found)
	require.Equal(t, ticket.ID, id)
	require.Len(t, secret, 43, "256 bits")
	require.Equal(t, 5, ticket.MaxAttempts)
	require.Equal(t, time.Minute, ticket.ExpiresAt.Sub(ticket.CreatedAt))

	for range 2 { // an attempt leaves the ticket
		got, err := authkit.AttemptTicket(t.Context(), store, "test", token)
		require.NoError(t, err)
		require.Equal(t, "body", string(got.Body))
	}
	got, err := authkit.RedeemTicket(t.Context(), store, "test", token)
	require.NoError(t, err)
	require.Equal(t, ticket.ID, got.ID)
	_, err = authkit.RedeemTicket(t.Context(), store, "test", token)
	require.ErrorIs(t, err, authkit.ErrInvalidTicket, "used")

	other, _ := authkit.NewTicket("test", "", time.Minute)
	require.NotEqual(t, ticket.ID, other.ID)
	require.NotEqual(t, ticket.Hash, other.Hash)
}

func TestTicketRefused(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	ticket, token := putTicket(t, store)
	_, another := authkit.NewTicket("test", "", time.Minute)
	for name, text := range map[string]string{
		"empty": "", "a dot": ".", "no dot": ticket.ID, "no ID": token[len(ticket.ID):], "unknown": another, "NUL": "\x00" + token,
		"not UTF-8": "\xff" + token, "long": strings.Repeat("x", 10_000) + "." + token, "a long secret": token + strings.Repeat("x", 10_000),
	} {
		_, err := authkit.RedeemTicket(t.Context(), store, "test", text)
		require.ErrorIs(t, err, authkit.ErrInvalidTicket, name)
	}
	_, err := authkit.RedeemTicket(t.Context(), store, "login", token)
	require.ErrorIs(t, err, authkit.ErrInvalidTicket, "another kind")
	got, err := authkit.AttemptTicket(t.Context(), store, "test", token)
	require.NoError(t, err)
	require.Equal(t, 1, got.Attempts, "none of these counted")

	// A secret is bound to the kind and to the ID.
	moved := ticket
	moved.Kind = "reset"
	require.NoError(t, store.PutTicket(t.Context(), moved))
	_, err = authkit.AttemptTicket(t.Context(), store, "reset", token)
	require.ErrorIs(t, err, authkit.ErrInvalidTicket)
	renamed := ticket
	renamed.ID = "renamed"
	require.NoError(t, store.PutTicket(t.Context(), renamed))
	_, err = authkit.AttemptTicket(t.Context(), store, "test", "renamed"+token[len(ticket.ID):])
	require.ErrorIs(t, err, authkit.ErrInvalidTicket)
}

func TestTicketAttempts(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	_, token := putTicket(t, store)
	for _, wrong := range []string{token + "x", token[:len(token)-1], token[:strings.Index(token, ".")+1], token + " ", strings.Replace(token, ".", "..", 1)} {
		_, err := authkit.AttemptTicket(t.Context(), store, "test", wrong)
		require.ErrorIs(t, err, authkit.ErrInvalidTicket)
	}
	_, err := authkit.AttemptTicket(t.Context(), store, "test", token)
	require.ErrorIs(t, err, authkit.ErrInvalidTicket)
}

func TestTicketExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := authkit.NewMemoryStore()
		_, token := putTicket(t, store)
		time.Sleep(time.Minute - time.Microsecond)
		_, err := authkit.AttemptTicket(t.Context(), store, "test", token)
		require.NoError(t, err)
		time.Sleep(time.Microsecond)
		_, err = authkit.AttemptTicket(t.Context(), store, "test", token)
		require.ErrorIs(t, err, authkit.ErrInvalidTicket)
	})
}

// RG-12: the digits of codes are uniform.
func TestCodeTicket(t *testing.T) {
	t.Parallel()
	const codes = 20_000
	var counts [6]['9' + 1]int
	for range codes {
		_, code := authkit.NewCodeTicket("code", "", time.Minute)
		require.Len(t, code, 6)
		for i, c := range []byte(code) {
			require.True(t, c >= '0' && c <= '9', code)
			counts[i][c]++
		}
	}
	for i := range counts {
		for c := '0'; c <= '9'; c++ {
			require.InDelta(t, codes/10, counts[i][c], 300, "seven standard deviations")
		}
	}

	// A code works only with the ID of its ticket.
	store := authkit.NewMemoryStore()
	ticket, code := authkit.NewCodeTicket("code", "", time.Minute)
	other, _ := authkit.NewCodeTicket("code", "", time.Minute)
	for other.Hash == ticket.Hash {
		t.Fatal("two tickets with one hash")
	}
	require.NoError(t, store.PutTicket(t.Context(), ticket))
	for _, token := range []string{code, "." + code, other.ID + "." + code} {
		_, err := authkit.RedeemTicket(t.Context(), store, "code", token)
		require.ErrorIs(t, err, authkit.ErrInvalidTicket)
	}
	_, err := authkit.RedeemTicket(t.Context(), store, "code", ticket.ID+"."+code)
	require.NoError(t, err)
}

// Of any number of callers with one token one has the ticket, and wrong secrets never exceed
// the attempts.
func TestTicketRaces(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	race := func(f func() error) int32 {
		var passed atomic.Int32
		var done sync.WaitGroup
		for range 50 {
			done.Go(func() {
				if f() == nil {
					passed.Add(1)
				}
			})
		}
		done.Wait()
		return passed.Load()
	}
	_, token := putTicket(t, store)
	require.EqualValues(t, 1, race(func() error {
		_, err := authkit.RedeemTicket(t.Context(), store, "test", token)
		return err
	}))
	_, token = putTicket(t, store)
	require.EqualValues(t, 5, race(func() error {
		_, err := authkit.AttemptTicket(t.Context(), store, "test", token)
		return err
	}))
}

// A text of more than 255 bytes, or whose ID no store could hold, is not looked up.
func TestTicketTextsThatAreNotLookedUp(t *testing.T) {
	t.Parallel()
	store := &faultyTickets{MemoryStore: authkit.NewMemoryStore(), fail: "attempt"}
	ticket, token := putTicket(t, store)
	longest := ticket.ID + "." + strings.Repeat("x", 255-len(ticket.ID)-1)
	for text, want := range map[string]error{
		token: authkit.ErrUnavailable, longest: authkit.ErrUnavailable,
		longest + "x": authkit.ErrInvalidTicket, ticket.ID: authkit.ErrInvalidTicket, "." + token: authkit.ErrInvalidTicket,
		"\x00" + token: authkit.ErrInvalidTicket, "\xff" + token: authkit.ErrInvalidTicket,
	} {
		_, err := authkit.AttemptTicket(t.Context(), store, "test", text)
		require.ErrorIs(t, err, want, "%q", text)
	}
}

// A store that fails is told apart from a wrong token.
func TestTicketStoreFails(t *testing.T) {
	t.Parallel()
	store := &faultyTickets{MemoryStore: authkit.NewMemoryStore()}
	_, token := putTicket(t, store)
	for _, call := range []string{"attempt", "consume"} {
		store.fail = call
		_, err := authkit.RedeemTicket(t.Context(), store, "test", token)
		require.ErrorIs(t, err, authkit.ErrUnavailable)
		require.ErrorIs(t, err, errCrash)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := authkit.RedeemTicket(ctx, store, "test", token)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, authkit.ErrUnavailable)
}

func TestTicketIsRedacted(t *testing.T) {
	t.Parallel()
	ticket, _ := authkit.NewTicket("test", "ann", time.Minute)
	ticket.Body = []byte("the body")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{ticket, &ticket, struct{ T authkit.Ticket }{ticket}} {
			text := fmt.Sprintf(verb, v)
			require.NotContains(t, text, "body", verb)
			require.NotContains(t, text, fmt.Sprintf("%d", ticket.Hash[0])+" "+fmt.Sprintf("%d", ticket.Hash[1]), verb)
		}
	}
	require.Equal(t, "{test "+ticket.ID+" [redacted]}", fmt.Sprint(ticket))
}

// The tickets of a Kit are those of its configuration, with a deadline.
func TestKitTickets(t *testing.T) {
	t.Parallel()
	store := authkit.NewMemoryStore()
	kit := newKit(t, func(c *authkit.Config) { c.Users = store })
	_, token := putTicket(t, kit.Tickets())
	_, err := authkit.RedeemTicket(t.Context(), store, "test", token)
	require.NoError(t, err)
	require.Nil(t, newKit(t, newHookStore().listen).Tickets())

	hung := &hungTickets{MemoryStore: store}
	kit = newKit(t, func(c *authkit.Config) { c.Tickets, c.StoreTimeout = hung, time.Millisecond })
	_, err = authkit.RedeemTicket(t.Context(), kit.Tickets(), "test", token)
	require.ErrorIs(t, err, authkit.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// A hungTickets answers when its caller has given up.
type hungTickets struct{ *authkit.MemoryStore }

func (hungTickets) AttemptTicket(ctx context.Context, _, _ string, _ time.Time) (authkit.Ticket, error) {
	<-ctx.Done()
	return authkit.Ticket{}, ctx.Err()
}

// Of all texts one redeems a ticket.
func FuzzTicketToken(f *testing.F) {
	for _, text := range []string{"", ".", "TOKEN", "TOKEN.", ".TOKEN", "TOKENTOKEN", "a.b", "\x00.\x00", "\xff.", " TOKEN", "TOKEN\n", strings.Repeat("a", 300) + "."} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		store := authkit.NewMemoryStore()
		_, token := putTicket(t, store)
		// The token of this ticket stands for whatever token the corpus was made with.
		text = strings.ReplaceAll(text, "TOKEN", token)
		_, err := authkit.RedeemTicket(t.Context(), store, "test", text)
		if (err == nil) != (text == token) {
			t.Errorf("%q: %v, and the token is %q", text, err, token)
		}
		if err != nil {
			require.ErrorIs(t, err, authkit.ErrInvalidTicket)
			_, err = authkit.RedeemTicket(t.Context(), store, "test", token)
			require.NoError(t, err, "one wrong text does not use the ticket up")
		}
	})
}
