package authkit

import (
	"context"
	"net"
	"net/http"

	"github.com/authkit-go/authkit/internal/printable"
)

// A ClientInfo describes the client of a request, for the list of sessions and
// for logs.
type ClientInfo struct {
	Address   string // an IP address, without a port
	Device    string // the User-Agent; the first 256 bytes are kept
	RequestID string // for logs; at most 64 bytes are kept
}

type clientKey struct{}

// WithClient returns a context with the client of a request, for [Kit.Login],
// [Kit.Refresh] and [Config].OnEvent. The handlers and guards of this package
// use the address of the connection if ctx has no client. Behind a proxy, set
// the client before them, with the address that the proxy reports and that
// clients cannot forge.
func WithClient(ctx context.Context, c ClientInfo) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

// ClientFrom returns the client of a context in a form for storage: cut to the
// maximum lengths, and with a space for each character that is not printable.
// It returns the zero ClientInfo if ctx has none.
func ClientFrom(ctx context.Context) ClientInfo {
	c, _ := ctx.Value(clientKey{}).(ClientInfo)
	return ClientInfo{printable.Text(c.Address, 64), printable.Text(c.Device, 256), printable.Text(c.RequestID, 64)}
}

// A clientContext is the context of a request with its client, unless your
// program has set one. It reads the client on demand, because most contexts are
// never asked for it.
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
