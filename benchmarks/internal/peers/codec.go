package peers

// A Codec issues and verifies tokens with one library.
//
// Some libraries use text and others bytes. A codec uses the native form of its
// library, so that no contender pays for a conversion that its interface does
// not need.
type Codec struct {
	Name string
	Kind Kind
	Note string // shown under the table

	SignString   func(Claims) (string, error) // one of the two, or neither if the library issues no tokens
	SignBytes    func(Claims) ([]byte, error)
	VerifyString func(string) (Identity, error) // one of the two
	VerifyBytes  func([]byte) (Identity, error)
}

// Signer returns a function that issues one token from the claims of next, in
// the library's native form.
func (c Codec) Signer(next func() Claims) func() error {
	switch {
	case c.SignString != nil:
		return func() error { _, err := c.SignString(next()); return err }
	case c.SignBytes != nil:
		return func() error { _, err := c.SignBytes(next()); return err }
	}
	return nil
}

// Sign issues a token as text.
func (c Codec) Sign(claims Claims) (string, error) {
	if c.SignString != nil {
		return c.SignString(claims)
	}
	b, err := c.SignBytes(claims)
	return string(b), err
}

// Verifier returns a function that verifies token, in the library's native
// form.
func (c Codec) Verifier(token string) func() (Identity, error) {
	if c.VerifyString != nil {
		return func() (Identity, error) { return c.VerifyString(token) }
	}
	b := []byte(token)
	return func() (Identity, error) { return c.VerifyBytes(b) }
}

// Verify verifies a token that is text, like the token of a request.
func (c Codec) Verify(token string) (Identity, error) {
	if c.VerifyString != nil {
		return c.VerifyString(token)
	}
	return c.VerifyBytes([]byte(token))
}

// Codecs returns every contender for alg, authkit first.
func Codecs(alg string, keys Keys) ([]Codec, error) {
	var all []Codec
	for _, make := range []func(string, Keys) ([]Codec, error){
		authkitCodecs, floorCodecs,
		golangJWTCodecs, cristalhqCodecs, pascaldekloeCodecs, katarasCodecs, goJOSECodecs, jwxCodecs,
	} {
		codecs, err := make(alg, keys)
		if err != nil {
			return nil, err
		}
		all = append(all, codecs...)
	}
	return all, nil
}
