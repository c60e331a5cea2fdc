package claims

// maxUnknown is the maximum number of names outside [Set] for the scanner. A
// payload with more goes to encoding/json.
const maxUnknown = 8

// A scanner walks a payload. Its methods report whether they found the expected
// syntax. After false, the position is undefined and the scan ends.
type scanner struct {
	p   string
	pos int
}

func (s *scanner) byte(c byte) bool {
	if s.pos < len(s.p) && s.p[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// plain marks the bytes that need no escape inside a JSON string: ASCII without
// controls, the quotation mark and the backslash.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// text reads a quoted string without escapes, all ASCII.
func (s *scanner) text() (string, bool) {
	if !s.byte('"') {
		return "", false
	}
	start := s.pos
	for s.pos < len(s.p) && plain[s.p[s.pos]] {
		s.pos++
	}
	text := s.p[start:s.pos]
	return text, s.byte('"')
}

// integer reads a positive integer of at most 15 digits that ends there.
func (s *scanner) integer() (int64, bool) {
	var n int64
	start := s.pos
	for s.pos < len(s.p) && s.pos-start < 16 {
		c := s.p[s.pos] - '0'
		if c > 9 {
			break
		}
		n = n*10 + int64(c)
		s.pos++
	}
	digits := s.pos - start
	if digits == 0 || digits > 15 || s.p[start] == '0' || s.pos == len(s.p) {
		return 0, false
	}
	return n, s.p[s.pos] == ',' || s.p[s.pos] == '}'
}

// list reads an array of strings without escapes. If keep is false, the result
// is nil.
func (s *scanner) list(keep bool) ([]string, bool) {
	if !s.byte('[') {
		return nil, false
	}
	var few [8]string // enough for most lists, so that the result is the only allocation
	items := few[:0]
	for !s.byte(']') {
		if len(items) > 0 && !s.byte(',') {
			return nil, false
		}
		item, ok := s.text()
		if !ok {
			return nil, false
		}
		items = append(items, item)
	}
	if !keep {
		return nil, true
	}
	return append(make([]string, 0, len(items)), items...), true
}

// skip reads a simple value of a claim that Set does not hold.
func (s *scanner) skip() bool {
	if s.pos == len(s.p) {
		return false
	}
	switch s.p[s.pos] {
	case '"':
		_, ok := s.text()
		return ok
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	_, ok := s.integer()
	return ok
}

func (s *scanner) word(w string) bool {
	if len(s.p)-s.pos < len(w) || s.p[s.pos:s.pos+len(w)] != w {
		return false
	}
	s.pos += len(w)
	return true
}

// scan is the fast parser; see the package comment.
func scan(payload string, roles bool) (Set, bool) {
	var (
		set     Set
		seen    name
		unknown [maxUnknown]string
		n       int
	)
	s := scanner{p: payload}
	if !s.byte('{') {
		return Set{}, false
	}
	for {
		key, ok := s.text()
		if !ok || !s.byte(':') {
			return Set{}, false
		}
		id := nameOf(key)
		if id != 0 && seen&id != 0 {
			return Set{}, false
		}
		seen |= id
		switch id {
		case 0:
			for _, other := range unknown[:n] {
				if other == key {
					return Set{}, false
				}
			}
			if n == maxUnknown {
				return Set{}, false
			}
			unknown[n] = key
			n++
			ok = s.skip()
		case nameRoles:
			set.Roles, ok = s.list(roles)
		case nameAMR:
			start := s.pos
			_, ok = s.list(false)
			set.Methods = payload[start:s.pos]
		case nameAud:
			if s.pos < len(payload) && payload[s.pos] == '"' {
				var one string
				one, ok = s.text()
				set.Audience = []string{one}
			} else {
				set.Audience, ok = s.list(true)
			}
		case nameIat, nameExp, nameNbf, nameAuthTime:
			var date int64
			date, ok = s.integer()
			ok = ok && date < MaxDate
			*set.date(id) = date
		default:
			*set.text(id), ok = s.text()
		}
		if !ok {
			return Set{}, false
		}
		if s.byte('}') {
			return set, s.pos == len(payload)
		}
		if !s.byte(',') {
			return Set{}, false
		}
	}
}
