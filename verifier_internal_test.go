package authkit

import (
	"crypto/ed25519"
	"reflect"
	"strings"
	"testing"
)

// The cache is looked up before a key is used, with the whole token. The remembered claims here
// belong to a text that no key can verify.
func TestCacheIsAsked(t *testing.T) {
	t.Parallel()
	key := Key{Algorithm: EdDSA, Private: ed25519.NewKeyFromSeed([]byte("0d7fa9c4e1b2835f96a0c7d4e8b1f352"))}
	cfg := TokenConfig{Keys: []Key{key}, CacheSize: 4}
	i, err := NewTokenIssuer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewTokenVerifier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	token, err := i.Issue(Claims{Subject: "u"})
	if err != nil {
		t.Fatal(err)
	}
	want, err := v.Verify(token)
	if err != nil {
		t.Fatal(err)
	}
	stored, ok := v.cache.Get(token)
	if !ok {
		t.Fatal("the token is not remembered")
	}
	token = strings.Repeat("x", len(token))
	v.cache.Put(token, stored)
	if got, err := v.Verify(token); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("not remembered: %v, %v", got, err)
	}
	for i := range token {
		for bit := range 8 {
			changed := []byte(token)
			changed[i] ^= 1 << bit
			if _, err := v.Verify(string(changed)); err == nil {
				t.Fatalf("a token with another bit is taken for the remembered one: %q", changed)
			}
		}
	}
}
