package passkey_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/passkey"
	"github.com/authkit-go/authkit/storetest/faults"
)

// A faultyStore is a store whose calls can fail.
type faultyStore struct {
	passkey.Store
	in *faults.Injector
}

type nothing struct{}

// only turns a call that returns an error into one that faults.Call takes.
func only(f func(ctx context.Context) error) func(context.Context) (nothing, error) {
	return func(ctx context.Context) (nothing, error) { return nothing{}, f(ctx) }
}

func (s faultyStore) UserHandle(ctx context.Context, userID string, proposed []byte) ([]byte, error) {
	return faults.Call(ctx, s.in, "UserHandle", func(ctx context.Context) ([]byte, error) { return s.Store.UserHandle(ctx, userID, proposed) })
}

func (s faultyStore) AddPasskey(ctx context.Context, p passkey.Passkey, limit int) error {
	_, err := faults.Call(ctx, s.in, "AddPasskey", only(func(ctx context.Context) error { return s.Store.AddPasskey(ctx, p, limit) }))
	return err
}

func (s faultyStore) PasskeyByID(ctx context.Context, id string) (passkey.Passkey, error) {
	return faults.Call(ctx, s.in, "PasskeyByID", func(ctx context.Context) (passkey.Passkey, error) { return s.Store.PasskeyByID(ctx, id) })
}

func (s faultyStore) PasskeysByUser(ctx context.Context, userID string) ([]passkey.Passkey, error) {
	return faults.Call(ctx, s.in, "PasskeysByUser", func(ctx context.Context) ([]passkey.Passkey, error) { return s.Store.PasskeysByUser(ctx, userID) })
}

func (s faultyStore) UsePasskey(ctx context.Context, id string, version int64, u passkey.Use) error {
	_, err := faults.Call(ctx, s.in, "UsePasskey", only(func(ctx context.Context) error { return s.Store.UsePasskey(ctx, id, version, u) }))
	return err
}

func (s faultyStore) RenamePasskey(ctx context.Context, userID, id, name string) error {
	_, err := faults.Call(ctx, s.in, "RenamePasskey", only(func(ctx context.Context) error { return s.Store.RenamePasskey(ctx, userID, id, name) }))
	return err
}

func (s faultyStore) DeletePasskey(ctx context.Context, userID, id string) error {
	_, err := faults.Call(ctx, s.in, "DeletePasskey", only(func(ctx context.Context) error { return s.Store.DeletePasskey(ctx, userID, id) }))
	return err
}

func (s faultyStore) DeletePasskeys(ctx context.Context, userID string) error {
	_, err := faults.Call(ctx, s.in, "DeletePasskeys", only(func(ctx context.Context) error { return s.Store.DeletePasskeys(ctx, userID) }))
	return err
}

// faulty returns options for stores whose calls can fail.
func faulty(in *faults.Injector) options {
	store := in.Store(authkit.NewMemoryStore())
	return options{
		kit: func(c *authkit.Config) { c.Users, c.Sessions.Store, c.StoreTimeout = store, store, time.Second },
		keys: func(c *passkey.Config) {
			c.Store = faultyStore{passkey.NewMemoryStore(), in}
			c.RefuseCounterRollback = true
		},
	}
}

// version returns the version of an account.
func (a *app) version(userID string) int64 {
	a.t.Helper()
	u, err := a.kit.User(a.t.Context(), userID)
	require.NoError(a.t, err)
	return u.Version
}

// count returns the number of passkeys of a user.
func (a *app) count(userID string) int {
	a.t.Helper()
	n, err := a.factor.Count(a.t.Context(), userID)
	require.NoError(a.t, err)
	return n
}

// eachFault runs a test with every call of every store failing in every way.
func eachFault(t *testing.T, test func(t *testing.T, in *faults.Injector)) {
	faults.Each(t, func(t *testing.T, in *faults.Injector) {
		synctest.Test(t, func(t *testing.T) { test(t, in) })
	})
}

// within returns a context that ends with ctx and has the principal of another
// one.
func within(ctx, principal context.Context) context.Context { return joined{ctx, principal} }

// A joined is a context with the values of another one.
type joined struct {
	context.Context
	values context.Context
}

func (j joined) Value(key any) any {
	if v := j.Context.Value(key); v != nil {
		return v
	}
	return j.values.Value(key)
}

