package throttle

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"sync"
	"time"

	"github.com/authkit-go/authkit/internal/writer"
)

// deviceCookie is the name of the cookie. Browsers hold its prefix to its promise: it was
// set by this host, over HTTPS, and for this host alone.
const (
	deviceCookie = "__Host-device"
	deviceLife   = 90 * 24 * time.Hour
	idBytes      = 16
)

// Device returns a handler that lets browsers be known, around the one that logs in. A login that
// succeeds gives the browser a cookie, by which its next logins to the same account have a counter of
// their own for 90 days: no stranger can keep its user out (LO-12). It panics without a Config.Secret.
//
//	mux.Handle("POST /token", authkit.Public(), limits.Device(kit.TokenHandler()))
//
// The cookie is signed, bound to the account, Secure, HttpOnly, SameSite=Strict, and bound to
// the host. It logs nobody in. Whoever steals it gets the few guesses that its browser
// has. One for another account, or one that was tampered with, is as none.
func (t *Throttle) Device(next http.Handler) http.Handler {
	if t.cookies == nil {
		panic("throttle: Device: no Config.Secret to sign the cookies with; set it")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := new(device)
		if cookies := r.CookiesNamed(deviceCookie); len(cookies) == 1 {
			d.cookie = cookies[0].Value
		}
		next.ServeHTTP(d.writer.Wrap(w, d), r.WithContext(context.WithValue(r.Context(), deviceKey{}, d)))
		d.set()
	})
}

type deviceKey struct{}

// A device is the browser of a request. It adds the new cookie to the answer, at the last moment.
type device struct {
	writer writer.Writer
	cookie string // as it came, or empty

	mu     sync.Mutex // a handler may log in on another goroutine
	issued string     // the new cookie, until it is set
}

// device returns the ID of the browser that a context comes from, if it has logged in to the
// account before, or "".
func (t *Throttle) device(ctx context.Context, account string) string {
	d, _ := ctx.Value(deviceKey{}).(*device)
	if d == nil || d.cookie == "" {
		return ""
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(d.cookie)
	if err != nil || len(raw) != idBytes+8+sha256.Size {
		return ""
	}
	head, mac := raw[:idBytes+8], raw[idBytes+8:]
	expiry := int64(binary.BigEndian.Uint64(head[idBytes:]))
	if !hmac.Equal(mac, t.sign(head, account)) || expiry <= time.Now().Unix() {
		return ""
	}
	return string(head[:idBytes])
}

func (t *Throttle) sign(head []byte, account string) []byte {
	mac := hmac.New(sha256.New, t.cookies)
	mac.Write(head)
	mac.Write([]byte(account))
	return mac.Sum(nil)
}

// remember gives the browser that a context comes from a cookie for an account. One that has
// a good one already keeps its ID, and with it its counter.
func (t *Throttle) remember(ctx context.Context, account string) {
	d, _ := ctx.Value(deviceKey{}).(*device)
	if d == nil || account == "" {
		return
	}
	raw := []byte(t.device(ctx, account))
	if len(raw) == 0 {
		raw = make([]byte, idBytes)
		_, _ = rand.Read(raw) // never fails
	}
	raw = binary.BigEndian.AppendUint64(raw, uint64(time.Now().Add(deviceLife).Unix()))
	raw = append(raw, t.sign(raw, account)...)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.issued = base64.RawURLEncoding.EncodeToString(raw)
}

func (d *device) set() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.issued == "" {
		return
	}
	http.SetCookie(&d.writer, &http.Cookie{
		Name: deviceCookie, Value: d.issued, Path: "/", MaxAge: int(deviceLife / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
	d.issued = ""
}

// BeforeHeader implements writer.Hook: it is the last moment to set the cookie.
func (d *device) BeforeHeader(int) { d.set() }
