package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// maxJSONDepth is far deeper than the bodies of the demo, and far less than a
// decoder can handle.
const maxJSONDepth = 32

// errNotJSON is returned by [checkJSON] for every refused body. It gives no
// cause, so that an attacker learns nothing about ambiguous bodies.
var errNotJSON = errors.New("not one well-formed JSON text")

// checkJSON reports whether body is exactly one JSON text that all parsers read
// alike. It refuses input that encoding/json replaces or accepts silently: text
// that is not UTF-8, escaped halves of surrogate pairs, duplicate names,
// nesting deeper than [maxJSONDepth], and text after the value.
func checkJSON(body []byte) error {
	if !utf8.Valid(body) || !json.Valid(body) || hasLoneSurrogate(body) {
		return errNotJSON
	}
	return checkNames(body)
}

// checkNames walks the tokens of a valid JSON text. It refuses duplicate names
// and nesting that is too deep.
func checkNames(body []byte) error {
	type level struct {
		names   map[string]bool // nil in an array
		wantKey bool            // whether the next string is a name
	}
	var open []level
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber() // 1e999 is well-formed; its reader checks the range
	for {
		token, err := dec.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errNotJSON
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			open = open[:len(open)-1]
			continue
		}
		if n := len(open); n > 0 && open[n-1].names != nil {
			in := &open[n-1]
			if in.wantKey {
				name := token.(string)
				if in.names[name] {
					return errNotJSON
				}
				in.names[name] = true
			}
			in.wantKey = !in.wantKey
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{names: map[string]bool{}, wantKey: true})
		case json.Delim('['):
			open = append(open, level{})
		}
		if len(open) > maxJSONDepth {
			return errNotJSON
		}
	}
}

// hasLoneSurrogate reports whether a valid JSON text escapes half of a
// surrogate pair, as "\ud800" does: encoding/json would read U+FFFD.
func hasLoneSurrogate(body []byte) bool {
	const low, end = 0xdc00, 0xe000
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		unit, ok := escapedUnit(body[i:])
		switch {
		case !ok:
			i++ // a two-character escape
		case unit < 0xd800 || unit >= end:
			i += 5
		case unit >= low:
			return true
		default:
			next, ok := escapedUnit(body[i+6:])
			if !ok || next < low || next >= end {
				return true
			}
			i += 11
		}
	}
	return false
}

// escapedUnit reads the UTF-16 unit of the \uXXXX that text starts with.
func escapedUnit(text []byte) (unit uint16, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	for _, c := range text[2:6] {
		unit <<= 4
		switch {
		case c >= 'a':
			unit |= uint16(c - 'a' + 10)
		case c >= 'A':
			unit |= uint16(c - 'A' + 10)
		default:
			unit |= uint16(c - '0')
		}
	}
	return unit, true
}
