package writer_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/authkit-go/authkit/internal/writer"
)

// A base is an http.ResponseWriter and no more. It notes the calls.
type base struct{ calls *[]string }

func (b base) note(call string)            { *b.calls = append(*b.calls, call) }
func (b base) Header() http.Header         { return http.Header{} }
func (b base) WriteHeader(status int)      { b.note(fmt.Sprint("status ", status)) }
func (b base) Write(p []byte) (int, error) { b.note("write " + string(p)); return len(p), nil }
func (b base) BeforeHeader(status int)     { b.note(fmt.Sprint("before ", status)) }
func (b base) take() (calls []string)      { calls, *b.calls = *b.calls, nil; return calls }

type closeNotifier interface{ CloseNotify() <-chan bool } // http.CloseNotifier, which is deprecated

type flusher struct{ b base }

func (f flusher) Flush() { f.b.note("flush") }

type hijacker struct{ b base }

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h.b.note("hijack")
	return nil, nil, nil
}

type notifier struct{ b base }

func (c notifier) CloseNotify() <-chan bool { c.b.note("notify"); return nil }

type readerFrom struct{ b base }

func (r readerFrom) ReadFrom(src io.Reader) (int64, error) {
	text, err := io.ReadAll(src)
	r.b.note("read from " + string(text))
	return int64(len(text)), err
}

// combinations returns a writer for each set of optional interfaces, by the names of the set.
func combinations(b base) map[string]http.ResponseWriter {
	f, h, c, r := flusher{b}, hijacker{b}, notifier{b}, readerFrom{b}
	type (
		F = http.Flusher
		H = http.Hijacker
		C = closeNotifier
		R = io.ReaderFrom
	)
	return map[string]http.ResponseWriter{
		"": b, "f": struct {
			base
			F
		}{b, f}, "h": struct {
			base
			H
		}{b, h}, "c": struct {
			base
			C
		}{b, c},
		"r": struct {
			base
			R
		}{b, r}, "fh": struct {
			base
			F
			H
		}{b, f, h}, "fc": struct {
			base
			F
			C
		}{b, f, c},
		"fr": struct {
			base
			F
			R
		}{b, f, r}, "hc": struct {
			base
			H
			C
		}{b, h, c}, "hr": struct {
			base
			H
			R
		}{b, h, r},
		"cr": struct {
			base
			C
			R
		}{b, c, r}, "fhc": struct {
			base
			F
			H
			C
		}{b, f, h, c},
		"fhr": struct {
			base
			F
			H
			R
		}{b, f, h, r}, "fcr": struct {
			base
			F
			C
			R
		}{b, f, c, r},
		"hcr": struct {
			base
			H
			C
			R
		}{b, h, c, r}, "fhcr": struct {
			base
			F
			H
			C
			R
		}{b, f, h, c, r},
	}
}

