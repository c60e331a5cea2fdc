package throttle

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/authkit-go/authkit/internal/writer"
)

// deviceCookie is the name of the cookie. Browsers enforce its prefix: this
// host set it, over HTTPS, and only this host receives it.
const (
	deviceCookie = "__Host-device"
	deviceLife   = 90 * 24 * time.Hour
	idBytes      = 16
	maxAccounts  = 8 // per browser
)

// Device returns a handler that recognizes browsers. Put it around the handler
// that logs in. A successful login gives the browser a cookie. For 90 days,
// failed logins of this browser to the same account have their own counter, so
// a stranger cannot lock the user out (LO-12). Device panics without a
// Config.Secret.
//
//	mux.Handle("POST /token", authkit.Public(), limits.Device(kit.TokenHandler()))
//
// The cookie is signed, bound to the account and the host, Secure, HttpOnly and
// SameSite=Strict. It does not log the user in. A thief of the cookie gains
// only the few guesses of that browser. A cookie for another account, or one
// that was tampered with, is ignored. The cookie holds the last eight accounts
// that logged in. A login that was sent from another site does not change the
// cookie.
func (t *Throttle) Device(next http.Handler) http.Handler {
	if t.cookies == nil {
		panic("throttle: Device: no Config.Secret to sign the cookies with; set it")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := &device{crossSite: crossSite(r)}
		if cookies := r.CookiesNamed(deviceCookie); len(cookies) == 1 {
			d.cookie = cookies[0].Value
		}
		next.ServeHTTP(d.writer.Wrap(w, d), r.WithContext(context.WithValue(r.Context(), deviceKey{}, d)))
		d.set()
	})
}

type deviceKey struct{}

// A device is the browser of a request. It adds the new cookie just before the
// header of the response is sent.
type device struct {
	writer    writer.Writer
	cookie    string // the request's cookie or empty: signed entries, separated by dots
	crossSite bool   // whether the browser has withheld its cookie

	mu     sync.Mutex // a handler may log in on another goroutine
	issued string     // the new cookie, until it is set
}

// crossSite reports whether a request comes from another site. Browsers then
// send no SameSite=Strict cookie, and a new one would replace it. Without the
// Sec-Fetch-Site header of newer browsers, every other origin counts as another
// site.
func crossSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "":
		origin := r.Header.Get("Origin")
		u, err := url.Parse(origin)
		return origin != "" && (err != nil || u.Host != r.Host)
	case "cross-site":
		return true
	}
	return false
}

// device returns the ID of the browser of ctx if it has logged in to the
// account before. Otherwise it returns "".
func (t *Throttle) device(ctx context.Context, account string) string {
	d, _ := ctx.Value(deviceKey{}).(*device)
	if d == nil {
		return ""
	}
	id, _ := t.entry(d.cookie, account)
	return id
}

// entry returns the browser ID in the entry of an account, and the other
// entries of a cookie.
func (t *Throttle) entry(cookie, account string) (id string, others []string) {
	for _, text := range strings.SplitN(cookie, ".", maxAccounts+1) {
		if len(others) == maxAccounts || len(text) != base64.RawURLEncoding.EncodedLen(idBytes+8+sha256.Size) {
			continue
		}
		raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil {
			continue
		}
		head, mac := raw[:idBytes+8], raw[idBytes+8:]
		switch expiry := int64(binary.BigEndian.Uint64(head[idBytes:])); {
		case expiry <= time.Now().Unix():
		case hmac.Equal(mac, t.sign(head, account)):
			id = string(head[:idBytes])
		default:
			others = append(others, text)
		}
	}
	return id, others
}

func (t *Throttle) sign(head []byte, account string) []byte {
	mac := hmac.New(sha256.New, t.cookies)
	mac.Write(head)
	mac.Write([]byte(account))
	return mac.Sum(nil)
}

// remember adds an account to the cookie of the browser of ctx. A known browser
// keeps its ID, and so its counter.
func (t *Throttle) remember(ctx context.Context, account string) {
	d, _ := ctx.Value(deviceKey{}).(*device)
	if d == nil || account == "" || d.crossSite {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	id, others := t.entry(cmp.Or(d.issued, d.cookie), account)
	raw := []byte(id)
	if len(raw) == 0 {
		raw = make([]byte, idBytes)
		_, _ = rand.Read(raw) // never fails
	}
	raw = binary.BigEndian.AppendUint64(raw, uint64(time.Now().Add(deviceLife).Unix()))
	raw = append(raw, t.sign(raw, account)...)
	others = others[:min(len(others), maxAccounts-1)]
	d.issued = strings.Join(append([]string{base64.RawURLEncoding.EncodeToString(raw)}, others...), ".")
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

// BeforeHeader implements writer.Hook. It sets the cookie.
func (d *device) BeforeHeader(int) { d.set() }
