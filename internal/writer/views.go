package writer

import (
	"bufio"
	"net"
	"net/http"
)

// The views of a [Writer] are named by the interfaces that they add: f is
// http.Flusher, h is http.Hijacker, and c is http.CloseNotifier. Each is one
// pointer, so that it becomes an interface value without an allocation.
type (
	f   struct{ *Writer }
	h   struct{ *Writer }
	c   struct{ *Writer }
	fh  struct{ f }
	fc  struct{ f }
	hc  struct{ h }
	fhc struct{ fh }
)

func (v f) Flush() { v.flush() }

func (v h) Hijack() (net.Conn, *bufio.ReadWriter, error)  { return v.hijack() }
func (v fh) Hijack() (net.Conn, *bufio.ReadWriter, error) { return v.hijack() }

func (v c) CloseNotify() <-chan bool   { return v.closeNotify() }
func (v fc) CloseNotify() <-chan bool  { return v.closeNotify() }
func (v hc) CloseNotify() <-chan bool  { return v.closeNotify() }
func (v fhc) CloseNotify() <-chan bool { return v.closeNotify() }

func (w *Writer) flush() {
	w.hook.BeforeHeader(http.StatusOK)
	w.to.(http.Flusher).Flush()
}

func (w *Writer) hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := w.to.(http.Hijacker).Hijack()
	if err == nil {
		w.hook.BeforeHeader(http.StatusSwitchingProtocols)
	}
	return conn, buf, err
}

func (w *Writer) closeNotify() <-chan bool {
	//lint:ignore SA1019 see Wrap
	return w.to.(http.CloseNotifier).CloseNotify()
}
