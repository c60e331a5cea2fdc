package claims_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/authkit-go/authkit/internal/claims"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, payload string
		want          claims.Set
	}{
		{"empty", `{}`, claims.Set{}},
		{"empty, spread out", " \t\r\n{\n}\n", claims.Set{}},
		{
			"all", `{"sub":"s","uid":"u","sid":"n","client_id":"c","jti":"j","iss":"i","aud":"a","roles":["x","y"],"iat":1,"exp":2,"nbf":3}`,
			claims.Set{Subject: "s", UserID: "u", SessionID: "n", ClientID: "c", ID: "j", Issuer: "i", Audience: []string{"a"}, Roles: []string{"x", "y"}, IssuedAt: 1, ExpiresAt: 2, NotBefore: 3},
		},
		{
			"all, spread out", `{ "nbf" : 3.9 , "exp" : 2e0 , "iat" : 10e-1 , "roles" : [ "x" , "\u0079" ] , "aud" : [ "a" ] , "iss" : "i" , "jti" : "\u006a" , "uid" : "u" , "client_id" : "c" , "s\u0069d" : "n" , "sub" : "s" }`,
			claims.Set{Subject: "s", UserID: "u", SessionID: "n", ClientID: "c", ID: "j", Issuer: "i", Audience: []string{"a"}, Roles: []string{"x", "y"}, IssuedAt: 1, ExpiresAt: 2, NotBefore: 3},
		},
		// FR-18: what RFC 7519 allows and others write.
		{"null", `{"sub":"s","uid":null,"sid":null,"client_id":null,"tenant":null,"jti":null,"iss":null,"aud":null,"roles":null,"iat":null,"nbf":null,"auth_time":null,"amr":null}`, claims.Set{Subject: "s"}},
		{"null, spread out", `{"sub" : "s" , "sid" : null }`, claims.Set{Subject: "s"}},
		{"nbf of zero", `{"nbf":0,"exp":2}`, claims.Set{ExpiresAt: 2}},
		{"nbf of zero in other forms", `{"nbf":0.0e7,"exp":2}`, claims.Set{ExpiresAt: 2}},
		{"empty texts", `{"sub":"","uid":"","jti":"","iss":"","aud":""}`, claims.Set{Audience: []string{""}}},
		{"empty lists", `{"aud":[],"roles":[]}`, claims.Set{Audience: []string{}, Roles: []string{}}},
		{"lists of nothing", `{"aud":["",""],"roles":[""]}`, claims.Set{Audience: []string{"", ""}, Roles: []string{""}}},
		{"more roles than are usual", `{"roles":["1","2","3","4","5","6","7","8","9","10"]}`, claims.Set{Roles: []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}}},
		{"a date that begins with zero", `{"exp":0.2e1}`, claims.Set{ExpiresAt: 2}},
		{
			"a login", `{"sub":"s","tenant":"t","auth_time":4,"amr":["pwd","otp"],"scope":"a b"}`,
			claims.Set{Subject: "s", Tenant: "t", AuthTime: 4, Methods: `["pwd","otp"]`},
		},
		{
			"a login, spread out", `{ "amr" : ["pwd"] , "auth_time" : 4.5 , "t\u0065nant" : "t" , "sub" : "s" }`,
			claims.Set{Subject: "s", Tenant: "t", AuthTime: 4, Methods: `["pwd"]`},
		},
		{"amr and auth_time of another form", `{"sub":"s","amr":"pwd","auth_time":"4"}`, claims.Set{Subject: "s"}},
		{"amr with a number, and auth_time of zero", `{"sub":"s","amr":["pwd",1],"auth_time":0}`, claims.Set{Subject: "s"}},
		{"the greatest date", `{"exp":99999999999}`, claims.Set{ExpiresAt: claims.MaxDate - 1}},
		{"the greatest date, with a fraction", `{"exp":99999999999.9}`, claims.Set{ExpiresAt: claims.MaxDate - 1}},
		{"names of another case", `{"SUB":"x","Exp":0,"ROLES":1,"ſub":"x"}`, claims.Set{}},
		{"unknown", `{"a":1,"b":"x","c":true,"d":false,"e":null,"f":999999999999999,"sub":"s"}`, claims.Set{Subject: "s"}},
		{"unknown and complex", `{"a":-1,"b":1.5,"c":[{"sub":"x"}],"d":{"exp":"x"},"e":0,"f":9999999999999999,"sub":"s"}`, claims.Set{Subject: "s"}},
		{"text", `{"sub":"ü🔑\u00fc\ud83d\udd11\"\\\/\b\f\n\r\t"}`, claims.Set{Subject: "ü🔑ü🔑\"\\/\b\f\n\r\t"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := claims.Parse(tc.payload, true)
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%+v, %v", got, err)
			}
			tc.want.Roles = nil
			if got, err := claims.Parse(tc.payload, false); err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("without roles: %+v, %v", got, err)
			}
		})
	}
}

