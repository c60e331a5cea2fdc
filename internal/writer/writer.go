// Package writer wraps an http.ResponseWriter without hiding its optional
// interfaces.
//
// A handler behind middleware asserts http.Flusher for server-sent events and
// http.Hijacker for WebSockets. A wrapper that only embeds http.ResponseWriter
// has neither.
package writer

import (
	"io"
	"net/http"
)

// A Hook is called by a [Writer].
type Hook interface {
	// BeforeHeader is called with the status before each call that sends a
	// header or body. The status is http.StatusOK if that call sends a header
	// without naming one, and http.StatusSwitchingProtocols after the
	// connection has been hijacked.
	BeforeHeader(status int)
}

// A Writer is a wrapper around an http.ResponseWriter. Embed one in the state
// of a request, so that wrapping needs no allocation, and call Wrap.
//
// A Writer implements the interfaces for which a fallback has the same effect:
// io.ReaderFrom, io.StringWriter and http.Pusher. Wrap adds http.Flusher,
// http.Hijacker and http.CloseNotifier if the wrapped writer has them, and an
// http.ResponseController finds everything else by Unwrap.
type Writer struct {
	to   http.ResponseWriter
	hook Hook
}

// Wrap sets the writer and the hook of w. It returns a view of w that
// implements exactly those of http.Flusher, http.Hijacker and
// http.CloseNotifier that the writer implements.
func (w *Writer) Wrap(to http.ResponseWriter, hook Hook) http.ResponseWriter {
	w.to, w.hook = to, hook
	_, flushes := to.(http.Flusher)
	_, hijacks := to.(http.Hijacker)
	//lint:ignore SA1019 some handlers still use it
	_, notifies := to.(http.CloseNotifier)
	switch {
	case flushes && hijacks && notifies:
		return fhc{fh{f{w}}}
	case flushes && hijacks:
		return fh{f{w}}
	case flushes && notifies:
		return fc{f{w}}
	case hijacks && notifies:
		return hc{h{w}}
	case flushes:
		return f{w}
	case hijacks:
		return h{w}
	case notifies:
		return c{w}
	}
	return w
}

// Unwrap returns the wrapped writer, for http.ResponseController.
func (w *Writer) Unwrap() http.ResponseWriter { return w.to }

// Header implements http.ResponseWriter.
func (w *Writer) Header() http.Header { return w.to.Header() }

// WriteHeader implements http.ResponseWriter.
func (w *Writer) WriteHeader(status int) {
	w.hook.BeforeHeader(status)
	w.to.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *Writer) Write(p []byte) (int, error) {
	w.hook.BeforeHeader(http.StatusOK)
	return w.to.Write(p)
}

// WriteString implements io.StringWriter.
func (w *Writer) WriteString(s string) (int, error) {
	w.hook.BeforeHeader(http.StatusOK)
	return io.WriteString(w.to, s)
}

// ReadFrom implements io.ReaderFrom. The writer of net/http sends files with it.
func (w *Writer) ReadFrom(src io.Reader) (int64, error) {
	w.hook.BeforeHeader(http.StatusOK)
	if to, ok := w.to.(io.ReaderFrom); ok {
		return to.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{w.to}, src)
}

// FlushError flushes for http.ResponseController. It returns
// http.ErrNotSupported if no wrapped writer can flush.
func (w *Writer) FlushError() error {
	if !canFlush(w.to) {
		return http.ErrNotSupported
	}
	w.hook.BeforeHeader(http.StatusOK)
	return http.NewResponseController(w.to).Flush()
}

// canFlush reports whether an http.ResponseController can flush a writer.
func canFlush(w http.ResponseWriter) bool {
	for {
		switch to := w.(type) {
		case interface{ FlushError() error }, http.Flusher:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = to.Unwrap()
		default:
			return false
		}
	}
}

// Push implements http.Pusher.
func (w *Writer) Push(target string, opts *http.PushOptions) error {
	if to, ok := w.to.(http.Pusher); ok {
		return to.Push(target, opts)
	}
	return http.ErrNotSupported
}
