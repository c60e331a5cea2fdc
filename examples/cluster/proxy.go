package main

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"

	"github.com/authkit-go/authkit/harden"
)

// A balancer sends each request to the next instance. If that does not listen,
// it sends the request to the one after it. This is safe, because nothing was
// sent yet.
type balancer struct {
	targets []*url.URL
	next    atomic.Uint64
	via     http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil { // harden bounds its size
			return nil, err
		}
		_ = r.Body.Close()
	}
	first := b.next.Add(1)
	var err error
	for i := range uint64(len(b.targets)) {
		out := r.Clone(r.Context())
		target := b.targets[(first+i)%uint64(len(b.targets))]
		out.URL.Scheme, out.URL.Host = target.Scheme, target.Host
		if r.Body != nil {
			out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
		var answer *http.Response
		answer, err = b.via.RoundTrip(out)
		if op, ok := errors.AsType[*net.OpError](err); err == nil || !ok || op.Op != "dial" {
			return answer, err
		}
	}
	return nil, err
}

// newProxy returns a proxy that sends requests with b.
func newProxy(b *balancer, instances []*instance) (http.Handler, error) {
	for _, i := range instances {
		target, err := url.Parse(i.url)
		if err != nil {
			return nil, err
		}
		b.targets = append(b.targets, target)
	}
	return http.MaxBytesHandler(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "cluster" // the balancer chooses
			r.SetXForwarded()
		},
		Transport:    b,
		ErrorHandler: refuse,
	}, 1<<20), nil
}

// refuse responds to a request that reached no instance.
func refuse(w http.ResponseWriter, _ *http.Request, err error) {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	w.WriteHeader(http.StatusBadGateway)
}

// serveProxy serves the proxy. It returns the URL and a function that stops it.
func serveProxy(addr string, instances []*instance) (string, func(), error) {
	proxy, err := newProxy(&balancer{via: http.DefaultTransport.(*http.Transport).Clone()}, instances)
	if err != nil {
		return "", nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return "", nil, err
	}
	server := harden.Server("", proxy)
	server.ErrorLog = log.New(io.Discard, "", 0) // the walk-through counts the failures
	go func() { _ = server.Serve(listener) }()   // until it is closed
	return "http://" + listener.Addr().String(), func() { _ = server.Close() }, nil
}