// TK-07, TK-08, TK-12.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	payloads := []string{
		``, ` `, `{`, `}`, `[]`, `null`, `0`, `""`, `"{}"`, `{}{}`, `{}x`, `{},`, "{}\x00", "\ufeff{}", `{"sub"}`, `{"sub":}`, `{"sub":"s",}`, `{,"sub":"s"}`,
		`"sub":"s"}`, `{:1}`, `{:"x"}`, `{"sub":"s""uid":"u"}`, `{"roles":}`, `{"roles":,"sub":"s"}`, `{"roles":"x"]}`, `{"roles":["x""y"]}`, `{"aud":"x"]}`,
		`{"sub":"s" "uid":"u"}`, `{"sub":"s";"uid":"u"}`, `{"sub" "s"}`, `{sub:"s"}`, `{'sub':'s'}`, `{"sub":"s"/**/}`, `{"sub":"s"`, `{"sub":"s`, `{"sub":`, `{"sub`,
		`{"x":tru}`, `{"x":truex}`, `{"x":nul}`, `{"x":True}`, `{"x":falsey}`, `{"x":01}`, `{"x":1x}`, `{"x":}`, `{"x":+1}`, `{"x":`,
		"{\"sub\":\"\xff\"}", "{\"\xff\":1}", "{\"sub\":\"a\x00\"}", "{\"sub\":\"a\n\"}", `{"sub":"\q"}`, `{"sub":"\u12"}`,
		`{"x":1,"x":1}`, `{"x":1,"\u0078":1}`, `{"":1,"":1}`, `{"sub":"a","sub":"a"}`, `{"sub":"a","s\u0075b":"a"}`, `{"s\u0075b":"a","sub":"a"}`,
		`{"\ud800":1,"\udc00":1}`, // both U+FFFD
		`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"a":1}`, `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"i":1}`,
		`{"roles":"x"}`, `{"roles":{}}`, `{"roles":[1]}`, `{"roles":["x",null]}`, `{"roles":["x",]}`, `{"roles":[,"x"]}`, `{"roles":["x"`, `{"roles":["x"}`, `{"roles":[`,
		`{"roles":["x" "y"]}`, `{"aud":1}`, `{"aud":{}}`, `{"aud":[1]}`, `{"aud":["x",["y"]]}`, `{"aud":true}`, `{"aud":`, `{"aud":"x`,
	}
	for _, name := range []string{"sub", "uid", "jti", "iss"} {
		for _, value := range []string{`1`, `null`, `true`, `[]`, `["x"]`, `{}`, `"x`, `x`} {
			if value != "null" || name == "sub" {
				payloads = append(payloads, `{"`+name+`":`+value+`}`)
			}
		}
	}
	for _, name := range []string{"iat", "exp", "nbf"} {
		for _, value := range []string{
			`"1"`, `""`, `null`, `true`, `[]`, `[1]`, `{}`, `0`, `-0`, `0.0`, `0.5`, `-1`, `-1e5`, `01`, `1.`, `.1`, `1e`, `+1`, `0x1`, `1_0`,
			`100000000000`, `1e11`, `999999999999999`, `9999999999999999`, `18446744073709551617`, `1e300`, `1e309`, `1e-400`, `NaN`, `Infinity`, `1 2`, `1x`, ``,
		} {
			if value == "null" && name != "exp" || name == "nbf" && (value == "0" || value == "0.0") {
				continue // absent: see TestParse
			}
			payloads = append(payloads, `{"`+name+`":`+value+`}`, `{"`+name+`":`+value+`,"sub":"s"}`)
		}
		payloads = append(payloads, `{"`+name+`":1,"`+name+`":1}`, `{"`+name+`":1`)
	}
	for _, payload := range payloads {
		got, err := claims.Parse(payload, true)
		if !errors.Is(err, claims.ErrInvalid) || !reflect.DeepEqual(got, claims.Set{}) {
			t.Errorf("%q: %+v, %v", payload, got, err)
		}
	}
}

