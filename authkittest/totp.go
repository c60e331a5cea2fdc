package authkittest

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"time"
)

// TOTPCode returns the current code of an authenticator app that was set up with
// a key URI, such as totp.Enrollment.URI. A code is accepted once, and then only
// those of later steps of 30 seconds are. A test that needs several codes calls
// synctest.Test and sleeps for 30 seconds between them.
func TOTPCode(t TB, uri string) string {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" {
		t.Fatalf("authkittest: not a URI of the form otpauth://totp/…")
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret"))
	if err != nil || len(secret) == 0 {
		t.Fatalf("authkittest: the URI has no secret in base32")
	}
	mac := hmac.New(sha1.New, secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(time.Now().Unix()/30)))
	sum := mac.Sum(nil)
	number := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0x0f:]) & 0x7fffffff
	return fmt.Sprintf("%06d", number%1_000_000)
}
