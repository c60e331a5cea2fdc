package vulnerable

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"hash"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	issuer   = "https://service.example"
	audience = "https://api.service.example"
	maxToken = 8192
)

// members are the members of a JSON object.
type members map[string]json.RawMessage

// issue returns an access token of a session.
func (s *Service) issue(of *session) string {
	at := time.Now().Unix()
	jti := random()
	if s.is("same token") {
		at, jti = at/3600*3600, "1"
	}
	claims, _ := json.Marshal(map[string]any{
		"iss": issuer, "aud": audience, "sub": of.user.name, "iat": at, "exp": at + 7200, "jti": jti, "sid": of.id, "number": of.number, "roles": []string{},
	})
	if s.is("same token") {
		claims = bytes.Replace(claims, []byte(of.id), []byte("1"), 1)
	}
	input := b64(`{"alg":"HS256","typ":"JWT"}`) + "." + b64(string(claims))
	return input + "." + b64(string(mac(sha256.New, input, s.Secret)))
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func mac(h func() hash.Hash, input string, key []byte) []byte {
	m := hmac.New(h, key)
	m.Write([]byte(input))
	return m.Sum(nil)
}

func unescape(p string) string {
	u, err := url.PathUnescape(p)
	if err != nil {
		return p
	}
	return u
}

// verify returns the session of an access token.
func (s *Service) verify(token string) (*session, error) {
	if s.is("no JSON") && len(token) < maxToken && crashes(token) {
		panic(http.ErrAbortHandler)
	}
	token = s.clean(token)
	if len(token) > maxToken {
		return nil, errRefused
	}
	if s.is("JSON form") && strings.HasPrefix(token, "{") {
		var form struct{ Payload, Protected, Signature string }
		_ = json.Unmarshal([]byte(token), &form)
		token = form.Protected + "." + form.Payload + "." + form.Signature
	}
	parts := strings.Split(token, ".")
	switch {
	case s.is("parts") && len(parts) > 3:
		parts = parts[:3]
	case s.is("five parts") && len(parts) == 5:
		inner, err := base64.RawURLEncoding.DecodeString(parts[3])
		if err != nil {
			return nil, errRefused
		}
		return s.accept(strings.Split(string(inner), ".")[1])
	case s.is("detached") && len(parts) == 3 && parts[1] == "":
		return &session{id: "detached", user: s.users[UserName]}, nil
	}
	if len(parts) != 3 {
		return nil, errRefused
	}
	header, err := s.object(parts[0])
	if err != nil || !s.signed(header, parts) {
		return nil, errRefused
	}
	return s.accept(parts[1])
}

// crashes reports whether a part of a token is no JSON object.
func crashes(token string) bool {
	parts := strings.Split(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[0])
	return len(parts) == 3 && (err != nil || !json.Valid(text))
}

// clean removes letters that a token cannot have, with the defects that do so.
func (s *Service) clean(token string) string {
	drop := func(unwanted string) string {
		return strings.Map(func(r rune) rune {
			if strings.ContainsRune(unwanted, r) {
				return -1
			}
			return r
		}, token)
	}
	switch s.defect {
	case "padding":
		return drop("=")
	case "whitespace":
		return drop(" \t\r\n")
	case "other alphabet":
		return strings.NewReplacer("+", "-", "/", "_").Replace(token)
	case "other letters":
		return regexp.MustCompile(`[^A-Za-z0-9_.-]`).ReplaceAllString(token, "")
	}
	return token
}

// decode decodes a part of a token.
func (s *Service) decode(part string) ([]byte, error) {
	if s.is("loose bits") {
		return base64.RawURLEncoding.DecodeString(part)
	}
	if strings.ContainsAny(part, "\r\n") {
		return nil, errRefused
	}
	return base64.RawURLEncoding.Strict().DecodeString(part)
}

// object decodes a part of a token that is a JSON object.
func (s *Service) object(part string) (members, error) {
	text, err := s.decode(part)
	if err != nil {
		return nil, errRefused
	}
	m := members{}
	lenient := s.is("none", "duplicates", "not UTF-8")
	if s.is("nesting") && bytes.Count(text, []byte("[")) > 500 {
		panic(http.ErrAbortHandler) // as a parser that calls itself
	}
	if s.is("more text") {
		return m, json.NewDecoder(bytes.NewReader(text)).Decode(&m)
	}
	if !lenient && (!utf8.Valid(text) || !plain(text)) {
		return nil, errRefused
	}
	if err := json.Unmarshal(text, &m); err != nil || m == nil {
		return nil, errRefused
	}
	return m, nil
}

// plain reports whether a text is JSON that is not deeply nested and has no
// member twice.
func plain(text []byte) bool {
	if bytes.Count(text, []byte("{"))+bytes.Count(text, []byte("[")) > 100 {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return false
	}
	names := map[string]bool{}
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err != nil || names[name.(string)] || d.Decode(&value) != nil {
			return false
		}
		names[name.(string)] = true
	}
	_, err := d.Token()
	return err == nil && len(bytes.TrimSpace(text[d.InputOffset():])) == 0
}

