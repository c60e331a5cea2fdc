package oidclogin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/oauth2"

	"github.com/authkit-go/authkit/internal/seal"
)

// Tokens returns the tokens of the last login with an identity of a user, from a
// provider with KeepTokens. They may have expired. The caller must authorize the
// call.
//
// The errors are ErrNoIdentity, ErrNoTokens if none are kept or their key is
// gone, ErrUnavailable, and that of ctx.
func (l *Logins) Tokens(ctx context.Context, userID, identityID string) (*oauth2.Token, error) {
	list, err := l.Identities(ctx, userID)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(id Identity) bool { return id.ID == identityID })
	if i < 0 {
		return nil, ErrNoIdentity
	}
	if l.box == nil {
		return nil, ErrNoTokens
	}
	plain, err := l.box.Open(list[i].Tokens, place(identityID))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoTokens, err)
	}
	token := new(oauth2.Token)
	if err := json.Unmarshal(plain, token); err != nil {
		return nil, fmt.Errorf("oidclogin: decoding tokens: %w", err)
	}
	return token, nil
}

// place is the place of the tokens of an identity.
func place(identityID string) []byte { return seal.Place("oidc_identities", "tokens", identityID) }

// sealTokens returns tokens as they are stored.
func (l *Logins) sealTokens(identityID string, token *oauth2.Token) ([]byte, error) {
	if l.box == nil {
		return nil, errors.New("oidclogin: no key for tokens")
	}
	plain, err := json.Marshal(token)
	if err != nil {
		return nil, fmt.Errorf("oidclogin: encoding tokens: %w", err)
	}
	return l.box.Seal(plain, place(identityID)), nil
}

// keepTokens replaces the tokens of an identity by those of a login.
func (l *Logins) keepTokens(ctx context.Context, id Identity, who person) error {
	if who.tokens == nil {
		return nil
	}
	sealed, err := l.sealTokens(id.ID, who.tokens)
	if err != nil {
		return err
	}
	if err := l.store.SetTokens(ctx, id.UserID, id.ID, sealed); err != nil && !errors.Is(err, ErrNoIdentity) {
		return l.storeFailed(ctx, err)
	}
	return nil
}
