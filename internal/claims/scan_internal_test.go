package claims

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// seeds are payloads near the borders of what the scan takes.
var seeds = []string{
	`{"sub":"s","exp":1}`, `{"sub":"s","uid":"u","jti":"j","iss":"i","aud":"a","roles":["x","y"],"iat":1,"exp":2,"nbf":3}`,
	`{"aud":["a","b"],"roles":[]}`, `{"a":1,"b":"x","c":true,"d":false,"e":null}`, `{"a":999999999999999}`, `{"a":1000000000000000}`,
	`{"exp":99999999999}`, `{"exp":100000000000}`, `{"exp":0}`, `{"exp":01}`, `{"exp":1`, `{"exp":1 }`, `{"exp":1.0}`, `{"exp":-1}`, `{"a":0}`,
	`{}`, `{"":""}`, `{"":1,"":1}`, `{"a":1,"a":1}`, `{"sub":"a","sub":"b"}`, `{"sub":"\u0041"}`, `{"s\u0075b":"a"}`, `{"sub":"ü"}`, `{"sub":"` + "\x7f" + `"}`,
	`{"sub":"a"}x`, `{"sub":"a"} `, ` {"sub":"a"}`, `{"sub":"a",}`, `{,}`, `{"roles":["a",]}`, `{"roles":[1]}`, `{"x":[1]}`, `{"x":{}}`, `{"x":truex}`, `{"x":tru`,
	`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1}`, `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1}`,
	"{\"sub\":\"\xff\"}", "{\"sub\":\"a\x00\"}", `{"SUB":"a","sub":"b"}`, `{"roles":["a","b","c","d","e","f","g","h","i"]}`, `{"aud":""}`, `{"aud":null}`,
}

// agree wants what the scan takes to be read alike by decode.
func agree(t *testing.T, payload string) (scanned bool) {
	t.Helper()
	quick, ok := scan(payload, true)
	slow, err := decode(payload)
	if ok && (err != nil || !reflect.DeepEqual(quick, slow)) {
		t.Fatalf("%q: the scan says %+v, encoding/json %+v, %v", payload, quick, slow, err)
	}
	if got, parseErr := Parse(payload, true); (parseErr == nil) != (err == nil) || !reflect.DeepEqual(got, slow) {
		t.Fatalf("%q: Parse says %+v, %v, and encoding/json %+v, %v", payload, got, parseErr, slow, err)
	}
	slow.Roles = nil
	if got, parseErr := Parse(payload, false); (parseErr == nil) != (err == nil) || !reflect.DeepEqual(got, slow) {
		t.Fatalf("%q: without roles Parse says %+v, %v, and encoding/json %+v, %v", payload, got, parseErr, slow, err)
	}
	if err != nil && !reflect.DeepEqual(slow, Set{}) {
		t.Fatalf("%q: claims with an error (TK-12)", payload)
	}
	return ok
}

func TestScan(t *testing.T) {
	t.Parallel()
	scanned := 0
	for _, payload := range seeds {
		if agree(t, payload) {
			scanned++
		}
		for i := range payload { // cut off anywhere, or with any byte changed
			agree(t, payload[:i])
			for c := range 256 {
				agree(t, payload[:i]+string([]byte{byte(c)})+payload[i+1:])
			}
		}
	}
	if scanned < 8 {
		t.Errorf("only %d of the payloads were scanned", scanned)
	}
}

// What the library writes is what the scan takes, as long as it is plain.
func TestScanTakesOurOwn(t *testing.T) {
	t.Parallel()
	payload, err := Append(nil, &Set{
		Subject: "user@example.com", UserID: "0198", ID: "j", Issuer: "https://id.example.com", Audience: []string{"a", "b"},
		Roles: []string{"admin", "user"}, IssuedAt: 1767225600, ExpiresAt: 1767227400, NotBefore: 1767225600,
		Tenant: "t", AuthTime: 1767225600, Methods: `["pwd","otp"]`,
	}, []byte(`{"org":"acme","level":39,"most":999999999999999,"trial":true,"paid":false,"none":null}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := scan(string(payload), true); !ok {
		t.Errorf("not scanned: %s", payload)
	}
}

// The scan does not allocate but for lists, which are the caller's to keep.
func TestScanAllocations(t *testing.T) {
	plain := `{"sub":"user@example.com","iat":1767225600,"exp":4102444800,"jti":"abc","amr":["pwd","otp"],"x":1,"y":"z"}`
	if n := testing.AllocsPerRun(100, func() { _, _ = scan(plain, true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	roles := `{"sub":"u","exp":1,"roles":["a","b","c"],"aud":"x"}`
	if n := testing.AllocsPerRun(100, func() { _, _ = scan(roles, true) }); n > 2 {
		t.Errorf("%v allocations for two lists", n)
	}
}

// FuzzClaimsScan: what the scan takes, encoding/json takes with the same result, and neither panics.
// Payloads that Append writes of plain text are always scanned.
func FuzzClaimsScan(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, "s", "x,y", uint64(4102444800))
	}
	f.Fuzz(func(t *testing.T, payload, text, list string, date uint64) {
		agree(t, payload)
		agree(t, `{"sub":"`+payload+`"}`)
		agree(t, `{"exp":`+payload+`}`)
		agree(t, `{"roles":[`+payload+`]}`)
		agree(t, fmt.Sprintf(`{%s,"exp":%d}`, payload, date))

		for i := range len(text) {
			if !plain[text[i]] {
				return
			}
		}
		for i := range len(list) {
			if !plain[list[i]] {
				return
			}
		}
		set := Set{
			Subject: "s" + text, UserID: text, ID: text, Issuer: text, Audience: strings.Split(list+"x", ","), Roles: strings.Split(list, ","),
			ExpiresAt: 1 + int64(date%(MaxDate-1)), IssuedAt: int64(date % 1000),
		}
		own, err := Append(nil, &set, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !agree(t, string(own)) {
			t.Fatalf("not scanned: %q", own)
		}
		if got, _ := scan(string(own), true); !reflect.DeepEqual(got, set) {
			t.Fatalf("%q: %+v, want %+v", own, got, set)
		}
	})
}