// FR-16: a wrapped writer has the interfaces of the one that it wraps. It has no others whose
// presence means something to a handler. Every call reaches the writer, after the hook.
func TestAllCombinations(t *testing.T) {
	t.Parallel()
	b := base{new([]string)}
	all := combinations(b)
	require.Len(t, all, 16)
	for set, to := range all {
		var w writer.Writer
		got := w.Wrap(to, b)
		has := func(letter string) bool { return strings.Contains(set, letter) }

		flush, ok := got.(http.Flusher)
		require.Equal(t, has("f"), ok, set)
		if ok {
			flush.Flush()
			require.Equal(t, []string{"before 200", "flush"}, b.take(), set)
		}
		err := http.NewResponseController(got).Flush()
		if ok {
			require.NoError(t, err, set)
			require.Equal(t, []string{"before 200", "flush"}, b.take(), set)
		} else {
			require.ErrorIs(t, err, http.ErrNotSupported, set)
			require.Empty(t, b.take(), "the hook of a flush that is not supported")
		}

		hijack, ok := got.(http.Hijacker)
		require.Equal(t, has("h"), ok, set)
		if ok {
			_, _, err = hijack.Hijack()
			require.NoError(t, err)
			require.Equal(t, []string{"hijack", "before 101"}, b.take(), set)
		}
		_, _, err = http.NewResponseController(got).Hijack()
		require.Equal(t, !ok, errors.Is(err, http.ErrNotSupported), set)
		b.take()

		notify, ok := got.(closeNotifier)
		require.Equal(t, has("c"), ok, set)
		if ok {
			notify.CloseNotify()
			require.Equal(t, []string{"notify"}, b.take(), set)
		}

		n, err := io.Copy(got, io.LimitReader(strings.NewReader("some text"), 4))
		require.NoError(t, err)
		require.EqualValues(t, 4, n)
		if has("r") {
			require.Equal(t, []string{"before 200", "read from some"}, b.take(), set)
		} else {
			require.Equal(t, []string{"before 200", "write some"}, b.take(), set)
		}

		_, err = io.WriteString(got, "s")
		require.NoError(t, err)
		_, err = got.Write([]byte("p"))
		require.NoError(t, err)
		got.WriteHeader(404)
		require.Equal(t, []string{"before 200", "write s", "before 200", "write p", "before 404", "status 404"}, b.take(), set)
		require.ErrorIs(t, got.(http.Pusher).Push("/x", nil), http.ErrNotSupported)
		require.Equal(t, to, got.(interface{ Unwrap() http.ResponseWriter }).Unwrap(), set)
	}
}

// The view of a writer costs no allocation.
func TestWrapAllocates(t *testing.T) {
	b := base{new([]string)}
	for set, to := range combinations(b) {
		var w writer.Writer
		var hook writer.Hook = b
		require.Zero(t, testing.AllocsPerRun(100, func() { _ = w.Wrap(to, hook) }), set)
	}
}

// A hijack that fails is no end of the response: HTTP/2 has none.
func TestHijackFails(t *testing.T) {
	t.Parallel()
	b := base{new([]string)}
	var w writer.Writer
	got := w.Wrap(struct {
		base
		failing
	}{b, failing{}}, b)
	_, _, err := got.(http.Hijacker).Hijack()
	require.ErrorIs(t, err, errHijack)
	require.Empty(t, b.take())
}

var errHijack = errors.New("no hijack")

type failing struct{}

func (failing) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errHijack }

// A hook is called for a flush that http.ResponseController finds below a third wrapper.
func TestFlushBelow(t *testing.T) {
	t.Parallel()
	b := base{new([]string)}
	var w writer.Writer
	below := httptest.NewRecorder()
	got := w.Wrap(unwraps{b, below}, b)
	require.NoError(t, http.NewResponseController(got).Flush())
	require.True(t, below.Flushed)
	require.Equal(t, []string{"before 200"}, b.take())
}

type unwraps struct {
	base
	to http.ResponseWriter
}

func (u unwraps) Unwrap() http.ResponseWriter { return u.to }

// The writers of net/http keep all that they have, and a file is sent whole.
func TestServers(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, []byte(strings.Repeat("x", 1<<20)), 0o600))
	for _, http2 := range []bool{false, true} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var state writer.Writer
			got := state.Wrap(w, base{new([]string)})
			_, flushes := got.(http.Flusher)
			_, hijacks := got.(http.Hijacker)
			_, notifies := got.(closeNotifier)
			_, pushes := got.(http.Pusher)
			w.Header().Set("Has", fmt.Sprint(flushes, hijacks, notifies, pushes))
			http.ServeFile(got, r, name)
		}))
		srv.EnableHTTP2 = http2
		srv.StartTLS()
		resp, err := srv.Client().Get(srv.URL + "/file")
		require.NoError(t, err)
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Len(t, text, 1<<20)
		require.Equal(t, fmt.Sprint(true, !http2, true, true), resp.Header.Get("Has"))
		srv.Close()
	}
}
