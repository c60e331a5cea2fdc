package authkit

import (
	"context"
	"time"
)

const defaultStoreTimeout = 5 * time.Second

// timedStore gives every call to a store a deadline: a database that hangs must not take
// the requests that ask it along.
type timedStore struct {
	UserStore
	timeout time.Duration
}

// timed makes a call with one result beside the error.
func timed[T any](ctx context.Context, timeout time.Duration, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return call(ctx)
}

func (s timedStore) CreateUser(ctx context.Context, u StoredUser) error {
	_, err := timed(ctx, s.timeout, func(ctx context.Context) (any, error) {
		return nil, s.UserStore.CreateUser(ctx, u)
	})
	return err
}

func (s timedStore) UserByID(ctx context.Context, id string) (StoredUser, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (StoredUser, error) {
		return s.UserStore.UserByID(ctx, id)
	})
}

func (s timedStore) UserByEmail(ctx context.Context, email string) (StoredUser, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (StoredUser, error) {
		return s.UserStore.UserByEmail(ctx, email)
	})
}

func (s timedStore) SwapPasswordHash(ctx context.Context, id string, old, new PasswordHash, at time.Time) (bool, error) {
	return timed(ctx, s.timeout, func(ctx context.Context) (bool, error) {
		return s.UserStore.SwapPasswordHash(ctx, id, old, new, at)
	})
}
