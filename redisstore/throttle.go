package redisstore

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/authkit-go/authkit"
	"github.com/authkit-go/authkit/throttle"
	"github.com/redis/go-redis/v9"
)

// A Throttle keeps the counters of a throttle in Redis. It implements
// [throttle.Store]. All instances of a service that use one Throttle share its
// limits. It is safe for concurrent use. Make one with [NewThrottle].
//
// Each method is one script and one round trip. If its reply is lost, the
// client sends it again. A repeated Reserve counts twice, which admits fewer
// attempts. A repeated Finish or Clear has no effect within a minute, because
// it would admit more.
type Throttle struct {
	server
	scripts throttleScripts
}

var _ throttle.Store = (*Throttle)(nil)

// NewThrottle returns the throttle with the prefix of opts. The client and the
// error are like those of [New]. One client can serve both.
//
//	store, err := redisstore.NewThrottle(client, redisstore.Options{})
//	limits, err := throttle.New(throttle.Config{Store: store, Secret: secret})
func NewThrottle(client redis.UniversalClient, opts Options) (*Throttle, error) {
	on, err := newServer(client, opts)
	if err != nil {
		return nil, err
	}
	return &Throttle{server: on, scripts: newThrottleScripts()}, nil
}

// Kinds of records. A key may have one of each.
const (
	bucketKind  = "b"
	counterKind = "c"
	clearedKind = "p"
	doneKind    = "d" // a call that was made
)

func (t *Throttle) key(kind string, key []byte) string {
	return t.prefix + "t:" + kind + ":" + hex.EncodeToString(key)
}

// Reserve implements [throttle.Store].
func (t *Throttle) Reserve(ctx context.Context, a throttle.Reservation) (throttle.Decision, error) {
	keys, args := t.records(&a, t.prefix+"t:none")
	v, err := parseDecision(t.run(ctx, t.scripts.take, keys, args...))
	return v, failed(ctx, "Reservation", err)
}

// Finish implements [throttle.Store].
func (t *Throttle) Finish(ctx context.Context, a throttle.Reservation, outcome authkit.AttemptOutcome) error {
	name := "undecided"
	switch outcome {
	case authkit.AttemptFailed:
		name = "failed"
	case authkit.AttemptSucceeded:
		name = "succeeded"
	}
	keys, args := t.records(&a, t.key(doneKind, newCall()))
	_, err := t.run(ctx, t.scripts.settle, keys, append(args, name, int(a.Guess))...)
	return failed(ctx, "Finish", err)
}

// Clear implements [throttle.Store].
func (t *Throttle) Clear(ctx context.Context, a throttle.Reservation) error {
	a.Buckets, a.Source = nil, throttle.Key{}
	keys, args := t.records(&a, t.key(doneKind, newCall()))
	_, err := t.run(ctx, t.scripts.clear, keys, args...)
	return failed(ctx, "Clear", err)
}

// records returns the keys and arguments of lua/throttle.lua for an attempt.
func (t *Throttle) records(a *throttle.Reservation, mark string) (keys []string, args []any) {
	keys, args = append(keys, mark), append(args, micros(a.At), len(a.Buckets))
	for _, b := range a.Buckets {
		keys, args = append(keys, t.key(bucketKind, b.Key[:])), append(args, b.Burst, b.Every.Microseconds())
	}
	if a.Counter != (throttle.Key{}) {
		keys = append(keys, t.key(counterKind, a.Counter[:]), t.key(clearedKind, a.ClearedAt[:]))
		if a.Source != (throttle.Key{}) {
			keys = append(keys, t.key(counterKind, a.Source[:]))
		}
	}
	c := a.Backoff
	return keys, append(args, c.FreeFailures, c.InitialDelay.Microseconds(), c.MaxDelay.Microseconds(), c.LockAfter, c.DecayPerFailure.Microseconds(), c.TrustFor.Microseconds(), c.Open.Microseconds())
}

// parseDecision parses the reply of lua/take.lua.
func parseDecision(reply any, err error) (throttle.Decision, error) {
	if err != nil {
		return throttle.Decision{}, err
	}
	waits, ok := reply.([]any)
	if !ok || len(waits) != 3 {
		return throttle.Decision{}, errReply
	}
	forBuckets, ok1 := waits[0].(int64)
	forCounter, ok2 := waits[1].(int64)
	open, ok3 := waits[2].(int64)
	if !ok1 || !ok2 || !ok3 {
		return throttle.Decision{}, errReply
	}
	return throttle.Decision{
		Bucket:  time.Duration(forBuckets) * time.Microsecond,
		Counter: time.Duration(forCounter) * time.Microsecond,
		Open:    open == 1,
	}, nil
}