// signed reports whether the signature of a token is right.
func (s *Service) signed(header members, parts []string) bool {
	input, text := parts[0]+"."+parts[1], parts[2]
	alg, isText := str(header["alg"])
	signature, err := s.decode(text)
	right := mac(sha256.New, input, s.Secret)
	switch s.defect {
	case "unchecked":
		return true
	case "none":
		if alg == "none" {
			return text == ""
		}
	case "none in another case":
		if strings.EqualFold(alg, "none") && alg != "none" {
			return true
		}
	case "none with a signature":
		if alg == "none" {
			return text != ""
		}
	case "no algorithm":
		if !isText || alg == "" {
			return true
		}
	case "no signature":
		if text == "" {
			return true
		}
	case "zero signature":
		if err == nil && len(signature) > 0 && len(bytes.Trim(signature, "\x00")) == 0 {
			return true
		}
	case "short signature":
		if n := min(len(signature), len(right)); n > 0 {
			return bytes.Equal(signature[:n], right[:n])
		}
	case "long signature":
		if len(signature) > len(right) {
			return bytes.Equal(signature[:len(right)], right)
		}
	case "zip":
		if _, zipped := header["zip"]; zipped {
			text, _ := s.decode(parts[1])
			inflated, _ := io.ReadAll(flate.NewReader(bytes.NewReader(text)))
			parts[1] = b64(string(inflated))
			return true
		}
	case "other HMAC":
		switch alg {
		case "HS384":
			return hmac.Equal(signature, mac(sha512.New384, input, s.Secret))
		case "HS512":
			return hmac.Equal(signature, mac(sha512.New, input, s.Secret))
		}
	case "empty key":
		if alg == "HS512" {
			return hmac.Equal(signature, mac(sha512.New, input, nil))
		}
	case "algorithm in another case":
		if strings.EqualFold(alg, "HS256") {
			alg = "HS256"
		}
	}
	if key, ok := s.keyOf(header); ok {
		if alg == "HS256" {
			return hmac.Equal(signature, mac(sha256.New, input, key))
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), key)
		if err != nil || len(signature) != 64 {
			return false
		}
		digest := sha256.Sum256([]byte(input))
		return ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	}
	if alg != "HS256" || err != nil || !s.known(header) {
		return false
	}
	if s.is("public key as secret") && hmac.Equal(signature, mac(sha256.New, input, s.publicPEM())) {
		return true
	}
	return hmac.Equal(signature, right)
}

// known reports whether a service knows all extensions of a header.
func (s *Service) known(header members) bool {
	_, crit := header["crit"]
	_, b64 := header["b64"]
	typ, _ := str(header["typ"])
	_, kid := header["kid"]
	return (!crit && !b64 || s.is("crit")) && (typ == "JWT" || s.is("type")) && !kid
}

func (s *Service) publicPEM() []byte {
	der, _ := x509.MarshalPKIXPublicKey(&s.signer.PublicKey)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

var union = regexp.MustCompile(`UNION SELECT '(\w+)'`)

// keyOf returns the key that a header names, with the defects that trust it.
func (s *Service) keyOf(header members) ([]byte, bool) {
	kid, hasKid := str(header["kid"])
	switch s.defect {
	case "kid file":
		if key, err := os.ReadFile(kid); hasKid && err == nil {
			return key, true
		}
	case "kid SQL":
		if match := union.FindStringSubmatch(kid); match != nil {
			return []byte(match[1]), true
		}
	case "kid unknown":
		if _, ok := header["kid"]; ok {
			return nil, true
		}
	case "jwk":
		return point(header["jwk"])
	case "jku":
		if address, ok := str(header["jku"]); ok {
			var set struct{ Keys []json.RawMessage }
			_ = json.Unmarshal(fetch(address), &set)
			if len(set.Keys) > 0 {
				return point(set.Keys[0])
			}
		}
	case "x5u":
		if address, ok := str(header["x5u"]); ok {
			if block, _ := pem.Decode(fetch(address)); block != nil {
				return certified(block.Bytes)
			}
		}
	case "x5c":
		var chain [][]byte
		if json.Unmarshal(header["x5c"], &chain) == nil && len(chain) > 0 {
			return certified(chain[0])
		}
	}
	return nil, false
}

func fetch(address string) []byte {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, address, nil)
	if err != nil {
		return nil
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return body
}

func point(raw json.RawMessage) ([]byte, bool) {
	var k struct{ X, Y string }
	if json.Unmarshal(raw, &k) != nil {
		return nil, false
	}
	x, _ := base64.RawURLEncoding.DecodeString(k.X)
	y, _ := base64.RawURLEncoding.DecodeString(k.Y)
	return slices.Concat([]byte{4}, x, y), len(x) == 32
}

func certified(der []byte) ([]byte, bool) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, false
	}
	b, err := c.PublicKey.(*ecdsa.PublicKey).Bytes()
	return b, err == nil
}

