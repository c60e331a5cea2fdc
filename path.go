package authkit

import (
	"net/http"
	"net/url"
	"strings"
)

// RefuseAmbiguousPaths returns a handler that refuses requests whose path can be read in
// two ways, and passes all others to next. Without it, a guard may match one reading and the
// handler serve the other: "/private%2fsecret.txt" is one segment to http.ServeMux, and a
// file below /private to http.FileServer.
//
// A [Mux] refuses these requests itself. Wrap other routers as a whole, outside of their
// guards:
//
//	http.ListenAndServe(addr, authkit.RefuseAmbiguousPaths(router))
//
// The answer is 400 for:
//   - A path with an empty segment, or with "." or ".." as a segment, decoded or not. A
//     slash at the end is accepted.
//   - An encoded slash, "%2f", and a backslash, encoded or not.
//   - A control character, such as "%00".
//   - A path that does not begin with a slash, except "*" of OPTIONS.
//   - The method CONNECT, because http.ServeMux matches its path and host
//     differently. The CONNECT of a WebSocket over HTTP/2 (RFC 8441) is
//     accepted, unless a pattern of the Mux has a host: http.ServeMux would
//     compare that with host and port.
//
// There is no exception for a route. Send a text that may contain a slash in the query or
// in the body.
//
// Some routers match URL.RawPath and some URL.Path. The request that next receives has an
// empty RawPath, so that a router and its handlers read the decoded path. A reverse proxy
// behind it sends the path in the encoding of [url.URL.EscapedPath].
func RefuseAmbiguousPaths(next http.Handler) http.Handler {
	if next == nil {
		panic("authkit: RefuseAmbiguousPaths: a nil handler")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hasOneReading(r) && !asksServer(r) {
			answerAmbiguousPath.write(w)
			return
		}
		if r.URL.RawPath == "" {
			next.ServeHTTP(w, r)
			return
		}
		decoded, u := *r, *r.URL
		u.RawPath = ""
		decoded.URL = &u
		next.ServeHTTP(w, &decoded)
		r.Pattern = decoded.Pattern // for middleware further out, such as a log
	})
}

var answerAmbiguousPath = NewProblem(http.StatusBadRequest, "The path of the request is ambiguous").render()

// asksServer reports whether a request is "OPTIONS *", which asks about the server and has
// no path (RFC 9110 section 9.3.7).
func asksServer(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.URL.Path == "*"
}

// hasOneReading reports whether every handler reads the same path in a request.
func hasOneReading(r *http.Request) bool {
	return (r.Method != http.MethodConnect || isWebSocket(r)) && isClean(r.URL.Path) && !hasEncodedSlash(r.URL)
}

// isWebSocket reports whether a CONNECT is one that names a protocol (RFC 8441 section 4). It
// has a path. No client can send such a header in HTTP/1.
func isWebSocket(r *http.Request) bool {
	return r.ProtoMajor >= 2 && len(r.Header[":protocol"]) == 1
}

// hasEncodedSlash reports whether a path has an encoded slash or backslash. One without a
// RawPath has none: the default encoding does not encode a slash.
func hasEncodedSlash(u *url.URL) bool {
	raw := u.RawPath
	for {
		at := strings.IndexByte(raw, '%')
		if at < 0 || len(raw) < at+3 {
			return false
		}
		switch code := raw[at+1 : at+3]; code {
		case "2f", "2F", "5c", "5C":
			return true
		}
		raw = raw[at+3:]
	}
}

// isClean reports whether a decoded path begins with a slash, has no empty, "." or ".."
// segment, and no backslash or control character.
func isClean(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	if len(path) >= 8 && !isSuspect(path) {
		return true
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c < ' ' || c == '\\' || c == 0x7f {
			return false
		}
		if c != '/' || i+1 == len(path) {
			continue
		}
		switch rest := path[i+1:]; rest[0] {
		case '/':
			return false
		case '.':
			rest = strings.TrimPrefix(rest[1:], ".")
			if rest == "" || rest[0] == '/' {
				return false
			}
		}
	}
	return true
}

// isSuspect reports whether a path of 8 bytes or more has a backslash, a control character,
// a slash before a slash or dot, or a byte that is not ASCII. It reads eight bytes at a time,
// in windows that overlap by one. In each byte the top bit is the result of a comparison.
func isSuspect(path string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	var found uint64
	for i := 0; ; i += 7 {
		i = min(i, len(path)-8)
		p := path[i : i+8]
		x := uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 |
			uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
		notControl := x + ones*0x60
		notBackslash := (x ^ ones*'\\') + ones*0x7f
		notSlash := (x ^ ones*'/') + ones*0x7f
		notEither := (x&(ones*0xfe) ^ ones*'.') + ones*0x7f // '.' and '/' differ in the lowest bit
		// x+ones has the top bit of DEL.
		found |= x | (x + ones) | ^(notControl & notBackslash) | ^(notSlash<<8 | 0x80 | notEither)
		if i == len(path)-8 {
			return found&tops != 0
		}
	}
}

const maxReturnBytes = 2048

// localPath returns a path of this site, with its query, or "/" for any other text. Browsers
// read two slashes, and backslashes, as the beginning of another site's address. They must not
// be in the path even if they are escaped, or after dots: a router, a proxy or a program might
// clean the path and redirect to the result.
func localPath(text string) string {
	if !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || len(text) > maxReturnBytes {
		return "/"
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return "/"
		}
	}
	u, err := url.Parse(text)
	if err != nil || strings.Contains(u.Path, "//") {
		return "/"
	}
	for i := range len(u.Path) {
		if c := u.Path[i]; c < ' ' || c == 0x7f || c == '\\' {
			return "/"
		}
	}
	return text
}