// A registration happens with the change of the account, or not at all. After a
// failure, another one succeeds.
func TestRegistrationFaults(t *testing.T) {
	t.Parallel()
	eachFault(t, func(t *testing.T, in *faults.Injector) {
		a, u, first := enrolled(t, faulty(in))
		strong := func() context.Context {
			token, err := a.login(first)
			require.NoError(t, err)
			return a.as(token)
		}
		ann, key := strong(), newAuthenticator(t)
		before := a.version(u.ID)
		var r passkey.Registered
		err := in.Do(t.Context(), func(ctx context.Context) error {
			ctx = within(ctx, ann)
			o, err := a.BeginRegistration(ctx, u.ID)
			if err != nil {
				return err
			}
			r, err = a.FinishRegistration(ctx, u.ID, key.Create(o))
			return err
		})
		added := a.count(u.ID) - 1
		require.EqualValues(t, added, a.version(u.ID)-before, "%v", err)
		if err == nil {
			require.Equal(t, 1, added)
			require.Len(t, r.Accepted.CredentialIDs, 2, "the authenticator of the other passkey does not forget it")
		}
		require.NotErrorIs(t, err, authkit.ErrInvalidCode, "a store that fails is no wrong response")
		require.NotErrorIs(t, err, passkey.ErrNotFound)
		if added == 1 {
			_, err = a.login(key)
			require.NoError(t, err)
			return
		}
		a.register(strong(), key)
	})
}

// A login that fails leaves no session, and the next one succeeds.
func TestLoginFaults(t *testing.T) {
	t.Parallel()
	eachFault(t, func(t *testing.T, in *faults.Injector) {
		a, u, key := enrolled(t, faulty(in))
		sessions := func() int {
			list, err := a.kit.Sessions(t.Context(), u.ID)
			require.NoError(t, err)
			return len(list)
		}
		before := sessions()
		err := in.Do(t.Context(), func(ctx context.Context) error {
			o, err := a.BeginLogin(ctx)
			if err != nil {
				return err
			}
			_, err = a.Login(ctx, key.Get(o))
			return err
		})
		if err == nil {
			require.Equal(t, before+1, sessions())
		} else {
			require.NotErrorIs(t, err, authkit.ErrInvalidCredentials, "a store that fails is no wrong response")
			require.True(t, errors.Is(err, authkit.ErrUnavailable) || errors.Is(err, context.Canceled), "%v", err)
		}
		_, err = a.login(key)
		require.NoError(t, err)
	})
}

// A second factor that cannot be checked is not a wrong one.
func TestFactorFaults(t *testing.T) {
	t.Parallel()
	eachFault(t, func(t *testing.T, in *faults.Injector) {
		a, u, key := enrolled(t, faulty(in))
		o, err := a.BeginFactor(a.ctx())
		require.NoError(t, err)
		response := string(key.Get(o))
		err = in.Do(t.Context(), func(ctx context.Context) error { return a.factor.Verify(ctx, u.ID, response) })
		require.NotErrorIs(t, err, authkit.ErrInvalidCode)
		require.NoError(t, a.answer(u.Email, key))
	})
}

// A deletion happens with the change of the account, or not at all.
func TestDeleteFaults(t *testing.T) {
	t.Parallel()
	eachFault(t, func(t *testing.T, in *faults.Injector) {
		a, u, key := enrolled(t, faulty(in))
		token, err := a.login(key)
		require.NoError(t, err)
		ann, before := a.as(token), a.version(u.ID)
		list, err := a.List(t.Context(), u.ID)
		require.NoError(t, err)
		err = in.Do(t.Context(), func(ctx context.Context) error {
			_, err := a.Delete(within(ctx, ann), u.ID, list[0].ID)
			return err
		})
		n := a.count(u.ID)
		require.EqualValues(t, 1-n, a.version(u.ID)-before, "%v", err)
		if err == nil {
			require.Zero(t, n)
		}
		require.NotErrorIs(t, err, passkey.ErrNotFound, "a store that fails has the passkey")
		require.NotErrorIs(t, err, authkit.ErrLastFactor, "an account that cannot be read may have a password")
	})
}

// A partlyStore fails in the calls with a name.
type partlyStore struct {
	passkey.Store
	failing string
}