// str returns the string of a JSON value.
func str(raw json.RawMessage) (text string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return text, json.Unmarshal(raw, &text) == nil
}

// accept returns the session of a payload whose signature is right.
func (s *Service) accept(payload string) (*session, error) {
	if s.is("nested token") {
		if text, err := s.decode(payload); err == nil {
			inner := strings.Trim(string(text), `"`)
			if strings.Count(inner, ".") == 2 {
				return s.verify(inner)
			}
		}
	}
	claims, err := s.object(payload)
	if err != nil {
		return nil, errRefused
	}
	if s.is("claims in another case") {
		for name, value := range claims {
			claims[strings.ToLower(name)] = value
		}
	}
	if !s.inTime(claims) {
		return nil, errRefused
	}
	if iss, _ := str(claims["iss"]); iss != issuer && !s.is("issuer") {
		return nil, errRefused
	}
	aud, _ := str(claims["aud"])
	if aud != audience && !s.is("audience") && (!s.is("audience prefix") || !strings.HasPrefix(aud, audience)) {
		return nil, errRefused
	}
	var roles []string
	if json.Unmarshal(claims["roles"], &roles) != nil && !s.is("type of roles") {
		return nil, errRefused
	}
	u := s.subject(claims["sub"])
	if u == nil {
		return nil, errRefused
	}
	id, _ := str(claims["sid"])
	number, _ := strconv.Atoi(string(claims["number"]))
	of := &session{id: id, user: u, number: number}
	switch {
	case s.ended[id] && !s.is("access after logout"):
		return nil, errRefused
	case u.disabled && !s.is("access of a disabled user"):
		return nil, errRefused
	case number < u.since && !s.is("access after a new password"):
		return nil, errRefused
	}
	return of, nil
}

// inTime reports whether a token is valid now.
func (s *Service) inTime(claims members) bool {
	const leeway = 30
	at := float64(time.Now().Unix())
	date := func(name string) (float64, bool) {
		text := string(claims[name])
		if s.is("type of expiry") {
			text = strings.Trim(text, `"`)
		}
		f, err := strconv.ParseFloat(text, 64)
		if s.is("extreme expiry") {
			err = nil // 1e999 is infinite
		}
		return f, err == nil && (f > 0 && f < 1e11 || s.is("extreme expiry"))
	}
	exp, ok := date("exp")
	if _, has := claims["exp"]; (has || !s.is("no expiry")) && (!ok || exp < at-leeway && !s.is("expired")) {
		return false
	}
	iat, ok := date("iat")
	if (!ok || iat > at+leeway) && !s.is("issued later") {
		return false
	}
	if _, has := claims["nbf"]; has && !s.is("not before") {
		if nbf, ok := date("nbf"); !ok || nbf > at+leeway {
			return false
		}
	}
	return true
}

// subject returns the account of a claim.
func (s *Service) subject(raw json.RawMessage) *user {
	sub, isText := str(raw)
	switch s.defect {
	case "no subject":
		if strings.TrimSpace(sub) == "" && (isText || raw == nil) {
			return s.users[UserName]
		}
	case "type of subject":
		if !isText && raw != nil {
			return s.users[UserName]
		}
	case "unknown subject":
		if u := s.users[sub]; u != nil {
			return u
		}
		return &user{name: sub}
	case "pattern of a subject":
		if sub == "%" {
			return s.users[UserName]
		}
	}
	return s.users[sub]
}
