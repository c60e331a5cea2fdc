package contract

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

func (m *message) text() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s\n", m.method, cut(m.path))
	writeHeader(&b, m.header)
	if m.body != "" {
		fmt.Fprintf(&b, "\n%s", cut(m.body))
	}
	return b.String()
}

func (a *answer) text() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d %s\n", a.status, http.StatusText(a.status))
	writeHeader(&b, a.header)
	fmt.Fprintf(&b, "\n%s", cut(a.body))
	return b.String()
}

func writeHeader(w io.Writer, h http.Header) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			if strings.EqualFold(name, "Cookie") || strings.EqualFold(name, "Set-Cookie") {
				value = maskCookie(value)
			}
			fmt.Fprintf(w, "%s: %s\n", name, cut(value))
		}
	}
}

// cut shortens a text.
func cut(s string) string {
	if len(s) <= keptBody {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:keptBody/4], len(s))
}

// maskCookie returns a cookie without its value.
func maskCookie(s string) string {
	name, rest, _ := strings.Cut(s, "=")
	_, attributes, found := strings.Cut(rest, ";")
	if !found {
		return name + "=[redacted]"
	}
	return name + "=[redacted];" + attributes
}
