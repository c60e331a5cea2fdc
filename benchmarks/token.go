package main

import (
	"fmt"
	"time"

	"github.com/authkit-go/authkit/benchmarks/internal/harness"
	"github.com/authkit-go/authkit/benchmarks/internal/peers"
)

// issue measures issuing a token from claims with current times.
func issue(name string, env env) (harness.Section, error) {
	codecs, err := peers.Codecs(peers.HS256, env.keys)
	if err != nil {
		return harness.Section{}, err
	}
	g := harness.Group{
		Name: name, Work: "Sign a token of sub, uid, jti, two roles, iat and exp.",
		Checks: againstPeers(name, "authkit", 0.55, 4),
	}
	next := func() peers.Claims { return peers.NewClaims(time.Now()) }
	for _, c := range codecs {
		if op := c.Signer(next); op != nil {
			g.Contenders = append(g.Contenders, contender(c, func() func() error { return op }))
		}
	}
	return measure(g, env)
}

// verify measures a valid token from its text to its subject and roles.
func verify(name string, env env) (harness.Section, error) {
	codecs, tokens, err := codecsAndTokens(peers.HS256, env)
	if err != nil {
		return harness.Section{}, err
	}
	g := harness.Group{
		Name: name, Work: "Verify signature and expiry; yield the subject and the roles as Go values.",
		Contenders: verifiers(codecs, tokens.Good),
		Checks:     againstPeers(name, "authkit", 0.30, 4),
	}
	return measure(g, env)
}

// asymmetric measures the same for alg, beside the standard library's check of
// the signature alone.
func asymmetric(alg string, most float64) func(string, env) (harness.Section, error) {
	return func(name string, env env) (harness.Section, error) {
		codecs, tokens, err := codecsAndTokens(alg, env)
		if err != nil {
			return harness.Section{}, err
		}
		bare, err := peers.Bare(alg, env.keys, tokens.Good)
		if err != nil {
			return harness.Section{}, err
		}
		g := harness.Group{
			Name: name,
			Work: "Verify signature and expiry; yield the subject and the roles as Go values. Bare crypto checks the signature only.",
			Contenders: append([]harness.Contender{
				{Name: "bare crypto", Kind: peers.Floor, New: func() func() error { return bare }},
			}, verifiers(codecs, tokens.Good)...),
			Checks: []harness.Check{
				{Ours: "authkit", Against: "bare crypto", Max: most},
				{What: name + ", token seen before", Ours: "authkit, CacheSize 1024", Against: "bare crypto"},
			},
		}
		return measure(g, env)
	}
}

// refuseToken measures the refusal of a token.
func refuseToken(which func(peers.Tokens) string, most, allocs float64) func(string, env) (harness.Section, error) {
	return func(name string, env env) (harness.Section, error) {
		codecs, tokens, err := codecsAndTokens(peers.HS256, env)
		if err != nil {
			return harness.Section{}, err
		}
		g := harness.Group{
			Name: name, Work: "Verify a token that must be refused; get an error.",
			Checks: againstPeers(name, "authkit", most, allocs),
		}
		for _, c := range codecs {
			if c.VerifyString == nil && c.VerifyBytes == nil {
				continue
			}
			op := c.Verifier(which(tokens))
			g.Contenders = append(g.Contenders, contender(c, func() func() error {
				return func() error {
					if _, err := op(); err == nil {
						return fmt.Errorf("accepted")
					}
					return nil
				}
			}))
		}
		return measure(g, env)
	}
}

func codecsAndTokens(alg string, env env) ([]peers.Codec, peers.Tokens, error) {
	codecs, err := peers.Codecs(alg, env.keys)
	if err != nil {
		return nil, peers.Tokens{}, err
	}
	tokens, err := peers.NewTokens(alg, env.keys, nil)
	return codecs, tokens, err
}

func verifiers(codecs []peers.Codec, token string) []harness.Contender {
	var list []harness.Contender
	for _, c := range codecs {
		if c.VerifyString == nil && c.VerifyBytes == nil {
			continue
		}
		op := c.Verifier(token)
		list = append(list, contender(c, func() func() error {
			return func() error {
				id, err := op()
				if err == nil && (id.Subject != peers.Subject || len(id.Roles) != 2) {
					return fmt.Errorf("yielded %q, %q", id.Subject, id.Roles)
				}
				return err
			}
		}))
	}
	return list
}

// againstPeers compares ours with the best peer as documented, and reports the
// ratio to the best in any form.
func againstPeers(what, ours string, most, allocs float64) []harness.Check {
	return []harness.Check{
		{What: what, Ours: ours, Max: most, MaxAllocs: allocs},
		{What: what + ", by any means", Ours: ours, Against: harness.AnyPeer},
	}
}

func contender(c peers.Codec, op func() func() error) harness.Contender {
	return harness.Contender{Name: c.Name, Kind: c.Kind, Note: c.Note, New: op}
}

func measure(g harness.Group, env env) (harness.Section, error) {
	m, err := harness.Run(g, env.cfg)
	if err != nil {
		return harness.Section{}, err
	}
	return harness.NewSection(g, m)
}