func (s *partlyStore) UserHandle(ctx context.Context, userID string, proposed []byte) ([]byte, error) {
	if s.failing == "UserHandle" {
		return nil, errors.New("no connection")
	}
	return s.Store.UserHandle(ctx, userID, proposed)
}

func (s *partlyStore) PasskeysByUser(ctx context.Context, userID string) ([]passkey.Passkey, error) {
	if s.failing == "PasskeysByUser" {
		return nil, errors.New("no connection")
	}
	return s.Store.PasskeysByUser(ctx, userID)
}

// A list that cannot be read is not an empty one: a page would make the authenticators of the user
// forget the passkeys.
func TestListFaults(t *testing.T) {
	t.Parallel()
	store := &partlyStore{Store: passkey.NewMemoryStore()}
	a, u, key := enrolled(t, options{keys: func(c *passkey.Config) { c.Store = store }})
	token, err := a.login(key)
	require.NoError(t, err)
	for _, store.failing = range []string{"UserHandle", "PasskeysByUser"} {
		_, err := a.Accepted(t.Context(), u.ID)
		require.ErrorIs(t, err, authkit.ErrUnavailable, store.failing)
		require.Equal(t, 503, call(a.server(), "GET", "/passkeys", "", a.bearer(token)...).Code, store.failing)
		_, err = a.BeginRegistration(t.Context(), u.ID)
		require.ErrorIs(t, err, authkit.ErrUnavailable, "%s: the options would not exclude the authenticators", store.failing)
	}
	store.failing = ""
	require.Equal(t, 200, call(a.server(), "GET", "/passkeys", "", a.bearer(token)...).Code)

	// A user without passkeys has no handle, either.
	other := a.add("other@example.com")
	of, err := a.kit.Login(t.Context(), other.Email, password)
	require.NoError(t, err)
	store.failing = "PasskeysByUser"
	require.Equal(t, 503, call(a.server(), "GET", "/passkeys", "", a.bearer(of)...).Code)
}

// FR-11: every call of a store has the store timeout of the Kit.
func TestStoreTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const timeout = 3 * time.Second
		store := passkey.Timed(hungStore{}, timeout)
		of := reflect.TypeFor[passkey.Store]()
		for i := range of.NumMethod() {
			method := reflect.ValueOf(store).MethodByName(of.Method(i).Name)
			args := []reflect.Value{reflect.ValueOf(t.Context())}
			for j := 1; j < method.Type().NumIn(); j++ {
				args = append(args, reflect.Zero(method.Type().In(j)))
			}
			began := time.Now()
			results := method.Call(args)
			err, _ := results[len(results)-1].Interface().(error)
			require.ErrorIs(t, err, context.DeadlineExceeded, of.Method(i).Name)
			require.Equal(t, timeout, time.Since(began), of.Method(i).Name)
		}
		a := newApp(t, options{keys: func(c *passkey.Config) { c.Store = hungStore{} }, kit: func(c *authkit.Config) { c.StoreTimeout = timeout }})
		began := time.Now()
		_, err := a.List(t.Context(), "ann")
		require.ErrorIs(t, err, authkit.ErrUnavailable)
		require.Equal(t, timeout, time.Since(began))
	})
}

// A hungStore never answers.
type hungStore struct{}

func hang(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func (hungStore) UserHandle(ctx context.Context, _ string, _ []byte) ([]byte, error) {
	return nil, hang(ctx)
}
func (hungStore) AddPasskey(ctx context.Context, _ passkey.Passkey, _ int) error { return hang(ctx) }
func (hungStore) PasskeyByID(ctx context.Context, _ string) (passkey.Passkey, error) {
	return passkey.Passkey{}, hang(ctx)
}
func (hungStore) PasskeysByUser(ctx context.Context, _ string) ([]passkey.Passkey, error) {
	return nil, hang(ctx)
}
func (hungStore) UsePasskey(ctx context.Context, _ string, _ int64, _ passkey.Use) error {
	return hang(ctx)
}
func (hungStore) RenamePasskey(ctx context.Context, _, _, _ string) error { return hang(ctx) }
func (hungStore) DeletePasskey(ctx context.Context, _, _ string) error    { return hang(ctx) }
func (hungStore) DeletePasskeys(ctx context.Context, _ string) error      { return hang(ctx) }
