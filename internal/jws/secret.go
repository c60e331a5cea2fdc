package jws

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// tutorialSecrets are secrets printed in tutorials, documentation and standards. An attacker
// who has read those can sign tokens for a service that uses them. Letters are in lower case.
var tutorialSecrets = []string{
	"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", // FastAPI's security tutorial
	"404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970", // tutorials of Spring Security
	"bezkoder=spring", "bezkodersecretkey", // tutorials of Spring Boot
	"192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",                       // Flask's documentation
	"aym1sysppbydfgzld3umj1qzkobwvmkoqq-estjqlr_t-1qs0gzh75aktmn3yj0ips4hcguutwjazzr1z9caow", // RFC 7515 appendix A.1
	"hjtxiz2usn5kbqfbttnwbpdmhkv8fjg-onbc6mxccyg",                                            // RFC 7520 section 3.5
	"django-insecure-", // every project that Django has generated
	"your-256-bit-secret",
	"a-string-secret-at-least-256-bits-long",
	"your-secret-key",
	"change-me", "changeme", "changeit", "changethis",
}

// CheckSecret returns an error if a secret is too short, too regular or public.
func CheckSecret(secret []byte, atLeast int) error {
	const fix = "make one with: openssl rand -hex 32"
	if isPublished(secret) {
		return fmt.Errorf("the secret is one that tutorials print; %s", fix)
	}
	if kind := publicKind(secret); kind != "" {
		return fmt.Errorf("the secret is %s, which is public; %s", kind, fix)
	}
	if len(secret) < atLeast {
		return fmt.Errorf("the secret has %d bytes and needs at least %d; %s", len(secret), atLeast, fix)
	}
	distinct := slices.Clone(secret)
	slices.Sort(distinct)
	if n := len(slices.Compact(distinct)); n < 8 {
		return fmt.Errorf("the secret has only %d different bytes; %s", n, fix)
	}
	return nil
}

// isPublished reports whether a secret has a known one in it, as text or decoded from it.
func isPublished(secret []byte) bool {
	text := strings.ToLower(string(secret))
	// Programs that decode a text as base64 or hex sign with its bytes.
	encoded := strings.ToLower(base64.RawStdEncoding.EncodeToString(secret))
	encodedURL := strings.ToLower(base64.RawURLEncoding.EncodeToString(secret))
	for _, known := range tutorialSecrets {
		if strings.Contains(text, known) {
			return true
		}
		if len(known) >= 32 && (strings.Contains(encoded, known) || strings.Contains(encodedURL, known)) {
			return true
		}
		if raw, err := hex.DecodeString(known); err == nil && bytes.Contains(secret, raw) {
			return true
		}
	}
	return false
}

// sshLine matches a public key of OpenSSH.
var sshLine = regexp.MustCompile(`(^|\s)(sk-)?(ssh|ecdsa)-[a-z0-9@.-]+ +AAAA[A-Za-z0-9+/]{16}`)

// publicKind returns the kind of a text that is not secret, such as "a
// certificate", or "".
func publicKind(secret []byte) string {
	switch text := string(secret); {
	case bytes.Contains(secret, []byte("-----BEGIN CERTIFICATE")), bytes.Contains(secret, []byte("-----BEGIN TRUSTED CERTIFICATE")):
		return "a certificate"
	case strings.Contains(text, "-----BEGIN ") && strings.Contains(text, "PUBLIC KEY"):
		return "a public key"
	case sshLine.MatchString(text):
		return "a public key of SSH"
	case isPublicJWK(secret):
		return "a public JSON Web Key"
	}
	for _, der := range [][]byte{secret, decodeLoose(string(secret))} {
		if kind := publicDER(der); kind != "" {
			return kind
		}
	}
	return ""
}

// publicDER returns the kind of the bytes of a public key or of a certificate,
// or "".
func publicDER(der []byte) string {
	if len(der) < 32 || der[0] != 0x30 { // not a sequence
		return ""
	}
	if _, err := x509.ParseCertificate(der); err == nil {
		return "a certificate"
	}
	_, pkix := x509.ParsePKIXPublicKey(der)
	_, pkcs1 := x509.ParsePKCS1PublicKey(der)
	if pkix == nil || pkcs1 == nil {
		return "a public key"
	}
	return ""
}

// decodeLoose decodes base64 with or without padding and line ends, as keys are passed in
// environment variables. Of other texts it returns the part before the group with the first
// character that is not base64.
func decodeLoose(text string) []byte {
	text = strings.TrimRight(strings.Join(strings.Fields(text), ""), "=")
	if der, err := base64.RawStdEncoding.DecodeString(text); err == nil {
		return der
	}
	der, _ := base64.RawURLEncoding.DecodeString(text)
	return der
}

// isPublicJWK reports whether a text is a JSON Web Key without a private part, or a key set.
func isPublicJWK(secret []byte) bool {
	var jwk map[string]json.RawMessage
	if json.Unmarshal(secret, &jwk) != nil {
		return false
	}
	_, set := jwk["keys"]
	_, key := jwk["kty"]
	_, private := jwk["d"]
	_, symmetric := jwk["k"]
	return set || key && !private && !symmetric
}
