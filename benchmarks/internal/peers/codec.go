package peers

// A Codec is one library's way to issue and to verify a token.
//
// Libraries differ in what they take and give, text or bytes. A codec offers the form its library is native to, so that
// nobody pays for a conversion that its own interface does not ask for.
type Codec struct {
	Name string
	Kind Kind
	Note string // shown under the table

	SignString   func(Claims) (string, error) // one of the two, or neither if the library does not issue
	SignBytes    func(Claims) ([]byte, error)
	VerifyString func(string) (Identity, error) // one of the two
	VerifyBytes  func([]byte) (Identity, error)
}

// Signer returns a function that issues one token from the claims that next yields, in the library's native form.
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

// Verifier returns a function that verifies token, given in the library's native form.
func (c Codec) Verifier(token string) func() (Identity, error) {
	if c.VerifyString != nil {
		return func() (Identity, error) { return c.VerifyString(token) }
	}
	b := []byte(token)
	return func() (Identity, error) { return c.VerifyBytes(b) }
}

// Verify verifies a token that arrived as text, as every token of a request does.
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