// A scope that is no text grants nothing, and an absent one does not limit a token.
func TestScopeOf(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]struct {
		scope   string
		present bool
	}{
		`{"sub":"s","scope":"a b","x":"c"}`: {"a b", true}, `{"x":"c","scope":"\u0061"}`: {"a", true}, `{"scope":""}`: {"", true},
		`{"scope":["a"]}`: {"", true}, `{"scope":null}`: {"", true}, `{"scope":1}`: {"", true}, `{"sub":"s","Scope":"a"}`: {"", false}, `{}`: {"", false},
	} {
		if scope, present := claims.ScopeOf(payload); scope != want.scope || present != want.present {
			t.Errorf("%s: %q, %v", payload, scope, present)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	for text, methods := range map[string][]string{"": nil, `["pwd"]`: {"pwd"}, `["pwd","a\"b"]`: {"pwd", `a"b`}} {
		if got := claims.MethodsText(methods); got != text {
			t.Errorf("%q: %s", methods, got)
		}
		if got := claims.MethodsOf(text); !slices.Equal(got, methods) {
			t.Errorf("%s: %q", text, got)
		}
	}
	if got := claims.MethodsText([]string{}); got != "" {
		t.Errorf("an empty list: %s", got)
	}
}

// What is deeply nested is read or refused, and takes no time that could be noticed.
func TestParseDeep(t *testing.T) {
	t.Parallel()
	for _, n := range []int{10, 1000, 9000, 10_000, 20_000} {
		for _, nest := range [][2]string{{"[", "]"}, {`{"a":`, "}"}} {
			inner := strings.Repeat(nest[0], n) + "0" + strings.Repeat(nest[1], n)
			got, err := claims.Parse(`{"x":`+inner+`,"sub":"s"}`, true)
			if n < 9000 && err != nil {
				t.Errorf("%d deep: %v", n, err)
			}
			if n >= 10_000 && err == nil {
				t.Errorf("%d deep: no error", n)
			}
			if err == nil && got.Subject != "s" {
				t.Errorf("%d deep: %+v", n, got)
			}
			if _, err := claims.Parse(strings.Repeat(nest[0], n), true); err == nil {
				t.Errorf("%d deep and broken: no error", n)
			}
		}
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	got, err := claims.Members(" { \"b\" : 1 , \"a\" : [ 1 , {\"x\":1,\"x\":2} ] ,\n\"\\u0063\":\" \\u0041 \",\"\":null } ")
	want := []claims.Member{
		{Name: "b", Value: json.RawMessage("1")},
		{Name: "a", Value: json.RawMessage(`[ 1 , {"x":1,"x":2} ]`)},
		{Name: "c", Value: json.RawMessage(`" \u0041 "`)},
		{Name: "", Value: json.RawMessage("null")},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := claims.Members("{}"); err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
	for _, object := range []string{"", "[]", "null", `"x"`, "1", "{}1", "{} {}", `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, "{\"a\":\"\xff\"}", `{"a":1`, `{"a":1]`, `{1:1}`} {
		if got, err := claims.Members(object); !errors.Is(err, claims.ErrInvalid) || got != nil {
			t.Errorf("%q: %q, %v", object, got, err)
		}
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	all := claims.Set{
		Subject: "s", UserID: "u", SessionID: "n", ClientID: "c", ID: "j", Issuer: "i", Audience: []string{"a", "b"}, Roles: []string{"x", "y"}, IssuedAt: 1, ExpiresAt: 2, NotBefore: 3,
	}
	scope, none := "a b", ""
	for _, tc := range []struct {
		name  string
		set   claims.Set
		extra string
		want  string
		err   error
	}{
		{"nothing", claims.Set{}, "", `{}`, nil},
		{"all", all, "", `{"sub":"s","iat":1,"exp":2,"nbf":3,"jti":"j","iss":"i","aud":["a","b"],"uid":"u","sid":"n","client_id":"c","roles":["x","y"]}`, nil},
		{
			"a login", claims.Set{Tenant: "t", AuthTime: 4, Methods: `["pwd"]`, Scope: &scope}, "",
			`{"tenant":"t","auth_time":4,"amr":["pwd"],"scope":"a b"}`, nil,
		},
		{"an empty scope", claims.Set{Scope: &none}, "", `{"scope":""}`, nil},
		{"a text that is not UTF-8", claims.Set{Subject: "a\xff"}, "", "", claims.ErrNotUTF8},
		{"a role that is not UTF-8", claims.Set{Roles: []string{"a", "\xff"}}, `{"a":1}`, "", claims.ErrNotUTF8},
		{"one audience", claims.Set{Audience: []string{"a"}}, "", `{"aud":"a"}`, nil},
		{"empty roles", claims.Set{Roles: []string{}}, "", `{"roles":[]}`, nil},
		{"quotes", claims.Set{Subject: `"\` + "\n"}, "", `{"sub":"\"\\\n"}`, nil},
		{"HTML", claims.Set{Subject: "<&>"}, "", `{"sub":"<&>"}`, nil},
		{"Unicode", claims.Set{Subject: "ü🔑"}, "", `{"sub":"ü🔑"}`, nil},
		{"extra", claims.Set{Subject: "s"}, ` { "a" : [ 1 ] , "\u0062":"\u0041" } `, `{"sub":"s","a":[ 1 ],"b":"\u0041"}`, nil},
		{"extra alone", claims.Set{}, `{"a":{},"":1}`, `{"a":{},"":1}`, nil},
		{"empty extra", claims.Set{Subject: "s"}, `{}`, `{"sub":"s"}`, nil},
		{"names of another case", claims.Set{Subject: "s"}, `{"x":1,"X":2}`, `{"sub":"s","x":1,"X":2}`, nil},
		{"null", claims.Set{}, `null`, "", claims.ErrNotObject},
		{"list", claims.Set{}, `[]`, "", claims.ErrNotObject},
		{"broken", claims.Set{}, `{"a":`, "", claims.ErrNotObject},
		{"no text", claims.Set{}, ` `, "", claims.ErrNotObject},
		{"a name twice", claims.Set{}, `{"a":1,"a":1}`, "", claims.ErrNotObject},
		{"reserved", claims.Set{}, `{"a":1,"sub":"x"}`, "", claims.ErrReserved},
		{"reserved, escaped", claims.Set{}, `{"\u0065xp":1}`, "", claims.ErrReserved},
		{"reserved by RFC 9068", claims.Set{}, `{"scope":"x"}`, "", claims.ErrReserved},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var extra []byte
			if tc.extra != "" {
				extra = []byte(tc.extra)
			}
			got, err := claims.Append([]byte("before"), &tc.set, extra)
			if !errors.Is(err, tc.err) || tc.err != nil && got != nil {
				t.Fatalf("%q, %v", got, err)
			}
			if tc.err != nil {
				return
			}
			text, ok := strings.CutPrefix(string(got), "before")
			if !ok || text != tc.want {
				t.Errorf("%s", got)
			}
			var a, b any
			if json.Unmarshal([]byte(text), &a) != nil || json.Unmarshal([]byte(tc.want), &b) != nil || !reflect.DeepEqual(a, b) {
				t.Errorf("%s", text)
			}
		})
	}
}

// FuzzMembers holds Members to encoding/json: the same names with the same values, and an error for
// every name that occurs twice.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":1}`, ` { "a" : [ 1 , {"x":1,"x":2} ] , "b" : "\u0041" } `, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"\ud800":1,"\udfff":1}`,
		`{"":null}`, `[1]`, `null`, `{"a":1}{}`, "{\"\xff\":1}", `{"a":1e999}`, `{"a":{"b":[{}]}}`, `{"A":1,"a":2}`, "\ufeff{}", `{"a":-0.5e-7,"b":true}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		members, err := claims.Members(s)
		var all map[string]json.RawMessage
		valid := json.Unmarshal([]byte(s), &all) == nil && all != nil
		if err != nil {
			if members != nil {
				t.Fatalf("%q: members with an error", s)
			}
			// Not JSON, not an object, not UTF-8, or a name twice. The last is counted apart.
			if valid && utf8.ValidString(s) && names(t, s) == len(all) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if !valid || len(all) != len(members) || names(t, s) != len(all) {
			t.Fatalf("%q: %d members, or %d", s, len(members), len(all))
		}
		for _, m := range members {
			if string(all[m.Name]) != string(m.Value) || !json.Valid(m.Value) || strings.TrimSpace(string(m.Value)) != string(m.Value) {
				t.Fatalf("%q: %q is %q, or %q", s, m.Name, m.Value, all[m.Name])
			}
		}
	})
}

// names counts the members at the top of a JSON object, by the colons at its first level.
func names(t *testing.T, s string) (n int) {
	t.Helper()
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ':' && depth == 1:
			n++
		}
	}
	return n
}

// FuzzAppend holds Append and Parse together: any texts, roles and extra claims come back as they
// went in, and never as another claim.
func FuzzAppend(f *testing.F) {
	f.Add("s", "u", "n", "j", "i", "a", "x,y", int64(1), int64(2), int64(3), "ext", `"v"`)
	f.Add(`","exp":9,"x":"`, "n", "\x00", "<&>", "\u2028", "\xff", ",", int64(0), int64(99999999999), int64(5), "sub", `1`)
	f.Add("ü🔑", "\xff", `\`, `"`, "\ud7ff", "", "a,b,c,d,e,f,g,h,i", int64(1), int64(1), int64(1), "s\xff", `{"a":1,"a":2}`)
	f.Add("s", "u", "", "j", "i", "\xff", "a", int64(1), int64(1), int64(1), "x", "1")
	f.Add("s", "u", "", "j", "i", "a", "a,\xc6", int64(1), int64(1), int64(1), "x", "1")
	f.Add("", "", "", "", "", "", "", int64(0), int64(0), int64(0), "", `[`)
	f.Fuzz(func(t *testing.T, sub, uid, sid, jti, iss, aud, roles string, iat, exp, nbf int64, name, value string) {
		date := func(n int64) int64 { return max(n, -n) % claims.MaxDate }
		set := claims.Set{
			Subject: sub, UserID: uid, SessionID: sid, ClientID: uid, Tenant: uid, ID: jti, Issuer: iss, Roles: strings.Split(roles, ","),
			IssuedAt: max(0, date(iat)), ExpiresAt: max(0, date(exp)), NotBefore: max(0, date(nbf)),
		}
		if aud != "" {
			set.Audience = strings.Split(aud, "|")
			if len(set.Audience) == 1 || set.Audience[0] == "" {
				set.Audience = []string{aud}
			}
		}
		var extra []byte
		if json.Valid([]byte(value)) {
			quoted, _ := json.Marshal(name)
			extra = slices.Concat([]byte(`{`), quoted, []byte(`:`), []byte(value), []byte(`}`))
		}
		payload, err := claims.Append(nil, &set, extra)
		valid := true
		for _, text := range slices.Concat(set.Roles, set.Audience, []string{sub, uid, sid, jti, iss}) {
			valid = valid && utf8.ValidString(text) // each by itself: halves make no whole
		}
		if err != nil {
			reserved := []string{"sub", "uid", "roles", "jti", "iss", "aud", "iat", "exp", "nbf", "sid", "client_id", "cnf", "scope", "auth_time", "amr", "acr", "azp", "act", "may_act", "tenant"}
			switch {
			case errors.Is(err, claims.ErrReserved) && slices.ContainsFunc(reserved, func(r string) bool { return strings.EqualFold(r, mended(name)) }):
			case errors.Is(err, claims.ErrNotObject) && !utf8.ValidString(value):
			case errors.Is(err, claims.ErrNotUTF8) && !valid:
			default:
				t.Fatalf("%q: %v", extra, err)
			}
			return
		}
		if !valid {
			t.Fatal("a text that is not UTF-8 was taken")
		}
		if !json.Valid(payload) || !utf8.Valid(payload) {
			t.Fatalf("not JSON: %q", payload)
		}
		got, err := claims.Parse(string(payload), true)
		if err != nil {
			t.Fatalf("%q: %v", payload, err)
		}
		if !reflect.DeepEqual(got, set) {
			t.Fatalf("%q: %+v, want %+v", payload, got, set)
		}
		if extra != nil {
			var all map[string]json.RawMessage
			if err := json.Unmarshal(payload, &all); err != nil {
				t.Fatal(err)
			}
			var compact, whole any
			if json.Unmarshal(all[mended(name)], &whole) == nil && json.Unmarshal([]byte(value), &compact) == nil && !reflect.DeepEqual(whole, compact) {
				t.Fatalf("%q: %s is not %s", payload, all[mended(name)], value)
			}
			if _, ok := all[mended(name)]; !ok {
				t.Fatalf("%q: no %s", payload, strconv.Quote(name))
			}
		}
	})
}

// mended is text as JSON can hold it: each byte that is not UTF-8 becomes U+FFFD.
func mended(s string) string { return string([]rune(s)) }
