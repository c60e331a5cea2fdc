package oidclogin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/authkit-go/authkit"
)

const (
	leeway     = time.Minute // of the provider's clock
	maxSubject = 255         // bytes (OpenID Connect Core 1.0, section 2)
	maxName    = 128         // characters
	maxDetail  = 300         // bytes of an error in an event
)

// identify exchanges the code of an answer, and returns the user that the
// provider has authenticated.
func (l *Logins) identify(ctx context.Context, p *provider, m *metadata, b browser, a answer, f flow) (person, error) {
	ctx = oidc.ClientContext(ctx, p.client)
	secret := p.ClientSecret
	if p.secret != nil {
		var err error
		if secret, err = p.secret(time.Now()); err != nil {
			return person{}, l.providerFailed(ctx, p, err)
		}
	}
	token, err := p.config(m, secret).Exchange(ctx, a.code, oauth2.VerifierOption(b.verifier(a.state)))
	if refusal, ok := errors.AsType[*oauth2.RetrieveError](err); ok { // its text has the body, which may repeat the request
		status := refusal.Response.StatusCode
		if status < 500 {
			return person{}, l.refused(ctx, p, fmt.Errorf("the provider refused the code: %s", clip(refusal.ErrorCode)))
		}
		err = fmt.Errorf("the token endpoint answered with status %d", status)
	}
	if err != nil {
		return person{}, l.providerFailed(ctx, p, err)
	}
	var who person
	if m.verifier == nil {
		who, err = p.person(ctx, getterFor(p.client, token))
	} else {
		who, err = p.verify(ctx, m, token, b.nonce(a.state), f.MaxAge)
	}
	if _, ok := errors.AsType[fetchError](err); ok {
		return person{}, l.providerFailed(ctx, p, err)
	}
	if err != nil {
		return person{}, l.refused(ctx, p, err)
	}
	if who.Subject == "" || len(who.Subject) > maxSubject || !utf8.ValidString(who.Subject) || strings.ContainsFunc(who.Subject, unicode.IsControl) {
		return person{}, l.refused(ctx, p, errors.New("the subject is empty, too long or malformed"))
	}
	who.Name = displayName(who.Name)
	if p.KeepTokens {
		who.tokens = token
	}
	return who, nil
}

// idClaims are the claims that are read beside those of oidc.IDToken.
type idClaims struct {
	AuthorizedParty *string `json:"azp"`
	AuthTime        *int64  `json:"auth_time"`
	profile
}

// profile are the claims about a user. The types are strict: an address that is
// not one text is refused (OA-03).
type profile struct {
	Subject       string          `json:"sub"`
	Email         string          `json:"email"`
	EmailVerified json.RawMessage `json:"email_verified"`
	Name          string          `json:"name"`
}

// verified reports whether email_verified is the JSON value true.
func (p profile) verified() bool { return string(p.EmailVerified) == "true" }

// verify checks the ID token of a response (OpenID Connect Core 1.0, sections
// 3.1.3.7 and 3.1.3.8).
func (p *provider) verify(ctx context.Context, m *metadata, token *oauth2.Token, nonce string, maxAge time.Duration) (person, error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return person{}, errors.New("the response has no ID token")
	}
	var fetch error // of the keys
	// Verify checks the signature, aud and exp.
	id, err := m.verifier.Verify(context.WithValue(ctx, fetchKey{}, &fetch), raw)
	if fetch != nil {
		return person{}, fetchError{fetch}
	}
	if err != nil {
		return person{}, err
	}
	var c idClaims
	if err := id.Claims(&c); err != nil {
		return person{}, err
	}
	at := time.Now()
	switch {
	case id.Issuer != p.Issuer:
		return person{}, errors.New("the ID token has another issuer")
	case id.Nonce != nonce:
		return person{}, errors.New("the ID token has another nonce")
	case len(id.Audience) > 1 && c.AuthorizedParty == nil, c.AuthorizedParty != nil && *c.AuthorizedParty != p.ClientID:
		return person{}, errors.New("the ID token was issued to another client (azp)")
	case id.IssuedAt.Unix() <= 0 || id.IssuedAt.After(at.Add(leeway)) || id.IssuedAt.Before(at.Add(-flowLife)):
		return person{}, errors.New("the ID token was not issued just now")
	case id.AccessTokenHash != "" && id.VerifyAccessToken(token.AccessToken) != nil:
		return person{}, errors.New("the ID token belongs to another access token (at_hash)")
	}
	who := person{Subject: id.Subject}
	if c.AuthTime != nil {
		who.AuthTime = time.Unix(*c.AuthTime, 0)
		if *c.AuthTime < 0 || who.AuthTime.After(at.Add(leeway)) {
			return person{}, errors.New("the user was authenticated at an impossible time (auth_time)")
		}
	}
	if maxAge > 0 && (c.AuthTime == nil || at.Sub(who.AuthTime) > maxAge+leeway) {
		return person{}, errors.New("the user was not authenticated again (auth_time)")
	}
	about := c.profile
	verified := about.verified() || p.textVerified && string(about.EmailVerified) == `"true"`
	if about.Email == "" && m.userInfo != "" {
		if about, err = p.askUserInfo(ctx, m, token, id.Subject); err != nil {
			return person{}, err
		}
		verified = about.verified() // a text never counts here (OA-03a)
	}
	who.Name = about.Name
	who.setEmail(about.Email, verified)
	return who, nil
}

// askUserInfo reads the claims about a user that the ID token lacks (OpenID
// Connect Core 1.0, section 5.3). Most providers send the address there.
func (p *provider) askUserInfo(ctx context.Context, m *metadata, token *oauth2.Token, subject string) (about profile, err error) {
	if err := getterFor(p.client, token)(ctx, m.userInfo, &about); err != nil {
		return profile{}, err
	}
	if about.Subject != subject {
		return profile{}, errors.New("the user info belongs to another subject")
	}
	return about, nil
}

// setEmail sets the address, if the text is one.
func (w *person) setEmail(text string, verified bool) {
	email, err := authkit.NormalizeEmail(text)
	if err != nil {
		return
	}
	w.Email, w.Verified = email, verified
}

// displayName returns a name as one line of at most 128 characters.
func displayName(name string) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(name, " ") {
		if !unicode.IsPrint(r) {
			r = ' '
		}
		if n++; n > maxName || b.Len() > 250 {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// clip returns the front of a text of a provider, for an event.
func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	return strings.ToValidUTF8(text[:min(len(text), maxDetail)], "")
}

// providerFailed reports a provider that could not answer.
func (l *Logins) providerFailed(ctx context.Context, p *provider, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	l.report(ctx, p, err)
	return fmt.Errorf("oidclogin: %w: the provider %s", authkit.ErrUnavailable, p.Name)
}

// refused reports an answer of a provider that was refused. The client gets one
// neutral error.
func (l *Logins) refused(ctx context.Context, p *provider, err error) error {
	l.report(ctx, p, err)
	return fmt.Errorf("oidclogin: the answer of the provider was refused: %w", authkit.ErrInvalidCredentials)
}

func (l *Logins) report(ctx context.Context, p *provider, err error) {
	l.kit.Emit(ctx, authkit.Event{
		Kind: EventProviderFailure, Method: MethodFederated, Reason: authkit.ReasonWrongProof, Err: fmt.Errorf("oidclogin: %s: %s", p.Name, clip(err.Error())),
	})
}
