package authkit

import (
	"context"
	"net"
	"net/http"

	"github.com/authkit-go/authkit/internal/printable"
)

// A ClientInfo is where a request comes from, as the list of sessions shows it, and an
// audit log.
type ClientInfo struct {
	Address   string // an IP address, without a port
	Device    string // the User-Agent; the first 256 bytes are kept
	RequestID string // for logs; at most 64 bytes are kept
}

type clientKey struct{}

// WithClient returns a context that tells [Kit.Login], [Kit.Refresh] and [Config].OnEvent
// where a request comes from. The handlers and guards of this package do it by themselves:
// the address is then the one that the connection comes from. Behind a proxy, do it before them, with the address
// that the proxy reports and cannot be made to report by a client.
func WithClient(ctx context.Context, c ClientInfo) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

// ClientFrom returns the client of a context, fit to be stored: cut to length, and with a
// space for what does not print. It is the zero ClientInfo where nothing is known.
func ClientFrom(ctx context.Context) ClientInfo {
	c, _ := ctx.Value(clientKey{}).(ClientInfo)
	return ClientInfo{printable.Text(c.Address, 64), printable.Text(c.Device, 256), printable.Text(c.RequestID, 64)}
}

// A clientContext is that of a request, with the client that sent it, unless the host has
// put one there. Most are never asked, so that it is looked at only then.
type clientContext struct {
	context.Context
	request *http.Request
}

// Value implements context.Context.
func (c *clientContext) Value(key any) any {
	v := c.Context.Value(key)
	if v == nil && key == (clientKey{}) {
		return clientOf(c.request)
	}
	return v
}

// withClientOf returns the context of a request, with the client that sent it.
func withClientOf(r *http.Request) context.Context { return &clientContext{r.Context(), r} }

func clientOf(r *http.Request) ClientInfo {
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr
	}
	return ClientInfo{Address: address, Device: r.UserAgent()}
}
